// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "raft/core/effect.h"
#include "raft/core/quorum.h"
#include "raft/core/types.h"

// Who is a member and who votes, and what a client's join or leave makes of that. One member at a
// time is added or removed, so any majority of the old configuration and any of the new one have a
// member in common (dissertation 4.1).

namespace rakv::raft {

/// The members as of one place in the log, or as of the snapshot. A configuration counts as soon as
/// its entry is in the log, committed or not (dissertation 4.1).
struct Configuration {
  ClusterPtr members;
  IndexTerm at;
  /// This member is not in it and was put there: it came from a snapshot, and the entry that lets
  /// this member join is still to come.
  bool joins_later = false;

  bool contains(const ServerId& id) const { return members->contains(id); }
  /// A member that is promotable or no voter counts in no majority (dissertation 4.2.1).
  bool is_voter(const ServerId& id) const;
  /// How many voters there are for which `counts(id)` is true.
  template <class Counts>
  std::size_t count_voters(Counts counts) const {
    return static_cast<std::size_t>(std::count_if(
        members->begin(), members->end(),
        [&](const auto& member) { return member.second.is_voter() && counts(member.first); }));
  }
  /// So many votes elect.
  std::size_t majority() const;
  bool has_member_on(const std::string& node) const;
  /// How many voters are to go before `id`, in the order of their ids; `absent` is not waited for.
  std::uint32_t turn_of(const ServerId& id, const std::optional<ServerId>& absent) const;
};

/// What a change makes of the members, or why it is refused.
using ClusterChange = std::variant<Cluster, effect::RejectReason>;

/// `server` joins by the entry at `index`: with a voter status, or by its bare id, as a voter. One
/// that is promotable needs a uid, and becomes a voter when it has the entries up to its target,
/// which is this entry unless it is given (dissertation 4.2.1, there in rounds). Reasons:
/// missing_uid; already_member, also for a member that has this status already.
ClusterChange join(const Cluster& members, const ServerId& server,
                   const std::optional<VoterStatus>& status, Index index);
/// `server` leaves. Reason: not_member.
ClusterChange leave(const Cluster& members, const ServerId& server);

}  // namespace rakv::raft
