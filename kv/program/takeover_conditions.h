// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "cnode/base/result.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/snapshots/index_set.h"

// What rakv asks of a ra system's directory before it takes it over, and what it knows of ra_kv's
// snapshots.

namespace rakv::kv {

/// Whether this program can go on with a BEAM's server under the node name `node`: machine ra_kv,
/// the standard snapshot module, the same node name (it is in votes and in the cluster's
/// configuration). unsupported says which of them is not so.
Result<void> can_take_over(const raftlog::ServerConfig& config, const std::string& node);

/// The live indexes in ra_kv's state (ETF with its leading 131).
Result<raftlog::IndexSet> live_indexes_of_state(std::string_view state);

}  // namespace rakv::kv
