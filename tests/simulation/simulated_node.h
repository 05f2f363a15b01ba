// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

/// Where a member stands, of either kind.
struct MemberView {
  raft::ServerId id;
  raft::Role role = raft::Role::follower;
  raft::Term term;
  raft::Index last;
  raft::Index commit;
  raft::Index applied;
  std::optional<raft::ServerId> leader;
  raft::Cluster cluster;
  std::vector<std::uint64_t> live;  ///< ascending
  /// Of a BEAM's, while it has not committed the newest configuration: the one before.
  std::optional<raft::Cluster> committed_cluster;
};

class BeamNode;

/// A node NAME@NAME on a host of its own: everything of `rakv start` but the operating system. Its
/// disk outlives it. A BeamNode is another kind of it.
class SimulatedNode {
 public:
  SimulatedNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace,
                const std::string& name, std::uint64_t seed, NodeLimits limits = {});
  virtual ~SimulatedNode();
  /// This node, if it is a BEAM's; else null.
  virtual const BeamNode* beam() const { return nullptr; }
  virtual BeamNode* beam() { return nullptr; }

  /// Starts the process on what is on the disk. Whoever wants to know more asks runs(), serves()
  /// and failed() later.
  virtual void start();
  /// Ends it as a power cut does, or as kill -9 does with CrashMode::keep_everything.
  virtual void kill(raftlog::CrashMode mode);
  virtual bool runs() const { return life_ != nullptr; }
  /// Whether it has said that it serves.
  virtual bool serves() const { return life_ != nullptr && life_->serves; }
  /// Whether it has said that it can't start.
  virtual bool failed() const { return life_ != nullptr && !life_->failure.empty(); }
  /// Of rakv, as long as it runs; not of a BEAM.
  kv::NodeProcess& process() { return *life_->process; }
  virtual Runtime& runtime() { return *life_->runtime; }
  /// The server of that name; null when it does not run, or is a BEAM's.
  member::Member* member(std::string_view server = "kv");
  const std::string& name() const { return name_; }
  const std::string& host() const { return host_; }

  /// Ends a server inside the process, or starts it again, as an operator does by rpc. Nothing when
  /// the node does not serve, or is frozen.
  virtual void stop_server(const std::string& server);
  virtual void restart_server(const std::string& server);
  /// Makes a server, as ra_kv:start_cluster/3 and ra_kv:add_member/3 do it, or ends it with its
  /// data.
  virtual void make_server(const std::string& server, const std::string& uid,
                           const std::vector<raft::ServerId>& members);
  virtual void delete_server(const std::string& server);
  /// An exit signal, after which its supervisor starts it again.
  virtual void crash_server(const std::string& server);
  /// Whether the node has such a server, running or not; only while it serves.
  virtual bool is_registered(const std::string& server) const;
  virtual bool runs_server(const std::string& server);
  /// Of rakv's server of that name, running or not; only while the node serves.
  std::optional<std::string> uid_of(const std::string& server) const;
  /// Role and term of a member that runs.
  virtual std::optional<std::pair<raft::Role, raft::Term>> standing(
      const std::string& server = "kv");
  /// Of a member that runs.
  virtual std::optional<MemberView> view(const std::string& server = "kv");
  /// Of the entry at that index of its log; nothing when the server does not have it, or not run.
  virtual std::optional<raft::Term> term_at(raft::Index index, const std::string& server = "kv");
  /// The call `trigger_election`.
  virtual void trigger_election(const std::string& server = "kv");
  /// The bytes that a power cut would leave, file by file or entry by entry.
  virtual void visit_durable(const std::function<void(const std::string& bytes)>& visit) const;

  /// What is on the disk, and what of it is durable.
  const raftlog::MemoryDisk& disk() const { return *disk_; }
  raftlog::MemoryDisk& disk() { return *disk_; }
  /// An empty one takes its place; while the process does not run.
  void lose_disk() { disk_ = std::make_unique<raftlog::MemoryDisk>(); }
  void give_up_unsynced(const std::string& path) { disk_->give_up_unsynced(path); }
  std::string directory() const { return "/data/" + name_; }
  /// Between the process and the disk, until the process ends.
  raftlog::FaultyDisk& faulty_disk() { return *life_->disk; }

  Pace wal_pace{.time = std::chrono::microseconds(300)};     ///< of a batch and its fdatasync
  Pace worker_pace{.time = std::chrono::microseconds(500)};  ///< of a job that somebody waits for
  Pace background_pace{.time = std::chrono::milliseconds(2)};

 protected:
  /// What the next process runs on.
  Runtime::Options next_life();

  Schedule& schedule_;
  SimulatedNetwork& network_;
  Trace& trace_;

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

  std::string host_;
  std::string name_;
  std::uint64_t seed_;
  NodeLimits limits_;
  std::uint64_t lives_ = 0;
  std::unique_ptr<raftlog::MemoryDisk> disk_ = std::make_unique<raftlog::MemoryDisk>();
  std::unique_ptr<Life> life_;
};

}  // namespace rakv::simulation
