// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "raft/core/configuration.h"
#include "raft/core/consistent_reads.h"
#include "raft/core/core_state.h"
#include "raft/core/effect.h"
#include "raft/core/event.h"
#include "raft/core/log_shape.h"
#include "raft/core/peer.h"
#include "raft/core/quorum.h"
#include "raft/core/types.h"

// The Raft rules of one member as a pure machine: events in, effects out. No clock, no disk, no
// network, no thread.
//
// It behaves on the wire as ra 3.1.10 does (pre-votes with a token, no idle heartbeats,
// acknowledgements that carry the durable index, empty AERs as truncation orders, await_condition,
// query heartbeats, one membership change at a time, promotable members) and is stricter where that
// stays invisible; docs say where.
//
// Each rule names the section of D. Ongaro's dissertation ("Consensus: Bridging Theory and
// Practice", 2014) that it follows, or says where it diverges from it.
//
// Promises to the shell: effects are in the order in which they must be carried out; a step never
// depends on anything but the events so far; nothing is read from the log (the core keeps its
// shape).

namespace rakv::raft {

class Core {
 public:
  /// A recovered member, not yet running: call start() once the machine stands at
  /// `state.last_applied`.
  explicit Core(CoreState state);
  ~Core();
  Core(Core&&) noexcept;
  Core& operator=(Core&&) noexcept;

  /// Enters the follower state: a restarted member arms the short election timer, a brand-new one
  /// stays silent until it is told of a leader, asked for a vote or triggered.
  void start(Effects& effects);

  /// Handles one event to its end and adds to `effects` what is to be done.
  void step(Event event, Effects& effects);

  // --- for overviews, metrics, queries; all as of the last step ---

  const ServerId& id() const { return id_; }
  const std::string& uid() const { return uid_; }
  Role role() const;
  Term current_term() const { return current_term_; }
  const std::optional<ServerId>& voted_for() const { return voted_for_; }
  /// The known leader: itself when leading.
  const std::optional<ServerId>& leader() const { return leader_; }
  Index commit_index() const { return commit_index_; }
  Index last_applied() const { return last_applied_; }
  const LogShape& log() const { return log_; }
  const Cluster& cluster() const { return *cluster_.members; }
  /// The entry that made cluster() (the snapshot's place or {0, 0} at first).
  IndexTerm cluster_index_term() const { return cluster_.at; }
  /// The configuration as of `index`, which is at or above the snapshot's: that of the last cluster
  /// change up to there. A snapshot carries this one; cluster() may be uncommitted, and gone after
  /// a crash.
  const Cluster& cluster_at(Index index) const;
  bool cluster_change_permitted() const { return cluster_change_permitted_; }
  Membership membership() const { return membership_; }
  QueryIndex query_index() const { return query_index_; }
  MachineVersion machine_version() const { return machine_version_; }
  /// What the last applied noop announced; above machine_version() nothing is applied any more.
  MachineVersion effective_machine_version() const { return effective_machine_version_; }
  /// Whether a deletion of the cluster is in the log, committed or not.
  bool deletion_in_log() const;
  const CoreOptions& options() const { return options_; }
  /// The other members as a leader sees them; nullptr when there is no such knowledge (any other
  /// role).
  const Peers* peers() const;
  /// True while some peer gets a snapshot from here (release cursors wait for it).
  bool sending_snapshots() const;
  /// Reads waiting for the confirmation of leadership.
  std::size_t waiting_queries() const;
  /// Reads parked until cluster changes are permitted, or until a leader is known.
  std::size_t pending_queries() const;
  /// Whether a call that is for the leader would be held now.
  bool would_hold() const { return !leads() && !knows_leader(); }
  /// True while the member neither votes nor leads because it may have forgotten what it promised.
  bool has_amnesia() const { return amnesia_.has_value(); }
  /// Its snapshot is older than its joining, and it has not got the entry by which it joins: it
  /// does not stand for election.
  bool joins_later() const { return cluster_.joins_later; }
  /// True once effect::Stop was given.
  bool stopped() const { return stopped_; }

