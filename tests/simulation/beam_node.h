// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "cnode/node/node.h"
#include "tests/simulation/beam_server.h"
#include "tests/simulation/simulated_node.h"

namespace rakv::simulation {

/// A node in the place of a BEAM with ra: the product's own distribution, so that bytes, handshakes
/// and monitors are real, and under it servers that follow ra's rules.
class BeamNode final : public SimulatedNode, private node::NodeObserver {
 public:
  BeamNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace, const std::string& name,
           std::uint64_t seed, BeamWitness& witness);
  ~BeamNode() override;

  void start() override;
  void kill(raftlog::CrashMode mode) override;
  bool runs() const override { return life_ != nullptr; }
  bool serves() const override { return runs() && life_->serves; }
  bool failed() const override { return runs() && life_->failed; }
  Runtime& runtime() override { return *life_->runtime; }
  const BeamNode* beam() const override { return this; }
  BeamNode* beam() override { return this; }
  void stop_server(const std::string& server) override;
  void restart_server(const std::string& server) override;
  void make_server(const std::string& server, const std::string& uid,
                   const std::vector<raft::ServerId>& members) override;
  void delete_server(const std::string& server) override;
  void crash_server(const std::string& server) override;
  bool is_registered(const std::string& server) const override { return disks_.contains(server); }
  bool runs_server(const std::string& server) override { return rules(server) != nullptr; }
  std::optional<std::pair<raft::Role, raft::Term>> standing(
      const std::string& server = "kv") override;
  std::optional<MemberView> view(const std::string& server = "kv") override;
  std::optional<raft::Term> term_at(raft::Index index, const std::string& server = "kv") override;
  void trigger_election(const std::string& server = "kv") override;
  void visit_durable(const std::function<void(const std::string& bytes)>& visit) const override;

  /// Connects with these nodes, as an operator's net_adm:ping/1.
  void ping(const std::vector<std::string>& nodes);
  /// The rules of a server that runs; else null.
  BeamRules* rules(const std::string& server = "kv");
  /// Which start of the server it is.
  std::uint64_t starts(const std::string& server = "kv") const;
  /// What its machine would have of the server after a power cut; null without one.
  std::unique_ptr<BeamDisk> after_power_cut(const std::string& server = "kv") const;

 private:
  class ServerProcess;
  struct Life {
    std::shared_ptr<Runtime> runtime;
    std::optional<node::Node> node;
    std::mt19937_64 random;
    bool serves = false;
    bool failed = false;
    bool wal_is_due = false;
    std::map<std::string, std::shared_ptr<ServerProcess>> servers;
    std::map<std::string, std::deque<Nanoseconds>> crashes;  ///< that the supervisor has seen
  };

  void add_functions();
  void start_server(const std::string& name);
  /// With this exit reason, encoded.
  void end_server(const std::string& name, std::string_view reason);
  void server_ended(const std::string& name, const std::string& reason);
  void restart_after_crash(const std::string& name);
  void wake_wal();
  void run_wal(const std::map<std::string, std::size_t>& batch);
  void after(Nanoseconds time, std::function<void()> job);
  bool obeys() const { return serves() && !life_->runtime->frozen(); }
  void on_node_up(const std::string& node) override;
  void on_node_status(const std::string& node, node::NodeStatus status) override;

  BeamWitness& witness_;
  std::map<std::string, std::unique_ptr<BeamDisk>> disks_;  ///< of the registered servers
  std::map<std::string, std::uint64_t> starts_;
  std::mt19937_64 machine_random_;
  std::unique_ptr<Life> life_;
};

}  // namespace rakv::simulation
