// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kv/client.h"
#include "kv/program/node_process.h"
#include "tests/simulation/runtime.h"
#include "tests/support/memory_disk.h"

// Whole nodes of the product in one thread under virtual time: everything of `rakv start` but the
// operating system. One seed says all: how long bytes and disks take, how clocks differ, what
// elections draw.

namespace rakv::simulation {

/// A node NAME@NAME on a host of its own, with a disk that outlives it.
class SimulatedNode {
 public:
  SimulatedNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace, std::string name,
                std::uint64_t seed);
  ~SimulatedNode();

  /// Starts the process on what is on the disk.
  void start();
  /// Ends it as a power cut does, or as kill -9 does with CrashMode::keep_everything.
  void kill(raftlog::CrashMode mode);
  bool runs() const { return life_ != nullptr; }
  /// Whether it has said that it serves.
  bool serves() const { return runs() && life_->serves; }
  kv::NodeProcess& process() { return *life_->process; }
  /// The server kv; null when it does not run.
  member::Member* member();
  const std::string& name() const { return name_; }

 private:
  struct Life {
    std::shared_ptr<Runtime> runtime;
    std::optional<kv::NodeProcess> process;
    bool serves = false;
    bool wal_is_due = false;
  };
  void run_wal_later();
  kv::NodeProcessOptions options() const;

  Schedule& schedule_;
  SimulatedNetwork& network_;
  Trace& trace_;
  std::string host_;
  std::string name_;
  std::uint64_t seed_;
  std::uint64_t lives_ = 0;
  std::unique_ptr<raftlog::MemoryDisk> disk_ = std::make_unique<raftlog::MemoryDisk>();
  std::unique_ptr<Life> life_;
};

/// A client of the product on a host of its own: a hidden node and kv::Client.
class SimulatedClient {
 public:
  SimulatedClient(Schedule& schedule, SimulatedNetwork& network, std::uint64_t seed,
                  std::vector<raft::ServerId> servers);
  ~SimulatedClient();
  Clock::time_point in(Clock::duration time) { return node_->clock().now() + time; }
  kv::Client& client() { return *client_; }
  node::Node& node() { return *node_; }
  bool ready() const { return ready_; }
  /// Runs what was just asked for.
  void turn() { runtime_->turn(); }

 private:
  std::shared_ptr<Runtime> runtime_;
  std::optional<node::Node> node_;
  std::optional<kv::Client> client_;
  bool ready_ = false;
};

/// Nodes a, b, c... of one cluster kv, and a client.
class SimulatedCluster {
 public:
  SimulatedCluster(std::uint64_t seed, const std::vector<std::string>& hosts);

  /// Starts all nodes, makes the cluster of all of them, and waits for its leader.
  void form();
  /// Lets time pass. Gives whether `done` came true within it.
  bool run_until(const std::function<bool()>& done, Nanoseconds time);
  void run_for(Nanoseconds time) {
    run_until([] { return false; }, time);
  }
  /// The node whose server leads in the highest term; null without one.
  SimulatedNode* leader();
  SimulatedNode& node(const std::string& host) { return *nodes_.at(host); }
  SimulatedClient& client() { return *client_; }
  /// A put, until it is answered; whether it succeeded.
  bool put(std::string_view key, std::uint64_t value);
  /// A linearizable get; the value, "not_found", or "error: ...".
  std::string get(std::string_view key);
  const std::vector<raft::ServerId>& servers() const { return servers_; }

  Schedule schedule;
  Trace trace{schedule};
  SimulatedNetwork network;

 private:
  std::vector<raft::ServerId> servers_;
  std::map<std::string, std::unique_ptr<SimulatedNode>> nodes_;
  std::unique_ptr<SimulatedClient> client_;
};

}  // namespace rakv::simulation
