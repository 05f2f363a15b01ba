// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/cluster.h"
#include "tests/simulation/cluster_replacement.h"
#include "tests/simulation/disk_damage.h"
#include "tests/simulation/judges.h"
#include "tests/simulation/membership_changes.h"
#include "tests/simulation/run_options.h"

namespace rakv::simulation {

/// Brings about faults at random moments, one by one, and ends each after a while. What has ended
/// is started again all the time, as an operator or a supervisor does.
class FaultInjector {
 public:
  /// `clients` are their hosts, whose links are cut as well. `replacement`, null without one, is of
  /// a cluster that has no changes of members.
  FaultInjector(SimulatedCluster& cluster, const StateJudge& states, const RunOptions& options,
                std::vector<std::string> clients, ClusterReplacement* replacement,
                std::uint64_t seed);

  /// From now on.
  void begin();
  /// No more faults; what was broken is made whole, and stays so.
  void heal();
  /// After heal(): less than half of each cluster's nodes do not do what they should, until the
  /// next heal(), and strangers bother all. No longer than that time: what stands still goes on
  /// after it. Gives the nodes' names.
  std::set<std::string> break_minority(Nanoseconds time);
  /// A job that was begun while a disk stood still ends then, though all is whole.
  Nanoseconds still_until() const { return still_until_; }
  /// A client was told that its write is stored: a good moment for a fault.
  void note_acknowledged();
  /// How often each kind happened.
  const std::map<FaultKind, std::uint64_t>& counts() const { return counts_; }

 private:
  using Hosts = std::vector<std::string>;
  void next_later();
  void inflict(FaultKind kind);
  void look_after_all();
  void look_after(SimulatedNode& node);
  void look_after(SimulatedNode& node, const std::string& server);

  void kill(SimulatedNode& node, raftlog::CrashMode mode);
  void kill_later(SimulatedNode& node, Nanoseconds time);
  void power_cut();
  void vanish(SimulatedNode& node);
  void restart_server(SimulatedNode& node, const std::string& server);
  void stop_server(SimulatedNode& node, const std::string& server);
  void slow(SimulatedNode& node, Pace SimulatedNode::*pace);
  void stand_still(SimulatedNode& node, Pace SimulatedNode::*pace, Nanoseconds time);
  void slow_restart(SimulatedNode& node);
  void hanging_restart();
  void start_again_within(Nanoseconds time, const std::vector<SimulatedNode*>& nodes);
  void start_again(SimulatedNode& node);
  void cut(const std::string& one, const std::string& other);
  void isolate(const std::string& host);
  void cut_off(const std::string& host, bool clients_too);
  void flap(const std::string& one, const std::string& other);
  void restart_epmd(const std::string& host);
  void claim_names(Nanoseconds time);
  void freeze(SimulatedNode& node);
  void jump_clock(SimulatedNode& node);
  void disk_errors(SimulatedNode& node);
  void fill_disk(SimulatedNode& node);
  void take_descriptors(SimulatedNode& node);
  void flip_bits();
  std::vector<SimulatedNode*> any_minority();
  void break_for_long(SimulatedNode& node, Nanoseconds time);
  /// In the place of the node's disk rules, for a while.
  void set_rule(SimulatedNode& node, raftlog::FaultyDisk::Rule rule);
  static void mend_disk(SimulatedNode& node);
  /// A request to a member, by a remote call of the operator's.
  void ask(const SimulatedNode& node, const std::string& server, const std::string& request);
  void transfer();

  SimulatedNode& any_node();
  /// The name of one that the node has.
  std::string any_server(const SimulatedNode& node);
  std::string any_host(const std::string& but);
  raftlog::CrashMode any_crash();
  Nanoseconds about(std::uint64_t milliseconds);
  /// Unless all is to be whole meanwhile.
  void after(Nanoseconds time, std::function<void()> event);

  SimulatedCluster& cluster_;
  const RunOptions& options_;
  MembershipChanges membership_;
  ClusterReplacement* replacement_;
  DiskDamage damage_;
  std::mt19937_64 random_;
  std::vector<SimulatedNode*> nodes_;
  Hosts hosts_;  ///< of nodes and clients
  std::vector<FaultKind> kinds_;
  std::map<FaultKind, std::uint64_t> counts_;
  std::map<const SimulatedNode*, Nanoseconds> starts_at_;  ///< of those that are down
  using Server = std::pair<const SimulatedNode*, std::string>;
  std::map<Server, Nanoseconds> server_back_at_;
  std::map<Server, Nanoseconds> without_server_since_;
  std::set<const SimulatedNode*> stay_down_;
  Nanoseconds still_until_{0};
  bool healed_ = false;
};

}  // namespace rakv::simulation
