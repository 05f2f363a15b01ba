// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/cluster.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "tests/simulation/beam_node.h"

namespace rakv::simulation {
namespace {

/// Also between hosts that are far from each other.
constexpr std::chrono::seconds kCallTime{30};

std::string encoded(std::uint64_t value) { return etf::Writer().u64(value).take(); }
std::string encoded(std::string_view text) { return etf::Writer().binary(text).take(); }

}  // namespace

SimulatedCluster::SimulatedCluster(std::uint64_t seed, const std::vector<std::string>& hosts,
                                   const NodeLimits& limits,
                                   const std::set<std::string>& beam_hosts,
                                   const NetworkOptions& wires)
    : network(schedule, trace, seed, wires) {
  std::mt19937_64 random(seed);
  for (const std::string& host : hosts) {
    if (beam_hosts.contains(host)) {
      nodes_[host] = std::make_unique<BeamNode>(schedule, network, trace, host, random(), promises);
    } else {
      nodes_[host] =
          std::make_unique<SimulatedNode>(schedule, network, trace, host, random(), limits);
    }
  }
  add_cluster("kv", hosts);
  client_ = std::make_unique<SimulatedClient>(schedule, network, "client", random(), servers());
}

void SimulatedCluster::add_cluster(const std::string& name, const std::vector<std::string>& hosts) {
  names_.push_back(name);
  for (const std::string& host : hosts) servers_[name].emplace_back(name, node(host).name());
}

SimulatedNode& SimulatedCluster::node_of(const raft::ServerId& server) {
  return node(server.node().substr(0, server.node().find('@')));
}

std::vector<std::string> SimulatedCluster::clusters_on(const SimulatedNode& node) const {
  std::vector<std::string> clusters;
  for (const std::string& name : names_) {
    const auto& servers = servers_.at(name);
    if (std::find(servers.begin(), servers.end(), raft::ServerId{name, node.name()}) !=
        servers.end())
      clusters.push_back(name);
  }
  return clusters;
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
  for (const std::string& name : names_) form(name);
}

void SimulatedCluster::form(const std::string& name) {
  const std::vector<raft::ServerId>& servers = servers_.at(name);
  for (const raft::ServerId& server : servers) {
    SimulatedNode& node = node_of(server);
    const std::string unique = name == "kv" ? node.host() : node.host() + name;
    node.make_server(name, "UID" + unique + "AAAAA", servers);
  }
  const auto all_run = [&] {
    return std::all_of(servers.begin(), servers.end(), [&](const raft::ServerId& server) {
      return node_of(server).standing(name).has_value();
    });
  };
  RAKV_CHECK_MSG(run_until(all_run, kCallTime), "the servers do not start");
  node_of(servers.front()).trigger_election(name);
  // Whoever ends before its term is stored was never elected, and nobody stands for election again.
  const auto leads = [&] {
    SimulatedNode* const found = leader(name);
    return found != nullptr && found->view(name)->commit > raft::Index(0);
  };
  RAKV_CHECK_MSG(run_until(leads, kCallTime), "no leader");
}

SimulatedNode* SimulatedCluster::leader(const std::string& cluster) {
  SimulatedNode* found = nullptr;
  raft::Term highest;
  for (auto& [host, node] : nodes_) {
    const auto standing = node->standing(cluster);
    if (!standing || standing->first != raft::Role::leader) continue;
    if (found != nullptr && standing->second < highest) continue;
    highest = standing->second;
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
