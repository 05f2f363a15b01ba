// SPDX-License-Identifier: Apache-2.0
#include "raft/core/core.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"

// The frame of a step: construction, what every event ends with, own log and nodes.

namespace rakv::raft {

Core::Core(CoreState state)
    : id_(std::move(state.id)),
      uid_(std::move(state.uid)),
      options_(state.options),
      machine_version_(state.machine_version),
      current_term_(state.current_term),
      voted_for_(std::move(state.voted_for)),
      log_(std::move(state.log)),
      last_applied_(std::max(state.last_applied, log_.snapshot().index)),
      membership_(state.membership) {
  RAKV_CHECK(!id_.is_none());
  RAKV_CHECK_MSG(last_applied_ <= log_.last().index,
                 "a member recovered beyond the end of its log");
  commit_index_ = last_applied_;
  if (state.amnesia) {
    RAKV_CHECK_MSG(last_applied_ == log_.snapshot().index,
                   "a member that may have forgotten something trusts its snapshot only");
    amnesia_ = CatchUp{};
    amnesia_->term_lost = state.amnesia->term_lost;
    if (!amnesia_->term_lost) amnesia_->above = current_term_;
  }
  // A member always finds itself in its configuration; a newcomer's start config may list the
  // others only.
  base_cluster_ = of_snapshot(std::move(state.cluster));
  cluster_ = base_cluster_;
  refresh_membership();
  for (SpecialEntry& entry : state.special_entries) {
    if (entry.at.index <= log_.snapshot().index) continue;
    RAKV_CHECK(log_.term_at(entry.at.index) == entry.at.term);
    if (entry.kind == EntryKind::cluster_change) {
      RAKV_CHECK(entry.cluster != nullptr);
      cluster_ = {entry.cluster, entry.at};
      refresh_membership();
      cluster_change_permitted_ = true;
    }
    if (entry.kind == EntryKind::noop && entry.at.index <= last_applied_) {
      effective_machine_version_ = std::max(effective_machine_version_, entry.machine_version);
    }
    // A deletion that was carried out before and did not come to its end: it is applied again when
    // a leader says that it is committed, or by this member as a leader, which then tells the rest.
    if (entry.kind == EntryKind::cluster_delete && entry.at.index <= last_applied_) {
      last_applied_ = entry.at.index - 1;
      commit_index_ = last_applied_;
    }
    special_entries_.push_back(std::move(entry));
  }
}

Core::~Core() = default;
Core::Core(Core&&) noexcept = default;
Core& Core::operator=(Core&&) noexcept = default;

Role Core::role() const {
  constexpr Role kRoles[] = {Role::follower,           Role::pre_vote,
                             Role::candidate,          Role::leader,
                             Role::await_condition,    Role::receive_snapshot,
                             Role::terminating_leader, Role::terminating_follower};
  static_assert(std::variant_size_v<RoleState> == std::size(kRoles));
  return kRoles[role_.index()];
}

void Core::start(Effects& effects) {
  out_ = &effects;
  // With a term the cluster has been at work, though nothing of it is on this disk yet. Somebody
  // who took this member for its leader may wait for it (ra's members wait for ever then).
  const bool has_met_others = current_term_ > Term(0) && !options_.ra_elections;
  if (!is_new() || has_met_others) arm_election_timer(effect::ElectionTimer::short_);
  finish_step();
  out_ = nullptr;
}

void Core::step(Event event, Effects& effects) {
  RAKV_CHECK(out_ == nullptr);
  if (stopped_) return;
  out_ = &effects;
  std::visit([this](auto& alternative) { on(alternative); }, event);
  finish_step();
  out_ = nullptr;
}

void Core::finish_step() {
  if (!stopped_) check_termination();
  offer_leadership();
  if (role() == Role::pre_vote) arm_election_timer(effect::ElectionTimer::long_);
  if (role() == Role::candidate) arm_election_timer(effect::ElectionTimer::patient);
  if (timer_to_set_) {
    const bool in_turn = *timer_to_set_ == effect::ElectionTimer::in_turn;
    emit(effect::SetElectionTimer{*timer_to_set_, in_turn ? election_turn() : 0, election_stretch(),
                                  ++timer_number_});
  } else if (timer_armed_outside_ && !timer_armed_) {
    emit(effect::CancelElectionTimer{});
  }
  timer_to_set_.reset();
  timer_armed_outside_ = timer_armed_;
  if (leader_ != reported_leader_) {
    reported_leader_ = leader_;
    emit(effect::LeaderChanged{leader_});
  }
  RAKV_CHECK(last_applied_ <= commit_index_ && commit_index_ <= log_.last().index);
}

void Core::on(event::Tick&) {
  if (leads()) leader_tick();
  if (amnesia_) ask_where_log_ends();
}

// --- own log
// --------------------------------------------------------------------------------------------------------

void Core::on(event::Written& event) {
  if (!log_.written(event.term, event.up_to)) return;
  end_amnesia_if_caught_up();
  switch (role()) {
    case Role::leader:
    case Role::terminating_leader:
      evaluate_commit();
      break;
    case Role::follower:
    case Role::terminating_follower:
      acknowledge_written();
      break;
    default:
      break;
  }
}

/// What would still come of a snapshot could not be kept.
void Core::on(event::LogDown&) {
  log_up_ = false;
  const auto* state = std::get_if<ReceiveSnapshot>(&role_);
  if (state != nullptr && !state->completing) abort_receive();
}

void Core::on(event::LogUp&) {
  const bool was_down = !std::exchange(log_up_, true);
  const auto* waiting = std::get_if<AwaitCondition>(&role_);
  if (waiting == nullptr) return;
  if (waiting->condition == Condition::log_down) {
    become_follower();
  } else if (waiting->condition == Condition::transfer && was_down) {
    resume_leader();  // nobody else need lead any more
  }
}

void Core::on(event::SnapshotTaken& event) {
  if (event.index <= log_.snapshot().index || event.index > last_applied_) return;
  while (!special_entries_.empty() && special_entries_.front().at.index <= event.index) {
    SpecialEntry& entry = special_entries_.front();
    if (entry.kind == EntryKind::cluster_change) base_cluster_ = {entry.cluster, entry.at};
    special_entries_.pop_front();
  }
  log_.snapshot_taken({event.index, event.term});
}

// --- nodes
// ----------------------------------------------------------------------------------------------------------

void Core::on(event::NodeUp& event) {
  lost_nodes_.erase(event.node);
  silent_nodes_.erase(event.node);
  if (role() == Role::follower && leader_) return tell_term(event.node);
  Leader* leader = leader_data();
  if (leader == nullptr) return;
  for (auto& [id, peer] : leader->peers) {
    if (id.node() != event.node) continue;
    // What was under way when the link broke is lost. Lost entries show by themselves; a lost
    // commit index would not (ra leaves such a peer behind until the next command), so the next
    // tick tells it again.
    peer.commit_index_sent = Index(0);
    end_backoff(id, peer);
    if (peer.status == PeerStatus::disconnected) peer.status = PeerStatus::normal;
  }
}

void Core::on(event::NodeDown& event) {
  if (!cluster_.has_member_on(event.node)) return;
  lost_nodes_.insert(event.node);
  silent_nodes_.erase(event.node);
  node_lost(event.node);
}

/// As far as anyone knows.
bool Core::is_reachable(const ServerId& id) const {
  return !lost_nodes_.contains(id.node()) && !silent_nodes_.contains(id.node());
}

/// Whoever was asked to lead there, or was let go first, won't.
void Core::node_lost(const std::string& node) {
  if (gave_way_to_ && gave_way_to_->node() == node && role() == Role::follower && timer_armed_)
    restart_election_timer(effect::ElectionTimer::in_turn);
  const auto* waiting = std::get_if<AwaitCondition>(&role_);
  const bool in_vain = waiting != nullptr && waiting->condition == Condition::transfer &&
                       waiting->target.node() == node;
  if (in_vain) resume_leader();
}

// A member that was cut off as a leader may have nothing to send, and its successor, a BEAM member,
// never connects to it: both would lead for ever. An answer to a heartbeat that was never asked is
// ignored within the term, counts for no read (query index 0), and ends an older leadership.
void Core::tell_term(const std::string& node) {
  for (const auto& [id, config] : *cluster_.members) {
    if (id.node() == node && id != id_ && id != *leader_)
      emit(effect::SendHeartbeatReply{id, {QueryIndex(0), current_term_}});
  }
}

void Core::on(event::PeerSuspended& event) {
  Peer* peer = find_peer(event.peer);
  if (peer != nullptr && peer->status == PeerStatus::normal) peer->status = PeerStatus::suspended;
}

void Core::on(event::PeerResumed& event) {
  Peer* peer = find_peer(event.peer);
  if (peer == nullptr || peer->status != PeerStatus::suspended) return;
  peer->status = PeerStatus::normal;
  if (leads()) replicate();
}

// --- accessors
// ------------------------------------------------------------------------------------------------------

const Peers* Core::peers() const {
  const Leader* leader = leader_data();
  return leader == nullptr ? nullptr : &leader->peers;
}

const Cluster& Core::cluster_at(Index index) const {
  RAKV_CHECK(index >= log_.snapshot().index);
  const auto change = std::find_if(
      special_entries_.rbegin(), special_entries_.rend(), [index](const SpecialEntry& entry) {
        return entry.kind == EntryKind::cluster_change && entry.at.index <= index;
      });
  return change == special_entries_.rend() ? *base_cluster_.members : *change->cluster;
}

bool Core::sending_snapshots() const {
  const Peers* all = peers();
  return all != nullptr && std::any_of(all->begin(), all->end(), [](const auto& entry) {
           return entry.second.status == PeerStatus::sending_snapshot;
         });
}

std::size_t Core::waiting_queries() const {
  const Leader* leader = leader_data();
  return leader == nullptr ? 0 : leader->reads.waiting();
}

std::size_t Core::pending_queries() const {
  const Leader* leader = leader_data();
  const auto held_reads =
      static_cast<std::size_t>(std::count_if(held_.begin(), held_.end(), [](const Held& held) {
        return std::holds_alternative<event::ReadRequest>(held);
      }));
  return held_reads + (leader == nullptr ? 0 : leader->reads.parked());
}

}  // namespace rakv::raft
