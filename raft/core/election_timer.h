// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "raft/core/effect.h"

namespace rakv::raft {

/// A length is drawn evenly from both ends and what lies between.
struct ElectionTimerRange {
  std::uint64_t shortest_ms = 0;
  std::uint64_t longest_ms = 0;
};

/// The range of a timer, as ra has them (ra_server_proc:election_timeout_action) but for in_turn
/// and stretch. `broadcast_ms`: ra's broadcast_time, 100 by default; `poll_ms`: aten's
/// poll_interval, 1000.
ElectionTimerRange range_of(const effect::SetElectionTimer& timer, std::uint64_t broadcast_ms,
                            std::uint64_t poll_ms);

}  // namespace rakv::raft
