// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "raft/core/core.h"

// Consistent reads (dissertation 6.4): a read is answered once a quorum has confirmed, after the
// read came, that this member still leads. Reads are parked until the term's noop is applied and
// while a membership change is under way.

namespace rakv::raft {

void Core::on(event::ReadRequest& event) {
  if (!leads()) {
    hold_or_redirect(event.token, event);
  } else if (cluster_change_permitted_) {
    start_read(event.token);
  } else {
    leader_data()->parked_reads.push_back(event.token);
  }
}

void Core::start_read(CallToken token) {
  Leader& leader = *leader_data();
  if (leader.peers.empty()) {
    emit(effect::ReadReady{token});
    return;
  }
  ++query_index_;
  leader.waiting_reads.push_back({token, query_index_, commit_index_});
  send_heartbeats();
  // With no other voter the leader is its own quorum.
  answer_reads();
}

/// The parked reads come to life with one round for all of them.
void Core::start_parked_reads() {
  Leader& leader = *leader_data();
  if (leader.parked_reads.empty()) return;
  const std::vector<CallToken> parked = std::exchange(leader.parked_reads, {});
  if (leader.peers.empty()) {
    for (const CallToken token : parked) emit(effect::ReadReady{token});
    return;
  }
  ++query_index_;
  for (const CallToken token : parked)
    leader.waiting_reads.push_back({token, query_index_, commit_index_});
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
  Leader& leader = *leader_data();
  if (leader.waiting_reads.empty()) return;
  sort_buffer_.clear();
  const auto self = cluster_.members->find(id_);
  if (self != cluster_.members->end() && self->second.is_voter())
    sort_buffer_.push_back(query_index_.value());
  for (const auto& [id, peer] : leader.peers) {
    if (peer.config.is_voter()) sort_buffer_.push_back(peer.query_index.value());
  }
  if (sort_buffer_.empty()) sort_buffer_.push_back(query_index_.value());
  const auto middle = sort_buffer_.begin() + static_cast<std::ptrdiff_t>(sort_buffer_.size() / 2);
  std::nth_element(sort_buffer_.begin(), middle, sort_buffer_.end(), std::greater<>());
  const QueryIndex agreed(*middle);
  while (!leader.waiting_reads.empty()) {
    const WaitingRead& read = leader.waiting_reads.front();
    if (read.query_index > agreed || read.commit_index > last_applied_) break;
    emit(effect::ReadReady{read.token});
    leader.waiting_reads.pop_front();
  }
}

void Core::on(event::HeartbeatReplied& event) {
  if (event.reply.term > current_term_) {
    switch (role()) {
      case Role::leader:
      case Role::candidate:
      case Role::pre_vote:
        step_down(event.reply.term);
        break;
      case Role::follower:
        adopt_term(event.reply.term);
        break;
      default:
        break;
    }
    return;
  }
  if (!leads() || event.reply.term < current_term_) return;
  Peers& peers = leader_data()->peers;
  const auto found = peers.find(event.from);
  // An answer to a question that was never asked confirms nothing.
  if (found == peers.end() || event.reply.query_index > query_index_) return;
  found->second.query_index = std::max(found->second.query_index, event.reply.query_index);
  answer_reads();
}

}  // namespace rakv::raft
