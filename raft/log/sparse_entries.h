// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <utility>

#include "raft/log/base/types.h"

namespace rakv::raftlog {

/// Entries in memory with gaps between them, by index: the live ones of a snapshot. The bytes of
/// their payloads are counted, so that a million of them can change hands at once. Owner's thread
/// only.
class SparseEntries {
 public:
  using Map = std::map<Index, StoredEntry>;

  bool empty() const { return map_.empty(); }
  std::size_t size() const { return map_.size(); }
  /// Sum of payload sizes.
  std::uint64_t bytes() const { return bytes_; }
  const Map& map() const { return map_; }
  bool contains(Index index) const { return map_.contains(index); }
  /// The entry, or nullptr. Valid until the next change.
  const StoredEntry* find(Index index) const {
    const auto found = map_.find(index);
    return found == map_.end() ? nullptr : &found->second;
  }

  /// Replaces what is there at its index. Quickest above all others.
  void put(StoredEntry entry) {
    auto& place = map_.try_emplace(map_.end(), entry.index)->second;
    bytes_ += entry.payload.size();
    bytes_ -= place.payload.size();
    place = std::move(entry);
  }
  /// All of the others, which replace what is there; none of them moves where this is empty.
  void take(SparseEntries others) {
    if (map_.empty()) std::swap(*this, others);
    for (auto& [index, entry] : others.map_) put(std::move(entry));
  }
  /// Drops one entry if it is there with that term.
  bool drop(Index index, Term term) {
    const auto found = map_.find(index);
    if (found == map_.end() || found->second.term != term) return false;
    erase(found);
    return true;
  }
  /// Drops those whose index `is_dropped` accepts, up to `last`.
  template <class IsDropped>
  void drop_if(Index last, IsDropped&& is_dropped) {
    for (auto at = map_.begin(); at != map_.end() && at->first <= last;) {
      at = is_dropped(at->first) ? erase(at) : std::next(at);
    }
  }
  void drop_above(Index index) {
    for (auto at = map_.upper_bound(index); at != map_.end();) at = erase(at);
  }
  void clear() {
    map_.clear();
    bytes_ = 0;
  }

 private:
  Map::iterator erase(Map::iterator at) {
    bytes_ -= at->second.payload.size();
    return map_.erase(at);
  }

  Map map_;
  std::uint64_t bytes_ = 0;
};

}  // namespace rakv::raftlog
