// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/node/node.h"
#include "raft/core/core.h"
#include "raft/core/invariants.h"
#include "raft/log/member_log.h"
#include "raft/log/system.h"
#include "raft/member/append_entries_sender.h"
#include "raft/member/cluster_deletion.h"
#include "raft/member/counters.h"
#include "raft/member/entry_repair.h"
#include "raft/member/event_formatter.h"
#include "raft/member/held_reads.h"
#include "raft/member/machine.h"
#include "raft/member/peer_context.h"
#include "raft/member/pending_calls.h"
#include "raft/member/snapshot_receiver.h"
#include "raft/member/snapshot_sender.h"
#include "raft/member/voter_identities.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/messages.h"

// The shell round one core: a process of the node under the server's name. It turns messages,
// timers and disk completions into events of the core, and carries out the core's effects. It owns
// the clients' calls.
//
// One rule makes it safe, and it is kept in one place (run_effects): effects are carried out
// strictly in order, and everything behind a PersistTermVote, or behind an Apply that must read
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
  std::optional<std::chrono::steady_clock::time_point> refusal_said_at = std::nullopt;
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

/// The size of snapshot.dat for this meta and a state of so many bytes.
std::uint64_t snapshot_file_bytes(const raftlog::SnapshotMeta& meta, std::size_t state_bytes);

/// {kv,'n1@host'}, as ra puts it in front of its log lines.
std::string print_server_id(const raft::ServerId& id);

/// What those who watch a server are told, encoded, when it is ended with this atom; that of
/// `delete` is {shutdown, delete}.
std::string exit_reason(std::string_view reason_atom);

/// What MemberStart has found out: a member that can go live.
struct RecoveredMember {
  raft::CoreState core;
  std::unique_ptr<Machine> machine;  ///< at core.last_applied
  std::uint64_t snapshot_bytes = 0;  ///< of snapshot.dat
  etf::Pid pid;                      ///< has the server's name
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
  raft::Index last_applied() const { return applied_; }
  /// The role to report. One that was elected leads once its noop is in the log: if it stopped
  /// before, while its term is being stored, it would have been a leader without one.
  raft::Role role() const {
    return core_.role() == raft::Role::leader ? begun_role_ : core_.role();
  }
  raftlog::MemberLog& log() { return log_; }
  const Machine& machine() const { return *machine_; }
  const MemberOptions& options() const { return options_; }
  const Counters& counters() const { return *counters_; }
  /// A text such as {kv,'n1@host'}, as ra puts it in front of its log lines.
  const std::string& log_id() const { return log_id_; }

  /// Ends the process: callers that wait get `reason` from their monitors. The log stays.
  void stop(std::string_view reason_atom);

  /// Of one that was stopped: its machine, which may take long to destroy.
  std::unique_ptr<Machine> take_machine() { return std::move(machine_); }

  /// Starts an election if the member's state allows it (what the call trigger_election does).
  void trigger_election();

  /// The WAL failed, or works again.
  void log_down() { step(raft::event::LogDown{}); }
  void log_up() { step(raft::event::LogUp{}); }

  /// Reads a committed entry that is in memory or on disk, or on other members' if it is damaged
  /// here. One that the log has and the machine has not reached is waited for, `time` at most:
  /// until then it may not be the committed one. Errors: not_found when the log does not have it
  /// (not yet, or not any more), timeout, corrupt, io. The callback comes later, or never if the
  /// member ends first.
  void read_entry(std::uint64_t index, std::chrono::milliseconds time,
                  raftlog::MemberLog::ReadCallback callback);

  /// ra:key_metrics/1 of a running member.
  void write_key_metrics(etf::Writer& writer) const;
  /// `{state_query, overview}`.
  void write_overview(etf::Writer& writer) const;
  void write_member_ids(etf::Writer& writer) const;
  /// Copies the live values into the counters that mirror state.
  void refresh_counters() const;

 private:
  void warn_of_amnesia() const;

  // node::Process
  void on_message(std::string_view message) override;
  void on_down(const etf::Reference& monitor, std::string_view reason) override;
  void on_exit_signal(const etf::PidView& from, std::string_view reason) override;
  // raftlog::MemberLogObserver
  void written(raftlog::MemberLog& log, raftlog::Term term, raftlog::IndexRange range) override;
  // node::NodeObserver
  void on_node_up(const std::string& node) override;
  void on_node_down(const std::string& node) override;
  void on_node_writable(const std::string& node) override;
  void on_node_status(const std::string& node, node::NodeStatus status) override;
  // AuxContext
  void write_members(etf::Writer& writer) const override { write_member_ids(writer); }

