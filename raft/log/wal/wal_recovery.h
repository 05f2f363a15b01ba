// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"

// Reading WAL files at start. See wal.h for the form; ra_log_wal.erl `recover_wal` for ra's own
// rules, which are kept for files without batch marks (written by a BEAM).

namespace rakv::raftlog {

/// What one writer has in the WAL files, in the order of writing. What of it still counts depends
/// on its snapshot (recover_log); jumps upwards leave gaps.
struct RecoveredWriter {
  std::vector<StoredEntry> records;
  std::vector<std::string> files;  ///< paths of those with records of it, oldest first
};

/// Bytes of a file that were read, and of which nothing says that they reached the disk: the last
/// batch, whose sync may have failed. They are in the page cache; syncing the file again would
/// succeed, and would not write what the kernel has given up.
struct UnprovenBytes {
  std::string path;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint32_t crc = 0;  ///< CRC-32C of them
};

/// Who may have written a file.
enum class WalOrigin {
  rakv,  ///< rakv alone: a file begins with a mark
  anybody
};

/// A file in which something is wrong that an unfinished write does not explain.
struct WalDamage {
  std::string path;
  std::string what;                      ///< in words, with file and byte
  std::uint64_t good_bytes = 0;          ///< so many from the file's start can be trusted
  std::string closing_mark;              ///< to be put after them
  std::vector<std::string> later_files;  ///< ascending; nothing in them can be trusted to follow
};

struct RecoveredWal {
  std::map<std::string, RecoveredWriter> writers;  ///< by UId
  std::vector<std::string> files;                  ///< paths read, oldest first
  std::uint64_t bytes = 0;                         ///< of these files
  std::optional<WalDamage> damage;                 ///< what follows it was left out
  std::uint64_t last_number = 0;  ///< highest file number seen; the next file gets last_number + 1
  std::vector<std::string> notices;  ///< what was dropped as unacknowledged, for the log
  std::vector<UnprovenBytes> unproven;
  /// Files with what was kept of one server (kept_records.h); they are in `files`, too. By path:
  /// the server's UId, empty if it can't be told.
  std::map<std::string, std::string> kept;
  /// Damaged ones, and what is wrong in words. What was good in them was read.
  std::map<std::string, std::string> damaged_kept;
};

/// One record as it stands in a file, for tools and tests.
struct WalRecord {
  std::uint64_t offset = 0;
  std::string uid;
  StoredEntry entry;
  bool truncate = false;
};

/// Reads one file's content. Records after the last valid mark are a batch that was never
/// acknowledged and are left out
/// (`notice` says so). `corrupt` when bytes before a valid mark are damaged, or a torn write cannot
/// explain what is there: the message names file, offset and what is lost.
Result<std::vector<WalRecord>> parse_wal(const std::string& path, const std::string& bytes,
                                         std::string* notice);

/// One file's content up to where it is damaged, if it is.
struct WalContent {
  std::vector<WalRecord> records;
  std::string notice;
  std::optional<Error> damage;
  std::uint64_t good_bytes = 0;
  std::string closing_mark;
  std::uint64_t unproven_from = 0;  ///< good_bytes if there are none
};
/// Only records of `only_uid`, if it is not empty.
WalContent read_wal(const std::string& path, const std::string& bytes,
                    WalOrigin origin = WalOrigin::anybody, std::string_view only_uid = {});

/// Sets aside what recover_wal() left out: later files are renamed to NAME.bad; the damaged one is
/// copied there and keeps what was good. Durable when it returns; a crash meanwhile leaves the
/// damage to be found again.
Result<void> set_damage_aside(Disk& disk, const WalDamage& damage);

/// Writes the bytes again where they are and syncs them. Errors: io, also when they read otherwise
/// now.
Result<void> write_again(Disk& disk, const UnprovenBytes& bytes);

/// Reads all *.wal and *.kept of a directory, oldest to newest, up to the first damage in a *.wal.
/// Stray *.tmp files of the WAL are ignored. Also 8-digit names of old ra. `on_file` is told after
/// each file how many of them are read. Files up to number `last_of_beam` may be a BEAM's.
Result<RecoveredWal> recover_wal(
    Disk& disk, const std::string& directory,
    const std::function<void(std::size_t done, std::size_t all)>& on_file = {},
    std::uint64_t last_of_beam = UINT64_MAX);

}  // namespace rakv::raftlog
