// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kv/program/node_process.h"
#include "tests/simulation/runtime.h"
#include "tests/support/memory_disk.h"

namespace rakv::simulation {

/// The cookie of all nodes, and their epmd.
inline constexpr char kCookie[] = "simulation";
distribution::epmd::Options epmd_options();

/// What a node's log is told.
struct NodeLimits {
  raftlog::WalOptions wal;
  raftlog::SegmentOptions segment;
};

/// A node NAME@NAME on a host of its own: everything of `rakv start` but the operating system. Its
/// disk outlives it.
class SimulatedNode {
 public:
  SimulatedNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace, std::string name,
                std::uint64_t seed, NodeLimits limits = {});
  ~SimulatedNode();

  /// Starts the process on what is on the disk. Whoever wants to know more asks runs(), serves()
  /// and failed() later.
  void start();
  /// Ends it as a power cut does, or as kill -9 does with CrashMode::keep_everything.
  void kill(raftlog::CrashMode mode);
  bool runs() const { return life_ != nullptr; }
  /// Whether it has said that it serves.
  bool serves() const { return runs() && life_->serves; }
  /// Whether it has said that it can't start.
  bool failed() const { return runs() && !life_->failure.empty(); }
  kv::NodeProcess& process() { return *life_->process; }
  Runtime& runtime() { return *life_->runtime; }
  /// The server of that name; null when it does not run.
  member::Member* member(std::string_view server = "kv");
  const std::string& name() const { return name_; }
  const std::string& host() const { return host_; }

  /// Ends a server inside the process, or starts it again, as an operator does by rpc. Nothing when
  /// the node does not serve, or is frozen.
  void stop_server(const std::string& server);
  void restart_server(const std::string& server);
  /// Makes a server, as ra_kv:start_cluster/3 and ra_kv:add_member/3 do it, or ends it with its
  /// data.
  void make_server(const std::string& server, const std::string& uid,
                   const std::vector<raft::ServerId>& members);
  void delete_server(const std::string& server);
  /// An exit signal, after which its supervisor starts it again.
  void crash_server(const std::string& server);

  /// What is on the disk, and what of it is durable.
  const raftlog::MemoryDisk& disk() const { return *disk_; }
  void give_up_unsynced(const std::string& path) { disk_->give_up_unsynced(path); }
  std::string directory() const { return "/data/" + name_; }
  /// Between the process and the disk, until the process ends.
  raftlog::FaultyDisk& faulty_disk() { return *life_->disk; }

  Pace wal_pace{.time = std::chrono::microseconds(300)};     ///< of a batch and its fdatasync
  Pace worker_pace{.time = std::chrono::microseconds(500)};  ///< of a job that somebody waits for
  Pace background_pace{.time = std::chrono::milliseconds(2)};

 private:
  struct Life {
    std::shared_ptr<Runtime> runtime;
    std::optional<raftlog::FaultyDisk> disk;
    std::optional<kv::NodeProcess> process;
    bool serves = false;
    std::string failure;
    bool wal_is_due = false;
  };
  bool obeys() const { return serves() && !life_->runtime->frozen(); }
  void run_wal_later();
  void schedule_wal();
  void run_wal();
  void apply(std::string_view module, std::string_view function, std::string_view arguments);
  kv::NodeProcessOptions options() const;

  Schedule& schedule_;
  SimulatedNetwork& network_;
  Trace& trace_;
  std::string host_;
  std::string name_;
  std::uint64_t seed_;
  NodeLimits limits_;
  std::uint64_t lives_ = 0;
  std::unique_ptr<raftlog::MemoryDisk> disk_ = std::make_unique<raftlog::MemoryDisk>();
  std::unique_ptr<Life> life_;
};

}  // namespace rakv::simulation
