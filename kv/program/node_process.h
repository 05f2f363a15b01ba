// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/base/executor.h"
#include "cnode/base/memory_accounts.h"
#include "cnode/base/result.h"
#include "cnode/node/node.h"
#include "kv/client_service.h"
#include "kv/program/test_hooks.h"
#include "kv/replicated_machine.h"
#include "raft/log/disk/disk.h"
#include "raft/log/system.h"
#include "raft/system/server_system.h"

// Everything that `rakv start` builds, apart from the operating system's process round it: log,
// node, servers, services. Time, network and chance are those of the io_context (Clock, Network,
// Randomness), the disk and the threads are handed in: the program gives it the real ones,
// tests/simulation its own.

namespace rakv::kv {

/// What a node is, once command line, files and the machine's limits have been looked at.
struct NodeProcessOptions {
  std::string directory;             ///< of this node's data: DIR/NAME@HOST
  std::string bootstrap;             ///< cluster to make if it is not there; may be empty
  std::vector<std::string> connect;  ///< nodes to stay connected with
  bool test_hooks = false;
  node::NodeOptions node;         ///< `memory` is set by the process
  raftlog::LogSystemOptions log;  ///< `background`, `memory_budget_bytes` and `now` likewise
};

/// Where a node's disk work is done. Jobs that are left when it ends are run or dropped, as the
/// executor likes; what they post to the owner is dropped.
struct NodeExecutors {
  std::unique_ptr<Executor> worker;      ///< term and vote, reads: what somebody waits for
  std::unique_ptr<Executor> background;  ///< segments, snapshots, compactions
};

/// One node. Single-threaded, on `io`'s thread; `owner` brings the log's answers there. It may be
/// destroyed at any moment, as a killed process is: nobody is told, and another one starts on the
/// same disk from what is durable there. The io_context goes with it: nothing of it may run after.
class NodeProcess {
 public:
  /// What is held for peers is charged to `memory`, whose budget is the node's. Like the disk, it
  /// outlives the io_context: handlers that are dropped with that give back what they hold.
  NodeProcess(boost::asio::io_context& io, raftlog::Disk& disk, MemoryAccounts& memory,
              Executor& owner, NodeExecutors executors, NodeProcessOptions options);
  ~NodeProcess();
  NodeProcess(const NodeProcess&) = delete;
  NodeProcess& operator=(const NodeProcess&) = delete;

  /// Opens the directory and recovers what is in it; takes as long as that takes.
  Result<void> open();
  /// Listens, registers with epmd, starts the servers that were there, makes the bootstrap cluster,
  /// and lets peers in. `done` comes once, from the io_context: the node serves, or why it can't.
  void start(std::function<void(Result<void>)> done);
  /// Ends servers and node in order: what is queued goes out for at most `patience`. `done` comes
  /// from the io_context. Afterwards close().
  void stop(std::chrono::milliseconds patience, std::function<void()> done);
  /// Stops the log in order: what it has waits on the disk.
  Result<void> close();

  node::Node& node() { return *node_; }
  system::ServerSystem* servers() { return servers_.get(); }
  raftlog::LogSystem& log_system() { return *log_system_; }
  Executor& background() { return *executors_.background; }

 private:
  void start_node();
  void serve();
  void bootstrap();
  void accept();
  void tell(Result<void> result);

  boost::asio::io_context& io_;
  raftlog::Disk& disk_;
  Executor& owner_;
  NodeProcessOptions options_;
  std::function<void(Result<void>)> done_;
  Clock::time_point began_;
  std::unique_ptr<raftlog::LogSystem> log_system_;
  // They end before the log system, which holds the directory's lock, and before the disk that
  // their jobs write to; what those post to the owner then is dropped.
  NodeExecutors executors_;
  std::unique_ptr<node::Node> node_;
  KvMachineFactory machines_;
  std::unique_ptr<system::ServerSystem> servers_;
  std::unique_ptr<ClientService> client_service_;
  std::unique_ptr<TestHooks> test_hooks_;
  Timer name_pause_;
};

}  // namespace rakv::kv
