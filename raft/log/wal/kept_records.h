// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "raft/log/disk/disk.h"
#include "raft/log/wal/wal_recovery.h"

// What the WAL has of a server that can't be started (config, segment index, an error of the disk)
// must outlive the WAL file: the other servers' part of it goes to segments, and a file that stayed
// would be the newest at the next start, and would void what the others have written since. So at
// the start at which a server is found broken its records are written to a file of their own,
// NNNNNNNNNNNNNNNN.kept, a WAL file with nothing else in it, and the WAL files go as always.
//
// The file has the next number of a WAL file, and is read in that place at the next start: what the
// server has in WAL files with lower numbers is in it as well, and as long as the server is broken
// nothing is written after it. The file goes when its records are in segments, or in a newer file
// of this kind.

namespace rakv::raftlog {

inline constexpr std::string_view kKeptSuffix = ".kept";

/// Writes the file, durable when it returns: all records, in the order of writing. Which of them
/// count can't be told before the server's snapshot is known.
Result<void> write_kept_records(Disk& disk, const std::string& path, const std::string& uid,
                                const RecoveredWriter& records);

}  // namespace rakv::raftlog
