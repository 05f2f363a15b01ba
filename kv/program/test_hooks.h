// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cnode/node/node.h"
#include "kv/client_service.h"
#include "raft/log/system.h"
#include "raft/system/server_system.h"

namespace rakv::kv {

/// Lets peers make this node do what only tests want of it, under the names that a BEAM node has
/// for it:
///  - erlang:throw/1, erlang:exit/1, erlang:error/1, net_kernel:connect_node/1 (true, or false when
///    the dial failed);
///  - sys:suspend/1 and sys:resume/1 of ra_log_wal: until it is resumed the WAL writes nothing;
///  - for ra_kv_harness: application:stop/1 and ra:start_in/1 (nothing to do), ra:stop_server/2 for
///    a server of this node, a process
///    ra_log_wal whose end is a failure of the WAL that is over at once,
///    inet_tcp_proxy_dist:block/1 and allow/1 (the link to a node; a block ends by itself after 10
///    s), and ra_kv_harness:read_all_keys/0.
class TestHooks {
 public:
  /// Before Node::accept_peers(). What is given must outlive the node's work.
  TestHooks(system::ServerSystem& system, raftlog::LogSystem& log_system, ClientService& client);

 private:
  /// Stands for the WAL under its name: an exit signal kills the WAL, and another takes its place.
  class WalProcess : public node::Process {
   public:
    explicit WalProcess(TestHooks& hooks) : hooks_(hooks) {}
    void on_message(std::string_view) override {}
    void on_exit_signal(const etf::PidView& from, std::string_view reason) override;

   private:
    TestHooks& hooks_;
  };
  struct ReadAll;

  void add_exceptions();
  void add_suspension();
  void add_harness_functions();
  void register_wal();
  void read_next(const std::shared_ptr<ReadAll>& reading);

  system::ServerSystem& system_;
  node::Node& node_;
  raftlog::LogSystem& log_system_;
  ClientService& client_;
  WalProcess wal_;
  etf::Pid wal_pid_;
};

}  // namespace rakv::kv
