// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/segments/segment.h"

namespace rakv::raftlog {

class LogSystem;
class MemberLog;

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
  explicit SegmentFlusher(LogSystem& system) : system_(system) {}

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
  void write_segment(MemberLog& member, std::vector<Entry> entries, Index next);
  void finish();
  void fail(const Error& error);

  LogSystem& system_;
  std::deque<Flush> flushes_;
  bool busy_ = false;
};

}  // namespace rakv::raftlog