  // --- events and effects (member.cc) ---
  /// `charge` is kept as long as the event waits.
  void step(raft::Event event, ByteCharge charge = {});
  bool waits_already(const raft::Event& event);
  void run_effects();
  bool blocked() const { return waiting_ > 0; }
  void resume();
  void carry_out(raft::effect::PersistTermVote& effect);
  void carry_out(raft::effect::AppendToLog& effect);
  void carry_out(raft::effect::TruncateLog& effect);
  void carry_out(raft::effect::Apply& effect);
  void carry_out(raft::effect::SetElectionTimer& effect);
  void carry_out(raft::effect::CancelElectionTimer& effect);
  void carry_out(raft::effect::SetConditionTimer& effect);
  void carry_out(raft::effect::CancelConditionTimer& effect);
  void carry_out(raft::effect::SetReceiveSnapshotTimer& effect);
  void carry_out(raft::effect::CancelReceiveSnapshotTimer& effect);
  void carry_out(raft::effect::SetSnapshotRetryTimer& effect);
  void carry_out(raft::effect::CancelSnapshotRetryTimer& effect);
  void carry_out(raft::effect::CommandAppended& effect);
  void carry_out(raft::effect::RedirectClient& effect);
  void carry_out(raft::effect::HoldClient& effect);
  void carry_out(raft::effect::NotLeader& effect);
  void carry_out(raft::effect::RejectCall& effect);
  void carry_out(raft::effect::AnswerOk& effect);
  void carry_out(raft::effect::AnswerAlreadyLeader& effect);
  void carry_out(raft::effect::DropCall& effect);
  void carry_out(raft::effect::ReadReady& effect);
  void carry_out(raft::effect::ServeLeaderRequest& effect);
  void carry_out(raft::effect::ScheduleFlush& effect);
  void carry_out(raft::effect::SendAppendEntries& effect);
  void carry_out(raft::effect::SendAppendEntriesReply& effect);
  void carry_out(raft::effect::SendHeartbeat& effect);
  void carry_out(raft::effect::SendHeartbeatReply& effect);
  void carry_out(raft::effect::SendInfo& effect);
  void carry_out(raft::effect::SendInfoReply& effect);
  void carry_out(raft::effect::CallRequestVote& effect);
  void carry_out(raft::effect::CallPreVote& effect);
  void carry_out(raft::effect::ReplyVote& effect);
  void carry_out(raft::effect::ReplyPreVote& effect);
  void carry_out(raft::effect::SendElectionTimeout& effect);
  void carry_out(raft::effect::SendSnapshot& effect);
  void carry_out(raft::effect::StopSnapshotSend& effect);
  void carry_out(raft::effect::BeginSnapshot& effect);
  void carry_out(raft::effect::AcceptLiveEntries& effect);
  void carry_out(raft::effect::AcceptChunk& effect);
  void carry_out(raft::effect::CompleteSnapshot& effect);
  void carry_out(raft::effect::AbortSnapshot& effect);
  void carry_out(raft::effect::ReplyInstallSnapshot& effect);
  void carry_out(raft::effect::ReplyInstallSnapshotWithAppendEntries& effect);
  void carry_out(raft::effect::MonitorLeader& effect);
  void carry_out(raft::effect::DemonitorLeader& effect);
  void carry_out(raft::effect::RoleChanged& effect);
  void carry_out(raft::effect::LeaderChanged& effect);
  void carry_out(raft::effect::ClusterChanged& effect);
  void carry_out(raft::effect::AmnesiaEnded& effect);
  void carry_out(raft::effect::BadMessage& effect);
  void carry_out(raft::effect::Stop& effect);
  void persist(const raft::effect::PersistTermVote& effect);
  void arm(boost::asio::steady_timer& timer, std::uint64_t delay_ms, raft::Event event);
  void standing_changed();
  void tick();
  void note_last_applied();

