// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "raft/core/core.h"

// Effects and state in words: for transcripts of tests and for trace logs.

namespace rakv::raft {

/// One line, e.g. `append_entries to {kv,b}: term 2, prev 3/1, entries 4..5, commit 3`.
std::string to_string(const Effect& effect);

/// `index/term kind "payload"`, members for a cluster change.
std::string to_string(const Entry& entry);

/// `[{kv,a} {kv,b}:promotable]`.
std::string to_string(const Cluster& cluster);

/// A few lines about a member: role, term, vote, log, commit, cluster, peers.
std::string describe(const Core& core);

}  // namespace rakv::raft
