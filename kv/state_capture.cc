// SPDX-License-Identifier: Apache-2.0
#include "kv/state_capture.h"

#include "cnode/base/check.h"
#include "kv/machine.h"

namespace rakv::kv {
namespace {

/// Keys that are copied in one piece, or more if a shard has more.
constexpr std::size_t kPieceKeys = 4096;

}  // namespace

KvStateCapture::KvStateCapture(KvMachine& machine) : machine_(machine) {
  piece_.version().tuple(2).atom("ra_kv").map(machine.keys_.size());
  state_.append(piece_.view());
  live_indexes_.reserve(machine.keys_.size());
  machine_.capture_ = this;
}

KvStateCapture::~KvStateCapture() { machine_.capture_ = nullptr; }

bool KvStateCapture::copy_more() {
  std::size_t keys = 0;
  for (; next_ < KeyTable::kShards && keys < kPieceKeys; ++next_) {
    if (copied_.test(next_)) continue;
    keys += machine_.keys_.shard_size(next_);
    copy_shard(next_);
  }
  return next_ < KeyTable::kShards;
}

void KvStateCapture::copy_shard(std::size_t shard) {
  if (copied_.test(shard)) return;
  copied_.set(shard);
  piece_.clear();
  machine_.keys_.for_each_in(shard, [&](const KeyTable::Slot& slot) {
    machine_.write_slot(piece_, slot);
    live_indexes_.push_back(slot.index);
  });
  state_.append(piece_.view());
}

SharedBytes KvStateCapture::take_state() {
  RAKV_CHECK(copied_.all());
  return state_.release();
}

}  // namespace rakv::kv
