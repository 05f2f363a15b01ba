// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "raft/core/core.h"

// Changes of the configuration, one at a time (dissertation 4.1; ra_server:append_log_leader),
// leadership transfer and the forced shrink to one member.

namespace rakv::raft {

/// The entry of a client's join or leave; nothing if it is refused. One change at a time, and none
/// before the noop of this term is committed (dissertation 4.1 and the correction of 2015 to it);
/// ra demands more, that both are applied.
std::optional<Entry> Core::make_change_entry(const event::ClientCommand& command) {
  if (!cluster_change_permitted_) {
    reject(command.token, effect::RejectReason::cluster_change_not_permitted);
    return std::nullopt;
  }
  ClusterChange change =
      command.kind == event::CommandKind::leave
          ? leave(*cluster_.members, command.server)
          : join(*cluster_.members, command.server, command.voter_status, log_.next());
  if (const auto* refused = std::get_if<effect::RejectReason>(&change)) {
    reject(command.token, *refused);
    return std::nullopt;
  }
  auto& members = std::get<Cluster>(change);
  Entry entry;
  entry.token = command.token;
  entry.kind = EntryKind::cluster_change;
  entry.origin = EntryOrigin::client;
  entry.cluster = command.kind == event::CommandKind::leave
                      ? std::make_shared<const Cluster>(std::move(members))
                      : with_known_versions(std::move(members));
  return entry;
}

/// With the machine versions that the peers have told.
ClusterPtr Core::with_known_versions(Cluster members) const {
  if (const Peers* known = peers()) {
    for (const auto& [id, peer] : *known) {
      const auto found = members.find(id);
      if (found != members.end()) found->second.machine_version = peer.config.machine_version;
    }
  }
  return std::make_shared<const Cluster>(std::move(members));
}

/// A promotable peer that has reached its target becomes a voter (dissertation 4.2.1). If a change
/// is in progress, a later reply tries again.
void Core::promote_if_caught_up(const ServerId& id) {
  const auto found = cluster_.members->find(id);
  if (found == cluster_.members->end() || !found->second.voter_status || !cluster_change_permitted_)
    return;
  const VoterStatus& status = *found->second.voter_status;
  if (status.membership != Membership::promotable || !status.target) return;
  if (leader_data()->peers.at(id).match_index < *status.target || role() != Role::leader) return;
  Cluster promoted = *cluster_.members;
  promoted[id].voter_status->membership = Membership::voter;
  Entry entry;
  entry.kind = EntryKind::cluster_change;
  entry.origin = EntryOrigin::leader;
  entry.cluster = with_known_versions(std::move(promoted));
  append_own(entry);
  std::vector<Entry> entries;
  entries.push_back(std::move(entry));
  emit_appended(std::move(entries));
}

/// Makes the leader's peer table agree with the configuration.
void Core::sync_peers() {
  Peers& peers = leader_data()->peers;
  for (auto peer = peers.begin(); peer != peers.end();) {
    if (cluster_.contains(peer->first)) {
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

/// Dissertation 3.10. Diverges: a target that lacks entries is refused, not brought up to date
/// first.
void Core::transfer_leadership(CallToken token, const ServerId& target) {
  if (target == id_) {
    if (token != CallToken(0)) emit(effect::AnswerAlreadyLeader{token});
    return;
  }
  const Peer* peer = find_peer(target);
  if (peer == nullptr) {
    reject(token, effect::RejectReason::unknown_member);
  } else if (!peer->config.is_voter()) {
    reject(token, effect::RejectReason::non_voter);
  } else if (!is_reachable(target)) {
    reject(token, effect::RejectReason::nodedown);
  } else if (peer->next_index != log_.next()) {
    reject(token, effect::RejectReason::not_up_to_date);
  } else {
    if (token != CallToken(0)) emit(effect::AnswerOk{token});
    ask_to_lead(target);
  }
}

/// Not in the dissertation: a leader that can't write should not lead. It offers its place to a
/// voter that has everything and whose node is there; if that one does not take it, to the next.
/// (ra does so 5 s after the first command that it refuses, to whoever comes first.) What was sent
/// but not acknowledged does not count as had, so this is tried after every event until there is
/// such a voter.
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

/// Not in the dissertation, and not safe: an operator's last resort. This member becomes the whole
/// cluster, in the present term and without asking anyone.
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
