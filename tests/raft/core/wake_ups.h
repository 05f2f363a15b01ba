// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/raft/core/world.h"

namespace rakv::raft::test {

/// Nobody stands still by construction: whatever a member waits for, something that is under way or
/// set will come and wake it. To be called between steps; gives the first member that would wait
/// for ever, and why.
///
/// What counts as something that comes, by role:
///
/// | role | what wakes it |
/// |---|---|
/// | any | term and vote under way to the disk; an event that it owes itself |
/// | pre_vote, candidate | the election timer |
/// | await_condition | the condition timer |
/// | receive_snapshot | its timer, or the installation under way |
/// | terminating_follower | entries under way to the disk |
/// | leader, terminating_leader | its tick, and for each peer: see below |
/// | follower | the election timer; or the server that it monitors, see below |
///
/// A leader's peer is as it should be (it has acknowledged the log's end and knows the commit
/// index), or the tick sends it something, or, by status: a transfer under way (sending_snapshot),
/// the retry timer (snapshot_backoff), a broken link (disconnected), the shell's helper
/// (suspended).
///
/// A follower without a timer waits for the server that it monitors: its end is told. While it
/// lives it must be a leader, or something that stands for election in time, or follow such a one
/// in turn. A follower whose log can't be written stands by asking others to do so (election.cc).
/// Silent by intent (core.h, README "Known to stand still"): followers that are not voters,
/// brand-new ones, and those whom their leader has removed.
std::optional<std::string> find_standstill(World& world);

/// A leader's peers that its next tick has to send something, because they lack something and
/// nothing else is under way for them.
std::vector<ServerId> find_peers_in_need(World& world, const std::string& name);
/// One of them that this tick, given by its effects in words, has left out.
std::optional<std::string> find_left_out(const std::vector<ServerId>& in_need,
                                         const std::vector<std::string>& lines);

}  // namespace rakv::raft::test
