// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/fault_injector.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"
#include "tests/simulation/beam_node.h"

namespace rakv::simulation {
namespace {

using raftlog::CrashMode;

/// How often somebody looks whether all that should run does.
constexpr Nanoseconds kCareInterval = std::chrono::milliseconds(100);
constexpr std::chrono::seconds kRequestTime{5};
/// How long a node may be without its server before it is started anew.
constexpr Nanoseconds kServerPatience = std::chrono::seconds(10);
/// Of a leader that has nothing new to send, and a little more.
constexpr Nanoseconds kTick = std::chrono::milliseconds(1200);
/// Of a stranger's connection; the next one comes when it ends.
constexpr Nanoseconds kClaimTime = std::chrono::seconds(2);
/// A job on a slow disk, about: it goes on though all was made whole meanwhile.
constexpr Nanoseconds kSlowest = std::chrono::milliseconds(700);
constexpr Pace SimulatedNode::*kPaces[] = {&SimulatedNode::wal_pace, &SimulatedNode::worker_pace,
                                           &SimulatedNode::background_pace};

}  // namespace

FaultInjector::FaultInjector(SimulatedCluster& cluster, const StateJudge& states,
                             const RunOptions& options, std::vector<std::string> clients,
                             ClusterReplacement* replacement, std::uint64_t seed)
    : cluster_(cluster),
      options_(options),
      membership_(cluster, [&states] { return states.committed_cluster(); }),
      replacement_(replacement),
      damage_(cluster, seed),
      random_(seed),
      hosts_(std::move(clients)),
      kinds_(options.faults.begin(), options.faults.end()) {
  for (const auto& [host, node] : cluster.nodes()) {
    nodes_.push_back(node.get());
    hosts_.push_back(host);
  }
}

// --- when

void FaultInjector::begin() {
  look_after_all();
  if (!kinds_.empty()) next_later();
}

void FaultInjector::next_later() {
  after(about(options_.fault_pause_ms), [this] {
    const FaultKind kind = kinds_[random_() % kinds_.size()];
    ++counts_[kind];
    inflict(kind);
    next_later();
  });
}

void FaultInjector::note_acknowledged() {
  if (healed_ || random_() % 40 != 0) return;
  if (options_.faults.contains(FaultKind::power_cut)) {
    after(Nanoseconds(0), [this] { power_cut(); });
  } else if (options_.faults.contains(FaultKind::kill)) {
    after(Nanoseconds(0), [this] { kill(any_node(), any_crash()); });
  }
}

void FaultInjector::after(Nanoseconds time, std::function<void()> event) {
  cluster_.schedule.after(time, [this, event = std::move(event)] {
    if (!healed_) event();
  });
}

Nanoseconds FaultInjector::about(std::uint64_t milliseconds) {
  std::exponential_distribution<double> draw(1.0 / static_cast<double>(milliseconds));
  return Nanoseconds(static_cast<std::int64_t>(draw(random_) * 1e6));
}

SimulatedNode& FaultInjector::any_node() { return *nodes_[random_() % nodes_.size()]; }

std::string FaultInjector::any_server(const SimulatedNode& node) {
  const std::vector<std::string> servers = cluster_.clusters_on(node);
  return servers.size() == 1 ? servers.front() : servers[random_() % servers.size()];
}

std::string FaultInjector::any_host(const std::string& but) {
  Hosts others = hosts_;
  std::erase(others, but);
  return others[random_() % others.size()];
}

CrashMode FaultInjector::any_crash() {
  constexpr CrashMode kModes[] = {CrashMode::keep_everything, CrashMode::lose_unsynced,
                                  CrashMode::random};
  return kModes[random_() % std::size(kModes)];
}

// --- what

void FaultInjector::inflict(FaultKind kind) {
  SimulatedNode& node = any_node();
  // A BEAM's disk is a model, which is slow and loses writes, and no more (docs/reliability.md).
  if (node.beam() != nullptr &&
      (kind == FaultKind::stop_in_disk || kind == FaultKind::disk_errors ||
       kind == FaultKind::full_disk || kind == FaultKind::descriptors))
    return;
  switch (kind) {
    case FaultKind::kill:
      return kill(node, any_crash());
    case FaultKind::halt:
      if (node.runs()) node.runtime().halt_after(1 + random_() % 300);
      return kill_later(node, std::chrono::milliseconds(1 + random_() % 30));
    case FaultKind::stop_in_disk:
      if (node.runs())
        node.faulty_disk().stop_at(node.faulty_disk().operations() + 1 + random_() % 40);
      return kill_later(node, std::chrono::milliseconds(1 + random_() % 30));
    case FaultKind::power_cut:
      return power_cut();
    case FaultKind::restart_server:
      return restart_server(node, any_server(node));
    case FaultKind::stop_server:
      return stop_server(node, any_server(node));
    case FaultKind::crash_server:
      return node.crash_server(any_server(node));
    case FaultKind::slow_wal:
      return slow(node, &SimulatedNode::wal_pace);
    case FaultKind::slow_worker:
      return slow(node, &SimulatedNode::worker_pace);
    case FaultKind::slow_background:
      return slow(node, &SimulatedNode::background_pace);
    case FaultKind::slow_restart:
      return slow_restart(node);
    case FaultKind::cut:
      return cut(node.host(), any_host(node.host()));
    case FaultKind::cut_one_way: {
      const std::string other = any_host(node.host());
      const bool out = random_() % 2 == 0;
      cluster_.network.cut_one_way(out ? node.host() : other, out ? other : node.host());
      return after(about(options_.fault_length_ms),
                   [this, &node, other] { cluster_.network.mend(node.host(), other); });
    }
    case FaultKind::isolate:
      return isolate(node.host());
    case FaultKind::reset:
      return cluster_.network.reset(node.host(), any_host(node.host()));
    case FaultKind::freeze:
      return freeze(node);
    case FaultKind::snapshot:
      return ask(node, any_server(node),
                 etf::Writer().tuple(2).atom("aux_command").atom("take_snapshot").take());
    case FaultKind::transfer:
      return transfer();
    case FaultKind::election:
      return ask(node, any_server(node), etf::Writer().atom("trigger_election").take());
    case FaultKind::membership:
      return membership_.remove(node);
    case FaultKind::disk_errors:
      return disk_errors(node);
    case FaultKind::full_disk:
      return fill_disk(node);
    case FaultKind::flap:
      return flap(node.host(), any_host(node.host()));
    case FaultKind::epmd:
      return restart_epmd(node.host());
    case FaultKind::clock_jump:
      return jump_clock(node);
    case FaultKind::flip_bits:
      return flip_bits();
    case FaultKind::vanish:
      return vanish(node);
    case FaultKind::stranger:
      return claim_names(about(options_.fault_length_ms));
    case FaultKind::descriptors:
      return take_descriptors(node);
    case FaultKind::replacement:
      if (replacement_ != nullptr) replacement_->begin();
      return;
  }
}

// --- processes

void FaultInjector::kill(SimulatedNode& node, CrashMode mode) {
  if (!node.runs()) return;
  node.kill(mode);
  const bool at_once = random_() % 4 == 0;
  starts_at_[&node] =
      cluster_.schedule.now() + (at_once ? Nanoseconds(0) : about(options_.fault_length_ms));
}

void FaultInjector::kill_later(SimulatedNode& node, Nanoseconds time) {
  after(time, [this, &node] { kill(node, any_crash()); });
}

void FaultInjector::power_cut() {
  const CrashMode mode = random_() % 2 == 0 ? CrashMode::lose_unsynced : CrashMode::random;
  for (SimulatedNode* node : nodes_) kill(*node, mode);
}

void FaultInjector::vanish(SimulatedNode& node) {
  if (!node.runs()) return;
  node.runtime().lose_power();
  kill(node, random_() % 2 == 0 ? CrashMode::lose_unsynced : CrashMode::random);
}

void FaultInjector::look_after_all() {
  for (SimulatedNode* node : nodes_) look_after(*node);
  if (replacement_ != nullptr) replacement_->look();
  cluster_.schedule.after(kCareInterval, [this] { look_after_all(); });
}

void FaultInjector::look_after(SimulatedNode& node) {
  if (node.failed()) {
    kill(node, CrashMode::keep_everything);
    damage_.repair(node);
  }
  const Nanoseconds now = cluster_.schedule.now();
  if (stay_down_.contains(&node)) return;
  if (!node.runs()) {
    if (healed_ || now >= starts_at_[&node]) node.start();
    return;
  }
  if (!node.serves()) return;
  // Nothing on a BEAM dials a node that it lost while it has nothing to ask there.
  if (healed_ && node.beam() != nullptr) {
    std::vector<std::string> names;
    for (const SimulatedNode* other : nodes_) names.push_back(other->name());
    node.beam()->ping(names);
  }
  for (const std::string& server : cluster_.clusters_on(node)) {
    if (node.runs()) look_after(node, server);
  }
}

void FaultInjector::look_after(SimulatedNode& node, const std::string& server) {
  const Nanoseconds now = cluster_.schedule.now();
  const Server which{&node, server};
  const bool changes = server == "kv" && options_.faults.contains(FaultKind::membership);
  const bool is_replaced = server != "kv" && replacement_ != nullptr && replacement_->has(node);
  if ((changes && !membership_.look_after(node)) || is_replaced || node.runs_server(server)) {
    without_server_since_.erase(which);
    return;
  }
  if (healed_ || now >= server_back_at_[which]) node.restart_server(server);
  // A server that could not be read at the node's start needs another start.
  const Nanoseconds since = without_server_since_.emplace(which, now).first->second;
  if (now > since + kServerPatience) {
    without_server_since_.erase(which);
    kill(node, CrashMode::keep_everything);
    damage_.repair(node);
  }
}

void FaultInjector::freeze(SimulatedNode& node) {
  if (!node.runs()) return;
  cluster_.trace.line(node.name() + " is frozen");
  node.runtime().freeze();
  after(about(options_.fault_length_ms), [weak = node.runtime().weak_from_this()] {
    if (const auto runtime = weak.lock()) runtime->thaw();
  });
}

void FaultInjector::jump_clock(SimulatedNode& node) {
  if (!node.runs()) return;
  const Nanoseconds time = about(3'600'000);
  const bool back = random_() % 2 == 0;
  cluster_.trace.line(node.name() + " has its clock set " + (back ? "back" : "forward"));
  node.runtime().jump_clock(back ? -time : time);
}

// --- servers inside a process

void FaultInjector::restart_server(SimulatedNode& node, const std::string& server) {
  node.stop_server(server);
  node.restart_server(server);
}

void FaultInjector::stop_server(SimulatedNode& node, const std::string& server) {
  server_back_at_[{&node, server}] = cluster_.schedule.now() + about(options_.fault_length_ms);
  node.stop_server(server);
}

// --- what is slow

void FaultInjector::slow(SimulatedNode& node, Pace SimulatedNode::*pace) {
  const Nanoseconds time = about(options_.fault_length_ms);
  if (random_() % 2 == 0) return stand_still(node, pace, time);
  cluster_.trace.line(node.name() + " has a slow disk");
  const auto largest = static_cast<std::uint64_t>(kSlowest / (node.*pace).time);
  (node.*pace).factor = std::min(2 + random_() % 300, std::max<std::uint64_t>(2, largest));
  after(time, [&node, pace] { (node.*pace).factor = 1; });
}

void FaultInjector::stand_still(SimulatedNode& node, Pace SimulatedNode::*pace, Nanoseconds time) {
  cluster_.trace.line(node.name() + " has a disk that stands still");
  (node.*pace).stands_until = cluster_.schedule.now() + time;
  still_until_ = std::max(still_until_, cluster_.schedule.now() + time);
}

void FaultInjector::slow_restart(SimulatedNode& node) {
  if (random_() % 2 == 0) return hanging_restart();
  const Nanoseconds time = about(options_.fault_length_ms);
  for (const auto pace : kPaces) {
    if (random_() % 2 == 0) stand_still(node, pace, time);
  }
  start_again_within(time, {&node});
}

/// What a server has in memory only shows when it is asked again, which a leader does with its
/// tick, and when nobody else can acknowledge what it was asked for.
void FaultInjector::hanging_restart() {
  const Nanoseconds time = kTick + about(1000);
  const SimulatedNode* const leader = cluster_.leader(any_server(any_node()));
  std::vector<SimulatedNode*> followers = nodes_;
  if (followers.size() > 1) std::erase(followers, leader);
  for (SimulatedNode* follower : followers) stand_still(*follower, &SimulatedNode::wal_pace, time);
  start_again_within(time - kTick, followers);
}

void FaultInjector::start_again_within(Nanoseconds time, const std::vector<SimulatedNode*>& nodes) {
  const std::uint64_t restarts = 1 + random_() % 3;
  for (std::uint64_t i = 0; i < restarts; ++i) {
    SimulatedNode& node = *nodes[random_() % nodes.size()];
    after(time * (1 + random_() % 100) / 120, [this, &node] { start_again(node); });
  }
}

void FaultInjector::start_again(SimulatedNode& node) {
  const std::string server = any_server(node);
  switch (random_() % 4) {
    case 0:
      return stop_server(node, server);
    case 1:
      return node.crash_server(server);
    default:
      return restart_server(node, server);
  }
}

// --- links

void FaultInjector::cut(const std::string& one, const std::string& other) {
  cluster_.network.cut(one, other);
  after(about(options_.fault_length_ms), [this, one, other] { cluster_.network.mend(one, other); });
}

void FaultInjector::cut_off(const std::string& host, bool clients_too) {
  for (const std::string& other : hosts_) {
    if (other == host) continue;
    if (clients_too || cluster_.nodes().contains(other)) cluster_.network.cut(host, other);
  }
}

void FaultInjector::isolate(const std::string& host) {
  cut_off(host, random_() % 2 == 0);
  after(about(options_.fault_length_ms), [this, host] {
    for (const std::string& other : hosts_) cluster_.network.mend(host, other);
  });
}

void FaultInjector::flap(const std::string& one, const std::string& other) {
  const std::uint64_t times = 2 + random_() % 8;
  Nanoseconds at{0};
  for (std::uint64_t i = 0; i < times; ++i) {
    after(at, [this, one, other] { cluster_.network.cut(one, other); });
    at += about(options_.fault_length_ms) / times;
    after(at, [this, one, other] { cluster_.network.mend(one, other); });
    at += about(options_.fault_length_ms) / times;
  }
}

void FaultInjector::restart_epmd(const std::string& host) {
  cluster_.network.stop_epmd(host);
  after(about(options_.fault_length_ms), [this, host] { cluster_.network.start_epmd(host); });
}

/// Half-open connections with each node, in the names of all others.
void FaultInjector::claim_names(Nanoseconds time) {
  for (const SimulatedNode* to : nodes_) {
    for (const SimulatedNode* claimed : nodes_) {
      if (claimed != to) cluster_.network.claim(to->host(), claimed->name(), time);
    }
  }
}

// --- requests

void FaultInjector::ask(const SimulatedNode& node, const std::string& server,
                        const std::string& request) {
  SimulatedClient& client = cluster_.client();
  client.node().call(
      node.name(), server, [&](distribution::OutMessage& out) { out.text.append(request); },
      kRequestTime, [](const node::CallResult&) {});
  client.turn();
}

void FaultInjector::transfer() {
  const SimulatedNode& to = any_node();
  const std::string server = any_server(to);
  SimulatedNode* const leader = cluster_.leader(server);
  if (leader == nullptr) return;
  etf::Writer request;
  request.tuple(2).atom("transfer_leadership");
  wire::write_server_id(request, {server, to.name()});
  ask(*leader, server, request.take());
}

// --- a majority alone

std::vector<SimulatedNode*> FaultInjector::any_minority() {
  std::vector<SimulatedNode*> nodes = nodes_;
  std::shuffle(nodes.begin(), nodes.end(), random_);
  // A leader that is broken is worse than others.
  if (random_() % 2 == 0) {
    const auto leader = std::find(nodes.begin(), nodes.end(), cluster_.leader());
    if (leader != nodes.end()) std::rotate(nodes.begin(), leader, leader + 1);
  }
  std::map<std::string, std::size_t> may_break;
  for (const std::string& name : cluster_.names())
    may_break[name] = (cluster_.servers(name).size() - 1) / 2;
  std::vector<SimulatedNode*> minority;
  for (SimulatedNode* node : nodes) {
    const std::vector<std::string> clusters = cluster_.clusters_on(*node);
    const bool spared = std::any_of(clusters.begin(), clusters.end(),
                                    [&](const std::string& name) { return may_break[name] == 0; });
    if (spared) continue;
    for (const std::string& name : clusters) --may_break[name];
    minority.push_back(node);
  }
  return minority;
}

std::set<std::string> FaultInjector::break_minority(Nanoseconds time) {
  std::set<std::string> broken;
  for (SimulatedNode* node : any_minority()) {
    break_for_long(*node, time);
    broken.insert(node->name());
  }
  for (Nanoseconds at{0}; at < time; at += kClaimTime)
    cluster_.schedule.after(at, [this] { claim_names(kClaimTime); });
  return broken;
}

void FaultInjector::break_for_long(SimulatedNode& node, Nanoseconds time) {
  cluster_.trace.line(node.name() + " is broken for long");
  if (!node.runs()) return;
  switch (random_() % 5) {
    case 0:
      stay_down_.insert(&node);
      return node.kill(any_crash());
    case 1:
      return cut_off(node.host(), random_() % 2 == 0);
    case 2:
      return node.runtime().freeze();
    case 3:
      return stand_still(node, &SimulatedNode::wal_pace, time);
    default:
      return node.beam() == nullptr ? fill_disk(node) : node.runtime().freeze();
  }
}

// --- the end

void FaultInjector::heal() {
  cluster_.trace.line("all is made whole");
  healed_ = true;
  stay_down_.clear();
  for (const std::string& one : hosts_) {
    for (const std::string& other : hosts_) cluster_.network.mend(one, other);
  }
  for (SimulatedNode* node : nodes_) {
    cluster_.network.start_epmd(node->host());
    for (const auto pace : kPaces) {
      (node->*pace).stands_until = Nanoseconds(0);
      (node->*pace).factor = 1;
    }
    if (!node->runs()) continue;
    if (node->beam() != nullptr) {
      node->runtime().thaw();
      continue;
    }
    // What was to end between two calls to its disk ends now.
    if (node->faulty_disk().stopped()) {
      kill(*node, CrashMode::random);
    } else {
      node->faulty_disk().stop_at(UINT64_MAX);
      mend_disk(*node);
      node->runtime().thaw();
    }
  }
}

}  // namespace rakv::simulation
