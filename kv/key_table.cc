// SPDX-License-Identifier: Apache-2.0
#include "kv/key_table.h"

#include <limits>

#include "cnode/base/check.h"

namespace rakv::kv {

KeyTable::Slot::Slot(std::string_view key, std::uint32_t key_hash) : key_hash_(key_hash) {
  // A term longer than 4 GiB does not fit into any message.
  RAKV_CHECK(key.size() <= std::numeric_limits<std::uint32_t>::max());
  const auto size = static_cast<std::uint32_t>(key.size());
  bytes_.reset(new char[sizeof size + key.size()]);
  std::memcpy(bytes_.get(), &size, sizeof size);
  std::memcpy(bytes_.get() + sizeof size, key.data(), key.size());
}

const KeyTable::Slot* KeyTable::find(std::string_view key) const {
  const Probe probe(key);
  const Shard& shard = shards_[probe.shard()];
  const auto found = shard.find(probe);
  return found == shard.end() ? nullptr : &*found;
}

const KeyTable::Slot& KeyTable::find_or_insert(std::string_view key) {
  const Probe probe(key);
  Shard& shard = shards_[probe.shard()];
  const auto found = shard.find(probe);
  if (found != shard.end()) return *found;
  ++size_;
  return *shard.insert(Slot(key, probe.slot_hash())).first;
}

bool KeyTable::erase(std::string_view key) {
  const Probe probe(key);
  Shard& shard = shards_[probe.shard()];
  const auto found = shard.find(probe);
  if (found == shard.end()) return false;
  shard.erase(found);
  --size_;
  return true;
}

}  // namespace rakv::kv
