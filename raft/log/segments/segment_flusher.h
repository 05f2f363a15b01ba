// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/base/context.h"
#include "raft/log/base/types.h"
#include "raft/log/segments/segment.h"
#include "raft/log/snapshots/snapshot_leftovers.h"
#include "raft/log/wal/kept_records.h"

namespace rakv::raftlog {

/// A member's log as the flusher sees it.
class FlushSource {
 public:
  virtual ~FlushSource() = default;
  /// What the WAL has from `next` to `last` and memory, too, if it is to be kept; ascending, as
  /// much as one segment may hold. `next` becomes the index after it. Entries that the log has
  /// given up are among them as long as the WAL has nothing else in their place (voided_entries.h).
  virtual std::vector<StoredEntry> entries_to_flush(Index& next, Index last,
                                                    const SegmentOptions& limits) const = 0;
  /// The lowest index at which the WAL overwrote something since the last call; UINT64_MAX when
  /// there was none.
  virtual Index take_changed_from() = 0;
  /// The number of the next segment; goes up by add_segment().
  virtual std::uint64_t next_segment() const = 0;
  /// Takes over a segment that was flushed: it is on disk, so its entries leave memory.
  virtual void add_segment(std::shared_ptr<const Segment> segment) = 0;
  /// The WAL files with these entries are gone: what had not to go to segments leaves memory, and
  /// segments that nobody needs leave the disk.
  virtual void flushed(IndexRange range) = 0;
  /// Must be removed before the WAL files are.
  virtual std::shared_ptr<SnapshotLeftovers> leftovers() const = 0;
};

/// The system as the flusher sees it.
class FlushOwner {
 public:
  virtual ~FlushOwner() = default;
  /// The log of the server with this UId; null when it is gone.
  virtual FlushSource* flush_source(const std::string& uid) = 0;
  struct Removal {
    std::function<Result<void>()> before;            ///< in the background
    std::function<void(std::uint64_t bytes)> after;  ///< on the owner's thread
  };
  /// What must come before WAL files are removed, and what follows when files of so many bytes are
  /// gone. After an error in between it is asked for again.
  virtual Removal begin_removal() = 0;
  /// The server's directory takes no segments, and its records are kept elsewhere from now on. It
  /// should take no more entries.
  virtual void records_kept(const std::string& uid, const Error& why) = 0;
  /// The end of that.
  virtual void kept_records_flushed(const std::string& uid) = 0;
};

/// Brings the entries of closed WAL files into segments, then removes the files. Owner thread only.
///
/// It goes segment by segment: the owner hands the entries of one segment to the background, and
/// when that is on disk its entries leave memory, before the next one is begun. So the owner is
/// never held up for long, and memory falls from the first segment on.
///
/// The WAL may overwrite a part of a log between two segments. Then the next segment begins there:
/// at the end, the segments that were written hold what the WAL had at one moment, and never an old
/// part before a new one.
///
/// One server's directory may fail while the others' work. The others' parts are written all the
/// same, and the failing one is tried once more with the next run(). If it fails again, what the
/// WAL files have of that server goes to a file of its own as it stands there (kept_records.h), and
/// the WAL files are removed. Its entries stay in memory. Whenever that server has a part in later
/// files, or at retry(), its kept records are flushed first; when all are in segments, the file
/// goes. There is at most one such file for a server, and they have at most `most_kept_bytes`
/// together, which a server that takes no more entries stays within. When the records can't be
/// kept, or when the error is a full disk, which is nobody's own, the WAL files stay and all of it
/// is tried again.
class SegmentFlusher {
 public:
  /// `directory` is the system's; `limits` are those of a segment, which is not split to the byte.
  SegmentFlusher(LogContext& context, std::string directory, const SegmentOptions& limits,
                 std::uint64_t most_kept_bytes, std::shared_ptr<SegmentFiles> files,
                 FlushOwner& owner)
      : context_(context),
        directory_(std::move(directory)),
        limits_(limits),
        most_kept_bytes_(most_kept_bytes),
        files_(std::move(files)),
        owner_(owner) {}

  /// Takes files, oldest first, of `bytes` together; `ranges` are the indexes that each server (by
  /// UId) has in them. Earlier files are flushed before.
  void add(std::vector<std::string> wal_paths, std::uint64_t bytes,
           const std::map<std::string, IndexRange>& ranges);
  /// Begins, or goes on after an error, unless it is under way or there is nothing to do.
  void run();
  /// As run(), also for records that are kept.
  void retry();
  /// Whether records of this server (by UId) are kept.
  bool keeps(const std::string& uid) const { return kept_.contains(uid); }

 private:
  struct Part {
    IndexRange range;
    Index next;                        ///< what is before it is in segments
    std::optional<Error> failed = {};  ///< in this run
    bool failed_before = false;
  };
  struct Flush {
    std::vector<std::string> wal_paths;
    std::uint64_t bytes;
    SegmentOptions limits;  ///< of its segments
    std::map<std::string, Part> parts;
  };
  struct Kept {
    KeptFile file;
    IndexRange range;
  };
  struct Ending;
  struct Ended;
  void go_on();
  /// `next` is the index after the entries.
  void write_segment(const std::string& uid, std::uint64_t number, std::vector<StoredEntry> entries,
                     Index next);
  void part_failed(const std::string& uid, const Error& error);
  void finish();
  void finished(const Ended& ended, const std::function<void(std::uint64_t bytes)>& after);
  void note_kept(const std::string& uid, const KeptFile& file, const Error& why);
  void fail(const Error& error);

  LogContext& context_;
  std::string directory_;
  SegmentOptions limits_;
  std::uint64_t most_kept_bytes_;
  std::shared_ptr<SegmentFiles> files_;
  FlushOwner& owner_;
  std::deque<Flush> flushes_;
  std::map<std::string, Kept> kept_;  // by UId
  bool busy_ = false;
};

}  // namespace rakv::raftlog
