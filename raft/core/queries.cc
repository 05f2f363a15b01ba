// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "raft/core/core.h"

// Consistent reads (dissertation 6.4): a read is answered once a quorum has confirmed, after the
// read came, that this member still leads. Reads are parked until the term's noop is applied and,
// which the dissertation does not ask for, while a membership change is under way.

namespace rakv::raft {

void Core::on(event::ReadRequest& event) {
  if (!leads()) {
    hold_or_redirect(event.token, event);
  } else if (cluster_change_permitted_) {
    start_read(event.token);
  } else {
    leader_data()->reads.park(event.token);
  }
}

void Core::start_read(CallToken token) {
  Leader& leader = *leader_data();
  if (leader.peers.empty()) {
    emit(effect::ReadReady{token});
    return;
  }
  ++query_index_;
  leader.reads.begin(token, query_index_, commit_index_);
  send_heartbeats();
  // With no other voter the leader is its own quorum.
  answer_reads();
}

/// The parked reads come to life with one round for all of them.
void Core::start_parked_reads() {
  Leader& leader = *leader_data();
  const std::vector<CallToken> parked = leader.reads.take_parked();
  if (parked.empty()) return;
  if (leader.peers.empty()) {
    for (const CallToken token : parked) emit(effect::ReadReady{token});
    return;
  }
  ++query_index_;
  for (const CallToken token : parked) leader.reads.begin(token, query_index_, commit_index_);
  send_heartbeats();
}

/// Also every tick, for the heartbeats or replies that were lost.
void Core::send_heartbeats() {
  for (const auto& [id, peer] : leader_data()->peers) {
    if (peer.status == PeerStatus::normal && peer.query_index < query_index_) {
      emit(effect::SendHeartbeat{id, query_index_, current_term_});
    }
  }
}

/// Answers all reads whose round has its quorum and whose commit index is applied.
void Core::answer_reads() {
  ConsistentReads& reads = leader_data()->reads;
  if (reads.waiting() == 0) return;
  const QueryIndex round(
      agreed(query_index_.value(), [](const Peer& peer) { return peer.query_index.value(); }));
  for (const CallToken token : reads.take_confirmed(round, last_applied_))
    emit(effect::ReadReady{token});
}

void Core::on(event::HeartbeatReplied& event) {
  if (yields_to(event.reply.term)) return;
  if (!leads() || event.reply.term < current_term_) return;
  Peer* peer = find_peer(event.from);
  // An answer to a question that was never asked confirms nothing.
  if (peer == nullptr || event.reply.query_index > query_index_) return;
  peer->query_index = std::max(peer->query_index, event.reply.query_index);
  answer_reads();
}

}  // namespace rakv::raft
