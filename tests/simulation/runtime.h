// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cnode/base/executor.h"
#include "cnode/base/memory_accounts.h"
#include "cnode/base/owner_executor.h"
#include "cnode/base/randomness.h"
#include "tests/simulation/simulated_clock.h"
#include "tests/simulation/simulated_network.h"

namespace rakv::simulation {

/// A source of chance that a seed replays.
class SeededRandomness final : public Randomness {
 public:
  explicit SeededRandomness(std::uint64_t seed) : random_(seed) {}
  result_type operator()() override { return random_(); }

 private:
  std::mt19937_64 random_;
};

/// How fast a part of a machine is.
struct Pace {
  Nanoseconds time{0};          ///< that a job takes, about
  std::uint64_t factor = 1;     ///< how much longer it takes now
  Nanoseconds stands_until{0};  ///< no job ends before
};

/// What a process on a simulated host runs on: an event loop with clock, network and chance of its
/// own. It ends as a process does that is killed.
class Runtime : public std::enable_shared_from_this<Runtime> {
 public:
  struct Options {
    std::string host;
    std::uint64_t seed = 0;
    double clock_rate = 1;
    Nanoseconds clock_offset{0};
  };
  /// Called after each turn.
  std::function<void()> after_turn;
  /// How many calls the process has made to its disk. While it is set, most_disk_calls() counts.
  std::function<std::uint64_t()> disk_calls;

  static std::shared_ptr<Runtime> make(Schedule& schedule, SimulatedNetwork& network,
                                       const Options& options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// All that can happen without time passing.
  void turn();
  /// Nothing runs until thaw(), as after SIGSTOP. What comes for the process waits for it.
  void freeze() { frozen_ = true; }
  void thaw();
  bool frozen() const { return frozen_; }
  /// Sets the wall clock forward, or back.
  void jump_clock(Nanoseconds time) { clock_->jump(time); }
  /// The process comes no further than so many more handlers of its event loop; then it is as after
  /// freeze(), to be ended there.
  void halt_after(std::uint64_t handlers) { handlers_left_ = handlers; }
  /// Runs `job`, now or when the process is let go on. Not when it ends before.
  void when_it_runs(std::function<void()> job);
  /// The host's end; before what runs on it is destroyed.
  void switch_off();
  /// The same, when the machine loses power and its peers hear nothing of it.
  void lose_power();
  /// Of one handler of the event loop, which others wait for.
  std::uint64_t most_disk_calls() const { return most_disk_calls_; }
  boost::asio::io_context& io() { return io_; }
  Executor& owner() { return *owner_; }
  MemoryAccounts& memory() { return memory_; }
  Schedule& schedule() { return schedule_; }
  /// An executor whose jobs are done one after the other, as fast as `pace` says, which outlives
  /// the runtime. Those that are left when the runtime ends are dropped.
  std::unique_ptr<Executor> make_executor(const Pace& pace);
  /// How long from now a job takes.
  Nanoseconds duration(const Pace& pace);
  /// Around `time`, from the seed.
  Nanoseconds about(Nanoseconds time);

 private:
  class SlowExecutor;
  /// False: there is none.
  bool run_handler();
  /// Whether the next one may run.
  bool note_handler();
  Runtime(Schedule& schedule, SimulatedNetwork& network, const Options& options);

  Schedule& schedule_;
  SimulatedNetwork& network_;
  std::string host_;
  SeededRandomness randomness_;
  std::mt19937_64 random_;  ///< of the machine, not of the process
  std::unique_ptr<SimulatedClock> clock_;
  MemoryAccounts memory_;
  boost::asio::io_context io_{1};
  std::unique_ptr<OwnerExecutor> owner_;
  bool in_turn_ = false;
  bool off_ = false;
  bool frozen_ = false;
  std::uint64_t handlers_left_ = UINT64_MAX;
  std::uint64_t most_disk_calls_ = 0;
  std::vector<std::function<void()>> held_;  ///< while it is frozen
};

}  // namespace rakv::simulation
