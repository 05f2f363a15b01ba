// SPDX-License-Identifier: Apache-2.0
#include "raft/core/election_timer.h"

#include <algorithm>

namespace rakv::raft {

ElectionTimerRange range_of(const effect::SetElectionTimer& timer, std::uint64_t broadcast_ms,
                            std::uint64_t poll_ms) {
  const std::uint64_t turn = 1 + std::min<std::uint64_t>(timer.turn, 4);
  switch (timer.length) {
    case effect::ElectionTimer::really_short:
      return {1, broadcast_ms};
    case effect::ElectionTimer::in_turn:
      return {turn * broadcast_ms + 1, (turn + 1) * broadcast_ms};
    case effect::ElectionTimer::short_:
      return {broadcast_ms + 1, 6 * broadcast_ms};
    case effect::ElectionTimer::medium:
      return {broadcast_ms + 1, broadcast_ms + poll_ms * timer.stretch};
    case effect::ElectionTimer::long_:
      return {poll_ms + 1, poll_ms + 10 * broadcast_ms * timer.stretch};
    case effect::ElectionTimer::patient:
      break;
  }
  const std::uint64_t shortest = 2 * poll_ms * std::min<std::uint32_t>(timer.stretch, 2);
  return {shortest + 1, shortest + 10 * broadcast_ms * timer.stretch};
}

}  // namespace rakv::raft
