// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/simulation/cluster.h"

namespace rakv::simulation {

/// Members that leave and join, as ra_kv:remove_member/3 and ra_kv:add_member/3 do it: whoever has
/// left is deleted, made anew with another uid, and joins again.
class MembershipChanges {
 public:
  /// `committed`: what the members have agreed on; nothing while nobody who runs knows all of it.
  MembershipChanges(SimulatedCluster& cluster,
                    std::function<std::optional<raft::Cluster>()> committed)
      : cluster_(cluster), committed_(std::move(committed)) {}

  /// Asks the leader to let this node's server go; another one stays, whatever was asked before.
  void remove(const SimulatedNode& node);
  /// Brings the server of this node a step nearer to being a member. To be called again and again.
  /// False: it is none, and whoever starts servers has to leave it alone.
  bool look_after(SimulatedNode& node);

 private:
  /// What was begun for a node whose server is not a member.
  struct Newcomer {
    std::uint64_t number = 0;  ///< of its uids so far
    bool made = false;         ///< and not yet seen as a member
    Nanoseconds asked_at{0};   ///< when something was asked for last
  };
  /// Whether every server that there is knows these members. One that was away, and takes for
  /// voters who has left and was made anew since, wins an election of the past with their help:
  /// Raft asks for new names, and ra lets an operator use the old ones (docs/damage.md).
  bool everybody_knows(const raft::Cluster& members) const;
  void make(SimulatedNode& node, Newcomer& newcomer, const raft::Cluster& members);
  void ask_leader(const std::string& type, const raft::ServerId& server);

  SimulatedCluster& cluster_;
  std::function<std::optional<raft::Cluster>()> committed_;
  std::map<std::string, Newcomer> newcomers_;  ///< by node
  std::map<std::string, Nanoseconds> leaves_;  ///< when it was last asked for, by node
};

}  // namespace rakv::simulation
