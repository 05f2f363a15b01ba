// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/runtime.h"

#include <algorithm>
#include <utility>

#include "raft/log/memory_budget.h"

namespace rakv::simulation {

class Runtime::SlowExecutor final : public Executor {
 public:
  SlowExecutor(std::weak_ptr<Runtime> runtime, const Pace& pace)
      : runtime_(std::move(runtime)), pace_(pace) {}
  void post(std::function<void()> job) override {
    jobs_->push_back(std::move(job));
    if (jobs_->size() == 1) begin_next();
  }

 private:
  using Jobs = std::deque<std::function<void()>>;

  void begin_next() {
    const auto runtime = runtime_.lock();
    if (!runtime) return;
    runtime->schedule_.after(runtime->duration(pace_),
                             [this, jobs = std::weak_ptr(jobs_), weak = runtime_] {
                               if (const auto living = weak.lock())
                                 finish_when_it_runs(living, jobs);
                             });
  }

  void finish_when_it_runs(const std::shared_ptr<Runtime>& runtime,
                           const std::weak_ptr<Jobs>& jobs) {
    runtime->when_it_runs([this, jobs, weak = std::weak_ptr(runtime)] {
      const auto living = weak.lock();
      const auto queue = jobs.lock();
      if (!living || !queue) return;
      const auto job = std::move(queue->front());
      job();
      living->turn();
      if (jobs.expired()) return;
      queue->pop_front();
      if (!queue->empty()) begin_next();
    });
  }

  std::weak_ptr<Runtime> runtime_;
  const Pace& pace_;
  std::shared_ptr<Jobs> jobs_ = std::make_shared<Jobs>();
};

std::shared_ptr<Runtime> Runtime::make(Schedule& schedule, SimulatedNetwork& network,
                                       const Options& options) {
  std::shared_ptr<Runtime> made(new Runtime(schedule, network, options));
  const auto turn = [weak = std::weak_ptr(made)] {
    if (const auto runtime = weak.lock()) runtime->turn();
  };
  made->clock_ =
      std::make_unique<SimulatedClock>(schedule, options.clock_rate, options.clock_offset, turn);
  Clock::set(made->io_, *made->clock_);
  Randomness::set(made->io_, made->randomness_);
  distribution::Network::set(made->io_, network.switch_on(options.host, made->io_, turn));
  return made;
}

Runtime::Runtime(Schedule& schedule, SimulatedNetwork& network, const Options& options)
    : schedule_(schedule),
      network_(network),
      host_(options.host),
      randomness_(options.seed),
      random_(options.seed + 1),
      memory_(raftlog::MemoryBudget::kSmallestBytes),
      owner_(std::make_unique<OwnerExecutor>(io_)) {}

Runtime::~Runtime() {
  switch_off();
  clock_->end();
}

void Runtime::switch_off() {
  if (!std::exchange(off_, true)) network_.switch_off(host_);
}

void Runtime::lose_power() {
  if (!std::exchange(off_, true)) network_.lose_power(host_);
}

void Runtime::turn() {
  if (off_ || frozen_ || std::exchange(in_turn_, true)) return;
  const auto self = shared_from_this();
  do io_.restart();
  while (!frozen_ && run_handler() && note_handler());
  in_turn_ = false;
  if (after_turn) after_turn();
}

bool Runtime::run_handler() {
  const bool counts = disk_calls != nullptr;
  const std::uint64_t before = counts ? disk_calls() : 0;
  if (io_.poll_one() == 0) return false;
  if (counts && disk_calls) most_disk_calls_ = std::max(most_disk_calls_, disk_calls() - before);
  return true;
}

bool Runtime::note_handler() {
  if (--handlers_left_ == 0) freeze();
  return !frozen_;
}

void Runtime::thaw() {
  handlers_left_ = UINT64_MAX;
  if (!std::exchange(frozen_, false)) return;
  turn();
  for (const auto& job : std::exchange(held_, {})) when_it_runs(job);
}

void Runtime::when_it_runs(std::function<void()> job) {
  if (off_) return;
  if (frozen_) return held_.push_back(std::move(job));
  job();
}

Nanoseconds Runtime::about(Nanoseconds time) {
  std::uniform_int_distribution<std::int64_t> draw(time.count() / 2, time.count() * 2);
  return Nanoseconds(draw(random_));
}

Nanoseconds Runtime::duration(const Pace& pace) {
  return std::max(Nanoseconds(0), pace.stands_until - schedule_.now()) +
         about(pace.time * pace.factor);
}

std::unique_ptr<Executor> Runtime::make_executor(const Pace& pace) {
  return std::make_unique<SlowExecutor>(weak_from_this(), pace);
}

}  // namespace rakv::simulation
