// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "raft/core/core.h"

// A cluster in virtual time: links with a delay, disks that take time for a vote, timers with their
// real lengths. It is there for elections: nothing is lost but what is sent to a dead member.

namespace rakv::raft::test {

/// Milliseconds of virtual time.
using Millis = std::uint64_t;

struct Slowness {
  Millis one_way = 1;
  /// What storing term and vote takes, and storing entries.
  Millis store = 1;
};

class TimedCluster {
 public:
  /// `as_ra`: these members hold elections with ra's timers.
  TimedCluster(std::uint64_t seed, std::size_t size, Slowness slowness,
               const std::vector<std::size_t>& as_ra);

  /// All follow `leader`, which dies now; links to it break within `apart` ms of each other.
  void lose_leader(std::size_t leader, Millis apart);
  /// All start again within `apart` ms of each other.
  void restart_all(Millis apart);
  /// Until some member has had an entry of its own term committed, or nothing by `limit`.
  std::optional<Millis> time_to_leader(Millis limit);
  /// What happens, to std::cout.
  bool trace = false;

 private:
  struct Node {
    std::unique_ptr<Core> core;
    bool ra = false;
    bool alive = true;
    /// What waits until PersistTermVote is done.
    bool storing = false;
    std::deque<Event> events;
    std::deque<Effect> effects;
    std::uint64_t timer = 0;
    bool timer_armed = false;
    bool entered = false;
  };
  struct Due {
    Millis at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator>(const Due& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  struct Call {
    std::size_t caller;
    RoundId round;
    Millis deadline;
  };

  void after(Millis delay, std::function<void()> what);
  Effects step(std::size_t i, Event event);
  void give(std::size_t node, Event event);
  void run(std::size_t i);
  void carry_out(std::size_t i, Effect& any);
  void send(std::size_t from, const ServerId& to, Event event);
  void answer(std::size_t from, CallToken token, const std::function<Event(const Call&)>& make);
  void set_timer(std::size_t i, const effect::SetElectionTimer& wanted);
  ServerId id(std::size_t node) const;
  std::size_t index(const ServerId& id) const;

  std::mt19937_64 random_;
  Slowness slowness_;
  Millis now_ = 0;
  std::uint64_t order_ = 0;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::vector<Node> nodes_;
  std::map<CallToken, Call> calls_;
  std::uint64_t next_call_ = 1;
  std::optional<Millis> elected_;
};

}  // namespace rakv::raft::test