  // --- what may wait (waiting.cc) ---
  /// Whether there is room for a call of so many bytes that waits, or for a query that waits for a
  /// moment. A server takes at most half of what the other ones of its node leave: a cluster
  /// without a leader is no reason to refuse the calls of another one.
  bool may_wait(std::size_t bytes) const;
  bool may_query(std::size_t bytes) const;
  /// Whether a request to the leader would wait now: for a leader, or for the disk.
  bool requests_wait() const { return blocked() || core_.would_hold(); }
  /// False: there is no room for a message of a member that would have to wait; it is as if lost.
  bool may_step_for_peer(std::size_t bytes, ByteCharge& charge);
  /// Whether it is a member's node: while the disk takes its time, nothing of others is noted.
  bool concerns_members(const std::string& node) const;
  void charge_conditional_queries();
  /// The node that a call came from.
  static std::string node_of(std::string_view from);
  void refuse_for_memory(std::string_view from);
  void forget_callers_of(const std::string& node);
  void keep_undelivered(const std::string& pid, std::string_view body);

  // --- requests (requests.cc) ---
  void handle_call(std::string_view from, std::string_view request);
  void handle_call_after_removal(std::string_view from, const wire::AddressedRequest& asked);
  void handle_cast(std::string_view request);
  void handle_leader_call(std::string_view from, std::string_view request,
                          const wire::ClientRequest& decoded);
  /// What is served here and now, whatever the state; false when it is none of these.
  bool serve(std::string_view from, const wire::ClientRequest& request);
  bool handle_system_message(std::string_view message);
  /// The name of the state that clients see.
  std::string_view shown_state() const;
  void submit_command(std::string_view from, std::string_view request,
                      const wire::request::Command& asked, bool leader_call);
  /// The disk does not keep up: no more commands may wait for it. A leader refuses them then with
  /// `wal_down`, as when the log can't be written at all.
  bool overloaded() const;
  void flush_commands();
  static constexpr std::size_t kBatchMax = 4096;  ///< commands of one append
  void serve_aux(std::string_view from, std::string_view command);
  bool run_aux(std::string_view command, etf::Writer& reply);
  // own_snapshot.cc
  void take_snapshot_when_durable();
  void copy_own_snapshot();
  void write_own_snapshot();
  void answer(std::string_view from, std::string_view term);
  void answer_error(std::string_view from, std::string_view reason_atom);
  void answer_redirect(std::string_view from, const raft::ServerId& leader);
  void answer_stays_out(std::string_view from);
  void unsupported(std::string_view from, std::string_view request);
  void reject_notification(std::string_view mode, const std::optional<raft::ServerId>& leader);

  // --- messages of other members (peers.cc) ---
  /// False when the request is none of theirs.
  bool handle_peer_call(std::string_view from, std::string_view request);
  bool handle_peer_cast(std::string_view request);
  void cast_to(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write);
  /// Calls with the deadline of votes; `then` gets answers that can be read, nothing else.
  void call_peer(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write,
                 std::function<void(const wire::PeerReply&)> then);
  void answer_peer(raft::CallToken token,
                   FunctionRef<void(etf::Writer&, const PendingCalls::Call&)> write);
  void send_held_snapshot_replies();
  void pump_senders(const std::string& node);

  // --- queries (queries.cc) ---
  void serve_state_query(std::string_view from, std::string_view spec);
  void serve_local_query(std::string_view from, const wire::request::LocalQuery& asked);
  void serve_read(raft::CallToken token);
  void answer_local_query(std::string_view from, std::string_view query);
  /// Evaluates a query here if it is one of those we know; `result` gets the value.
  bool evaluate_known(std::string_view query, etf::Writer& result) const;
  /// Lets the caller's node evaluate it: only there is the code of a fun.
  void evaluate_at_caller(std::string_view from, std::string_view query,
                          std::function<void(bool ok, std::string_view term)> done);
  void check_conditional_queries();
  void end_farewell_when_seen();
  void end(raft::effect::StopReason reason);
  void write_members_info(etf::Writer& writer) const;
  void write_voters(etf::Writer& writer) const;
  void write_query_leader(etf::Writer& writer) const;
  void write_log_overview(etf::Writer& writer) const;
  void write_cluster_overview(etf::Writer& writer) const;
  void serve_read_entries(std::string_view from, const wire::request::ReadEntries& asked);
  /// `room` is held until the answer is queued.
  void answer_entries(const std::string& from, std::vector<raftlog::Index> wanted,
                      std::shared_ptr<ByteCharge> room);

