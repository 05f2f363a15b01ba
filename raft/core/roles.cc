// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "raft/core/core.h"

// Changing roles, terms, leaders and timers: the small moves that all rules are made of.
//
// Diverges from the dissertation as ra does: an idle leader sends nothing (3.4 has heartbeats); its
// followers watch its process, and the failure detector its node.

namespace rakv::raft {

Core::Leader* Core::leader_data() {
  return const_cast<Leader*>(std::as_const(*this).leader_data());
}

const Core::Leader* Core::leader_data() const {
  if (const auto* leader = std::get_if<Leader>(&role_)) return leader;
  if (const auto* terminating = std::get_if<TerminatingLeader>(&role_)) return &terminating->leader;
  if (const auto* waiting = std::get_if<AwaitCondition>(&role_)) return waiting->leader.get();
  return nullptr;
}

/// Leaves the present role properly and enters `next`. A leader's data must have been moved out
/// before if it is to survive. Every change of role cancels the election timer.
void Core::set_role(RoleState next) {
  if (Leader* leader = leader_data()) retire(*leader);
  if (std::holds_alternative<AwaitCondition>(role_)) emit(effect::CancelConditionTimer{});
  if (std::holds_alternative<ReceiveSnapshot>(role_)) emit(effect::CancelReceiveSnapshotTimer{});
  const Role from = role();
  role_ = std::move(next);
  disarm_election_timer();
  if (role() != from) emit(effect::RoleChanged{from, role()});
}

void Core::become_follower(effect::ElectionTimer length) {
  set_role(Follower{});
  // A brand-new one that stood for election goes on until there is a leader.
  if (!is_new() || attempts_ > 0) arm_election_timer(length);
}

Peer* Core::find_peer(const ServerId& id) {
  Leader* leader = leader_data();
  if (leader == nullptr) return nullptr;
  const auto found = leader->peers.find(id);
  return found == leader->peers.end() ? nullptr : &found->second;
}

/// True if the term is a higher one than this member's. Whoever leads or stands for election then
/// steps down and knows no leader, and a follower takes the term (dissertation 3.3). Others than
/// the dissertation's three roles end what they wait for first, and leave the term to the message
/// by which they do (ra_server).
bool Core::yields_to(Term term) {
  if (term <= current_term_) return false;
  switch (role()) {
    case Role::leader:
    case Role::candidate:
    case Role::pre_vote:
      leader_.reset();
      adopt_term(term);
      become_follower();
      break;
    case Role::follower:
      adopt_term(term);
      break;
    default:
      break;
  }
  return true;
}

/// What a leader leaves behind: transfers stop, queued low-priority commands are forgotten, reads
/// wait for the next leader to be redirected to.
void Core::retire(Leader& leader) {
  for (auto& [id, peer] : leader.peers) {
    if (peer.status == PeerStatus::sending_snapshot)
      emit(effect::StopSnapshotSend{id, peer.transfer});
    end_backoff(id, peer);
  }
  for (event::ClientCommand& command : leader.low_priority) {
    if (command.token != CallToken(0)) emit(effect::DropCall{command.token});
  }
  for (const CallToken token : leader.reads.take_all())
    held_.emplace_back(event::ReadRequest{token});
  leader = Leader{};
}

/// Both are durable before anything that rests on them leaves (dissertation 3.8).
void Core::set_term_and_vote(Term term, std::optional<ServerId> voted_for) {
  if (term == current_term_ && voted_for == voted_for_) return;
  if (term != current_term_) {
    validated_ = Index(0);
    if (amnesia_) amnesia_->until.reset();
  }
  current_term_ = term;
  voted_for_ = std::move(voted_for);
  if (Leader* leader = leader_data()) {
    for (auto& [id, peer] : leader->peers) peer.query_index = QueryIndex(0);
  }
  emit(effect::PersistTermVote{current_term_, voted_for_});
}

void Core::adopt_term(Term term) {
  if (term > current_term_) set_term_and_vote(term, std::nullopt);
}

/// A message of the current term's leader was acted on: remember it, watch it, send held clients
/// there.
void Core::note_leader(const ServerId& leader) {
  if (leader_ != leader) validated_ = Index(0);
  leader_ = leader;
  forget_elections();
  if (leader == id_) return;
  if (monitored_ == leader) return redirect_held();  // it was watched, and not known to lead
  drop_monitor();
  watch_leader();
}

void Core::watch_leader() {
  monitored_ = leader_;
  emit(effect::MonitorLeader{*leader_});
  redirect_held();
}

void Core::drop_monitor() {
  if (!monitored_) return;
  emit(effect::DemonitorLeader{*monitored_});
  monitored_.reset();
}

void Core::arm_election_timer(effect::ElectionTimer length) {
  if (timer_armed_) return;
  timer_armed_ = true;
  timer_to_set_ = length;
}

void Core::restart_election_timer(effect::ElectionTimer length) {
  timer_armed_ = true;
  timer_to_set_ = length;
}

/// Voters in the order of their ids; the leader that was lost is not waited for. Diverges from the
/// dissertation, where all draw from one range (3.4).
std::uint32_t Core::election_turn() const { return cluster_.turn_of(id_, leader_); }

/// Who failed draws from a wider range: the links or the disks may be slower than the timers, and
/// whoever asks first must be heard before the next one asks.
std::uint32_t Core::election_stretch() const {
  if (attempts_ <= 1 || options_.ra_elections) return 1;
  return attempts_ <= 3 ? 2 : 4;
}

void Core::disarm_election_timer() {
  timer_armed_ = false;
  timer_to_set_.reset();
}

// --- liveness of the leader
// -------------------------------------------------------------------------------------------

void Core::on(event::LeaderDown& event) {
  if (monitored_ != event.leader) return;
  monitored_.reset();
  const bool gone = event.reason != event::DownReason::noconnection;
  // ra waits for any part of short_, and from await_condition for long_.
  const auto length = gone ? effect::ElectionTimer::really_short : effect::ElectionTimer::in_turn;
  switch (role()) {
    case Role::follower:
      if (gone) leader_.reset();
      arm_election_timer(length);
      break;
    case Role::await_condition:
      if (gone) leader_.reset();
      become_follower(length);
      break;
    case Role::receive_snapshot:
      abort_receive();
      break;
    default:
      break;
  }
}

void Core::on(event::SuspicionChanged& event) {
  if (event.up) {
    silent_nodes_.erase(event.node);
  } else if (cluster_.has_member_on(event.node) && silent_nodes_.insert(event.node).second) {
    node_lost(event.node);
  }
  if (!leader_ || leader_->node() != event.node || *leader_ == id_) return;
  if (role() == Role::follower) {
    if (event.up) {
      disarm_election_timer();
      // The monitor went with the connection, and an idle leader says nothing: only a new one tells
      // whether it is still there (ra has none then until the leader speaks).
      if (!monitored_) watch_leader();
    } else {
      arm_election_timer(effect::ElectionTimer::long_);
    }
  } else if (role() == Role::await_condition && !event.up) {
    become_follower();
  }
}

}  // namespace rakv::raft
