// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "raft/core/invariants.h"
#include "tests/simulation/beam_node.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/history.h"

namespace rakv::simulation {

/// Called with what must not be.
using Violation = std::function<void(const std::string& what)>;

/// What must hold between members after every event: one leader per term, what is committed is the
/// same everywhere and stays, nobody applies what is not committed (raft/core/invariants.h), and
/// entries of one place have the same bytes. A server that is started has what it had written, or
/// knows that it has not. Of one of the nodes' clusters.
class StateJudge {
 public:
  /// Only of servers that have `mark` in their uids.
  StateJudge(SimulatedCluster& cluster, std::string server, std::string mark, Violation violation);
  /// After an event.
  void look();
  /// The configuration as of the highest index that was ever seen committed, if a member that runs
  /// knows it; else null.
  std::optional<raft::Cluster> committed_cluster() const;
  /// The configurations whose majorities may commit an entry: that one, and the newest of each
  /// member that may have led since, which counts as soon as it is appended (Raft, section 6).
  /// Empty when nobody knows.
  std::vector<raft::Cluster> clusters_in_force() const;
  /// Whether this entry has been seen applied at its index.
  bool is_committed(const raft::Entry& entry) const;
  /// The name of the cluster, and of its servers.
  const std::string& server() const { return server_; }
  /// Whether a server of rakv's with that uid is one of the cluster's.
  bool is_judged(const std::string& uid) const { return uid.find(mark_) != std::string::npos; }
  /// Leaders that were seen.
  std::uint64_t terms() const { return terms_; }
  /// Those of them that behave as on a BEAM.
  std::uint64_t beam_leaders() const { return beam_leaders_; }

 private:
  struct Seen {
    /// Which start of the server it is; an address may be another one's later.
    std::pair<std::uint32_t, std::uint32_t> process;
    raft::Term term;
    raft::Role role = raft::Role::follower;
    /// Its term and vote; until then it has told nobody what it is.
    bool stored = true;
    raft::Index last;
    raft::Index commit;
    raft::Index core_applied;
    raft::Index applied;
    friend bool operator==(const Seen&, const Seen&) = default;
  };
  /// The node's member of rakv's that is judged; null without one.
  member::Member* member_of(SimulatedNode& node) const;
  void look_at(const std::string& host, member::Member& member);
  void look_at_start(const member::Member& member);
  void look_at_beam(const std::string& host, BeamNode& node);
  void note_leader(const raft::ServerId& id, raft::Term term);
  /// A new leader on a BEAM has all that was ever applied.
  void look_at_beam_leader(const BeamRules& rules);
  void compare_entries(member::Member& member, raft::Index from);
  void compare_entry(const raft::ServerId& id, std::uint64_t index, std::uint64_t sum);

  SimulatedCluster& cluster_;
  std::string server_;
  std::string mark_;
  Violation violation_;
  raft::ClusterInvariants invariants_;
  std::map<std::string, Seen> seen_;
  std::map<std::string, raft::MemberInvariants> members_;
  std::map<std::string, raft::Index> written_;      ///< by uid: up to where the log was durable
  std::map<std::uint64_t, std::uint64_t> entries_;  ///< checksums of applied ones, by index
  raft::Index committed_;                           ///< the highest
  std::map<raft::Term, raft::ServerId> leaders_;
  std::uint64_t beam_leaders_ = 0;
  std::uint64_t terms_ = 0;
};

/// What was acknowledged is on a majority's disks. It does not ask the members: it looks for the
/// value's bytes in what a power cut would leave, and has what is left recovered.
class DurabilityJudge {
 public:
  DurabilityJudge(SimulatedCluster& cluster, const History& history, const StateJudge& states,
                  Violation violation)
      : cluster_(cluster), history_(history), states_(states), violation_(std::move(violation)) {}
  /// A client was told that its put is stored.
  void acknowledged(std::size_t operation, std::uint64_t index);
  /// Recovers copies of all disks as a power cut would leave them now: a majority has each value
  /// that was acknowledged and that no other write can have replaced.
  void rehearse_power_cut();
  std::uint64_t rehearsals() const { return rehearsals_; }

 private:
  bool has_bytes(const SimulatedNode& node, const std::string& bytes) const;
  void rehearse(const SimulatedNode& node, const std::map<std::size_t, std::uint64_t>& wanted,
                std::map<std::size_t, std::set<std::string>>& having);
  void rehearse_beam(const BeamNode& node, const std::map<std::size_t, std::uint64_t>& wanted,
                     std::map<std::size_t, std::set<std::string>>& having);
  /// Whether these nodes are a majority of a configuration that is in force; also when nobody
  /// knows of one. Majorities of two configurations that follow each other have a member in common.
  /// A damaged disk counts as if it had all: its member does not vote until it has.
  bool is_majority(const std::set<std::string>& nodes) const;
  std::string describe_holders(const std::set<std::string>& nodes) const;
  std::map<std::size_t, std::uint64_t> current() const;

  SimulatedCluster& cluster_;
  const History& history_;
  const StateJudge& states_;
  Violation violation_;
  std::map<std::size_t, std::uint64_t> acknowledged_;  ///< operation to index
  std::uint64_t rehearsals_ = 0;
};

}  // namespace rakv::simulation