 private:
  // --- roles: what exists in one role only lives there ---

  struct Follower {};
  /// Votes of distinct members, own included, in one round.
  struct Ballot {
    RoundId round;
    std::vector<ServerId> granted;
    std::vector<ServerId> refused;
  };
  struct PreVote {
    Ballot ballot;
  };
  struct Candidate {
    Ballot ballot;
  };
  struct Leader {
    Peers peers;
    ConsistentReads reads;
    Term term;
    /// The first entry of this leader's term; cluster changes and reads wait for it.
    Index noop_index;
    std::deque<event::ClientCommand> low_priority;
    bool flush_scheduled = false;
    /// Whom a leader that can't write asked last to take over.
    ServerId last_offered;
  };
  enum class Condition : std::uint8_t { missing, term_mismatch, log_down, transfer };
  struct AwaitCondition {
    Condition condition = Condition::missing;
    /// missing, term_mismatch: the refusal to repeat on timeout, and to whom.
    ServerId reply_to;
    AppendEntriesReply reply;
    /// transfer: what this leader is when it returns to leading, and who was asked to lead.
    std::unique_ptr<Leader> leader;
    ServerId target;
    /// transfer: the target stands for election.
    bool heard = false;
  };
  struct ReceiveSnapshot {
    std::shared_ptr<const SnapshotMeta> meta;
    ServerId leader;
    std::uint64_t next_chunk = 1;
    bool live_entries = false;
    /// The last chunk is in: the call to answer once the shell has installed it.
    std::optional<CallToken> completing;
  };
  struct TerminatingLeader {
    Leader leader;
  };
  struct TerminatingFollower {};
  using RoleState = std::variant<Follower, PreVote, Candidate, Leader, AwaitCondition,
                                 ReceiveSnapshot, TerminatingLeader, TerminatingFollower>;

  Configuration of_snapshot(Cluster members) const;
  /// A request kept until a leader is known.
  using Held = std::variant<event::ClientCommand, event::ReadRequest, event::LeaderRequest,
                            event::TransferLeadershipRequested>;

  // --- the step's frame (core.cc) ---
  template <class EffectType>
  void emit(EffectType effect) {
    out_->emplace_back(std::move(effect));
  }
  void finish_step();
  void on(event::ElectionTimeout& event);
  void on(event::ConditionTimeout& event);
  void on(event::ReceiveSnapshotTimeout& event);
  void on(event::SnapshotRetry& event);
  void on(event::Tick& event);
  void on(event::Written& event);
  void on(event::LogDown& event);
  void on(event::LogUp& event);
  void on(event::SnapshotTaken& event);
  void on(event::CommandBatch& event);
  void on(event::FlushLowPriority& event);
  void on(event::ReadRequest& event);
  void on(event::LeaderRequest& event);
  void on(event::CallersGone& event);
  void on(event::TransferLeadershipRequested& event);
  void on(event::TriggerElectionRequested& event);
  void on(event::ElectionRequested& event);
  void on(event::ForceMemberChangeRequested& event);
  void on(event::AppendEntries& event);
  void on(event::AppendEntriesReplied& event);
  void on(event::VoteRequested& event);
  void on(event::VoteReplied& event);
  void on(event::PreVoteRequested& event);
  void on(event::PreVoteReplied& event);
  void on(event::Heartbeat& event);
  void on(event::HeartbeatReplied& event);
  void on(event::InfoRequested& event);
  void on(event::InfoReplied& event);
  void on(event::InstallSnapshot& event);
  void on(event::InstallSnapshotReplied& event);
  void on(event::SnapshotInstalled& event);
  void on(event::SnapshotTransferEnded& event);
  void on(event::LeaderDown& event);
  void on(event::SuspicionChanged& event);
  void on(event::NodeUp& event);
  void on(event::NodeDown& event);
  void on(event::PeerDeleted& event);
  void on(event::PeerSuspended& event);
  void on(event::PeerResumed& event);
  void tell_term(const std::string& node);

