// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include "raft/log/disk/disk.h"
#include "raft/log/snapshots/snapshot_file.h"

namespace rakv::raftlog {

/// Writes a member's snapshots, and knows those that could not be written.
///
/// When the last step of writing one fails, nobody can tell whether it will be there after a crash,
/// and a start would take it for the newest. So nothing that it needs may be dropped before it has
/// been removed for good: whoever is about to drop entries from the disk calls remove() first, and
/// drops nothing if that fails.
///
/// For jobs of the log's background executor, which run one at a time.
class SnapshotLeftovers {
 public:
  SnapshotLeftovers(Disk& disk, std::string snapshots_directory)
      : disk_(disk), directory_(std::move(snapshots_directory)) {}

  /// As raftlog::write_snapshot().
  Result<void> write(const Snapshot& snapshot);
  /// Durable when it returns without an error; may be repeated. Costs nothing if there are none.
  Result<void> remove();

 private:
  Disk& disk_;
  std::string directory_;
  std::set<std::string> names_;
};

}  // namespace rakv::raftlog
