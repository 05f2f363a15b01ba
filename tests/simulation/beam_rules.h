// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kv/replicated_machine.h"
#include "raft/core/peer.h"
#include "tests/simulation/beam_events.h"
#include "tests/simulation/beam_log.h"

// The rules of a member on a BEAM, written down a second time and apart from raft/core: what ra's
// members do, also where rakv's do not (docs/divergence.md). No I/O, no clock. The recorded
// scripts of beam_scripts/ say what is right. Source: ra_server.erl.

namespace rakv::simulation {

/// What a member knows of another: ra_peer_state.
struct BeamPeer {
  raft::PeerConfig config;
  raft::Index next_index{1};
  raft::Index match_index;
  raft::Index commit_index_sent;
  raft::QueryIndex query_index;
  raft::PeerStatus status = raft::PeerStatus::normal;
  std::uint64_t snapshot_failures = 0;
};
using BeamCluster = std::map<raft::ServerId, BeamPeer>;

/// Hears of what Raft forbids and ra does all the same.
class BeamWitness {
 public:
  virtual ~BeamWitness() = default;
  /// A vote in a term in which another one had it.
  virtual void on_second_vote(raft::Term term) { static_cast<void>(term); }
  /// An index was acknowledged to a leader, with the term of the entry that is here.
  virtual void on_acknowledged(const raft::ServerId& leader, raft::IndexTerm place) {
    static_cast<void>(leader);
    static_cast<void>(place);
  }
  /// What is above `index` will be cut away, up to `last`.
  virtual void on_cut(const BeamLog& log, raft::Index index, raft::Index last) {
    static_cast<void>(log);
    static_cast<void>(index);
    static_cast<void>(last);
  }
  /// A rule broken that needs no look at the others.
  virtual void on_broken_rule(std::string_view what) { static_cast<void>(what); }
};

/// One server's state and rules.
class BeamRules {
 public:
  struct Sources {
    std::function<std::int64_t()> now_ms;     ///< for entries
    std::function<std::string()> make_token;  ///< an encoded reference
  };
  /// Recovers from the disk: ra_server:init/1 and recover/1.
  BeamRules(BeamDisk& disk, Sources sources, BeamWitness& witness);

  /// ra_server:handle_STATE/2. The role may be another one afterwards.
  beam::Effects handle(const beam::Event& event);
  /// ra_server:tick/1 and make_rpcs/1, of a leader.
  beam::Effects tick();
  /// ra_server:make_rpcs/1 alone.
  beam::Effects make_rpcs();

  raft::Role role() const { return role_; }
  /// The server's own word, from outside: ra_server_proc's next_state.
  void become(raft::Role role);
  /// Ends after the effects: "normal" or "delete".
  const std::string& stops() const { return stops_; }
  bool is_new() const { return log_.next_index() == raft::Index(1); }
  bool is_fully_replicated() const;
  bool is_fully_persisted() const { return log_.last() == log_.last_written(); }

  const raft::ServerId& id() const { return disk_.config.id; }
  raft::Term term() const { return disk_.term; }
  const std::optional<raft::ServerId>& voted_for() const { return disk_.voted_for; }
  const std::optional<raft::ServerId>& leader() const { return leader_; }
  void clear_leader() { leader_.reset(); }
  raft::Membership membership() const { return membership_; }
  raft::Index commit_index() const { return commit_; }
  raft::Index last_applied() const { return applied_; }
  raft::IndexTerm cluster_at() const { return cluster_at_; }
  /// The configuration before cluster(); null when it is not known.
  const BeamCluster* previous_cluster() const {
    return previous_cluster_ ? &previous_cluster_->cluster : nullptr;
  }
  bool cluster_change_permitted() const { return permitted_; }
  std::uint64_t query_index() const { return query_index_; }
  const BeamCluster& cluster() const { return cluster_; }
  const BeamLog& log() const { return log_; }
  const BeamDisk& disk() const { return disk_; }
  kv::ReplicatedMachine& machine() { return machine_; }
  void set_status(const raft::ServerId& id, raft::PeerStatus status, std::uint64_t failures);
  /// A transfer of a snapshot ended: ra_server:handle_down/5 for snapshot_sender.
  beam::Effects snapshot_sender_ended(const raft::ServerId& id, bool in_order);
  void node_up(const std::string& node);
  /// Callers of reads that a leader of before did not answer.
  std::vector<std::string> take_waiting_readers();
  /// ra_kv's `take_snapshot`.
  beam::Effects take_snapshot();

