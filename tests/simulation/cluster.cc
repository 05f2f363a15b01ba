// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/cluster.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::simulation {
namespace {

constexpr char kCookie[] = "simulation";
/// How long an fdatasync of the WAL takes, a job that somebody waits for, and one in the
/// background.
constexpr Nanoseconds kWalTime = std::chrono::microseconds(300);
constexpr Nanoseconds kWorkerTime = std::chrono::microseconds(500);
constexpr Nanoseconds kBackgroundTime = std::chrono::milliseconds(2);
constexpr std::chrono::seconds kCallTime{10};

distribution::epmd::Options epmd_options() {
  distribution::epmd::Options options;
  options.port = distribution::epmd::kDefaultPort;
  options.start_daemon = false;
  return options;
}

std::string encoded(std::uint64_t value) { return etf::Writer().u64(value).take(); }
std::string encoded(std::string_view text) { return etf::Writer().binary(text).take(); }

}  // namespace

// --- a node

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

// --- a client

SimulatedClient::SimulatedClient(Schedule& schedule, SimulatedNetwork& network, std::uint64_t seed,
                                 std::vector<raft::ServerId> servers) {
  Runtime::Options runtime;
  runtime.host = "client";
  runtime.seed = seed;
  runtime_ = Runtime::make(schedule, network, runtime);
  node::NodeOptions options;
  options.name = "client@client";
  options.cookie = kCookie;
  options.visible = false;
  options.epmd = epmd_options();
  node_.emplace(runtime_->io(), options);
  kv::ClientOptions client;
  client.servers = std::move(servers);
  client_.emplace(runtime_->io(), *node_, client);
  node_->start([this](const Result<void>& started) { ready_ = started.has_value(); });
  runtime_->turn();
}

SimulatedClient::~SimulatedClient() {
  runtime_->switch_off();
  client_.reset();
  node_.reset();
}

// --- a cluster

SimulatedCluster::SimulatedCluster(std::uint64_t seed, const std::vector<std::string>& hosts)
    : network(schedule, trace, seed, {}) {
  std::mt19937_64 random(seed);
  for (const std::string& host : hosts) {
    nodes_[host] = std::make_unique<SimulatedNode>(schedule, network, trace, host, random());
    servers_.push_back({"kv", nodes_[host]->name()});
  }
  client_ = std::make_unique<SimulatedClient>(schedule, network, random(), servers_);
}

bool SimulatedCluster::run_until(const std::function<bool()>& done, Nanoseconds time) {
  const Nanoseconds end = schedule.now() + time;
  while (!done()) {
    if (!schedule.run_next(end)) return done();
  }
  return true;
}

void SimulatedCluster::form() {
  for (auto& [host, node] : nodes_) node->start();
  const auto all_serve = [this] {
    return client_->ready() && std::all_of(nodes_.begin(), nodes_.end(),
                                           [](const auto& node) { return node.second->serves(); });
  };
  RAKV_CHECK_MSG(run_until(all_serve, kCallTime), "the nodes do not start");
  std::size_t started = 0;
  for (const raft::ServerId& server : servers_) {
    etf::Writer arguments;
    arguments.list(3).atom("default").binary("UID").map(6);
    arguments.atom("id");
    wire::write_server_id(arguments, server);
    arguments.atom("uid").binary("UID" + server.node().substr(0, server.node().find('@')) +
                                 "AAAAA");
    arguments.atom("cluster_name").atom("kv");
    arguments.atom("machine").tuple(3).atom("module").atom("ra_kv").map(0);
    arguments.atom("log_init_args").map(0);
    arguments.atom("initial_members").list(servers_.size());
    for (const raft::ServerId& member : servers_) wire::write_server_id(arguments, member);
    arguments.nil().nil();
    client_->node().apply(server.node(), "ra_server_sup_sup", "start_server_rpc", arguments.view(),
                          kCallTime, [&started, this](const node::ApplyResult& result) {
                            trace.line("started: " + etf::print_text(result.term));
                            ++started;
                          });
  }
  client_->turn();
  RAKV_CHECK_MSG(run_until([&] { return started == servers_.size(); }, 2 * kCallTime),
                 "the servers do not start");
  for (auto& [host, node] : nodes_)
    RAKV_CHECK_MSG(node->member() != nullptr, "no server on " + host);
  nodes_.begin()->second->member()->trigger_election();
  RAKV_CHECK_MSG(run_until([this] { return leader() != nullptr; }, kCallTime), "no leader");
}

SimulatedNode* SimulatedCluster::leader() {
  SimulatedNode* found = nullptr;
  raft::Term highest;
  for (auto& [host, node] : nodes_) {
    member::Member* member = node->member();
    if (member == nullptr || member->core().role() != raft::Role::leader) continue;
    if (found != nullptr && member->core().current_term() < highest) continue;
    highest = member->core().current_term();
    found = node.get();
  }
  return found;
}

bool SimulatedCluster::put(std::string_view key, std::uint64_t value) {
  std::optional<bool> result;
  client_->client().put(
      encoded(key), encoded(value), client_->in(kCallTime),
      [&](const Result<kv::CommittedPosition>& written) {
        trace.line("put " + std::string(key) + " " + std::to_string(value) + ": " +
                   (written ? std::to_string(written->index) : written.error().message));
        result = written.has_value();
      });
  client_->turn();
  run_until([&] { return result.has_value(); }, 3 * kCallTime);
  RAKV_CHECK_MSG(result, "a put was never answered");
  return *result;
}

std::string SimulatedCluster::get(std::string_view key) {
  std::optional<std::string> result;
  client_->client().get(
      encoded(key), client_->in(kCallTime), [&](const Result<kv::StoredValue>& stored) {
        if (stored) {
          result = etf::print_text(stored->value);
        } else {
          result = stored.error().code == ErrorCode::not_found ? "not_found"
                                                               : "error: " + stored.error().message;
        }
        trace.line("get " + std::string(key) + ": " + *result);
      });
  client_->turn();
  run_until([&] { return result.has_value(); }, 3 * kCallTime);
  RAKV_CHECK_MSG(result, "a get was never answered");
  return *result;
}

}  // namespace rakv::simulation
