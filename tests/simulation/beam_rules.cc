// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_rules.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/writer.h"
#include "raft/wire/client_requests.h"

namespace rakv::simulation {

using namespace beam;
using raft::Index;
using raft::Role;
using raft::Term;

BeamRules::BeamRules(BeamDisk& disk, Sources sources, BeamWitness& witness)
    : disk_(disk),
      sources_(std::move(sources)),
      witness_(witness),
      log_(disk),
      membership_(disk.config.membership) {
  recover();
}

void BeamRules::recover() {
  raft::Cluster known;
  if (disk_.snapshot) {
    known = disk_.snapshot->meta.cluster;
    cluster_at_ = disk_.snapshot->place();
    applied_ = disk_.snapshot->meta.index;
    if (!machine_.read_state(disk_.snapshot->state)) throw BeamCrash("the snapshot's state");
    if (log_.last().term < disk_.snapshot->meta.term)
      witness_.on_broken_rule("a start brought back entries that a snapshot had replaced");
  } else {
    for (const raft::ServerId& member : disk_.config.initial_members) known[member];
  }
  cluster_ = make_cluster(known);
  membership_ = membership_in(known);
  append_self();
  persisted_applied_ = disk_.last_applied;
  commit_ = std::max(persisted_applied_, applied_);
  apply_to(commit_, true);
  for (Index index = commit_ + 1; index <= log_.last().index; ++index) {
    const raft::Entry* entry = log_.read(index);
    if (entry == nullptr || entry->kind != raft::EntryKind::cluster_change) continue;
    adopt(*entry->cluster, {index, entry->term});
    permitted_ = true;
  }
  effects_.clear();
}

Effects BeamRules::handle(const Event& event) {
  const Role before = role_;
  switch (role_) {
    case Role::leader:
    case Role::terminating_leader:
      on_leader(event);
      break;
    case Role::candidate:
      on_candidate(event);
      break;
    case Role::pre_vote:
      on_pre_vote(event);
      break;
    case Role::await_condition:
      on_await_condition(event);
      break;
    case Role::receive_snapshot:
      on_receive_snapshot(event);
      break;
    case Role::follower:
    case Role::terminating_follower:
      on_follower(event);
      break;
  }
  // Whoever ends takes part in nothing else.
  if (before == Role::terminating_follower || before == Role::terminating_leader) role_ = before;
  persist_last_applied();
  return std::exchange(effects_, {});
}

void BeamRules::become(Role role) {
  const Role before = std::exchange(role_, role);
  if (role == Role::leader && before != Role::await_condition) permitted_ = false;
  if (role == Role::follower) {
    for (auto& [id, peer] : cluster_) peer.status = raft::PeerStatus::normal;
  }
}

void BeamRules::reply(const Event& event, std::string term) {
  if (!event.from.empty()) emit(Reply{event.from, std::move(term)});
}

void BeamRules::unsupported(const Event& event) {
  etf::Writer writer;
  wire::write_unsupported_call(writer, event.request);
  reply(event, writer.take());
}

void BeamRules::handle_log_event(const Event& event) {
  if (const auto* written = std::get_if<LogWritten>(&event.body)) {
    log_.handle_written(written->term, written->indexes);
  } else if (const auto* snapshot = std::get_if<SnapshotWritten>(&event.body)) {
    writes_snapshot_ = false;
    log_.handle_snapshot_written(snapshot->snapshot);
  }
}

// --- terms and votes

void BeamRules::store_term_and_vote(Term term, std::optional<raft::ServerId> vote) {
  if (disk_.term == term && disk_.voted_for == vote) return;
  disk_.term = term;
  disk_.voted_for = std::move(vote);
  for (auto& [id, peer] : cluster_) peer.query_index = {};
}

void BeamRules::update_term(Term term) {
  if (term > disk_.term) store_term_and_vote(term, std::nullopt);
}

/// To follower; a candidate forgets its vote even in its own term.
void BeamRules::step_down(Term term, bool forgets_vote) {
  if (forgets_vote) {
    store_term_and_vote(term, std::nullopt);
  } else {
    update_term(term);
  }
  become(Role::follower);
}

void BeamRules::persist_last_applied() {
  const Index applied = std::min(applied_, log_.last_written().index);
  if (applied <= persisted_applied_) return;
  persisted_applied_ = applied;
  disk_.write_last_applied(applied);
}

// --- answers to members

void BeamRules::acknowledge(const raft::ServerId& to, const raft::AppendEntriesReply& reply) {
  if (reply.success) witness_.on_acknowledged(to, {reply.last_index, reply.last_term});
  emit(Send{to, reply});
}

void BeamRules::send_append_entries_reply(const raft::ServerId& to, Term term, bool success) {
  const raft::IndexTerm written = log_.last_written();
  acknowledge(to, {term, success, log_.next_index(), written.index, written.term});
}

raft::AppendEntriesReply BeamRules::mismatch_reply(Term term) {
  const auto there = log_.fetch_term_or_snapshot(applied_);
  if (!there) throw BeamCrash("assert: no term of what is applied");
  return {term, false, applied_ + 1, applied_, *there};
}

void BeamRules::send_info_reply(const raft::InfoRpc& rpc, bool with_info) {
  raft::InfoReply info{id(), term(), rpc.keys, std::nullopt};
  const bool asked =
      std::find(rpc.keys.begin(), rpc.keys.end(), "machine_version") != rpc.keys.end();
  if (with_info && asked) info.machine_version = 0;
  emit(Send{rpc.from, info});
}

// --- peers

BeamPeer* BeamRules::peer(const raft::ServerId& id) {
  const auto found = cluster_.find(id);
  return found == cluster_.end() ? nullptr : &found->second;
}

std::vector<raft::ServerId> BeamRules::peer_ids() const {
  std::vector<raft::ServerId> ids;
  for (const auto& [member, peer] : cluster_) {
    if (member != id()) ids.push_back(member);
  }
  return ids;
}

void BeamRules::set_status(const raft::ServerId& id, raft::PeerStatus status,
                           std::uint64_t failures) {
  if (BeamPeer* found = peer(id)) {
    found->status = status;
    found->snapshot_failures = failures;
  }
}

void BeamRules::node_up(const std::string& node) {
  for (auto& [member, peer] : cluster_) {
    if (member.node() != node) continue;
    if (peer.status == raft::PeerStatus::disconnected ||
        peer.status == raft::PeerStatus::snapshot_backoff)
      peer.status = raft::PeerStatus::normal;
  }
}

Effects BeamRules::snapshot_sender_ended(const raft::ServerId& id, bool in_order) {
  BeamPeer* const found = peer(id);
  if (found == nullptr || found->status != raft::PeerStatus::sending_snapshot) return {};
  if (in_order) {
    found->status = raft::PeerStatus::normal;
    emit_pending_release_cursor();
  } else {
    found->status = raft::PeerStatus::snapshot_backoff;
    ++found->snapshot_failures;
    const std::uint64_t doubled = 5000U
                                  << std::min<std::uint64_t>(found->snapshot_failures - 1, 5U);
    emit(StartSnapshotRetry{id, std::min<std::uint64_t>(doubled, 60000)});
  }
  return std::exchange(effects_, {});
}

bool BeamRules::is_fully_replicated() const {
  return std::all_of(cluster_.begin(), cluster_.end(), [&](const auto& member) {
    return member.first == id() ||
           (member.second.match_index >= commit_ && member.second.commit_index_sent >= commit_);
  });
}

std::vector<std::string> BeamRules::take_waiting_readers() {
  std::vector<std::string> callers;
  for (const Read& read : pending_reads_) callers.push_back(read.from);
  for (const Read& read : waiting_reads_) callers.push_back(read.from);
  pending_reads_.clear();
  waiting_reads_.clear();
  return callers;
}

// --- own snapshots

Effects BeamRules::take_snapshot() {
  etf::Writer state;
  machine_.write_state(state);
  std::vector<std::uint64_t> live = machine_.live_indexes();
  std::sort(live.begin(), live.end());
  pending_cursor_ = ReleaseCursor{applied_, state.take(), std::move(live)};
  emit_pending_release_cursor();
  return std::exchange(effects_, {});
}

void BeamRules::emit_pending_release_cursor() {
  if (!pending_cursor_ || pending_cursor_->index > log_.last_written().index) return;
  release_cursor(pending_cursor_->index);
}

/// ra_log:suggest_snapshot/5. The configuration is the newest there is, not that at the index.
void BeamRules::release_cursor(Index index) {
  const ReleaseCursor cursor = *std::exchange(pending_cursor_, std::nullopt);
  const auto term = log_.fetch_term(index);
  const auto present = log_.snapshot();
  if (writes_snapshot_ || !term || (present && index <= present->index) || index == Index(0))
    return;
  if (cluster_at_.index > index)
    witness_.on_broken_rule("a snapshot has a configuration of after its index");
  writes_snapshot_ = true;
  WriteSnapshot write;
  write.snapshot.meta.index = index;
  write.snapshot.meta.term = *term;
  write.snapshot.meta.cluster = configs(cluster_);
  write.snapshot.state = cursor.state;
  write.snapshot.live = cursor.live;
  emit(std::move(write));
}

}  // namespace rakv::simulation
