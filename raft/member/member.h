// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/node/node.h"
#include "raft/core/core.h"
#include "raft/core/invariants.h"
#include "raft/log/member_log.h"
#include "raft/log/system.h"
#include "raft/member/applier.h"
#include "raft/member/client_calls.h"
#include "raft/member/client_commands.h"
#include "raft/member/cluster_deletion.h"
#include "raft/member/core_timers.h"
#include "raft/member/counters.h"
#include "raft/member/entry_reads.h"
#include "raft/member/entry_repair.h"
#include "raft/member/event_formatter.h"
#include "raft/member/event_queue.h"
#include "raft/member/farewell.h"
#include "raft/member/held_reads.h"
#include "raft/member/notifications.h"
#include "raft/member/own_snapshots.h"
#include "raft/member/peer_context.h"
#include "raft/member/peer_watch.h"
#include "raft/member/peers.h"
#include "raft/member/queries.h"
#include "raft/member/snapshot_receiver.h"
#include "raft/member/state_machine.h"
#include "raft/member/term_vote_storage.h"
#include "raft/member/voter_identities.h"
#include "raft/wire/client_requests.h"

// The shell round one core: a process of the node under the server's name. It turns messages,
// timers and disk completions into events of the core, and has the core's effects carried out, most
// of them by its parts: TermVoteStorage, CoreTimers, ClientCalls, ClientCommands, Queries, Applier,
// Peers, Farewell.
//
// One rule makes it safe, and it is kept in one place (run_effects): effects are carried out
// strictly in order, and everything after a PersistTermVote, or after an Apply that must read
// from disk, waits until that is done; so do new events.

