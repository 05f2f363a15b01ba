// SPDX-License-Identifier: Apache-2.0
#include "raft/member/event_queue.h"

#include <utility>
#include <variant>

namespace rakv::member {

std::optional<raft::CallToken> EventQueue::push_while_blocked(raft::Event event,
                                                              ByteCharge charge) {
  if (std::holds_alternative<raft::event::Tick>(event)) return std::nullopt;
  if (const auto* vote = std::get_if<raft::event::VoteRequested>(&event)) {
    if (vote_ && *vote_ >= popped_) {
      Queued& waiting = queued_[*vote_ - popped_];
      const auto older = std::get<raft::event::VoteRequested>(waiting.event);
      if (older.rpc.term < vote->rpc.term) {
        waiting = {std::move(event), std::move(charge)};
        return older.call;
      }
    } else {
      vote_ = popped_ + queued_.size();
    }
  }
  if (const auto* written = std::get_if<raft::event::Written>(&event); written && !empty()) {
    if (auto* last = std::get_if<raft::event::Written>(&queued_.back().event)) {
      *last = *written;
      return std::nullopt;
    }
  }
  push(std::move(event), std::move(charge));
  return std::nullopt;
}

EventQueue::Queued EventQueue::pop() {
  Queued oldest = std::move(queued_.front());
  queued_.pop_front();
  ++popped_;
  return oldest;
}

}  // namespace rakv::member
