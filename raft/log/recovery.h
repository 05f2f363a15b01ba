// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/directory/ownership.h"
#include "raft/log/system.h"
#include "raft/log/wal/wal_recovery.h"

namespace rakv::raftlog {

/// A server's directory gets this suffix when it is deleted.
inline constexpr std::string_view kDeletedSuffix = ".deleted";
/// A server whose name another one has taken (LogSystem::set_server_aside). No UId has a dot.
inline constexpr std::string_view kReplacedSuffix = ".replaced";

/// Builds one member's log from its snapshot, its segments and what the WAL files have of it.
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
/// log must be contiguous, and its terms must not decrease: what is behind a gap or a lower term
/// was never part of this log's acknowledged end (an unfinished snapshot transfer, the old end of a
/// log that a snapshot replaced).
///
/// What may have been promised and is lost makes the server amnesiac: that is written down before
/// anything damaged is set aside, so that a crash in between does not hide it.
class MemberRecovery {
 public:
  MemberRecovery(LogSystem& system, ServerConfig config, const RecoveredWriter* wal)
      : system_(system), config_(std::move(config)), wal_(wal) {}
  /// Adds the member to the system. An error makes the server a broken one.
  Result<void> run(const MetaRow* meta);

 private:
  Result<void> prepare_directory();
  Result<void> open_segments();
  struct Place;
  void lay_out_entries();
  void lay_out(Index index, const Place& place);
  void take_tail(MemberLog& log);
  void take_live(MemberLog& log);
  Result<void> judge(MemberLog& log, const MetaRow* meta);
  /// Of the live indexes, the first that is nowhere.
  std::optional<Index> missing_live_entry(const MemberLog& log) const;
  Result<void> read_marks();
  Result<void> remember(const std::string& reason, bool term_lost);
  Result<void> set_aside(const std::string& snapshot, const std::string& why);
  Result<void> begin_anew(MemberLog& log);
  Index snapshot_index() const { return found_.snapshot ? found_.snapshot->meta.index : 0; }
  bool covered(Index index) const { return found_.snapshot && index <= snapshot_index(); }

  /// Where a tail entry is: in the WAL's entry, or in a segment.
  struct Place {
    Term term;
    const Entry* in_wal;
  };

  LogSystem& system_;
  ServerConfig config_;
  const RecoveredWriter* wal_;
  std::string directory_;
  FoundSnapshot found_;
  std::vector<std::shared_ptr<const Segment>> segments_;
  std::uint64_t next_segment_ = 1;
  std::vector<std::pair<Index, Place>> above_;  // what is not covered; ascending
  std::optional<Amnesia> amnesia_;
  std::string known_voters_;
  std::optional<Index> install_mark_;
  /// What stands behind this index is not known to be the log's.
  std::optional<Index> log_end_;
};

/// Everything LogSystem::open does before the new WAL file is made.
class SystemRecovery {
 public:
  explicit SystemRecovery(LogSystem& system) : system_(system) {}
  Result<void> run();
  std::uint64_t next_wal_number() const { return wal_.last_number + 1; }
  bool metadata_changed() const { return metadata_changed_; }
  /// Bytes of the WAL files that are to go to segments.
  std::uint64_t unflushed_bytes() const { return unflushed_bytes_; }

 private:
  Result<void> open_directory();
  Result<void> take_over(const RegisteredServers& registered);
  /// Whether the server in a directory may be run here.
  Result<void> admit(const std::string& uid) const;
  Result<void> finish_deletions();
  Result<void> adopt_servers();
  Result<void> sync_wal_files();
  Result<void> recover_members();
  Result<void> recover_wal_files();
  Result<void> tell(const std::string& uid, const std::string& what);
  Result<void> keep_damaged_records();
  Result<void> keep_records_of_broken();
  Result<void> give_up_metadata(const Error& damage);
  Result<void> remove_leftovers();
  void queue_flush();

  LogSystem& system_;
  RecoveredWal wal_;
  std::vector<DirectoryEntry> entries_;
  std::uint64_t unflushed_bytes_ = 0;
  bool names_changed_ = false;
  bool metadata_changed_ = false;
};

}  // namespace rakv::raftlog
