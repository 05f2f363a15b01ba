// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/log/disk/disk.h"
#include "raft/log/snapshots/index_set.h"

namespace rakv::raftlog {

/// The live indexes in a snapshot's machine state (ETF with its leading 131). The log does not know
/// the machine; who uses it does.
using LiveIndexesOf = std::function<Result<IndexSet>(std::string_view state)>;

struct Released {
  bool was_ours = false;  ///< false: the directory belonged to a BEAM already; nothing was changed
  std::vector<std::string> servers;  ///< names
  std::vector<std::string> notices;  ///< what recovery found worth telling
};

/// Hands a system directory that no process uses back to a BEAM: everything that the WAL has goes
/// to segments (a BEAM takes a batch that was cut off for damage), missing `indexes` files are
/// written (it takes them for empty), what is ours only is removed, evidence of damage moves to
/// where it does not delete it, meta.dets and names.dets are written as if closed in order; the
/// latter last, so that up to there the directory is still ours, whatever stops this. Can be
/// repeated.
///
/// Errors: not_found when it is no system's directory; unavailable when a process has it; corrupt
/// when a server could not be started or may have forgotten what it promised: a BEAM would go on
/// without noticing.
Result<Released> release(Disk& disk, const std::string& directory,
                         const LiveIndexesOf& live_indexes_of);

/// Whether there is a system in the directory; not_found says in words what is missing.
Result<void> check_system_directory(Disk& disk, const std::string& directory);

}  // namespace rakv::raftlog
