// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "tests/simulation/cluster.h"

namespace rakv::simulation {

/// A cluster that is deleted and made anew under its old names, as an operator does who starts
/// over: ra:delete_cluster/1, ra:force_delete_server/2 of what that can't reach, then
/// ra:start_cluster/4. A node that is away meanwhile comes back with its old server, which the
/// operator replaces a moment later. Servers of one making have a mark in their uids.
class ClusterReplacement {
 public:
  struct Seams {
    /// Clients begin nothing more; to be asked again until all have ended.
    std::function<bool()> clients_rest;
    /// The new cluster is there; its servers have this mark.
    std::function<void(const std::string& mark)> made;
    std::function<void(const std::string& what)> violation;
  };
  ClusterReplacement(SimulatedCluster& nodes, std::string cluster, Seams seams);

  /// The mark of those servers that SimulatedCluster::form() makes.
  static std::string first_mark(const std::string& cluster) { return cluster + "AAAAA"; }

  /// Unless one is under way.
  void begin();
  /// A step, if it is time for one. To be called again and again.
  void look();
  /// Whether all servers are of one making, as far as their nodes serve.
  bool at_rest();
  /// Whether this node's server is to be left alone by whoever starts servers.
  bool has(const SimulatedNode& node) const {
    return stage_ == Stage::deleting || !is_there(node) || is_old(node);
  }

 private:
  enum class Stage : std::uint8_t { none, resting, deleting, making };
  /// What the node has under the cluster's name is of an earlier making.
  bool is_old(const SimulatedNode& node) const;
  bool is_there(const SimulatedNode& node) const;
  void delete_all();
  void make_all();
  void replace_old_ones();
  void make(SimulatedNode& node);

  SimulatedCluster& nodes_;
  std::string cluster_;
  Seams seams_;
  Stage stage_ = Stage::none;
  std::string mark_;
  std::uint64_t makings_ = 1;
  Nanoseconds since_{0};                            ///< the stage began
  Nanoseconds asked_at_{0};                         ///< something was asked for last
  std::map<std::string, Nanoseconds> old_seen_at_;  ///< by node, first
};

}  // namespace rakv::simulation
