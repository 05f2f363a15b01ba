// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulated_node.h"

#include <algorithm>
#include <random>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::simulation {

distribution::epmd::Options epmd_options() {
  distribution::epmd::Options options;
  options.port = distribution::epmd::kDefaultPort;
  options.start_daemon = false;
  return options;
}

SimulatedNode::SimulatedNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace,
                             const std::string& name, std::uint64_t seed, NodeLimits limits)
    : schedule_(schedule),
      network_(network),
      trace_(trace),
      host_(name),
      name_(name + "@" + name),
      seed_(seed),
      limits_(limits) {}

SimulatedNode::~SimulatedNode() {
  if (life_ != nullptr) SimulatedNode::kill(raftlog::CrashMode::keep_everything);
}

kv::NodeProcessOptions SimulatedNode::options() const {
  kv::NodeProcessOptions options;
  options.directory = directory();
  options.node.name = name_;
  options.node.cookie = kCookie;
  options.node.epmd = epmd_options();
  options.log.wal_thread = false;
  options.log.wal = limits_.wal;
  options.log.wal.salt_seed = seed_ + lives_;
  options.log.segment = limits_.segment;
  return options;
}

Runtime::Options SimulatedNode::next_life() {
  ++lives_;
  std::mt19937_64 random(seed_ + lives_);
  std::uniform_real_distribution<double> rate(0.99, 1.01);
  Runtime::Options runtime;
  runtime.host = host_;
  runtime.seed = random();
  runtime.clock_rate = rate(random);
  runtime.clock_offset = std::chrono::seconds(random() % 100'000);
  return runtime;
}

void SimulatedNode::start() {
  RAKV_CHECK(!runs());
  trace_.line(name_ + " starts");
  const Runtime::Options runtime = next_life();
  life_ = std::make_unique<Life>();
  Life& life = *life_;
  life.runtime = Runtime::make(schedule_, network_, runtime);
  life.disk.emplace(*disk_);
  life.process.emplace(life.runtime->io(), *life.disk, life.runtime->memory(),
                       life.runtime->owner(),
                       kv::NodeExecutors{life.runtime->make_executor(worker_pace),
                                         life.runtime->make_executor(background_pace)},
                       options());
  const auto fail = [this](const Error& error) {
    trace_.line(name_ + " does not start: " + error.message);
    life_->failure = error.message;
  };
  if (const Result<void> opened = life.process->open(); !opened) return fail(opened.error());
  life.runtime->after_turn = [this] { run_wal_later(); };
  life.process->start([this, fail](const Result<void>& started) {
    if (!started) return fail(started.error());
    trace_.line(name_ + " serves");
    life_->serves = true;
    life_->runtime->disk_calls = [disk = &*life_->disk] { return disk->calls(); };
  });
  life.runtime->turn();
}

void SimulatedNode::run_wal_later() {
  if (life_->process->log_system().wal_has_work()) schedule_wal();
}

void SimulatedNode::schedule_wal() {
  Life& life = *life_;
  if (std::exchange(life.wal_is_due, true)) return;
  schedule_.after(life.runtime->duration(wal_pace), [this, weak = std::weak_ptr(life.runtime)] {
    const auto runtime = weak.lock();
    if (!runtime || !life_ || life_->runtime != runtime) return;
    runtime->when_it_runs([this] { run_wal(); });
  });
}

void SimulatedNode::run_wal() {
  life_->wal_is_due = false;
  // What was more than one batch is with the writer now.
  if (life_->process->log_system().wal_writer().run_one_batch()) schedule_wal();
  life_->runtime->turn();
}

void SimulatedNode::kill(raftlog::CrashMode mode) {
  trace_.line(name_ + " is killed");
  auto left = disk_->clone();
  left->crash(mode, seed_ + lives_);
  life_->runtime->after_turn = nullptr;
  life_->runtime->disk_calls = nullptr;
  life_->runtime->switch_off();
  life_->process.reset();
  life_.reset();
  disk_ = std::move(left);
}

member::Member* SimulatedNode::member(std::string_view server) {
  if (life_ == nullptr || !life_->serves || process().servers() == nullptr) return nullptr;
  return process().servers()->find(server);
}

bool SimulatedNode::is_registered(const std::string& server) const {
  return life_->process->log_system().find_by_name(server) != nullptr;
}

std::optional<std::string> SimulatedNode::uid_of(const std::string& server) const {
  return life_->process->log_system().uid_of(server);
}

bool SimulatedNode::runs_server(const std::string& server) {
  return process().servers()->pid_of(server).has_value();
}

std::optional<std::pair<raft::Role, raft::Term>> SimulatedNode::standing(
    const std::string& server) {
  const member::Member* const found = member(server);
  if (found == nullptr) return std::nullopt;
  return std::pair(found->core().role(), found->core().current_term());
}

std::optional<MemberView> SimulatedNode::view(const std::string& server) {
  const member::Member* const found = member(server);
  if (found == nullptr) return std::nullopt;
  const raft::Core& core = found->core();
  MemberView view{core.id(),
                  core.role(),
                  core.current_term(),
                  core.log().last().index,
                  core.commit_index(),
                  found->last_applied(),
                  core.leader(),
                  core.cluster(),
                  found->machine().live_indexes(),
                  std::nullopt};
  std::sort(view.live.begin(), view.live.end());
  return view;
}

std::optional<raft::Term> SimulatedNode::term_at(raft::Index index, const std::string& server) {
  const member::Member* const found = member(server);
  if (found == nullptr) return std::nullopt;
  return found->core().log().term_at(index);
}

void SimulatedNode::trigger_election(const std::string& server) {
  if (member::Member* const found = member(server)) found->trigger_election();
}

void SimulatedNode::visit_durable(
    const std::function<void(const std::string& bytes)>& visit) const {
  disk_->visit_durable([&](const std::string&, const std::string& file) { visit(file); });
}

void SimulatedNode::apply(std::string_view module, std::string_view function,
                          std::string_view arguments) {
  process().node().apply_locally(
      module, function, arguments,
      [this, what = std::string(function)](node::RpcOutcome, const node::RpcTerm& term,
                                           std::string_view) {
        trace_.line(name_ + " " + what + ": " + etf::print_text(term.flat()));
      });
  life_->runtime->turn();
}

void SimulatedNode::stop_server(const std::string& server) {
  if (!obeys()) return;
  trace_.line(name_ + " stops " + server);
  process().servers()->stop_server(server);
  life_->runtime->turn();
}

void SimulatedNode::restart_server(const std::string& server) {
  if (!obeys()) return;
  etf::Writer arguments;
  arguments.list(3).atom("default");
  wire::write_server_id(arguments, {server, name_});
  arguments.map(0).nil();
  apply("ra_server_sup_sup", "restart_server_rpc", arguments.view());
}

void SimulatedNode::make_server(const std::string& server, const std::string& uid,
                                const std::vector<raft::ServerId>& members) {
  if (!obeys()) return;
  etf::Writer arguments;
  arguments.list(3).atom("default").binary(uid).map(6);
  arguments.atom("id");
  wire::write_server_id(arguments, {server, name_});
  arguments.atom("uid").binary(uid);
  arguments.atom("cluster_name").atom(server);
  arguments.atom("machine").tuple(3).atom("module").atom("ra_kv").map(0);
  arguments.atom("log_init_args").map(2).atom("min_snapshot_interval").integer(0);
  arguments.atom("major_compaction_strategy").tuple(2).atom("num_minors").integer(2);
  arguments.atom("initial_members").list(members.size());
  for (const raft::ServerId& member : members) wire::write_server_id(arguments, member);
  arguments.nil().nil();
  apply("ra_server_sup_sup", "start_server_rpc", arguments.view());
}

void SimulatedNode::delete_server(const std::string& server) {
  if (!obeys()) return;
  apply("ra_server_sup_sup", "delete_server_rpc",
        etf::Writer().list(2).atom("default").atom(server).nil().view());
}

void SimulatedNode::crash_server(const std::string& server) {
  if (!obeys()) return;
  const auto pid = process().servers()->pid_of(server);
  if (!pid) return;
  apply("erlang", "exit", etf::Writer().list(2).pid(*pid).atom("kill").nil().view());
}

}  // namespace rakv::simulation
