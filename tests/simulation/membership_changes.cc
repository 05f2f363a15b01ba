// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/membership_changes.h"

#include <algorithm>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::simulation {
namespace {

constexpr std::chrono::seconds kAskTime{5};
/// Between two attempts.
constexpr Nanoseconds kPause = std::chrono::milliseconds(500);

}  // namespace

void MembershipChanges::ask_leader(const std::string& type, const raft::ServerId& server) {
  SimulatedNode* const leader = cluster_.leader();
  if (leader == nullptr) return;
  etf::Writer request;
  request.tuple(2).atom("leader_call").tuple(3).atom("command").atom("normal");
  request.tuple(3).atom(type);
  wire::write_server_id(request, server);
  request.atom("await_consensus");
  cluster_.client().node().call(
      leader->name(), "kv", [&](distribution::OutMessage& out) { out.text.append(request.view()); },
      kAskTime, [](const node::CallResult&) {});
  cluster_.client().turn();
}

void MembershipChanges::remove(const SimulatedNode& node) {
  const std::optional<raft::Cluster> members = committed_();
  if (!members) return;
  // A leader that takes office late may still carry out what was asked a while ago.
  const Nanoseconds now = cluster_.schedule.now();
  leaves_[node.name()] = now;
  const auto stay = std::count_if(members->begin(), members->end(), [&](const auto& member) {
    const auto asked = leaves_.find(member.first.node());
    return asked == leaves_.end() || now > asked->second + 2 * kAskTime;
  });
  if (stay < 1) {
    leaves_.erase(node.name());
    return;
  }
  ask_leader("$ra_leave", {"kv", node.name()});
}

bool MembershipChanges::look_after(SimulatedNode& node) {
  const std::optional<raft::Cluster> members = committed_();
  if (!members) return true;
  Newcomer& newcomer = newcomers_[node.name()];
  const Nanoseconds now = cluster_.schedule.now();
  const raft::ServerId server{"kv", node.name()};
  const bool registered = node.is_registered("kv");
  const bool pauses = now < newcomer.asked_at + kPause;
  if (members->contains(server)) {
    newcomer.made = false;
    if (!registered && !pauses) make(node, newcomer, *members);
    return registered;
  }
  if (pauses) return newcomer.made;
  newcomer.asked_at = now;
  if (!registered) {
    if (everybody_knows(*members)) make(node, newcomer, *members);
  } else if (newcomer.made) {
    ask_leader("$ra_join", server);
  } else {
    node.delete_server("kv");
  }
  return newcomer.made;
}

bool MembershipChanges::everybody_knows(const raft::Cluster& members) const {
  return std::all_of(cluster_.nodes().begin(), cluster_.nodes().end(), [&](const auto& each) {
    SimulatedNode& node = *each.second;
    if (!node.serves()) return false;
    if (!node.is_registered("kv")) return true;
    const auto view = node.view();
    if (!view || view->cluster.size() != members.size()) return false;
    return std::all_of(members.begin(), members.end(),
                       [&](const auto& one) { return view->cluster.contains(one.first); });
  });
}

void MembershipChanges::make(SimulatedNode& node, Newcomer& newcomer,
                             const raft::Cluster& members) {
  newcomer.asked_at = cluster_.schedule.now();
  newcomer.made = true;
  std::vector<raft::ServerId> known;
  known.reserve(members.size());
  for (const auto& [id, config] : members) known.push_back(id);
  node.make_server("kv", node.host() + "NEW" + std::to_string(++newcomer.number) + "AAAAA", known);
}

}  // namespace rakv::simulation
