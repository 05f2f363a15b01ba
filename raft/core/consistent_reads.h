// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "raft/core/types.h"

namespace rakv::raft {

/// The consistent reads that a leader has taken and not answered (dissertation 6.4). A read that
/// begins gets a round of heartbeats and the commit index of that moment. It may be answered when a
/// majority has answered that round or a later one, so nobody else led when it came, and when the
/// machine has applied up to that commit index. Before the leader's noop is applied, and while the
/// configuration changes, reads are parked.
class ConsistentReads {
 public:
  void park(CallToken read) { parked_.push_back(read); }
  std::vector<CallToken> take_parked();
  /// `round` and `commit_index` are not below those of the reads before.
  void begin(CallToken read, QueryIndex round, Index commit_index) {
    waiting_.push_back({read, round, commit_index});
  }
  /// Those that may be answered, in the order in which they came: a majority has answered the round
  /// `agreed`, and the machine has applied up to `applied`.
  std::vector<CallToken> take_confirmed(QueryIndex agreed, Index applied);
  /// What another leader has to answer: the parked ones, then those that have begun.
  std::vector<CallToken> take_all();

  std::size_t parked() const { return parked_.size(); }
  /// Those that have begun.
  std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    CallToken read;
    QueryIndex round;
    Index commit_index;
  };
  std::deque<Waiting> waiting_;
  std::vector<CallToken> parked_;
};

}  // namespace rakv::raft
