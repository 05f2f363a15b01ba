// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

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
  /// of what has become durable the newest says everything, and a vote in a term is not asked for
  /// any more once one in a later term is. Each vote takes another write of the disk: who stored
  /// one after the other would answer elections that are long over. Gives the call that will have
  /// no answer, if there is one.
  std::optional<raft::CallToken> push_while_blocked(raft::Event event, ByteCharge charge);
  /// The oldest. Not of an empty queue.
  Queued pop();

 private:
  std::deque<Queued> queued_;
  std::uint64_t popped_ = 0;
  /// The vote request that waits, of the highest term; its number among all that were pushed.
  std::optional<std::uint64_t> vote_;
};

}  // namespace rakv::member
