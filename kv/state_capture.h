// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "cnode/distribution/frames.h"
#include "kv/key_table.h"
#include "raft/member/state_machine.h"

namespace rakv::kv {

/// A KvMachine's state at one moment, copied shard by shard: a snapshot of millions of keys holds
/// nobody up. A shard that is about to change before its turn is copied first.
class KvStateCapture final : public member::StateCapture {
 public:
  /// Writes a key with its index and hash, as they are in the state.
  using SlotWriter = std::function<void(etf::Writer& writer, const KeyTable::Slot& slot)>;

  /// To be made by KvMachine::capture(), which must outlive it. `ended` is called once, when this
  /// goes.
  KvStateCapture(const KeyTable& keys, SlotWriter write_slot, std::function<void()> ended);
  ~KvStateCapture() override;
  KvStateCapture(const KvStateCapture&) = delete;
  KvStateCapture& operator=(const KvStateCapture&) = delete;

  bool copy_more() override;
  SharedBytes take_state() override;
  std::vector<std::uint64_t> take_live_indexes() override { return std::move(live_indexes_); }

  /// The key is about to be put or removed.
  void before_change(std::string_view key) { copy_shard(KeyTable::shard_of(key)); }

 private:
  void copy_shard(std::size_t shard);

  const KeyTable& keys_;
  SlotWriter write_slot_;
  std::function<void()> ended_;
  std::bitset<KeyTable::kShards> copied_;
  std::size_t next_ = 0;  ///< shard; all before it are copied
  distribution::GrowingBuffer state_;
  etf::Writer piece_;
  std::vector<std::uint64_t> live_indexes_;
};

}  // namespace rakv::kv
