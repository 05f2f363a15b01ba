// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "cnode/base/byte_account.h"

namespace rakv {

/// The one account of what a node holds because peers and clients sent something, or do not fetch
/// something: the sum, and one account for each kind, so that a flood of one kind does not starve
/// the others. Their limits are shares of the node's memory budget. What the log takes has shares
/// of its own (raft/log/memory_budget.h); docs/memory.md has the table of all of them.
///
/// A single message may be larger than a share; then one such message at a time overshoots it.
struct MemoryAccounts {
  explicit MemoryAccounts(std::uint64_t budget_bytes)
      : budget(budget_bytes),
        sum("sum", budget_bytes / 8 * 3),
        connections("connections", budget_bytes / 32, &sum),
        incoming("incoming", budget_bytes / 16, &sum),
        outgoing("outgoing", budget_bytes / 8, &sum),
        reading("reading", budget_bytes / 32, &sum),
        waiting("waiting", budget_bytes / 64 * 3, &sum),
        queries("queries", budget_bytes / 64, &sum),
        member_messages("member_messages", budget_bytes / 64, &sum),
        notifications("notifications", budget_bytes / 64, &sum),
        watches("watches", budget_bytes / 32, &sum),
        snapshots("snapshots", budget_bytes, &sum) {}

  std::uint64_t budget;
  ByteAccount sum;
  /// What each connection takes, whatever comes over it.
  ByteAccount connections;
  /// Messages that have not come whole yet.
  ByteAccount incoming;
  /// Answers and messages that peers have not fetched yet.
  ByteAccount outgoing;
  /// Values that are read from the disk for answers.
  ByteAccount reading;
  /// Calls, commands and queries of clients that wait for a leader, for the disk, or for an index.
  ByteAccount waiting;
  /// Those that wait for a moment only, above all consistent reads of a leader, for its followers.
  ByteAccount queries;
  /// Messages of other members that wait for the disk.
  ByteAccount member_messages;
  /// Notifications (ra_event) that could not be sent yet.
  ByteAccount notifications;
  /// Monitors, links and remote calls of processes of other nodes.
  ByteAccount watches;
  /// Snapshots that are sent or received. They are as large as the keys, which come on top of the
  /// budget: they are charged to be seen, and nothing is refused.
  ByteAccount snapshots;

  /// All but the sum.
  std::vector<const ByteAccount*> kinds() const {
    return {&connections, &incoming,        &outgoing,      &reading, &waiting,
            &queries,     &member_messages, &notifications, &watches, &snapshots};
  }
};

}  // namespace rakv