 private:
  struct Read {
    std::uint64_t query_index = 0;
    beam::ConsistentRead read;
    std::string from;
    raft::Index commit;
  };
  /// Why a member is in await_condition.
  struct Condition {
    enum class Kind : std::uint8_t { missing, term_mismatch, transfer };
    Kind kind = Kind::missing;
    raft::Role then = raft::Role::follower;
    raft::Role after_timeout = raft::Role::follower;
    beam::Effects at_timeout;
  };
  /// A snapshot on its way here.
  struct Receiving {
    raft::IndexTerm place;
    raft::ChunkFlag phase = raft::ChunkFlag::next;
    bool has_live = false;
    std::uint64_t next_chunk = 1;
    std::string bytes;
    std::optional<beam::Event> deferred;  ///< the last chunk, until live entries are written
  };

  // --- beam_rules.cc
  void recover();
  template <class Kind>
  void emit(Kind effect) {
    effects_.emplace_back(std::move(effect));
  }
  void again(const beam::Event& event) { emit(beam::NextEvent{event}); }
  void reply(const beam::Event& event, std::string term);
  void unsupported(const beam::Event& event);
  void handle_log_event(const beam::Event& event);
  void store_term_and_vote(raft::Term term, std::optional<raft::ServerId> vote);
  void update_term(raft::Term term);
  void step_down(raft::Term term, bool forgets_vote);
  void persist_last_applied();
  void send_info_reply(const raft::InfoRpc& rpc, bool with_info);
  void send_append_entries_reply(const raft::ServerId& to, raft::Term term, bool success);
  void acknowledge(const raft::ServerId& to, const raft::AppendEntriesReply& reply);
  raft::AppendEntriesReply mismatch_reply(raft::Term term);
  BeamPeer* peer(const raft::ServerId& id);
  std::vector<raft::ServerId> peer_ids() const;
  void release_cursor(raft::Index index);
  void emit_pending_release_cursor();

  // --- beam_follower.cc
  void on_follower(const beam::Event& event);
  void follower_append_entries(const beam::Event& event, const raft::AppendEntriesRpc& rpc);
  void follower_no_new_entries(const raft::AppendEntriesRpc& rpc, raft::Index last_valid,
                               raft::Term term_before);
  void follower_new_entries(const raft::AppendEntriesRpc& rpc, std::vector<raft::Entry> entries);
  void follower_refuses(const raft::AppendEntriesRpc& rpc, bool mismatch);
  void follower_request_vote(const beam::Event& event, const raft::RequestVoteRpc& rpc);
  void follower_install_snapshot(const beam::Event& event, const raft::InstallSnapshotRpc& rpc);
  void follower_force_member_change(const beam::Event& event);
  void evaluate_commit_index_follower();
  void pre_append(const raft::Entry& entry);
  void on_await_condition(const beam::Event& event);
  bool condition_holds(const beam::Event& event) const;

  // --- beam_snapshot.cc
  void on_receive_snapshot(const beam::Event& event);
  void receive_chunk(const beam::Event& event, const raft::InstallSnapshotRpc& rpc);
  void receive_live_entries(const raft::InstallSnapshotRpc& rpc);
  void accept_chunk(const raft::InstallSnapshotRpc& rpc);
  void complete_snapshot(const raft::InstallSnapshotRpc& rpc);
  void abort_receive();

