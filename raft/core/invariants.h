// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>

#include "raft/core/core.h"

// What must hold after every step, as objects that remember the step before. They return the first
// violation in words, or nothing. Tests call them after each step; a shell may do so in debug
// builds.

namespace rakv::raft {

/// One member compared with itself one step earlier: term, commit and applied index never fall;
/// applied <= commit <= last; durable <= last; one vote per term (but for a pre-vote's change to
/// itself); a leader leads in its own term. Make a new object when the member restarts.
class MemberInvariants {
 public:
  std::optional<std::string> check(const Core& core);

 private:
  struct Snapshot {
    Term term;
    std::optional<ServerId> voted_for;
    Index commit;
    Index applied;
    QueryIndex query;
    Role role = Role::follower;
    bool led_in_term = false;
  };
  std::optional<Snapshot> before_;
};

/// All members of one cluster (Raft dissertation, figure 3.2): election safety, log matching,
/// leader completeness, state machine safety. Forced membership changes void them.
class ClusterInvariants {
 public:
  /// To be called after each step of `core`.
  std::optional<std::string> check(const Core& core);
  /// Log matching of two members; costs a walk over both logs.
  static std::optional<std::string> check_logs(const Core& one, const Core& other);

 private:
  std::map<Term, ServerId> leaders_;
  struct Applied {
    Term term;
    /// The term of the member that was first to apply it: leaders of later terms must have the
    /// entry.
    Term known_committed_in;
  };
  std::map<Index, Applied> applied_;
  std::map<ServerId, Index> applied_up_to_;
};

}  // namespace rakv::raft