namespace rakv::member {

/// What a member shares with the others of its node.
struct MemberServices {
  boost::asio::io_context& io;
  node::Node& node;
  raftlog::LogSystem& log_system;
  /// Fills the `system_config` map of overviews.
  std::function<void(etf::Writer&)> write_system_config;
  /// A member knows another leader or another set of members.
  std::function<void(const class Member&)> on_leader_or_cluster_change;
  /// The member has ended by itself (removed from its cluster, or the cluster deleted). Called from
  /// the io_context.
  std::function<void(const std::string& server_name, raft::effect::StopReason)> on_stopped;
  /// The member got an exit signal: end it with this reason and start it again. Called from the
  /// io_context.
  std::function<void(const std::string& server_name, const std::string& reason)> on_crash;
  /// Milliseconds since the epoch, for the `ts` of entries.
  std::function<std::int64_t()> system_time_ms;
  /// When a server of this node last said that it refuses calls for want of memory: whoever calls
  /// can bring that about.
  std::optional<Clock::time_point> refusal_said_at = std::nullopt;
};

/// Per-server settings (ra's server config), with ra's defaults.
struct MemberOptions {
  std::uint64_t tick_timeout_ms = 1000;
  std::uint64_t broadcast_time_ms = 100;
  std::uint64_t min_snapshot_interval = 4096;
  /// Minor compactions before a major one; nothing = only when asked for.
  std::optional<std::uint64_t> major_compaction_after = 8;
  raft::CoreOptions core;
  std::string cluster_name;        ///< encoded term
  std::string metrics_key;         ///< encoded term
  std::string friendly_name;       ///< for the log instead of the id, UTF-8; empty: the id
  std::string friendly_name_term;  ///< as it was given, encoded
  std::string event_formatter;     ///< encoded `{Module, Function, Arguments}`; empty: none
  std::uint64_t min_recovery_checkpoint_interval = 0;  ///< shown only: no checkpoints are written
};

/// {kv,'n1@host'}, as ra puts it in front of its log lines.
std::string print_server_id(const raft::ServerId& id);

/// What those who watch a server are told, encoded, when it is ended with this atom; that of
/// `delete` is {shutdown, delete}.
std::string exit_reason(std::string_view reason_atom);

/// What MemberStart has found out: a member that can go live.
struct RecoveredMember {
  raft::CoreState core;
  std::unique_ptr<StateMachine> machine;  ///< at core.last_applied
  std::uint64_t snapshot_bytes = 0;       ///< of snapshot.dat
  etf::Pid pid;                           ///< has the server's name
};

/// What only overviews show.
struct ShownValues {
  double commit_rate = 0.0;
  double last_commit_rate = 0.0;  ///< of the last tick alone
  std::int64_t last_wal_write_ms = 0;
  /// A BEAM shows references here; ours mean nothing.
  etf::Reference memory_table;
  etf::Reference counter;
};

class Member : public node::Process,
               private raftlog::MemberLogObserver,
               private node::NodeObserver,
               private AuxContext {
 public:
  /// Made by MemberStart. Nothing happens before go_live().
  Member(MemberServices& services, raftlog::MemberLog& log, std::shared_ptr<Counters> counters,
         MemberOptions options, RecoveredMember recovered);
  ~Member() override;

  /// Takes over the pid, and begins.
  void go_live();

  const raft::ServerId& id() const { return id_; }
  const std::string& uid() const { return log_.uid(); }
  const etf::Pid& pid() const { return pid_; }
  const raft::Core& core() const { return core_; }
  /// How far the machine has come. The core is ahead of it while effects wait for the disk: what is
  /// answered, noted or reported is this.
  raft::Index last_applied() const { return applier_.last_applied(); }
  /// The role to report. One that was elected leads once its noop is in the log: if it stopped
  /// before, while its term is being stored, it would have been a leader without one.
  raft::Role role() const {
    return core_.role() == raft::Role::leader ? begun_role_ : core_.role();
  }
  raftlog::MemberLog& log() { return log_; }
  const raftlog::MemberLog& log() const { return log_; }
  const StateMachine& machine() const { return applier_.machine(); }
  const MemberOptions& options() const { return options_; }
  const MemberServices& services() const { return services_; }
  const VoterIdentities& voters() const { return voters_; }
  const ShownValues& shown() const { return shown_; }
  /// Bytes of snapshot.dat.
  std::uint64_t snapshot_bytes() const { return own_snapshots_.file_bytes(); }
  Counters& counters() const { return *counters_; }
  /// A text such as {kv,'n1@host'}, as ra puts it in front of its log lines.
  const std::string& log_id() const { return log_id_; }

  /// Ends the process: callers that wait get `reason` from their monitors. The log stays.
  void stop(std::string_view reason_atom);

  /// Of one that was stopped: its machine, which may take long to destroy.
  std::unique_ptr<StateMachine> take_machine() { return applier_.take_machine(); }

  /// Starts an election if the member's state allows it (what the call trigger_election does).
  void trigger_election();

  /// The WAL failed, or works again.
  void log_down() { step(raft::event::LogDown{}); }
  void log_up() { step(raft::event::LogUp{}); }

  /// See EntryReads::read.
  void read_entry(std::uint64_t index, std::chrono::milliseconds time,
                  raftlog::MemberLog::ReadCallback callback) {
    entry_reads_.read(index, time, std::move(callback));
  }

 private:
  // node::Process
  void on_message(std::string_view message) override;
  void on_down(const etf::Reference& monitor, std::string_view reason) override;
  void on_exit_signal(const etf::PidView& from, std::string_view reason) override;
  // raftlog::MemberLogObserver
  void written(raftlog::MemberLog& log, raftlog::Term term, raftlog::IndexRange range) override;
  // node::NodeObserver
  void on_node_up(const std::string& node) override;
  void on_node_down(const std::string& node) override;
  void on_node_writable(const std::string& node) override { peers_.pump(node); }
  void on_node_status(const std::string& node, node::NodeStatus status) override;
  // AuxContext
  void write_members(etf::Writer& writer) const override;

  // --- what the parts need (seams.cc) ---
  PeerContext peer_context();
  ClientCalls::Charges call_charges() const;
  Notifications::Seams notification_seams();
  Applier::Seams applier_seams();
  OwnSnapshots::Seams own_snapshot_seams();
  ClientCommands::Seams command_seams();
  Queries::Seams query_seams();
  EntryReads::Seams entry_read_seams();
  Peers::Seams peer_seams();
  PeerWatch::Seams peer_watch_seams();
  Farewell::Seams farewell_seams();
  TermVoteStorage::Seams term_vote_seams();

  // --- events and effects (member.cc) ---
  /// `charge` is kept as long as the event waits.
  void step(raft::Event event, ByteCharge charge = {});
  void run_effects();
  bool blocked() const { return waiting_ > 0; }
  void resume();
  template <class Effect>
  void hand_out(Effect& effect);
  // What is carried out here: the log, the reports to the node.
  void carry_out(raft::effect::AppendToLog& effect);
  void carry_out(raft::effect::TruncateLog& effect);
  void carry_out(raft::effect::ServeLeaderRequest& effect);
  void carry_out(raft::effect::ScheduleFlush& effect);
  void carry_out(raft::effect::BeginSnapshot& effect);
  void carry_out(raft::effect::AcceptLiveEntries& effect);
  void carry_out(raft::effect::AcceptChunk& effect);
  void carry_out(raft::effect::CompleteSnapshot& effect);
  void carry_out(raft::effect::AbortSnapshot& effect);
  void carry_out(raft::effect::MonitorLeader& effect);
  void carry_out(raft::effect::DemonitorLeader& effect);
  void carry_out(raft::effect::RoleChanged& effect);
  void carry_out(raft::effect::LeaderChanged& effect);
  void carry_out(raft::effect::ClusterChanged& effect);
  void carry_out(raft::effect::AmnesiaEnded& effect);
  void carry_out(raft::effect::BadMessage& effect);
  void warn_of_amnesia() const;
  void tick();
  void ask_again();
  void note_last_applied();
  /// Entries were applied, or a snapshot was installed.
  void check_waiting_queries();
  void end(raft::effect::StopReason reason);

  // --- messages (messages.cc) ---
  void handle_call(std::string_view from, std::string_view request);
  void handle_cast(std::string_view request);
  void handle_leader_call(std::string_view from, std::string_view request,
                          const wire::ClientRequest& decoded);
  /// What is served here and now, whatever the state; false when it is none of these.
  bool serve(std::string_view from, const wire::ClientRequest& request);
  /// False when the request is none of another member's.
  bool handle_peer_call(std::string_view from, std::string_view request);
  bool handle_peer_cast(std::string_view request);
  bool may_heed(const raft::Event& event) const;
  bool handle_system_message(std::string_view message);
  void answer_stays_out(std::string_view from);

  // --- what may wait (waiting.cc) ---
  /// The disk does not keep up: nothing more may wait for it.
  bool overloaded() const;
  /// Whether a request to the leader would wait now: for a leader, or for the disk.
  bool requests_wait() const { return blocked() || core_.would_hold(); }
  /// False: there is no room for a message of a member that would have to wait; it is as if lost.
  bool may_step_for_peer(std::size_t bytes, ByteCharge& charge);
  /// Whether it is a member's node: while the disk takes its time, nothing of others is noted.
  bool concerns_members(const std::string& node) const;
  void refuse_for_memory(std::string_view from);
  void forget_callers_of(const std::string& node);

  MemberServices& services_;
  raftlog::MemberLog& log_;
  std::shared_ptr<Counters> counters_;
  MemberOptions options_;
  raft::ServerId id_;
  std::string log_id_;
  raft::Core core_;
  raft::MemberInvariants invariants_;  ///< checked after each step in debug builds
  etf::Pid pid_;
  bool stopped_ = false;

  // events that wait while effects do; effects under way
  EventQueue events_;
  raft::Effects effects_;
  std::size_t next_effect_ = 0;
  int waiting_ = 0;
  bool running_ = false;
  raft::Role begun_role_;  ///< that whose effects are being carried out

  // the parts
  PeerContext peer_context_;
  ClientCalls calls_;
  std::unique_ptr<EventFormatter> event_formatter_;  ///< null: events are sent as ra's
  Notifications notifications_;
  Applier applier_;
  OwnSnapshots own_snapshots_;
  ClientCommands commands_;
  Queries queries_;
  EntryRepair entry_repair_;
  HeldReads held_reads_;
  EntryReads entry_reads_;
  Peers peers_;
  PeerWatch peer_watch_;
  VoterIdentities voters_;
  ClusterDeletion deletion_;
  SnapshotReceiver snapshot_receiver_;
  TermVoteStorage term_vote_;
  CoreTimers core_timers_;
  Farewell farewell_;

  Timer tick_timer_;
  std::uint64_t commit_at_last_tick_ = 0;
  ShownValues shown_;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool entries_dropped_ = false;  ///< a leader's, for want of room
};

}  // namespace rakv::member
