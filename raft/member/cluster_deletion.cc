// SPDX-License-Identifier: Apache-2.0
#include "raft/member/cluster_deletion.h"

#include <spdlog/spdlog.h>

namespace rakv::member {

ClusterDeletion::ClusterDeletion(const PeerContext& context, const VoterIdentities& voters,
                                 std::function<void()> on_all_gone)
    : context_(context), voters_(voters), on_all_gone_(std::move(on_all_gone)) {}

ClusterDeletion::~ClusterDeletion() { *alive_ = false; }

void ClusterDeletion::tick() {
  if (ended_ || !context_.core.deletion_in_log()) return;
  // In a cluster that has a leader the deletion is either on its way, or will be overwritten.
  const bool waits = context_.core.role() == raft::Role::terminating_leader;
  if (!waits && context_.core.leader()) return;
  for (const auto& [member, config] : context_.core.cluster()) {
    if (member == context_.core.id()) continue;
    if (gone_.contains(member)) {
      // This may have been found out before this member led.
      if (waits) context_.step(raft::event::PeerDeleted{member});
      continue;
    }
    if (!asked_.insert(member).second) continue;
    find_server(context_.node, member,
                [this, member = member, alive = alive_](const FoundServer& found) {
                  if (*alive) answered(member, found);
                });
  }
}

void ClusterDeletion::answered(const raft::ServerId& member, const FoundServer& found) {
  asked_.erase(member);
  if (ended_ || !found.answered || !context_.core.deletion_in_log()) return;
  const std::string* known = voters_.remembered(member);
  const bool replaced = found.uid && known != nullptr && *found.uid != *known;
  if (found.uid && !replaced) return;
  const bool waits = context_.core.role() == raft::Role::terminating_leader;
  if (!waits && context_.core.leader()) return;
  gone_.insert(member);
  if (waits) {
    spdlog::info("{}: {} is deleted", context_.log_id, to_string(member));
    return context_.step(raft::event::PeerDeleted{member});
  }
  if (gone_.size() + 1 < context_.core.cluster().size()) return;
  ended_ = true;
  spdlog::info(
      "{}: the cluster's deletion is in this server's log and all other members are deleted, it "
      "is deleted, too",
      context_.log_id);
  on_all_gone_();
}

}  // namespace rakv::member
