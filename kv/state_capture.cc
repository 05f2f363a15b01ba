// SPDX-License-Identifier: Apache-2.0
#include "kv/state_capture.h"

#include <utility>

#include "cnode/base/check.h"

namespace rakv::kv {
namespace {

/// Keys that are copied in one piece, or more if a shard has more.
constexpr std::size_t kPieceKeys = 4096;

}  // namespace

KvStateCapture::KvStateCapture(const KeyTable& keys, SlotWriter write_slot,
                               std::function<void()> ended)
    : keys_(keys), write_slot_(std::move(write_slot)), ended_(std::move(ended)) {
  piece_.version().tuple(2).atom("ra_kv").map(keys_.size());
  state_.append(piece_.view());
  live_indexes_.reserve(keys_.size());
}

KvStateCapture::~KvStateCapture() { ended_(); }

bool KvStateCapture::copy_more() {
  std::size_t keys = 0;
  for (; next_ < KeyTable::kShards && keys < kPieceKeys; ++next_) {
    if (copied_.test(next_)) continue;
    keys += keys_.shard_size(next_);
    copy_shard(next_);
  }
  return next_ < KeyTable::kShards;
}

void KvStateCapture::copy_shard(std::size_t shard) {
  if (copied_.test(shard)) return;
  copied_.set(shard);
  piece_.clear();
  keys_.for_each_in(shard, [&](const KeyTable::Slot& slot) {
    write_slot_(piece_, slot);
    live_indexes_.push_back(slot.index);
  });
  state_.append(piece_.view());
}

SharedBytes KvStateCapture::take_state() {
  RAKV_CHECK(copied_.all());
  return state_.release();
}

}  // namespace rakv::kv
