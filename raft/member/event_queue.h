// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>

#include "cnode/base/memory_accounts.h"
#include "raft/core/event.h"

namespace rakv::member {

/// Events on their way to the core, in the order of their coming.
class EventQueue {
 public:
  struct Queued {
    raft::Event event;
    ByteCharge charge;  ///< for what the event takes while it waits
  };

  bool empty() const { return queued_.empty(); }
  std::size_t size() const { return queued_.size(); }
  void push(raft::Event event, ByteCharge charge = {}) {
    queued_.push_back({std::move(event), std::move(charge)});
  }
  /// The same while effects wait for the disk, which may take long: a tick need not wait at all,
  /// and of what has become durable the newest says everything.
  void push_while_blocked(raft::Event event, ByteCharge charge);
  /// The oldest. Not of an empty queue.
  Queued pop();

 private:
  std::deque<Queued> queued_;
};

}  // namespace rakv::member