  // --- roles, term, leader, timers (roles.cc) ---
  bool is_new() const { return log_.last().index == Index(0) && !amnesia_; }
  bool knows_leader() const;
  bool leads() const { return role() == Role::leader || role() == Role::terminating_leader; }
  /// The leader's data, also of one that waits in await_condition; nullptr otherwise.
  Leader* leader_data();
  const Leader* leader_data() const;
  Peer* find_peer(const ServerId& id);
  std::uint64_t agreed(std::uint64_t own, std::uint64_t (*of_peer)(const Peer& peer));
  void set_role(RoleState next);
  void become_follower(effect::ElectionTimer length = effect::ElectionTimer::long_);
  bool yields_to(Term term);
  void retire(Leader& leader);
  void set_term_and_vote(Term term, std::optional<ServerId> voted_for);
  void adopt_term(Term term);
  void note_leader(const ServerId& leader);
  void watch_leader();
  void drop_monitor();
  bool is_reachable(const ServerId& id) const;
  void node_lost(const std::string& node);
  void arm_election_timer(effect::ElectionTimer length);
  void restart_election_timer(effect::ElectionTimer length);
  void disarm_election_timer();
  std::uint32_t election_turn() const;
  std::uint32_t election_stretch() const;
  static CallToken token_of_held(const Held& held);
  void redirect_held();
  void execute_held();

  // --- votes (election.cc) ---
  void call_pre_vote();
  void call_election();
  void election_wanted();
  void let_others_stand();
  PreVoteRpc pre_vote_rpc() const;
  bool record_vote(Ballot& ballot, const ServerId& voter);
  bool is_lost(const Ballot& ballot) const;
  void become_leader();
  bool is_up_to_date(Index last_index, Term last_term) const;
  void process_pre_vote(CallToken call, const PreVoteRpc& rpc);
  void follower_vote(CallToken call, const RequestVoteRpc& rpc);

  // --- other candidates (rivals.cc) ---
  void forget_elections();
  void note_log_of(const ServerId& candidate, Index last_index, Term last_term);
  bool may_win() const;
  bool others_stand_in_vain() const;
  std::uint64_t terms_ahead() const;
  void note_deposed();
  bool asks_again(const RequestVoteRpc& rpc);
  void await_leader(bool granted, bool again);
  void give_way(const PreVoteRpc& rpc);

  // --- amnesia (amnesia.cc) ---
  struct CatchUp {
    bool term_lost = false;
    /// Leaders of higher terms were elected without this member. Unknown at first if the term is.
    std::optional<Term> above;
    /// Everything that counts is at or below this index, once that is known.
    std::optional<Index> until;
  };
  void note_validated(Term leader_term, bool is_all);
  void ask_where_log_ends();
  void end_amnesia_if_caught_up();
  void end_amnesia();

  // --- follower (follower.cc) ---
  void follower_append_entries(AppendEntriesRpc& rpc);
  void accept_entries(AppendEntriesRpc& rpc, std::size_t known);
  void confirm_known_entries(const AppendEntriesRpc& rpc, Index valid);
  void follower_heartbeat(const HeartbeatRpc& rpc);
  bool see_info_term(Term term);
  void reply_info(const InfoRpc& rpc, bool with_facts);
  void validated_to_end(const AppendEntriesRpc& rpc, bool is_all);
  void await_catch_up(Condition condition, const ServerId& leader, AppendEntriesReply reply);
  AppendEntriesReply append_entries_reply(bool success) const;
  AppendEntriesReply rewind_reply() const;
  void acknowledge_written();
  void bad_message(const ServerId& from, std::string what);

  // --- await_condition (await_condition.cc) ---
  void enter_await_condition(AwaitCondition state, std::uint64_t timeout_ms);
  void ask_to_lead(const ServerId& target);
  void note_candidate(const ServerId& candidate);
  bool is_news_to(const ServerId& leader, Term term, const AwaitCondition& waiting) const;
  bool ends_catch_up(const AwaitCondition& waiting, const AppendEntriesRpc& rpc) const;
  void resume_leader();

  // --- log and machine (applying.cc) ---
  void append_special(const Entry& entry);
  void forget_above(Index last);
  void set_cluster(Configuration next);
  void refresh_membership();
  void apply_committed();
  void applied_special(const SpecialEntry& entry);

