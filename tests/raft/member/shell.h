// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/base/memory_accounts.h"
#include "cnode/node/node.h"
#include "raft/log/memory_budget.h"
#include "raft/log/system.h"
#include "raft/system/server_system.h"
#include "raft/wire/messages.h"
#include "tests/support/memory_disk.h"

// A member with everything round it, on one thread and driven by hand: a real ServerSystem starts
// it on a real LogSystem over a MemoryDisk, and a real Node carries its messages. Other members are
// processes of the same node under names of their own: they send what a test tells them to, and
// note what they get.
//
// How to use it:
//
//   Shell shell;                                  // the server kv of the cluster kv, b, c; it runs
//   Peer b(shell, "b");
//   b.leads(1, {user(1, 1, "x"), user(2, 1, "y")}); // term 1, entries 1 and 2
//   shell.run();                                  // all that can happen without time passing
//   b.replies().back().last_index                 // what kv acknowledged
//
// Three parts of the disk can be held, so that nothing comes back from them until they are let go:
//
//   shell.hold.wal          entries (WAL)
//   shell.hold.worker       term and vote, reads from segments
//   shell.hold.background   snapshots, segments, compactions
//
// kill() is exit(Pid, kill), stop() and start() are ra:stop_server/2 and ra:restart_server/2 inside
// the process; crash() ends the process with the disk as it would be after a power cut and starts
// another one. No timer of the member fires by itself unless Options say so; run_until() waits for
// those that do.

namespace rakv::member::testing {

/// Applied commands in order, as "index:text"; those whose text begins with "live" are live.
class HistoryMachine final : public StateMachine {
 public:
  std::string_view module() const override { return "history"; }
  std::unique_ptr<StateMachine> fresh() const override {
    return std::make_unique<HistoryMachine>();
  }
  Result<void> check_command(std::string_view) const override { return {}; }
  void apply(const CommandMeta& meta, std::string_view data, etf::Writer* reply) override;
  /// `snapshot`: takes one.
  AuxResult handle_aux(std::string_view command, const AuxContext& context,
                       etf::Writer& reply) override;
  std::unique_ptr<StateCapture> capture() override;
  void write_state(etf::Writer& writer) const override;
  Result<void> read_state(std::string_view state) override;
  std::vector<std::uint64_t> live_indexes() const override;
  void write_overview(etf::Writer& writer) const override { writer.map(0); }
  Result<std::string> command_at(std::uint64_t, std::string_view) const override {
    return make_error(ErrorCode::not_found, "no values");
  }
  /// "1:a 2:b"
  std::string history() const;
  /// How many states of snapshots any of them has read.
  static inline int states_read = 0;

 private:
  std::map<std::uint64_t, std::string> applied_;
};

/// An entry with this text for a HistoryMachine.
raft::Entry user(std::uint64_t index, std::uint64_t term, std::string_view text);
/// What a snapshot at this place begins with, in a cluster without members.
std::string snapshot_head(std::uint64_t index, std::uint64_t term);

class Shell {
 public:
  struct Options {
    std::vector<std::string> members = {"kv", "b", "c"};
    /// A long time: no tick.
    std::uint64_t tick_ms = 100'000'000;
    raftlog::LogSystemOptions log;
    /// In the place of the system's; it outlives the shell.
    Clock* clock = nullptr;
    Options();
  };
  struct Hold {
    bool wal = false;
    bool worker = false;
    bool background = false;
  };

  explicit Shell(Options options = Options());
  ~Shell();
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  Hold hold;

  /// Of the smallest memory budget. Nothing may be left in it when a shell ends.
  MemoryAccounts& memory() { return memory_; }

  /// Until nothing is left that can happen now.
  void run();
  /// The same, with time passing, until `done`; a failed test after ten seconds.
  void run_until(const std::function<bool()>& done, const std::string& what);
  /// A moment of what happens by itself (io, owner), with nothing from the disk.
  void run_without_disk();

  /// One job of the worker, and what follows from it without the disk. False when there was none.
  bool run_worker_once();
  /// The job alone.
  bool run_one_of_worker() { return worker_.run_one(); }
  /// One job of the background alone. False when there was none.
  bool run_one_of_background() { return background_.run_one(); }
  /// Another server of this node, alone in its cluster and leader of it.
  void add_server(const std::string& name);

  // Each runs until nothing is left.
  void start();
  void stop();
  void kill();
  void crash(raftlog::CrashMode mode = raftlog::CrashMode::lose_unsynced, std::uint64_t seed = 0);

