// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "cnode/base/clock.h"
#include "raft/core/effect.h"
#include "raft/core/event.h"

namespace rakv::member {

/// The timers that the core sets and cancels. One that ends is an event of the core.
class CoreTimers {
 public:
  /// What they need of the member.
  struct Seams {
    /// Whether the member takes part in elections now.
    std::function<bool()> takes_part;
    std::function<void(raft::Event)> step;
  };

  /// `broadcast_time_ms`: ra's, which the lengths of elections are made of.
  CoreTimers(boost::asio::io_context& io, Seams seams, std::uint64_t broadcast_time_ms);
  ~CoreTimers() { *alive_ = false; }
  CoreTimers(const CoreTimers&) = delete;
  CoreTimers& operator=(const CoreTimers&) = delete;

  /// Draws a length and sets the timer. While the member does not take part, the timer rests.
  void carry_out(const raft::effect::SetElectionTimer& effect);
  void carry_out(const raft::effect::CancelElectionTimer& effect);
  void carry_out(const raft::effect::SetConditionTimer& effect);
  void carry_out(const raft::effect::CancelConditionTimer& effect);
  void carry_out(const raft::effect::SetReceiveSnapshotTimer& effect);
  void carry_out(const raft::effect::CancelReceiveSnapshotTimer& effect);
  void carry_out(const raft::effect::SetSnapshotRetryTimer& effect);
  void carry_out(const raft::effect::CancelSnapshotRetryTimer& effect);

  /// `takes_part` may have changed: an election timer that rested is set now.
  void standing_changed();
  /// None ends any more.
  void stop();

 private:
  void arm(Timer& timer, std::uint64_t delay_ms, raft::Event event);

  Seams seams_;
  std::uint64_t broadcast_time_ms_;
  boost::asio::io_context& io_;
  /// While the member does not take part.
  std::optional<raft::effect::SetElectionTimer> resting_election_timer_;
  Timer election_timer_;
  Timer condition_timer_;
  Timer receive_snapshot_timer_;
  std::map<raft::ServerId, std::unique_ptr<Timer>> snapshot_retry_timers_;
  std::mt19937_64 random_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
