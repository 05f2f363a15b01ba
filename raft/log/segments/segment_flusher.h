// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/log/base/context.h"
#include "raft/log/base/types.h"
#include "raft/log/segments/segment.h"
#include "raft/log/snapshots/snapshot_leftovers.h"

namespace rakv::raftlog {

/// A member's log as the flusher sees it.
class FlushSource {
 public:
  virtual ~FlushSource() = default;
  /// What from `next` to `last` is in memory and to be kept, ascending, as much as one segment may
  /// hold; `next` becomes the index behind it.
  virtual std::vector<StoredEntry> entries_to_flush(Index& next, Index last,
                                                    const SegmentOptions& limits) const = 0;
  /// The lowest index that was truncated since the last call; UINT64_MAX when none was.
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
};

/// Brings the entries of closed WAL files into segments, then removes the files. Owner thread only.
///
/// It goes segment by segment: the owner hands the entries of one segment to the background, and
/// when that is on disk its entries leave memory, before the next one is begun. So the owner is
/// never held up for long, and memory falls from the first segment on.
///
/// A log may be truncated and written anew between two segments. Then the next segment begins where
/// the log has changed: at the end, the segments that were written hold what the log was at one
/// moment, and never an old part before a new one.
class SegmentFlusher {
 public:
  /// `directory` is the system's; `limits` are those of a segment, which is not split to the byte.
  SegmentFlusher(LogContext& context, std::string directory, const SegmentOptions& limits,
                 std::shared_ptr<SegmentFiles> files, FlushOwner& owner)
      : context_(context),
        directory_(std::move(directory)),
        limits_(limits),
        files_(std::move(files)),
        owner_(owner) {}

  /// Takes files, oldest first, of `bytes` together; `ranges` are the indexes that each server (by
  /// UId) has in them. Earlier files are flushed before.
  void add(std::vector<std::string> wal_paths, std::uint64_t bytes,
           const std::map<std::string, IndexRange>& ranges);
  /// Begins, or goes on after an error, unless it is under way or there is nothing to do.
  void run();

 private:
  struct Part {
    IndexRange range;
    Index next;  ///< what is before it is in segments
  };
  struct Flush {
    std::vector<std::string> wal_paths;
    std::uint64_t bytes;
    SegmentOptions limits;  ///< of its segments
    std::map<std::string, Part> parts;
  };
  /// `next` is the index behind the entries.
  void write_segment(const std::string& uid, std::uint64_t number, std::vector<StoredEntry> entries,
                     Index next);
  void finish();
  void fail(const Error& error);

  LogContext& context_;
  std::string directory_;
  SegmentOptions limits_;
  std::shared_ptr<SegmentFiles> files_;
  FlushOwner& owner_;
  std::deque<Flush> flushes_;
  bool busy_ = false;
};

}  // namespace rakv::raftlog
