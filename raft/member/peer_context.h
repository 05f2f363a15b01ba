// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cnode/node/node.h"
#include "raft/core/core.h"
#include "raft/log/member_log.h"
#include "raft/member/counters.h"

namespace rakv::member {

/// What those who talk to other members on a member's behalf need of it. Lives as long as the
/// member.
struct PeerContext {
  node::Node& node;
  raftlog::MemberLog& log;
  const raft::Core& core;
  Counters& counters;
  const etf::Pid& pid;
  const std::string& log_id;
  /// Hands an event to the core. The caller may be destroyed by what follows: it must not touch
  /// itself afterwards.
  std::function<void(raft::Event)> step;
  /// Reads entries of the log; what is damaged is fetched from other members (EntryRepair::read).
  std::function<void(std::vector<raftlog::Index>, raftlog::MemberLog::ReadCallback)> read;
};

}  // namespace rakv::member
