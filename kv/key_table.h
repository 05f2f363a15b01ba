// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>

namespace rakv::kv {

/// The table of the machine: byte string to log index and value hash, for millions of keys.
///
/// A key costs 24 bytes in an open-addressing table (so 27 to 55, depending on how full it is) and
/// one heap block of its length plus 4. The hash of the key is kept, so growing never touches the
/// keys. The table is cut into shards that grow one by one: no single insert moves more than a
/// 256th of all entries.
class KeyTable {
 public:
  /// One key's entry. Index and hash may be changed in place, they are not part of the key.
  class Slot {
   public:
    /// `key_hash`: as KeyTable makes it of the key.
    Slot(std::string_view key, std::uint32_t key_hash);

    mutable std::uint64_t index = 0;
    mutable std::uint32_t value_hash = 0;

    std::string_view key() const {
      std::uint32_t size = 0;
      std::memcpy(&size, bytes_.get(), sizeof size);
      return {bytes_.get() + sizeof size, size};
    }

    std::uint32_t key_hash() const { return key_hash_; }
    /// The key's bytes are wanted soon.
    void prefetch() const { __builtin_prefetch(bytes_.get()); }

   private:
    std::uint32_t key_hash_;
    std::unique_ptr<char[]> bytes_;  ///< size, then the key: a string would be 32 bytes here
  };

  /// Null when the key is not there. Valid until the next insert or erase.
  const Slot* find(std::string_view key) const;
  /// The key's slot, made if it is not there (index and hash 0 then).
  const Slot& find_or_insert(std::string_view key);
  /// False when the key was not there.
  bool erase(std::string_view key);

  std::size_t size() const { return size_; }

  /// Keys are spread over so many shards.
  static constexpr std::size_t kShards = 256;
  static std::size_t shard_of(std::string_view key) { return Probe(key).shard(); }
  std::size_t shard_size(std::size_t shard) const { return shards_[shard].size(); }

  /// Calls `visit(index)` for every entry, in no particular order.
  template <class Visit>
  void for_each_index(Visit visit) const {
    for (const Shard& shard : shards_) {
      for (const Slot& slot : shard) visit(slot.index);
    }
  }

  /// Calls `visit(slot)` for every entry, in no particular order. The keys lie all over the heap,
  /// so they are fetched some entries ahead.
  template <class Visit>
  void for_each(Visit visit) const {
    for (std::size_t shard = 0; shard < kShards; ++shard) for_each_in(shard, visit);
  }
  /// The same for the entries of one shard.
  template <class Visit>
  void for_each_in(std::size_t shard, Visit&& visit) const {
    std::array<const Slot*, 16> ahead;
    std::size_t count = 0;
    const auto visit_fetched = [&] {
      for (std::size_t i = 0; i < count; ++i) visit(*ahead[i]);
      count = 0;
    };
    for (const Slot& slot : shards_[shard]) {
      slot.prefetch();
      ahead[count++] = &slot;
      if (count == ahead.size()) visit_fetched();
    }
    visit_fetched();
  }

 private:
  /// What is looked for: a key with its hash already made.
  struct Probe {
    std::string_view key;
    std::uint64_t hash;
    explicit Probe(std::string_view key_) : key(key_), hash(std::hash<std::string_view>{}(key_)) {}
    std::uint32_t slot_hash() const { return static_cast<std::uint32_t>(hash >> 32); }
    std::size_t shard() const { return hash % kShards; }
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Slot& slot) const { return slot.key_hash(); }
    std::size_t operator()(const Probe& probe) const { return probe.slot_hash(); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Slot& left, const Slot& right) const { return left.key() == right.key(); }
    bool operator()(const Probe& probe, const Slot& slot) const {
      return probe.slot_hash() == slot.key_hash() && probe.key == slot.key();
    }
    bool operator()(const Slot& slot, const Probe& probe) const { return (*this)(probe, slot); }
  };
  using Shard = boost::unordered_flat_set<Slot, Hash, Equal>;

  std::array<Shard, kShards> shards_;
  std::size_t size_ = 0;
};

}  // namespace rakv::kv
