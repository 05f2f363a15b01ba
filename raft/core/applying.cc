// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cnode/base/check.h"
#include "raft/core/core.h"

// The few entries that mean something to the core, the configuration they make, and applying.

namespace rakv::raft {

/// Keeps a cluster change, delete or noop in mind; a cluster change takes effect at once
/// (dissertation 4.1).
void Core::append_special(const Entry& entry) {
  if (entry.kind == EntryKind::user || entry.kind == EntryKind::unknown) return;
  const IndexTerm at{entry.index, entry.term};
  special_entries_.push_back({at, entry.kind, entry.cluster, entry.machine_version});
  if (entry.kind == EntryKind::cluster_change) set_cluster({entry.cluster, at});
}

/// The entries above `last` are no more. A cluster change among them is undone at once
/// (dissertation 4.1; ra waits until its index is written again).
void Core::forget_above(Index last) {
  while (!special_entries_.empty() && special_entries_.back().at.index > last)
    special_entries_.pop_back();
  if (cluster_.at.index <= last) return;
  const auto previous = std::find_if(
      special_entries_.rbegin(), special_entries_.rend(),
      [](const SpecialEntry& entry) { return entry.kind == EntryKind::cluster_change; });
  if (previous == special_entries_.rend()) {
    set_cluster(base_cluster_);
  } else {
    set_cluster({previous->cluster, previous->at});
  }
}

/// A member always finds itself in its configuration; that of a snapshot may be older than its
/// joining.
Configuration Core::of_snapshot(Cluster members) const {
  const bool joins_later = members.try_emplace(id_).second && log_.snapshot().index > Index(0);
  return {std::make_shared<const Cluster>(std::move(members)), log_.snapshot(), joins_later};
}

void Core::set_cluster(Configuration next) {
  RAKV_CHECK(next.members != nullptr);
  cluster_ = std::move(next);
  refresh_membership();
  const auto is_strange = [this](const std::string& node) { return !cluster_.has_member_on(node); };
  std::erase_if(lost_nodes_, is_strange);
  std::erase_if(silent_nodes_, is_strange);
  if (leads()) {
    cluster_change_permitted_ = false;
    sync_peers();
  }
  emit(effect::ClusterChanged{});
}

/// A voter_status counts only for the incarnation whose uid it names.
void Core::refresh_membership() {
  const auto self = cluster_.members->find(id_);
  if (self == cluster_.members->end() || !self->second.voter_status) return;
  const VoterStatus& status = *self->second.voter_status;
  if (status.uid == uid_) membership_ = status.membership.value_or(membership_);
}

/// Applies what is committed and present, in order (dissertation 3.5). Diverges: it stops after a
/// cluster delete, and before a noop that announces a machine version this member does not know.
void Core::apply_committed() {
  const Index committed = std::min(commit_index_, log_.last().index);
  if (last_applied_ >= committed || effective_machine_version_ > machine_version_) return;
  Index end = committed;
  auto special = std::upper_bound(
      special_entries_.begin(), special_entries_.end(), last_applied_,
      [](Index index, const SpecialEntry& entry) { return index < entry.at.index; });
  const auto first_special = special;
  bool deletes = false;
  for (; special != special_entries_.end() && special->at.index <= end; ++special) {
    if (special->kind == EntryKind::cluster_delete) {
      end = special->at.index;
      deletes = true;
    } else if (special->kind == EntryKind::noop && special->machine_version > machine_version_) {
      end = special->at.index - 1;
      effective_machine_version_ = special->machine_version;
      break;
    }
  }
  if (end > last_applied_) {
    emit(effect::Apply{last_applied_ + 1, end, leads()});
    last_applied_ = end;
  }
  for (auto entry = first_special; entry != special_entries_.end() && entry->at.index <= end;
       ++entry) {
    applied_special(*entry);
  }
  if (!deletes) return;
  if (auto* leader = std::get_if<Leader>(&role_)) {
    Leader kept = std::exchange(*leader, Leader{});
    set_role(TerminatingLeader{std::move(kept)});
  } else {
    set_role(TerminatingFollower{});
  }
}

void Core::applied_special(const SpecialEntry& entry) {
  if (entry.kind == EntryKind::noop) {
    effective_machine_version_ = std::max(effective_machine_version_, entry.machine_version);
  }
  if (const Leader* leader = leader_data()) {
    cluster_change_permitted_ =
        last_applied_ >= leader->noop_index && last_applied_ >= cluster_.at.index;
  } else if (entry.kind == EntryKind::cluster_change ||
             (entry.kind == EntryKind::noop && entry.at.term == current_term_)) {
    cluster_change_permitted_ = true;
  }
}

}  // namespace rakv::raft
