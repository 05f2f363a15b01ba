// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/directory/metadata.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/memory_table.h"
#include "raft/log/segments/segment_table.h"
#include "raft/log/snapshots/snapshot_file.h"
#include "raft/log/snapshots/superseded_entries.h"
#include "raft/log/wal/wal_recovery.h"

namespace rakv::raftlog {

/// What a recovery needs of the outside.
struct RecoveryContext {
  Disk& disk;
  /// Where the segments are to be read from.
  std::shared_ptr<SegmentFiles> segment_files;
  /// These three as in LogSystemOptions.
  std::chrono::milliseconds keep_superseded_for;
  std::function<void(const std::string& what, std::uint64_t done, std::uint64_t all)> on_progress;
  std::function<Result<void>(const ServerConfig&)> admit;
};

/// A member's log as it is on disk; as it is, that of a new server.
struct RecoveredLog {
  std::string directory;
  ServerConfig config;
  /// Of the member's UId. Its term is not below that of any entry.
  MetaRow meta;
  std::optional<AmnesiaMark> amnesia;
  std::string known_voters;
  std::optional<Index> install_mark;

  std::optional<Snapshot> snapshot;
  SegmentTable segments;
  std::uint64_t next_segment = 1;
  SupersededEntries::State superseded;
  /// What the WAL files have of it.
  MemoryTable memory;

  bool empty = true;
  Index first_index = 1;
  Position last;
};

/// Recovers one member's log from its snapshot, its segments and what the WAL files have of it.
///
/// Which entry is an index's: the last one written. Segments are in order of writing by their
/// number, and the WAL files that are left come after them (what is in both is the same).
///
/// Above the snapshot a write of a lower index also voids what was above that. At or below it an
/// entry voids nothing above: it may be a live one that came with a snapshot, or was moved by a
/// compaction, long after the log's end was written, and nothing on disk tells it from an
/// overwrite. So what a real overwrite down there voided above may be back if its terms allow it,
/// as with MemberLog::truncate_after(). Raft bears that: none of it was committed, and no leader's
/// log has an entry that would follow it.
///
/// Below the snapshot only live entries count, each from the newest place that has it; above it the
/// log must be contiguous, and its terms must not decrease: what follows a gap or a lower term
/// was never part of this log's acknowledged end (an unfinished snapshot transfer, the old end of a
/// log that a snapshot replaced).
///
/// What may have been promised and is lost makes the server amnesiac: that is written down before
/// anything damaged is set aside, so that a crash in between does not hide it.
///
/// `wal` and `meta` are null when there are none. `notices` gets what is worth telling the
/// operator, also when it gives an error: that of a broken server.
Result<RecoveredLog> recover_log(const RecoveryContext& context, std::string directory,
                                 ServerConfig config, const RecoveredWriter* wal,
                                 const MetaRow* meta, std::vector<std::string>& notices);

}  // namespace rakv::raftlog
