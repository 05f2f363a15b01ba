// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulated_node.h"

#include <random>
#include <utility>

#include "cnode/base/check.h"

namespace rakv::simulation {
namespace {

/// How long an fdatasync of the WAL takes, a job that somebody waits for, and one in the
/// background.
constexpr Nanoseconds kWalTime = std::chrono::microseconds(300);
constexpr Nanoseconds kWorkerTime = std::chrono::microseconds(500);
constexpr Nanoseconds kBackgroundTime = std::chrono::milliseconds(2);

}  // namespace

distribution::epmd::Options epmd_options() {
  distribution::epmd::Options options;
  options.port = distribution::epmd::kDefaultPort;
  options.start_daemon = false;
  return options;
}

SimulatedNode::SimulatedNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace,
                             std::string name, std::uint64_t seed)
    : schedule_(schedule),
      network_(network),
      trace_(trace),
      host_(name),
      name_(name + "@" + name),
      seed_(seed) {}

SimulatedNode::~SimulatedNode() {
  if (runs()) kill(raftlog::CrashMode::keep_everything);
}

kv::NodeProcessOptions SimulatedNode::options() const {
  kv::NodeProcessOptions options;
  options.directory = "/data/" + name_;
  options.node.name = name_;
  options.node.cookie = kCookie;
  options.node.epmd = epmd_options();
  options.log.wal_thread = false;
  options.log.wal.salt_seed = seed_ + lives_;
  return options;
}

void SimulatedNode::start() {
  RAKV_CHECK(!runs());
  ++lives_;
  std::mt19937_64 random(seed_ + lives_);
  std::uniform_real_distribution<double> rate(0.99, 1.01);
  Runtime::Options runtime;
  runtime.host = host_;
  runtime.seed = random();
  runtime.clock_rate = rate(random);
  runtime.clock_offset = std::chrono::seconds(random() % 100'000);
  trace_.line(name_ + " starts");
  life_ = std::make_unique<Life>();
  Life& life = *life_;
  life.runtime = Runtime::make(schedule_, network_, runtime);
  life.process.emplace(life.runtime->io(), *disk_, life.runtime->memory(), life.runtime->owner(),
                       kv::NodeExecutors{life.runtime->make_executor(kWorkerTime),
                                         life.runtime->make_executor(kBackgroundTime)},
                       options());
  const Result<void> opened = life.process->open();
  RAKV_CHECK_MSG(opened, opened ? "" : opened.error().message);
  life.runtime->after_turn = [this] { run_wal_later(); };
  life.process->start([this](const Result<void>& started) {
    RAKV_CHECK_MSG(started, started ? "" : started.error().message);
    trace_.line(name_ + " serves");
    life_->serves = true;
  });
  life.runtime->turn();
}

void SimulatedNode::run_wal_later() {
  Life& life = *life_;
  if (life.wal_is_due || !life.process->log_system().wal_has_work()) return;
  life.wal_is_due = true;
  schedule_.after(life.runtime->about(kWalTime), [this, weak = std::weak_ptr(life.runtime)] {
    const auto runtime = weak.lock();
    if (!runtime || !life_ || life_->runtime != runtime) return;
    life_->wal_is_due = false;
    life_->process->log_system().wal_writer().run_one_batch();
    runtime->turn();
  });
}

void SimulatedNode::kill(raftlog::CrashMode mode) {
  trace_.line(name_ + " is killed");
  auto left = disk_->clone();
  left->crash(mode, seed_ + lives_);
  life_->runtime->after_turn = nullptr;
  life_->runtime->switch_off();
  life_->process.reset();
  life_.reset();
  disk_ = std::move(left);
}

member::Member* SimulatedNode::member() {
  if (!serves()) return nullptr;
  return process().servers()->find("kv");
}

}  // namespace rakv::simulation
