// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/segments/segment.h"

// Compaction of a member's segments (ra_log_segments.erl). A minor one removes segments without a
// live entry. A major one also merges runs of segments of which less than half is live. Here is
// what a major one does group by group: which segments make a group, and the work on the disk for
// one, in an order in which every crash leaves all live entries to be found (each index's newest
// one, by number of the segment). When compactions begin, and what readers see, is MemberSegments'.

namespace rakv::raftlog {

/// A segment and those of its entries that are live and that no newer segment has.
struct LiveSegment {
  std::shared_ptr<const Segment> segment;
  std::vector<SegmentSlot> live;  // ascending
  std::uint64_t live_bytes = 0;
};

/// A part of a major compaction, for the thread that waits for the disk. All ascending by number.
struct CompactionStep {
  std::vector<std::shared_ptr<const Segment>> dead;  ///< without a live entry
  std::vector<LiveSegment> group;  ///< to become one segment under the first one's number
  bool empty() const { return dead.empty() && group.empty(); }
};

/// Makes groups of the segments that it is given in ascending order (ra's take_group/3): in a group
/// are consecutive ones of which less than half of the entries or of the bytes is live, together no
/// more than one segment may hold. A denser one ends the group.
class CompactionGroups {
 public:
  explicit CompactionGroups(const SegmentOptions& limits) : limits_(limits) {}
  /// A group that is complete with this call; empty otherwise. Segments without live entries must
  /// not be given.
  std::vector<LiveSegment> add(LiveSegment segment);
  /// The group that is under way; a segment that must stay as it is, or the end, ends it.
  std::vector<LiveSegment> finish();

 private:
  bool fits(const LiveSegment& segment) const;
  void take(LiveSegment segment);

  SegmentOptions limits_;
  std::vector<LiveSegment> group_;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

/// How far a step came.
struct CompactionOutcome {
  std::vector<std::uint64_t> removed;     ///< segments whose files are gone
  std::shared_ptr<const Segment> merged;  ///< has taken the place of the segment of its number
  std::optional<Error> error;             ///< why the rest was not done
};

/// Does a step in `directory`: removes the dead segments (lowest first) and syncs the directory, so
/// that none of their overwritten entries can show; writes FIRST.compacting with every entry's
/// checksum verified, syncs it and the directory; renames it over the first segment, syncs the
/// directory; removes the others, lowest first, with a sync after each. Waits for the disk; any
/// thread. An entry that can't be read leaves the whole group as it is.
CompactionOutcome compact(Disk& disk, const std::string& directory, const CompactionStep& step,
                          const std::shared_ptr<SegmentFiles>& files);

/// Removes segment files, lowest number first, then syncs the directory. Files that are missing are
/// as good as removed.
Result<void> remove_segments(Disk& disk, const std::string& directory,
                             const std::vector<std::shared_ptr<const Segment>>& segments);

}  // namespace rakv::raftlog
