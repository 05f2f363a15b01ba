// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "raft/core/core.h"

// Changes of the configuration, one at a time (dissertation 4.1; ra_server:append_log_leader),
// leadership transfer and the forced shrink to one member.

namespace rakv::raft {

/// Makes `*entry` out of a client's command, or rejects the command.
std::optional<Entry> Core::make_entry(event::ClientCommand& command) {
  Entry entry;
  entry.token = command.token;
  if (command.kind == event::CommandKind::user ||
      command.kind == event::CommandKind::delete_cluster) {
    entry.kind =
        command.kind == event::CommandKind::user ? EntryKind::user : EntryKind::cluster_delete;
    entry.payload = std::move(command.payload);
    return entry;
  }
  entry.kind = EntryKind::cluster_change;
  entry.origin = EntryOrigin::client;
  if (!cluster_change_permitted_) {
    reject(command.token, effect::RejectReason::cluster_change_not_permitted);
    return std::nullopt;
  }
  const auto member = cluster_.members->find(command.server);
  const bool known = member != cluster_.members->end();
  if (command.kind == event::CommandKind::leave) {
    if (!known) {
      reject(command.token, effect::RejectReason::not_member);
      return std::nullopt;
    }
    Cluster smaller = *cluster_.members;
    smaller.erase(command.server);
    entry.cluster = std::make_shared<const Cluster>(std::move(smaller));
    return entry;
  }
  VoterStatus status = command.voter_status.value_or(VoterStatus{});
  if (status.membership == Membership::promotable) {
    if (!status.uid) {
      reject(command.token, effect::RejectReason::missing_uid);
      return std::nullopt;
    }
    // The entry itself is the target, so the newcomer can always reach it.
    if (!status.target) status.target = log_.next();
  }
  // By bare id any member is one already; otherwise only one with exactly this status.
  if (known && (!command.voter_status || member->second.voter_status == status)) {
    reject(command.token, effect::RejectReason::already_member);
    return std::nullopt;
  }
  entry.cluster = cluster_with(command.server, status);
  return entry;
}

ClusterPtr Core::cluster_with(const ServerId& server, const VoterStatus& status) const {
  auto changed = std::make_shared<Cluster>(*cluster_.members);
  (*changed)[server].voter_status = status;
  if (const Peers* known = peers()) {
    for (const auto& [id, peer] : *known) {
      const auto found = changed->find(id);
      if (found != changed->end()) found->second.machine_version = peer.config.machine_version;
    }
  }
  return changed;
}

/// A promotable peer that has reached its target becomes a voter. If a change is in progress, a
/// later reply tries again.
void Core::promote_if_caught_up(const ServerId& id) {
  const auto found = cluster_.members->find(id);
  if (found == cluster_.members->end() || !found->second.voter_status || !cluster_change_permitted_)
    return;
  VoterStatus status = *found->second.voter_status;
  if (status.membership != Membership::promotable || !status.target) return;
  if (leader_data()->peers.at(id).match_index < *status.target || role() != Role::leader) return;
  status.membership = Membership::voter;
  Entry entry;
  entry.kind = EntryKind::cluster_change;
  entry.origin = EntryOrigin::leader;
  entry.cluster = cluster_with(id, status);
  append_own(entry);
  std::vector<Entry> entries;
  entries.push_back(std::move(entry));
  emit_appended(std::move(entries));
}

/// Makes the leader's peer table agree with the configuration.
void Core::sync_peers() {
  Peers& peers = leader_data()->peers;
  for (auto peer = peers.begin(); peer != peers.end();) {
    if (cluster_.members->contains(peer->first)) {
      ++peer;
      continue;
    }
    if (peer->second.status == PeerStatus::sending_snapshot) {
      emit(effect::StopSnapshotSend{peer->first, peer->second.transfer});
    }
    end_backoff(peer->first, peer->second);
    peer = peers.erase(peer);
  }
  for (const auto& [id, config] : *cluster_.members) {
    if (id == id_) continue;
    Peer& peer = peers[id];
    peer.config.voter_status = config.voter_status;
    if (config.machine_version) peer.config.machine_version = config.machine_version;
  }
}

// --- leadership transfer
// ------------------------------------------------------------------------------------------------

void Core::on(event::TransferLeadershipRequested& event) {
  switch (role()) {
    case Role::leader:
      transfer_leadership(event.token, event.target);
      break;
    case Role::terminating_leader:
      emit(effect::DropCall{event.token});
      break;
    default:
      hold_or_redirect(event.token, event);
      break;
  }
}

void Core::transfer_leadership(CallToken token, const ServerId& target) {
  if (target == id_) {
    if (token != CallToken(0)) emit(effect::AnswerAlreadyLeader{token});
    return;
  }
  const Leader& leader = std::get<Leader>(role_);
  const auto found = leader.peers.find(target);
  if (found == leader.peers.end()) {
    reject(token, effect::RejectReason::unknown_member);
  } else if (!found->second.config.is_voter()) {
    reject(token, effect::RejectReason::non_voter);
  } else if (!is_reachable(target)) {
    reject(token, effect::RejectReason::nodedown);
  } else if (found->second.next_index != log_.next()) {
    reject(token, effect::RejectReason::not_up_to_date);
  } else {
    if (token != CallToken(0)) emit(effect::AnswerOk{token});
    ask_to_lead(target);
  }
}

/// A leader that can't write should not lead: it offers its place to a voter that has everything
/// and whose node is there; if that one does not take it, to the next. (ra does so 5 s after the
/// first command that it refuses, to whoever comes first.) What was sent but not acknowledged does
/// not count as had, so this is tried after every event until there is such a voter.
void Core::offer_leadership() {
  auto* leader = std::get_if<Leader>(&role_);
  if (leader == nullptr || log_up_ || stopped_) return;
  std::optional<ServerId> first;
  std::optional<ServerId> next;
  for (const auto& [id, peer] : leader->peers) {
    const bool able = peer.config.is_voter() && peer.match_index == log_.last().index &&
                      (peer.status == PeerStatus::normal || peer.status == PeerStatus::suspended) &&
                      is_reachable(id);
    if (!able) continue;
    if (!first) first = id;
    if (!next && id > leader->last_offered) next = id;
  }
  if (!next) next = first;
  if (!next) return;
  leader->last_offered = *next;
  ask_to_lead(*next);
}

// --- forced shrink
// ------------------------------------------------------------------------------------------------------

void Core::on(event::ForceMemberChangeRequested& event) {
  switch (role()) {
    case Role::leader:
    case Role::candidate:
    case Role::pre_vote:
      become_follower();
      force_member_change(event.token);
      break;
    case Role::follower:
      force_member_change(event.token);
      break;
    default:
      emit(effect::DropCall{event.token});
      break;
  }
}

/// An operator's last resort: this member becomes the whole cluster, in the present term and
/// without asking anyone.
void Core::force_member_change(CallToken token) {
  if (amnesia_) end_amnesia();  // what is lost is lost: the operator says so
  Cluster alone;
  alone[id_].voter_status = VoterStatus{Membership::voter, uid_, std::nullopt};
  Entry entry;
  entry.kind = EntryKind::cluster_change;
  entry.origin = EntryOrigin::forced;
  entry.cluster = std::make_shared<const Cluster>(std::move(alone));
  append_own(entry);
  membership_ = Membership::voter;
  cluster_change_permitted_ = false;
  std::vector<Entry> entries;
  entries.push_back(std::move(entry));
  emit_appended(std::move(entries));
  emit(effect::AnswerOk{token});
  call_pre_vote();
}

}  // namespace rakv::raft
