// SPDX-License-Identifier: Apache-2.0
#include "tests/raft/core/wake_ups.h"

#include <algorithm>
#include <set>

namespace rakv::raft::test {
namespace {

/// Is something under way for this peer, or will the leader's next tick send it something?
bool is_peer_served(World& world, const std::string& leader, const ServerId& id, const Peer& peer) {
  const Member& member = world.at(leader);
  switch (peer.status) {
    case PeerStatus::suspended:
      return true;
    case PeerStatus::sending_snapshot:
      return world.is_sending(leader, id, peer.transfer);
    case PeerStatus::snapshot_backoff:
      return member.retry_timers.contains(id);
    case PeerStatus::disconnected:
      return world.is_broken(leader, id.node());
    case PeerStatus::normal:
      break;  // see find_left_out
  }
  return true;
}

std::optional<std::string> leader_waits(World& world, const std::string& name) {
  const Member& member = world.at(name);
  for (const auto& [id, peer] : *member.core->peers()) {
    if (!is_peer_served(world, name, id, peer)) {
      return "the leader " + name + " waits for ever for " + id.node() + ", which is " +
             std::string(to_string(peer.status));
    }
  }
  return std::nullopt;
}

/// Is `name`, which `follower` monitors, something that will be heard of?
bool will_be_heard(World& world, const std::string& name, const ServerId& follower,
                   std::set<std::string> asked) {
  if (!world.alive(name)) return !world.own_events(follower.node()).empty();
  const Member& member = world.at(name);
  const Core& core = *member.core;
  if (member.storing || !world.own_events(name).empty()) return true;
  // Its leader, or one that does not count it as a member any more.
  if (core.role() != Role::follower) return true;
  if (member.timer_armed && core.membership() == Membership::voter) return true;
  if (!member.monitored || !asked.insert(name).second) return false;
  return will_be_heard(world, member.monitored->node(), server(name), std::move(asked));
}

std::optional<std::string> follower_waits(World& world, const std::string& name) {
  const Member& member = world.at(name);
  const Core& core = *member.core;
  const bool is_new = core.log().last().index == Index(0) && !core.has_amnesia();
  if (member.timer_armed || is_new || core.membership() != Membership::voter) return std::nullopt;
  if (!member.monitored) return "the follower " + name + " has no timer and monitors nobody";
  if (will_be_heard(world, member.monitored->node(), server(name), {name})) return std::nullopt;
  return "the follower " + name + " waits for " + member.monitored->node() +
         ", which will not be heard of";
}

std::optional<std::string> waits_for_ever(World& world, const std::string& name) {
  const Member& member = world.at(name);
  const Core& core = *member.core;
  if (!world.own_events(name).empty()) return std::nullopt;
  if (member.storing) {
    if (member.disk_stores) return std::nullopt;
    return name + " waits for a store of term and vote that is not under way";
  }
  const auto needs = [&](bool comes, const std::string& what) -> std::optional<std::string> {
    if (comes) return std::nullopt;
    return name + " is " + std::string(to_string(core.role())) + " without " + what;
  };
  switch (core.role()) {
    case Role::pre_vote:
    case Role::candidate:
      return needs(member.timer_armed, "an election timer");
    case Role::await_condition:
      return needs(member.condition_timer, "a condition timer");
    case Role::receive_snapshot:
      return needs(member.receive_timer || member.incoming_meta != nullptr, "a timer");
    case Role::terminating_follower:
      return needs(core.log().last_written() != core.log().last(), "anything to be written");
    case Role::leader:
    case Role::terminating_leader:
      return leader_waits(world, name);
    case Role::follower:
      return follower_waits(world, name);
  }
  return std::nullopt;
}

}  // namespace

std::vector<ServerId> find_peers_in_need(World& world, const std::string& name) {
  std::vector<ServerId> found;
  const Core& core = *world.at(name).core;
  if (core.role() != Role::leader && core.role() != Role::terminating_leader) return found;
  for (const auto& [id, peer] : *core.peers()) {
    const bool has_all = peer.match_index == core.log().last().index &&
                         peer.commit_index_sent >= core.commit_index();
    if (peer.status == PeerStatus::normal && !has_all) found.push_back(id);
  }
  return found;
}

std::optional<std::string> find_left_out(const std::vector<ServerId>& in_need,
                                         const std::vector<std::string>& lines) {
  for (const ServerId& peer : in_need) {
    const auto is_sent = [&](const std::string& line) {
      return line.find(" to " + to_string(peer) + ":") != std::string::npos;
    };
    if (std::none_of(lines.begin(), lines.end(), is_sent))
      return "a leader's tick sends nothing to " + to_string(peer);
  }
  return std::nullopt;
}

std::optional<std::string> find_standstill(World& world) {
  for (const auto& [name, member] : world.members()) {
    if (!world.alive(name)) continue;
    if (auto wrong = waits_for_ever(world, name)) return wrong;
  }
  return std::nullopt;
}

}  // namespace rakv::raft::test