  /// The server kv; null when it does not run.
  Member* member();
  raftlog::MemberLog& log();
  raftlog::LogSystem& log_system() { return *log_system_; }
  node::Node& node() { return *node_; }
  system::ServerSystem& servers() { return *servers_; }
  boost::asio::io_context& io() { return io_; }
  raftlog::MemoryDisk& disk() { return *disk_; }
  /// What the members' log sees of it. A rule for its errors lasts until crash().
  raftlog::FaultyDisk& faults() { return *faults_; }
  /// What the machine has applied.
  std::string history();
  raft::ServerId id(const std::string& name) const;

  /// A call to kv. The answer's text, "down: ..." when the server ended, nothing while there is
  /// none.
  using Answer = std::shared_ptr<std::optional<std::string>>;
  Answer call(const std::function<void(etf::Writer&)>& request, const std::string& server = "kv");
  /// A command to a server that leads.
  Answer put(const std::string& server, std::string_view text);
  /// ra_server_sup_sup:Function(default, ...) as a BEAM node calls it. The answer's text.
  Answer rpc(std::string_view function, const std::function<void(etf::Writer&)>& arguments,
             std::size_t count);
  /// The same, run until nothing is left; "" without an answer.
  std::string ask(const std::function<void(etf::Writer&)>& request);
  /// {local_query, {history, applied, []}} and its like, with what stands for a known query.
  std::string local_query(std::optional<raft::IndexTerm> condition = std::nullopt);

 private:
  class Epmd;
  class Factory;
  raftlog::ServerConfig config_of(const std::string& name, const std::vector<std::string>& members);
  void add(const raftlog::ServerConfig& config);
  void open();
  void close();
  bool run_disk();

  Options options_;
  MemoryAccounts memory_{raftlog::MemoryBudget::kSmallestBytes};
  boost::asio::io_context io_{1};
  ManualExecutor owner_;
  ManualExecutor worker_;
  ManualExecutor background_;
  std::unique_ptr<raftlog::MemoryDisk> disk_ = std::make_unique<raftlog::MemoryDisk>();
  std::unique_ptr<raftlog::FaultyDisk> faults_;
  std::unique_ptr<Epmd> epmd_;
  std::unique_ptr<Factory> machines_;
  std::unique_ptr<raftlog::LogSystem> log_system_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<system::ServerSystem> servers_;
};

/// Another member, played by the test. It may not outlive a crash() of its shell.
class Peer : public node::Process {
 public:
  Peer(Shell& shell, const std::string& name);

  /// Becomes leader in the eyes of kv: an append_entries_rpc with these entries, which follow
  /// `prev` of `prev_term`.
  void leads(std::uint64_t term, std::vector<raft::Entry> entries, std::uint64_t prev = 0,
             std::uint64_t prev_term = 0, std::uint64_t commit = 0);
  using Vote = std::shared_ptr<std::optional<raft::RequestVoteResult>>;
  /// A request_vote_rpc for this member.
  Vote asks_for_vote(std::uint64_t term, std::uint64_t last_index = 0, std::uint64_t last_term = 0);
  /// An install_snapshot_rpc; the answer's text, as Shell::call.
  Shell::Answer sends_snapshot(std::uint64_t term, std::string_view meta, std::uint64_t number,
                               raft::ChunkFlag flag, std::vector<raft::Entry> entries,
                               std::string_view data);

  /// append_entries_replies that kv sent, oldest first.
  const std::vector<raft::AppendEntriesReply>& replies() const { return replies_; }
  /// append_entries_rpcs that kv sent, oldest first.
  const std::vector<raft::AppendEntriesRpc>& appends() const { return appends_; }
  /// The highest index that kv acknowledged to this leader.
  std::uint64_t acknowledged() const;
  /// Calls that kv made (votes, chunks of snapshots), as text.
  const std::vector<std::string>& calls() const { return calls_; }
  /// Answers the votes that kv asks for with yes from now on.
  void votes_for_kv() { grants_ = true; }
  /// As a follower: tells the leader kv that everything up to `index` is durable here.
  void acknowledges(std::uint64_t term, std::uint64_t index);
  void refuses(std::uint64_t term, std::uint64_t next, std::uint64_t last, std::uint64_t last_term);

  void on_message(std::string_view message) override;

 private:
  Shell& shell_;
  std::string name_;
  etf::Pid pid_;
  bool grants_ = false;
  std::vector<raft::AppendEntriesReply> replies_;
  std::vector<raft::AppendEntriesRpc> appends_;
  std::vector<std::string> calls_;
};

}  // namespace rakv::member::testing
