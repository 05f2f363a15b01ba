// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/log/disk/disk.h"
#include "raft/log/wal/wal_recovery.h"

// What the WAL has of a server that can't have it in segments must outlive the WAL file: the other
// servers' part of it goes to segments, and a file that stayed would be the newest at the next
// start, and would void what the others have written since. So its records are written to a file of
// their own, a WAL file with nothing else in it, and the WAL files go as always. There are two such
// servers:
//
// - One that is found broken at a start (config, segment index, an error of the disk):
// write_kept_records()
//   makes NNNNNNNNNNNNNNNN.kept. The file has the next number of a WAL file; as long as the server
//   is broken nothing is written after it.
// - One that runs, and whose directory takes no segments (SegmentFlusher): keep_records() makes
//   NNNNNNNNNNNNNNNN.UID.kept with the number of the newest WAL file that is to go, for there is no
//   free number between that and the next one. No UId has a dot.
//
// Either is read in the place that its number gives it, before the WAL file of that number if that
// is still there: to read that once more changes nothing. What the server has in files with lower
// numbers is in it as well, so no server needs more than one. The file goes when its records are in
// segments, or in a newer file of this kind, and before any WAL file with later records.

namespace rakv::raftlog {

inline constexpr std::string_view kKeptSuffix = ".kept";

/// The number of such a file's name, with `suffix` in the place of kKeptSuffix; nothing of other
/// names.
std::optional<std::uint64_t> number_of_kept(std::string_view name,
                                            std::string_view suffix = kKeptSuffix);

/// Writes the file, durable when it returns: all records, in the order of writing. Which of them
/// count can't be told before the server's snapshot is known.
Result<void> write_kept_records(Disk& disk, const std::string& path, const std::string& uid,
                                const RecoveredWriter& records);

struct KeptFile {
  std::string path;
  std::uint64_t bytes = 0;
};

/// The path at which keep_records() makes its file when `newest_file` is the last of those given.
std::string kept_records_path(const std::string& newest_file, const std::string& uid);

/// Gives a file, durable, with all that `files` have of the server: a new one, unless the newest of
/// them with any record of it is such a file. Nothing if none has. `files` are paths in
/// `directory`, oldest first, of which those up to WAL number `last_of_beam` may be a BEAM's; one
/// that is not there has been removed before. It reads them one by one. Errors: limit_exceeded when
/// more than `most_bytes` were to be kept; corrupt, io. After an error the file may be there all
/// the same: it must go before `files` do, unless it is kept after all.
Result<std::optional<KeptFile>> keep_records(Disk& disk, const std::string& directory,
                                             const std::string& uid,
                                             const std::vector<std::string>& files,
                                             std::uint64_t last_of_beam, std::uint64_t most_bytes);

}  // namespace rakv::raftlog