  // --- applying (applying.cc) ---
  void apply_range(raft::Index first, raft::Index last, bool leader);
  void continue_apply();
  void apply_entry(const raftlog::Entry& entry, bool as_leader);
  bool replies_here(const wire::ReplyMode& mode, std::string_view from, bool as_leader) const;
  void flush_notifications();
  void send_notification(const std::string& pid, std::string_view body);
  void retry_notifications();

  MemberServices& services_;
  raftlog::MemberLog& log_;
  std::unique_ptr<Machine> machine_;
  std::shared_ptr<Counters> counters_;
  MemberOptions options_;
  raft::ServerId id_;
  std::string log_id_;
  raft::Core core_;
  raft::MemberInvariants invariants_;  ///< checked after each step in debug builds
  etf::Pid pid_;
  bool stopped_ = false;

  // events that wait while effects do; effects under way
  struct WaitingEvent {
    raft::Event event;
    ByteCharge charge;
  };
  std::deque<WaitingEvent> events_;
  raft::Effects effects_;
  std::size_t next_effect_ = 0;
  int waiting_ = 0;
  bool running_ = false;

  PendingCalls pending_;
  std::vector<raft::event::ClientCommand> batch_;
  bool batch_scheduled_ = false;

  struct ConditionalQuery {
    std::string from;
    std::string query;
    raft::IndexTerm condition;
  };
  std::vector<ConditionalQuery> conditional_queries_;
  ByteCharge conditional_charge_;
  /// The highest index that an answered one waited for.
  raft::Index awaited_index_;
  /// Of a removed leader that still answers (farewell.cc).
  struct Farewell {
    raft::Index removed_at;
    std::optional<raft::ServerId> successor;
  };
  std::optional<Farewell> farewell_;
  std::vector<raft::effect::Apply> apply_queue_;
  raft::Index applied_;    ///< the machine stands behind this entry
  raft::Role begun_role_;  ///< that whose effects are being carried out
  bool snapshot_wanted_ = false;
  struct OwnSnapshot;
  std::shared_ptr<OwnSnapshot> own_snapshot_;  ///< being copied; jobs in flight look at it

  /// Per client pid: the encoded `{Corr, Reply}` pairs of this batch.
  struct Notification {
    std::string pairs;
    std::uint32_t count = 0;
  };
  std::map<std::string, Notification> notifications_;
  void notify(const std::string& pid, const Notification& notification);
  struct Undelivered {
    std::string pid;
    std::string body;
    ByteCharge charge;
  };
  std::deque<Undelivered> undelivered_;

  PeerContext peer_context_;
  EntryRepair entry_repair_;
  HeldReads held_reads_;
  VoterIdentities voters_;
  ClusterDeletion deletion_;
  std::unique_ptr<EventFormatter> event_formatter_;  ///< null: events are sent as ra's
  /// While the member does not take part.
  std::optional<raft::effect::SetElectionTimer> held_election_timer_;
  std::map<raft::ServerId, std::unique_ptr<AppendEntriesSender>> append_entries_senders_;
  std::map<raft::ServerId, std::unique_ptr<SnapshotSender>> snapshot_senders_;
  std::map<raft::ServerId, std::unique_ptr<boost::asio::steady_timer>> snapshot_retry_timers_;
  SnapshotReceiver snapshot_receiver_;
  /// Answers kept back until the disk has caught up with what came.
  std::vector<raft::effect::ReplyInstallSnapshot> held_snapshot_replies_;

  std::optional<etf::Reference> leader_monitor_;
  std::optional<raft::ServerId> monitored_leader_;
  std::set<std::string> kept_nodes_;

  boost::asio::steady_timer election_timer_;
  boost::asio::steady_timer condition_timer_;
  boost::asio::steady_timer receive_snapshot_timer_;
  boost::asio::steady_timer tick_timer_;
  boost::asio::steady_timer persist_timer_;
  boost::asio::steady_timer farewell_timer_;
  bool persist_fails_ = false;
  std::mt19937_64 random_;
  double commit_rate_ = 0.0;
  double last_commit_rate_ = 0.0;       ///< of the last tick alone
  std::uint64_t commit_rate_last_ = 0;  ///< the commit index at the last tick
  std::int64_t last_wal_write_ms_ = 0;

  std::uint64_t snapshot_size_bytes_ = 0;
  etf::Reference
      memory_table_reference_;  ///< BEAM overviews show references here; ours mean nothing
  etf::Reference counter_reference_;

  etf::Writer reply_;  ///< scratch for replies
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
