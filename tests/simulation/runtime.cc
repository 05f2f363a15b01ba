// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/runtime.h"

#include <utility>

#include "raft/log/memory_budget.h"

namespace rakv::simulation {

class Runtime::SlowExecutor final : public Executor {
 public:
  SlowExecutor(std::weak_ptr<Runtime> runtime, Nanoseconds time)
      : runtime_(std::move(runtime)), time_(time) {}
  void post(std::function<void()> job) override {
    jobs_->push_back(std::move(job));
    if (jobs_->size() == 1) begin_next();
  }

 private:
  void begin_next() {
    const auto runtime = runtime_.lock();
    if (!runtime) return;
    runtime->schedule_.after(runtime->about(time_),
                             [this, jobs = std::weak_ptr(jobs_), weak = runtime_] {
                               const auto living = weak.lock();
                               const auto queue = jobs.lock();
                               if (!living || living->off_ || !queue) return;
                               const auto job = std::move(queue->front());
                               job();
                               living->turn();
                               if (jobs.expired()) return;
                               queue->pop_front();
                               if (!queue->empty()) begin_next();
                             });
  }

  std::weak_ptr<Runtime> runtime_;
  Nanoseconds time_;
  std::shared_ptr<std::deque<std::function<void()>>> jobs_ =
      std::make_shared<std::deque<std::function<void()>>>();
};

std::shared_ptr<Runtime> Runtime::make(Schedule& schedule, SimulatedNetwork& network,
                                       Options options) {
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

void Runtime::turn() {
  if (off_ || std::exchange(in_turn_, true)) return;
  const auto self = shared_from_this();
  do io_.restart();
  while (io_.poll() > 0);
  in_turn_ = false;
  if (after_turn) after_turn();
}

Nanoseconds Runtime::about(Nanoseconds time) {
  std::uniform_int_distribution<std::int64_t> draw(time.count() / 2, time.count() * 2);
  return Nanoseconds(draw(random_));
}

std::unique_ptr<Executor> Runtime::make_executor(Nanoseconds time) {
  return std::make_unique<SlowExecutor>(weak_from_this(), time);
}

}  // namespace rakv::simulation