  // --- leader (leader.cc) ---
  void append_own(Entry& entry);
  void emit_appended(std::vector<Entry> entries);
  void leader_tick();
  void replicate(bool force = false);
  void send_batch(const ServerId& id, Peer& peer, std::uint64_t limit, bool advance);
  void probe_peers(bool stale_only);
  void send_infos();
  void evaluate_commit();
  void leader_success(const ServerId& from, Peer& peer, const AppendEntriesReply& reply);
  void leader_refusal(Peer& peer, const AppendEntriesReply& reply);
  bool is_fully_replicated() const;
  std::optional<ServerId> best_successor() const;
  void check_termination();

  // --- consistent reads (queries.cc) ---
  void start_read(CallToken token);
  void start_parked_reads();
  void answer_reads();
  void send_heartbeats();

  // --- membership and leadership changes (membership.cc) ---
  std::optional<Entry> make_change_entry(const event::ClientCommand& command);
  ClusterPtr with_known_versions(Cluster members) const;
  void promote_if_caught_up(const ServerId& id);
  void sync_peers();
  void transfer_leadership(CallToken token, const ServerId& target);
  void offer_leadership();
  void force_member_change(CallToken token);

  // --- snapshots (snapshots.cc) ---
  void start_snapshot_send(const ServerId& id, Peer& peer);
  void end_backoff(const ServerId& id, Peer& peer);
  void follower_install_snapshot(CallToken call, InstallSnapshotRpc& rpc);
  void receive_chunk(CallToken call, InstallSnapshotRpc& rpc);
  void abort_receive();

  // --- clients (clients.cc) ---
  std::optional<Entry> make_entry(event::ClientCommand& command);
  void execute_commands(std::vector<event::ClientCommand> commands);
  void hold_or_redirect(CallToken token, Held request);
  void reject(CallToken token, effect::RejectReason reason);

  // identity and options
  ServerId id_;
  std::string uid_;
  CoreOptions options_;
  MachineVersion machine_version_ = 0;
  /// Raised by noop entries; above machine_version_ nothing is applied any more.
  MachineVersion effective_machine_version_ = 0;

  // durable
  Term current_term_;
  std::optional<ServerId> voted_for_;
  LogShape log_;
  std::optional<CatchUp> amnesia_;

  // volatile, of every role
  RoleState role_;
  std::optional<ServerId> leader_;
  std::optional<ServerId> monitored_;
  Index commit_index_;
  Index last_applied_;
  /// The highest index known to agree with the current leader's log.
  Index validated_;
  Configuration cluster_;
  /// The configuration below all special entries.
  Configuration base_cluster_;
  std::deque<SpecialEntry> special_entries_;
  Membership membership_ = Membership::voter;
  bool cluster_change_permitted_ = false;
  QueryIndex query_index_;
  RoundId last_round_;
  // Since a leader was last known: own attempts, whom it has let go first, and the others'.
  std::uint32_t attempts_ = 0;
  std::optional<ServerId> gave_way_to_;
  struct Rivals {
    /// Votes that candidates asked for which had asked before; more for those with short logs.
    std::uint32_t asked_in_vain = 0;
    /// The term in which each candidate asked last.
    std::map<ServerId, Term> asked_in;
    /// Candidates that have more in their logs.
    std::set<ServerId> longer_logs;
  };
  Rivals rivals_;
  bool log_up_ = true;
  /// Members' nodes whose connection is lost, and those that the failure detector takes for dead.
  std::set<std::string> lost_nodes_;
  std::set<std::string> silent_nodes_;
  std::deque<Held> held_;
  bool stopped_ = false;

  // the step being made
  Effects* out_ = nullptr;
  bool timer_armed_ = false;
  bool timer_armed_outside_ = false;
  std::optional<effect::ElectionTimer> timer_to_set_;
  std::uint64_t timer_number_ = 0;
  std::optional<ServerId> reported_leader_;
  Quorum quorum_;
};

}  // namespace rakv::raft
