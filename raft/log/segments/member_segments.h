// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cnode/base/lifetime.h"
#include "raft/log/base/context.h"
#include "raft/log/base/types.h"
#include "raft/log/segments/compaction.h"
#include "raft/log/segments/segment.h"
#include "raft/log/segments/segment_repair.h"
#include "raft/log/segments/segment_table.h"
#include "raft/log/snapshots/snapshot_leftovers.h"

namespace rakv::raftlog {

/// What compactions have done since the log was opened (ra's counters of the same names).
struct CompactionCounts {
  std::uint64_t minor = 0;               ///< minor compactions
  std::uint64_t major = 0;               ///< major compactions
  std::uint64_t segments_compacted = 0;  ///< segments that were merged
  std::uint64_t segments_written = 0;    ///< segments that they were merged into
};

/// The segments of one member and their compaction. Owner thread only; what waits for the disk is
/// done in the background, one group of segments per job, so that flushes are not held up for long.
/// Readers need no protection: a segment that is merged or removed stays readable for those who
/// hold it (Segment::read).
class MemberSegments {
 public:
  /// The member's live entries, as they are at each moment.
  struct LiveView {
    std::function<std::optional<Index>()> snapshot_index;
    std::function<bool()> any_live;     ///< any entry at or below the snapshot
    std::function<bool(Index)> needed;  ///< live, or above the snapshot
    std::function<bool(Index)> kept;    ///< needed, or superseded a short while ago
    std::function<bool(IndexRange)> any_kept;
    std::function<bool()> any_superseded;  ///< some may be kept that are not needed
    std::shared_ptr<SnapshotLeftovers> leftovers;
  };
  /// `limits` are those of merged segments, which join `files` as all others.
  MemberSegments(LogContext& context, std::string directory, const SegmentOptions& limits,
                 std::shared_ptr<SegmentFiles> files, SegmentTable segments, LiveView live)
      : context_(context),
        directory_(std::move(directory)),
        limits_(limits),
        files_(std::move(files)),
        segments_(std::move(segments)),
        live_(std::move(live)) {}

  std::size_t size() const { return segments_.size(); }
  /// From the lowest to the highest index; nothing when there is no entry.
  std::optional<IndexRange> range() const { return segments_.range(); }
  /// Where an index's newest entry is, but for those that are hidden.
  std::optional<SegmentTable::Place> find(Index index) const { return segments_.find(index); }
  /// The entry in this segment came with a snapshot that is not installed, and is not the log's.
  void hide(const Segment& segment, Index index) { segments_.hide(segment, index); }
  /// A snapshot has been installed at this index. What came above it came with another one, which
  /// was given up.
  void show_hidden(Index last) { segments_.show_hidden(last); }

  /// Takes over a segment that is on disk.
  void add(std::shared_ptr<const Segment> segment) { segments_.add(std::move(segment)); }
  /// Removes segments that hold nothing that is kept, except the newest; waits until a major
  /// compaction is done.
  void remove_dead();
  /// Superseded entries are not kept any more: what former compactions had to leave goes now.
  void superseded_dropped();

  /// After so many minor compactions the next one is a major one; nothing = only when asked for
  /// (ra's major_compaction_strategy).
  void set_major_after(std::optional<std::uint64_t> minors) { major_after_ = minors; }
  /// A minor compaction; to be called after each snapshot.
  void compact_minor() { schedule(false); }
  /// A major compaction; nothing happens when one is under way, or without a snapshot.
  void compact_major() { schedule(true); }
  bool compacting() const { return compaction_.has_value(); }

  /// Reads the whole segment that has the index's newest entry: what can't be read of it, which may
  /// be nothing. Errors: not_found when no segment has the index; io.
  void find_damage(Index index, std::function<void(Result<SegmentDamage>)> callback);
  /// replace_entries() in the background; the segment stays as it was on an error. `replacements`
  /// has all that is needed. `unavailable` while there is a compaction or another replacement.
  void replace_damaged(SegmentDamage damage, std::map<Index, StoredEntry> replacements,
                       DoneCallback done);
  const CompactionCounts& counts() const { return counts_; }

 private:
  /// A major compaction under way.
  struct Major {
    Index snapshot_index;
    std::uint64_t next_number = 0;  // of the segment to look at
    CompactionGroups groups;
    CompactionStep step;
  };
  void schedule(bool major);
  void go_on_after();
  void begin_major(Index snapshot_index);
  void continue_major();
  bool look_at(std::size_t position);
  void run_step();
  void finish_step(CompactionOutcome outcome, std::size_t merged_count);
  bool is_candidate(std::size_t position, Index snapshot_index) const;
  bool is_dead(const Segment& segment) const;
  LiveSegment live_part(std::size_t position) const;

  LogContext& context_;
  std::string directory_;
  SegmentOptions limits_;
  std::shared_ptr<SegmentFiles> files_;
  SegmentTable segments_;
  LiveView live_;
  std::optional<std::uint64_t> major_after_ = 8;
  std::uint64_t minors_ = 0;  // since the last major one
  std::optional<Major> compaction_;
  bool left_superseded_ = false;    // by the last major compaction; another one follows
  bool dropped_meanwhile_ = false;  // superseded entries, while a compaction was under way
  bool replacing_ = false;
  CompactionCounts counts_;
  Lifetime lifetime_;
};

}  // namespace rakv::raftlog
