// SPDX-License-Identifier: Apache-2.0
#include "raft/member/event_queue.h"

#include <utility>
#include <variant>

namespace rakv::member {

void EventQueue::push_while_blocked(raft::Event event, ByteCharge charge) {
  if (std::holds_alternative<raft::event::Tick>(event)) return;
  if (const auto* written = std::get_if<raft::event::Written>(&event); written && !empty()) {
    if (auto* last = std::get_if<raft::event::Written>(&queued_.back().event)) {
      *last = *written;
      return;
    }
  }
  push(std::move(event), std::move(charge));
}

EventQueue::Queued EventQueue::pop() {
  Queued oldest = std::move(queued_.front());
  queued_.pop_front();
  return oldest;
}

}  // namespace rakv::member
