// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "raft/member/voter_identities.h"

namespace rakv::member {

/// The end of a cluster that is being deleted. A leader waits until every member has the deletion,
/// which is what ra's leader does; but those who had it are gone with their files, and after a
/// restart in the middle nobody would ever tell. So their nodes are asked: a member whose node has
/// no such server any more has been deleted.
class ClusterDeletion {
 public:
  /// `on_all_gone` is called from the io_context: nobody is left who could lead this member, and
  /// all others were deleted.
  ClusterDeletion(const PeerContext& context, const VoterIdentities& voters,
                  std::function<void()> on_all_gone);
  ~ClusterDeletion();

  /// Every second or so.
  void tick();

 private:
  void answered(const raft::ServerId& member, const FoundServer& found);

  const PeerContext& context_;
  const VoterIdentities& voters_;
  std::function<void()> on_all_gone_;
  std::set<raft::ServerId> gone_;
  std::set<raft::ServerId> asked_;
  bool ended_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
