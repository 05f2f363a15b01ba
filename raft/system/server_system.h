// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "cnode/base/clock.h"
#include "cnode/node/node.h"
#include "raft/log/system.h"
#include "raft/member/member.h"
#include "raft/member/member_start.h"
#include "raft/member/state_machine.h"

// The ra system `default` of this node: which servers exist, starting and stopping them, and the
// remote procedures by which BEAM nodes do that and look at them (docs/protocol/wire.md 5).

namespace rakv::system {

/// What ra_leaderboard knows of a cluster.
struct LeaderboardRow {
  std::optional<raft::ServerId> leader;
  std::vector<raft::ServerId> members;
};

class ServerSystem : private raftlog::LogSystemObserver {
 public:
  /// The node must be started, the log system open. Registers the system's names and remote
  /// functions.
  ServerSystem(boost::asio::io_context& io, node::Node& node, raftlog::LogSystem& log_system,
               const member::StateMachineFactory& machines);
  ~ServerSystem() override;

  /// Starts every registered server that does not run. One that can't be started is reported in the
  /// log and left alone. `done` comes later, when each has started or failed.
  void start_registered(std::function<void()> done);

  /// Starts a cluster of one server named `cluster` on this node and makes it leader, unless such a
  /// server is registered already. `done` gets whether it is there.
  void bootstrap(const std::string& cluster, std::function<void(Result<void>)> done);

  /// Ends all servers with `shutdown`; what they noted is on disk when LogSystem::stop() was called
  /// after.
  void stop();

  /// Ends that server with `shutdown`, as ra:stop_server/2 does; its data stay. Nothing happens
  /// when it does not run.
  void stop_server(const std::string& name) { stop_member(name, "shutdown"); }

  /// The running server of that name, or null; null also during its start.
  member::Member* find(std::string_view name);
  /// Of the server of that name, while it runs or starts.
  std::optional<etf::Pid> pid_of(std::string_view name) const;
  /// The name of the server that runs or starts with this pid.
  std::optional<std::string> name_of(const etf::PidView& pid) const;
  const std::map<std::string, std::unique_ptr<member::Member>, std::less<>>& members() const {
    return members_;
  }
  node::Node& node() { return node_; }

 private:
  class Supervisor;

  // raftlog::LogSystemObserver
  void wal_down(const Error& error) override;
  void wal_up() override;
  void space_low(const raftlog::DiskSpace& space) override;
  void space_enough() override;
  void segments_down(raftlog::MemberLog& log, const Error& error) override;
  void segments_up(raftlog::MemberLog& log) override;
  void background_job_failed(const Error& error) override;
  void check_disk_later();
  /// Whether new entries can be taken, but by a server whose directory fails; members hear when
  /// that changes.
  bool writable() const { return !wal_is_down_ && !space_is_low_ && !wal_stands_still_; }
  void tell_writable(bool before);
  void look_at_progress();
  void start_again(const std::string& name, const std::string& uid, const std::string& last_error);
  void flush_metadata_regularly();

  // starting and stopping (server_system.cc)
  /// What became of a start. The member is there during the call.
  using Started = std::function<void(Result<member::Member*>)>;
  /// A server that is starting: who wants to know how it ends.
  struct Starting {
    std::unique_ptr<member::MemberStart> start;
    std::vector<Started> waiting;
  };
  /// Starts the server of this log, or joins its start. `done` may come at once.
  void start_member(raftlog::MemberLog& log, Started done);
  Result<std::unique_ptr<member::MemberStart>> begin_start(raftlog::MemberLog& log);
  void end_start(const std::string& name, Result<std::unique_ptr<member::Member>> made);
  void let_go_of_ended_later();
  void register_and_start(raftlog::ServerConfig config, Started done);
  void stop_member(const std::string& name, std::string_view reason);
  void restart_member(const std::string& name, const std::string& reason);
  void delete_server(const std::string& name, std::function<void()> done);
  void set_server_aside(const std::string& name, std::function<void(Result<void>)> done);
  void member_ended(const std::string& name, raft::effect::StopReason reason);
  void leader_or_cluster_changed(const member::Member& member);
  Result<member::MemberOptions> member_options(const raftlog::ServerConfig& config) const;

  // remote procedures (server_rpc.cc)
  void add_server_functions();
  void start_server_rpc(node::RpcCall call);
  void restart_server_rpc(node::RpcCall call);
  void prepare_server_stop_rpc(node::RpcCall call);
  void delete_server_rpc(node::RpcCall call);
  void key_metrics_rpc(node::RpcCall call);
  void counters_rpc(node::RpcCall call);
  void counters_overview_rpc(node::RpcCall call);
  void counters_overview_of_rpc(node::RpcCall call);
  // (operator_rpc.cc)
  void add_operator_functions();
  void overview_rpc(node::RpcCall call);
  void system_info_rpc(node::RpcCall call);
  void members_rpc(node::RpcCall call);
  void ask_members(std::shared_ptr<node::RpcCall> call, const raft::ServerId& server,
                   std::chrono::milliseconds timeout, int redirects);
  void write_counters_overview(etf::Writer& writer);
  // (system_rpc.cc)
  void add_system_functions();
  void add_node_functions();
  void add_config_functions();
  void add_log_functions();
  void write_system_config(etf::Writer& writer) const;
  // (directory_rpc.cc)
  void add_directory_functions();
  void add_leaderboard_functions();
  const raftlog::MemberLog* registered(std::string_view key);
  void write_directory_row(etf::Writer& writer, const std::string& name,
                           const raftlog::MemberLog& log);
  void write_directory_overview(etf::Writer& writer);

  boost::asio::io_context& io_;
  node::Node& node_;
  raftlog::LogSystem& log_system_;
  const member::StateMachineFactory& machines_;
  member::MemberServices services_;
  std::map<std::string, std::unique_ptr<member::Member>, std::less<>>
      members_;                                            ///< by server name, running
  std::map<std::string, Starting, std::less<>> starting_;  ///< by server name, not in members_
  /// Until the event loop turns.
  std::vector<std::unique_ptr<member::Member>> ended_;
  std::vector<std::unique_ptr<member::MemberStart>> ended_starts_;
  std::map<std::string, std::shared_ptr<member::Counters>, std::less<>>
      counters_;  ///< by server name, since the node's start
  std::map<std::string, LeaderboardRow, std::less<>> leaderboard_;  ///< by encoded cluster name
  /// By server name: a stopped server's pid is still shown, as on BEAM.
  std::map<std::string, etf::Pid, std::less<>> last_pids_;
  /// Running, started by this node at its own start, and not asked for yet. An application that
  /// starts its servers itself (ra:start_or_restart_cluster/4) expects to find them stopped: its
  /// first restart_server is answered as if it had started the server.
  std::set<std::string, std::less<>> unasked_;
  /// A new server is about to take these names.
  std::set<std::string, std::less<>> names_in_change_;
  std::unique_ptr<Supervisor> supervisor_;
  /// Until servers are started again that could not be.
  std::map<std::string, Timer> start_pauses_;
  Timer disk_timer_;
  Timer metadata_timer_;
  bool wal_is_down_ = false;
  bool space_is_low_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  /// More waits for the disk than may, and nothing of it has become durable for a while.
  bool wal_stands_still_ = false;
  int checks_without_progress_ = 0;
  std::uint64_t queued_before_ = 0;
};

}  // namespace rakv::system
