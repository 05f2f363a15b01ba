// SPDX-License-Identifier: Apache-2.0
#include "raft/member/core_timers.h"

#include <chrono>
#include <utility>

#include "cnode/base/randomness.h"
#include "raft/core/election_timer.h"

namespace rakv::member {

CoreTimers::CoreTimers(boost::asio::io_context& io, Seams seams, std::uint64_t broadcast_time_ms)
    : seams_(std::move(seams)),
      broadcast_time_ms_(broadcast_time_ms),
      io_(io),
      election_timer_(io),
      condition_timer_(io),
      receive_snapshot_timer_(io),
      random_(Randomness::of(io)()) {}

void CoreTimers::arm(Timer& timer, std::uint64_t delay_ms, raft::Event event) {
  timer.expires_after(std::chrono::milliseconds(delay_ms));
  timer.async_wait(
      [this, event = std::move(event), alive = alive_](boost::system::error_code error) mutable {
        if (!error && *alive) seams_.step(std::move(event));
      });
}

void CoreTimers::carry_out(const raft::effect::SetElectionTimer& effect) {
  if (!seams_.takes_part()) {
    resting_election_timer_ = effect;
    return;
  }
  constexpr std::uint64_t kPollMs = 1000;  // aten's poll_interval
  const raft::ElectionTimerRange range = raft::range_of(effect, broadcast_time_ms_, kPollMs);
  const std::uint64_t delay_ms =
      std::uniform_int_distribution<std::uint64_t>(range.shortest_ms, range.longest_ms)(random_);
  arm(election_timer_, delay_ms, raft::event::ElectionTimeout{effect.number});
}

void CoreTimers::carry_out(const raft::effect::CancelElectionTimer&) {
  resting_election_timer_.reset();
  election_timer_.cancel();
}

void CoreTimers::standing_changed() {
  if (!resting_election_timer_ || !seams_.takes_part()) return;
  carry_out(*std::exchange(resting_election_timer_, std::nullopt));
}

void CoreTimers::carry_out(const raft::effect::SetConditionTimer& effect) {
  arm(condition_timer_, effect.timeout_ms, raft::event::ConditionTimeout{});
}
void CoreTimers::carry_out(const raft::effect::CancelConditionTimer&) { condition_timer_.cancel(); }

void CoreTimers::carry_out(const raft::effect::SetReceiveSnapshotTimer& effect) {
  arm(receive_snapshot_timer_, effect.timeout_ms, raft::event::ReceiveSnapshotTimeout{});
}
void CoreTimers::carry_out(const raft::effect::CancelReceiveSnapshotTimer&) {
  receive_snapshot_timer_.cancel();
}

void CoreTimers::carry_out(const raft::effect::SetSnapshotRetryTimer& effect) {
  auto& timer = snapshot_retry_timers_[effect.peer];
  if (!timer) timer = std::make_unique<Timer>(io_);
  arm(*timer, effect.timeout_ms, raft::event::SnapshotRetry{effect.peer});
}
void CoreTimers::carry_out(const raft::effect::CancelSnapshotRetryTimer& effect) {
  snapshot_retry_timers_.erase(effect.peer);
}

void CoreTimers::stop() {
  resting_election_timer_.reset();
  election_timer_.cancel();
  condition_timer_.cancel();
  receive_snapshot_timer_.cancel();
  snapshot_retry_timers_.clear();
}

}  // namespace rakv::member