  // --- beam_election.cc
  void on_candidate(const beam::Event& event);
  void on_pre_vote(const beam::Event& event);
  void candidate_vote_result(const raft::RequestVoteResult& result);
  void call_for_election();
  void call_for_pre_vote();
  void process_pre_vote(const beam::Event& event, const beam::PreVoteRpc& call);
  void reply_vote(const beam::Event& event, bool granted);
  bool is_up_to_date(raft::Index index, raft::Term term) const;
  std::size_t required_quorum() const;

  // --- beam_leader.cc
  void on_leader(const beam::Event& event);
  bool leader_on_reply(const beam::Event& event);
  bool leader_on_rival(const beam::Event& event);
  void leader_success(const beam::AppendEntriesReply& replied);
  void leader_refusal(const beam::AppendEntriesReply& replied);
  void leader_snapshot_result(const beam::InstallSnapshotResult& result);
  void leader_heartbeat_reply(const beam::HeartbeatReply& replied);
  void leader_abdicates(raft::Term newer, const beam::Event* event);
  void leader_command(const beam::Command& command);
  void leader_commands(const std::vector<beam::Command>& commands);
  void leader_transfer(const beam::Event& event, const raft::ServerId& target);
  void leader_read(const beam::Event& event, const beam::ConsistentRead& read);
  /// Whether it was the cluster's deletion that was applied now.
  bool evaluate_quorum();
  raft::Index agreed_commit(bool with_own) const;
  void process_pending_reads();
  void begin_read(Read read);
  void answer(const Read& read);
  void send_heartbeats();
  /// Gives whether there is more to send.
  bool send_pipelined(bool force);
  raft::Index send_entries(const raft::ServerId& to, const BeamPeer& known, std::uint64_t most);
  void enforce_leadership();
  void send_info_rpcs();
  void initialise_peers();

  // --- beam_apply.cc
  void apply_to(raft::Index until, bool recovers);
  void apply_user(const raft::Entry& entry, bool recovers);
  void command_reply(std::string_view from, std::string_view mode, std::string reply);
  /// Appends it, or gives ra's reason why not.
  std::optional<std::string> append_command(const beam::Command& command);
  std::optional<std::string> append_join(const beam::Command& command);
  void append_cluster_change(BeamCluster cluster, const beam::Command* command);
  void append(raft::Term term, SharedBytes payload);
  void adopt(const raft::Cluster& cluster, raft::IndexTerm at);
  raft::Membership membership_in(const raft::Cluster& cluster) const;
  static raft::Cluster configs(const BeamCluster& cluster);
  static BeamCluster make_cluster(const raft::Cluster& cluster);
  void append_self();

  BeamDisk& disk_;
  Sources sources_;
  BeamWitness& witness_;
  BeamLog log_;
  kv::ReplicatedMachine machine_;
  raft::Role role_ = raft::Role::follower;
  std::string stops_;
  std::optional<raft::ServerId> leader_;
  BeamCluster cluster_;
  raft::IndexTerm cluster_at_;
  struct Previous {
    raft::IndexTerm at;
    BeamCluster cluster;
  };
  std::optional<Previous> previous_cluster_;
  bool permitted_ = false;
  bool outside_ = false;  ///< the configuration had no such member, and it was added
  raft::Membership membership_ = raft::Membership::voter;
  raft::Index commit_;
  raft::Index applied_;
  raft::Index persisted_applied_;
  std::uint64_t query_index_ = 0;
  std::deque<Read> waiting_reads_;
  std::vector<Read> pending_reads_;
  std::size_t votes_ = 0;
  std::string pre_vote_token_;
  std::optional<Condition> condition_;
  std::optional<Receiving> receiving_;
  struct ReleaseCursor {
    raft::Index index;
    std::string state;
    std::vector<std::uint64_t> live;
  };
  std::optional<ReleaseCursor> pending_cursor_;
  bool writes_snapshot_ = false;
  bool deletes_ = false;  ///< the cluster's deletion is applied
  beam::Effects effects_;
};

}  // namespace rakv::simulation
