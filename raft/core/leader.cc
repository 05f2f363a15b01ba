// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cnode/base/check.h"
#include "raft/core/core.h"

// Replication by a leader: what to send, what replies mean, when an entry is committed
// (dissertation 3.5, 3.6; ra_server:make_pipelined_rpc_effects, handle_leader, evaluate_quorum).
//
// Stricter than ra where peers can't see it: commit never falls, a success reply counts only if its
// last term agrees with this log, a leader that is not in the configuration does not count itself.

namespace rakv::raft {

/// Gives the entry its place at the end of the log.
void Core::append_own(Entry& entry) {
  entry.index = log_.next();
  entry.term = current_term_;
  log_.append(entry.index, entry.term);
  append_special(entry);
}

void Core::emit_appended(std::vector<Entry> entries) {
  if (entries.empty()) return;
  std::vector<effect::CommandAppended> appended;
  for (const Entry& entry : entries) {
    if (entry.token != CallToken(0)) appended.push_back({entry.token, entry.index, entry.term});
  }
  emit(effect::AppendToLog{std::move(entries)});
  for (const effect::CommandAppended& command : appended) emit(command);
}

// --- sending
// ----------------------------------------------------------------------------------------------------------

void Core::leader_tick() {
  probe_peers(true);
  send_heartbeats();
  send_infos();
}

void Core::send_infos() {
  for (const auto& [id, peer] : leader_data()->peers) {
    if (!peer.config.machine_version || *peer.config.machine_version < machine_version_) {
      emit(effect::SendInfo{id, current_term_});
    }
  }
}

/// Everything that fits the window goes to every normal peer, without waiting for replies
/// (dissertation 10.2.2). `force`: at least one message
/// whatever the window.
void Core::replicate(bool force) {
  const Index last = log_.last().index;
  for (auto& [id, peer] : leader_data()->peers) {
    bool forced = force;
    while (peer.status == PeerStatus::normal &&
           (peer.next_index <= last || peer.commit_index_sent < commit_index_)) {
      const std::uint64_t in_flight = (peer.next_index - peer.match_index) - 1;
      if (in_flight >= options_.max_pipeline_count && !forced) break;
      const std::uint64_t room =
          options_.max_pipeline_count > in_flight ? options_.max_pipeline_count - in_flight : 0;
      const std::uint64_t limit =
          std::max<std::uint64_t>(1, std::min(options_.max_append_entries_rpc_batch_size, room));
      send_batch(id, peer, limit, true);
      forced = false;
    }
  }
}

/// One message from next_index on, or a snapshot if what precedes it is gone. An empty message
/// always stands at the log's end: a peer takes it as an order to end there.
void Core::send_batch(const ServerId& id, Peer& peer, std::uint64_t limit, bool advance) {
  const Index prev = peer.next_index - 1;
  const std::optional<Term> prev_term = log_.term_at(prev);
  if (!prev_term) {
    start_snapshot_send(id, peer);
    return;
  }
  const Index last = std::min(log_.last().index, prev + limit);
  RAKV_CHECK(last >= prev);
  emit(effect::SendAppendEntries{id, current_term_, prev, *prev_term, prev + 1, last,
                                 commit_index_});
  if (!advance) return;
  peer.next_index = last + 1;
  peer.commit_index_sent = commit_index_;
}

/// One small message, next_index unmoved, to the peers that could miss something (every tick), or
/// to all (to show who leads). Entries that were never sent count, too: a probe that was to bring
/// them may be lost (ra leaves those to the next command).
void Core::probe_peers(bool stale_only) {
  for (auto& [id, peer] : leader_data()->peers) {
    if (!stale_only) end_backoff(id, peer);
    if (peer.status != PeerStatus::normal) continue;
    const bool stale = peer.match_index < log_.last().index ||
                       peer.match_index < peer.next_index - 1 ||
                       peer.commit_index_sent < commit_index_;
    if (stale || !stale_only) send_batch(id, peer, 1, false);
  }
}

// --- replies
// ----------------------------------------------------------------------------------------------------------

void Core::on(event::AppendEntriesReplied& event) {
  const AppendEntriesReply& reply = event.reply;
  if (!leads()) {
    // It is for a leader that this member was; in pre_vote it asks the others anyway.
    if (role() != Role::pre_vote) yields_to(reply.term);
    return;
  }
  Peer* peer = find_peer(event.from);
  if (peer == nullptr || yields_to(reply.term)) return;
  if (!reply.success) {
    leader_refusal(*peer, reply);
    replicate();
  } else if (reply.term == current_term_) {
    leader_success(event.from, *peer, reply);
  }
}

/// The match index moves (dissertation 3.5), by what is durable there.
void Core::leader_success(const ServerId& from, Peer& peer, const AppendEntriesReply& reply) {
  // Entries that this leader never gave out, or that differ from its own, prove nothing.
  const bool below_snapshot = reply.last_index < log_.snapshot().index;
  if (below_snapshot || log_.term_at(reply.last_index) == reply.last_term) {
    peer.match_index = std::max(peer.match_index, reply.last_index);
  }
  peer.next_index = std::max(peer.next_index, std::min(reply.next_index, log_.next()));
  peer.next_index = std::max(peer.next_index, peer.match_index + 1);
  promote_if_caught_up(from);
  evaluate_commit();
}

/// Where to go on from (dissertation 3.5): the reply says where the peer's log ends, so the leader
/// need not go back entry by entry. Diverges: the match index falls if the peer lost what it had,
/// and a peer that has all entries is told the commit index again (follower_heartbeat).
void Core::leader_refusal(Peer& peer, const AppendEntriesReply& reply) {
  const std::optional<Term> own_term = log_.term_at(reply.last_index);
  if (!own_term) {
    // Beyond this log, or below its snapshot: take the peer's word.
    peer.next_index = reply.next_index;
  } else if (reply.last_index < peer.match_index) {
    // The peer lost what it once had.
    peer.match_index = reply.last_index;
    peer.next_index = reply.last_index + 1;
  } else if (*own_term == reply.last_term) {
    peer.match_index = reply.last_index;
    peer.next_index = reply.next_index;
  } else {
    // Entries of a former leader: go back, but not below what is known to agree.
    peer.next_index =
        std::max(std::min(peer.next_index - 1, reply.last_index), peer.match_index + 1);
  }
  peer.next_index = std::clamp(peer.next_index, Index(1), log_.next());
  if (peer.match_index >= peer.next_index) peer.match_index = peer.next_index - 1;
  if (peer.next_index == log_.next()) peer.commit_index_sent = Index(0);
}

// --- commit
// -----------------------------------------------------------------------------------------------------------

/// What a majority of the voters has reached: this member its `own` number, each peer what
/// `of_peer` says. A leader that is no voter of its configuration does not count itself
/// (dissertation 4.2.2); where nobody is left to vote, the last member having removed itself, its
/// own number counts.
std::uint64_t Core::agreed(std::uint64_t own, std::uint64_t (*of_peer)(const Peer& peer)) {
  if (cluster_.is_voter(id_)) quorum_.add(own);
  for (const auto& [id, peer] : leader_data()->peers) {
    if (peer.config.is_voter()) quorum_.add(of_peer(peer));
  }
  return quorum_.take_agreed().value_or(own);
}

/// The highest index that a majority of voters has durably, if it is of this term
/// (dissertation 3.6.2). The leader counts itself by its own fsync.
void Core::evaluate_commit() {
  const Index durable(agreed(log_.last_written().index.value(),
                             [](const Peer& peer) { return peer.match_index.value(); }));
  if (durable > commit_index_ && role() == Role::leader && log_.term_at(durable) == current_term_) {
    commit_index_ = durable;
    apply_committed();
    if (cluster_change_permitted_) start_parked_reads();
    answer_reads();
  }
  replicate();
}

// --- the end
// ----------------------------------------------------------------------------------------------------------

bool Core::deletion_in_log() const {
  return std::any_of(special_entries_.begin(), special_entries_.end(),
                     [](const auto& entry) { return entry.kind == EntryKind::cluster_delete; });
}

/// What is deleted will never acknowledge anything any more.
void Core::on(event::PeerDeleted& event) {
  if (role() != Role::terminating_leader) return;
  Peer* peer = find_peer(event.peer);
  if (peer == nullptr) return;
  peer->next_index = log_.last().index + 1;
  peer->match_index = log_.last().index;
  peer->commit_index_sent = commit_index_;
}

bool Core::is_fully_replicated() const {
  const Peers& peers = leader_data()->peers;
  return std::all_of(peers.begin(), peers.end(), [this](const auto& entry) {
    return entry.second.match_index >= commit_index_ &&
           entry.second.commit_index_sent >= commit_index_;
  });
}

/// After every event: a removed leader stops once its removal is committed and told, and another
/// one is asked to lead (dissertation 4.2.2); a deleted cluster's members stop once everyone knows
/// (not in the dissertation).
void Core::check_termination() {
  switch (role()) {
    case Role::terminating_leader:
      if (!is_fully_replicated()) probe_peers(true);
      if (is_fully_replicated()) {
        stopped_ = true;
        emit(effect::Stop{effect::StopReason::deleted, {}});
      }
      break;
    case Role::terminating_follower:
      if (log_.last_written().index == log_.last().index) {
        stopped_ = true;
        emit(effect::Stop{effect::StopReason::deleted, {}});
      }
      break;
    case Role::leader:
      if (!cluster_.contains(id_) && last_applied_ >= cluster_.at.index) {
        replicate();
        stopped_ = true;
        const std::optional<ServerId> successor = best_successor();
        if (successor) emit(effect::SendElectionTimeout{*successor});
        emit(effect::Stop{effect::StopReason::removed, successor});
      }
      break;
    default:
      break;
  }
}

/// The voter that has most of the log, if one is there and its node is, too.
std::optional<ServerId> Core::best_successor() const {
  std::optional<ServerId> best;
  Index match;
  for (const auto& [id, peer] : leader_data()->peers) {
    if (!peer.config.is_voter() || peer.status != PeerStatus::normal) continue;
    if (!is_reachable(id)) continue;
    if (best && peer.match_index <= match) continue;
    best = id;
    match = peer.match_index;
  }
  return best;
}

}  // namespace rakv::raft
