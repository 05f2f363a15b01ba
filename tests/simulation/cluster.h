// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/beam_promises.h"
#include "tests/simulation/simulated_client.h"
#include "tests/simulation/simulated_node.h"

// Whole nodes of the product in one thread under virtual time: everything of `rakv start` but the
// operating system. One seed says all: how long bytes and disks take, how clocks differ, what
// elections draw.

namespace rakv::simulation {

/// Nodes a, b, c... with a cluster kv of all of them, perhaps more clusters, and a client of kv.
class SimulatedCluster {
 public:
  /// `beam_hosts`: those of the hosts that have a node that behaves as a BEAM's.
  SimulatedCluster(std::uint64_t seed, const std::vector<std::string>& hosts,
                   const NodeLimits& limits = {}, const std::set<std::string>& beam_hosts = {},
                   const NetworkOptions& wires = {});

  /// Before form(): the nodes on these hosts have a cluster of that name, too.
  void add_cluster(const std::string& name, const std::vector<std::string>& hosts);
  /// Starts all nodes, makes the clusters, and waits for their leaders.
  void form();
  /// Lets time pass. Gives whether `done` came true within it.
  bool run_until(const std::function<bool()>& done, Nanoseconds time);
  void run_for(Nanoseconds time) {
    run_until([] { return false; }, time);
  }
  /// The node whose server leads that cluster in the highest term; null without one.
  SimulatedNode* leader(const std::string& cluster = "kv");
  SimulatedNode& node(const std::string& host) { return *nodes_.at(host); }
  const std::map<std::string, std::unique_ptr<SimulatedNode>>& nodes() const { return nodes_; }
  SimulatedClient& client() { return *client_; }
  /// A put, until it is answered; whether it succeeded.
  bool put(std::string_view key, std::uint64_t value);
  /// A linearizable get; the value, "not_found", or "error: ...".
  std::string get(std::string_view key);
  SimulatedNode& node_of(const raft::ServerId& server);
  /// The names of the clusters, and the members that each was made of.
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<raft::ServerId>& servers(const std::string& cluster = "kv") const {
    return servers_.at(cluster);
  }
  /// The clusters that have a server on this node.
  std::vector<std::string> clusters_on(const SimulatedNode& node) const;

  Schedule schedule;
  Trace trace{schedule};
  SimulatedNetwork network;
  BeamPromises promises;
  /// The name of a node whose disk loses what it had; nobody counts on it.
  std::optional<std::string> damaged;

 private:
  void form(const std::string& name);

  std::vector<std::string> names_;
  std::map<std::string, std::vector<raft::ServerId>> servers_;  ///< by cluster
  std::map<std::string, std::unique_ptr<SimulatedNode>> nodes_;
  std::unique_ptr<SimulatedClient> client_;
};

}  // namespace rakv::simulation
