// SPDX-License-Identifier: Apache-2.0
#include "raft/core/configuration.h"

#include <utility>

namespace rakv::raft {

bool Configuration::is_voter(const ServerId& id) const {
  const auto member = members->find(id);
  return member != members->end() && member->second.is_voter();
}

std::size_t Configuration::majority() const {
  return majority_of(count_voters([](const ServerId&) { return true; }));
}

bool Configuration::has_member_on(const std::string& node) const {
  return std::any_of(members->begin(), members->end(),
                     [&](const auto& member) { return member.first.node() == node; });
}

std::uint32_t Configuration::turn_of(const ServerId& id,
                                     const std::optional<ServerId>& absent) const {
  std::uint32_t turn = 0;
  for (const auto& [voter, config] : *members) {
    if (voter == id) break;
    if (config.is_voter() && voter != absent) ++turn;
  }
  return turn;
}

ClusterChange join(const Cluster& members, const ServerId& server,
                   const std::optional<VoterStatus>& status, Index index) {
  VoterStatus wanted = status.value_or(VoterStatus{});
  if (wanted.membership == Membership::promotable) {
    if (!wanted.uid) return effect::RejectReason::missing_uid;
    // The entry itself is the target, so the newcomer can always reach it.
    if (!wanted.target) wanted.target = index;
  }
  // By bare id any member is one already; otherwise only one with exactly this status.
  const auto member = members.find(server);
  if (member != members.end() && (!status || member->second.voter_status == wanted))
    return effect::RejectReason::already_member;
  Cluster larger = members;
  larger[server].voter_status = std::move(wanted);
  return larger;
}

ClusterChange leave(const Cluster& members, const ServerId& server) {
  Cluster smaller = members;
  if (smaller.erase(server) == 0) return effect::RejectReason::not_member;
  return smaller;
}

}  // namespace rakv::raft
