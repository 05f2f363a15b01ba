// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
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
#include "raft/log/directory/metadata.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/memory_table.h"
#include "raft/log/segments/member_segments.h"
#include "raft/log/segments/segment.h"
#include "raft/log/segments/segment_flusher.h"
#include "raft/log/snapshots/snapshot_file.h"
#include "raft/log/snapshots/snapshot_leftovers.h"
#include "raft/log/snapshots/superseded_entries.h"
#include "raft/log/voided_entries.h"
#include "raft/log/wal/wal.h"

namespace rakv::raftlog {

class MemberLog;
struct RecoveredLog;

/// What a member's shell is told, on the owner's thread.
class MemberLogObserver {
 public:
  virtual ~MemberLogObserver() = default;
  /// Entries became durable; log.last_written() is already up to date. `range` and `term` are those
  /// of the WAL's event and may name entries that were overwritten since.
  virtual void written(MemberLog& log, Term term, IndexRange range) = 0;
};

/// What a member's log shares with the others of its system, all of which outlives it.
struct MemberLogContext {
  LogContext& jobs;
  WalQueue& queue;
  std::shared_ptr<SegmentFiles> segment_files;
  SegmentOptions segment;
  /// See LogSystemOptions.
  std::chrono::milliseconds keep_superseded_for;
  std::function<std::chrono::milliseconds()> now;
  /// Told of payload bytes that were appended.
  std::function<void(std::uint64_t bytes)> on_appended;
};

/// The log of one member: entries in memory, entries in segments, newest snapshot. Owner thread
/// only; nothing here waits for a disk except read_blocking().
class MemberLog final : private FlushSource {
 public:
  /// Takes over what a start has found, or what a new server has, and makes it known to the WAL.
  MemberLog(const MemberLogContext& context, RecoveredLog recovered);

  const std::string& uid() const { return config_.uid; }
  const ServerConfig& config() const { return config_; }
  /// Term, vote and last_applied as stored (recovered, then as last given to store_term_vote).
  const MetaRow& meta() const { return meta_; }
  /// False while the disk may not have meta()'s term and vote: a store_term_vote is under way, or
  /// has failed. Whoever was not told that they are stored must not act on them.
  bool term_vote_stored() const { return term_vote_stored_; }
  /// Set when recovery found that this member has lost something it may have promised (log shorter
  /// than last_applied, damaged snapshot, damaged WAL part), now or at an earlier start: it must
  /// not vote until it has caught up.
  const std::optional<AmnesiaMark>& amnesia() const { return amnesia_; }
  /// The member has caught up. `done` comes when the next start will know it, too.
  void end_amnesia(DoneCallback done);
  /// See server_marks.h.
  const std::string& known_voters() const { return known_voters_; }
  void store_known_voters(std::string bytes, DoneCallback done);

  // ---- for the start of a member, which nobody else may use the log meanwhile

  /// Calls `ready`, later, when nothing that a former member of this process began changes the log
  /// any more: when no snapshot is being written or installed. What came for an installation that
  /// was not begun is dropped.
  void when_settled(std::function<void()> ready);
  /// Gives the snapshot with its state, but without its live indexes, to `use`, on the worker's
  /// thread. Errors: not_found, corrupt, io, and what `use` says.
  void use_snapshot(std::function<Result<void>(const Snapshot&)> use, DoneCallback done);
  /// Gives the entries of the range to `use`, in order, on the worker's thread. Errors as read();
  /// the entries before the one that can't be read have been given then.
  void visit(IndexRange range, std::function<void(const StoredEntry&)> use, DoneCallback done);
  /// The entry at `index`, above the snapshot, can't be read: it and all after it are given up, to
  /// be fetched again from the leader, with amnesia.
  void forget_from(Index index, const std::string& reason, DoneCallback done);

  void set_observer(MemberLogObserver* observer) { observer_ = observer; }

  // ---- reading

  /// First index above the snapshot that the log has, or last_index()+1 when it has none. 0 is
  /// possible (ra writes a dummy entry at index 0 of a fresh log).
  Index first_index() const { return first_index_; }
  /// Last entry, or the snapshot's position when nothing is above it. {0,0} when the log is empty.
  Position last() const { return last_; }
  /// Highest contiguous durable entry: what may be acknowledged.
  Position last_written() const { return last_written_; }
  /// True when the log holds no entry and no snapshot at all.
  bool empty() const { return empty_; }
  /// Term of an entry or of the snapshot's index; nothing when unknown here.
  std::optional<Term> term_at(Index index) const;
  /// The entry if it is in memory (the most recent ones are). Does not touch a disk.
  const StoredEntry* fetch(Index index) const { return memory_.find(index); }
  /// Whether the log has it anywhere (memory or segment, above the snapshot or live).
  bool has(Index index) const;
  /// Reads entries wherever they are, in the order asked for, superseded ones that are still kept
  /// among them (superseded_entries.h); not_found names the first that is missing, corrupt one
  /// whose checksum fails. The callback always comes later on the owner's executor.
  using ReadCallback = std::function<void(Result<std::vector<StoredEntry>>)>;
  void read(const std::vector<Index>& indexes, ReadCallback callback);
  /// As read, at once, waiting for the disk: for tools and tests.
  Result<StoredEntry> read_blocking(Index index) const;
  /// The newest snapshot. Its state bytes stay in memory only until release_snapshot_state().
  const std::optional<Snapshot>& snapshot() const { return snapshot_; }
  void release_snapshot_state() {
    if (snapshot_) snapshot_->state = {};
  }
  /// The newest snapshot's file, to be sent to a peer: whole, its checksum verified.
  struct SnapshotFile {
    StoredSnapshotMeta meta;
    SharedBytes bytes;
    IndexSet live_indexes;
  };
  /// Reads it. Errors: not_found without a snapshot; corrupt, io.
  void read_snapshot_file(std::function<void(Result<SnapshotFile>)> callback);
  /// Bytes of the entry's payload; 0 when the log does not have it.
  std::uint64_t payload_bytes(Index index) const;

  // ---- writing

  /// Appends entries with ascending, gapless indexes. The first may be at or below last().index:
  /// what is there and above is truncated first and last_written falls below it. A first index
  /// above last()+1 is a programmer's fault.
  void append(std::vector<StoredEntry> entries);
  void append(StoredEntry entry);
  /// Drops everything above `index` (>= the snapshot's). Nothing is written: after a crash the
  /// suffix may be back, as Raft allows for entries that were never committed.
  void truncate_after(Index index);
  /// Live entries of a snapshot that is being installed, in ascending order. They are kept beside
  /// the log until install_snapshot completes; drop_sparse(), append() or truncate_after() before
  /// that drop them. What has gone to segments meanwhile does not take up memory any more. Those
  /// that the log has already are not written again.
  ///
  /// On disk nothing tells them from entries of the log itself. So where the log ends is written
  /// down first (`installing`, server_marks.h), and what is appended afterwards counts as durable
  /// only when that mark is gone again: a crash at any moment loses none of it.
  void write_sparse(std::vector<StoredEntry> entries);
  void drop_sparse();
  /// Whether the entry would be there after install_snapshot: the log has it, or write_sparse()
  /// brought it.
  bool has_for_install(Index index) const;
  /// Entries appended and not yet durable.
  std::uint64_t pending_writes() const;

  // ---- snapshots

  /// Writes a snapshot of this member's own state at an index it has applied and written; then
  /// entries up to the index, except live ones, are dropped, and segments without live entries
  /// removed. One at a time: `unavailable` otherwise.
  void write_snapshot(StoredSnapshotMeta meta, SharedBytes state, IndexSet live_indexes,
                      DoneCallback done);
  /// The same with the live indexes in any order: they are sorted in the background.
  void write_snapshot(StoredSnapshotMeta meta, SharedBytes state, std::vector<Index> live_indexes,
                      DoneCallback done);
  /// Makes a snapshot received from the leader this member's beginning: call it when
  /// pending_writes() is 0 after write_sparse. What the log has above it stays if it agrees with
  /// the snapshot at its index; everything else that the log held is dropped. Nothing may be
  /// appended or truncated until `done` has been called. malformed: one of the live entries is
  /// neither in the log nor among those that write_sparse() brought.
  void install_snapshot(StoredSnapshotMeta meta, SharedBytes state, IndexSet live_indexes,
                        DoneCallback done);
  /// After a start with snapshot()->live_indexes_known == false (nothing at or below the snapshot
  /// has been dropped then): what the owner found in the machine's state; made durable.
  void set_live_indexes(IndexSet live_indexes, DoneCallback done);
  bool snapshot_in_progress() const { return snapshot_in_progress_; }
  /// Gives up superseded entries that have been kept long enough, or `all` of them. The owner calls
  /// it every second or so, through LogSystem::drop_superseded().
  void drop_superseded(bool all);

  /// Runs `job` where snapshots are written, so that the owner's thread need not wait for it. It
  /// must not touch what belongs to the owner; `done` comes there, unless the log has ended.
  void run_in_background(std::function<Result<void>()> job, DoneCallback done);

  std::size_t segment_count() const { return segments_.size(); }
  std::uint64_t memory_bytes() const { return memory_.bytes(); }
  std::size_t memory_entries() const { return memory_.size(); }
  /// The contiguous run of entries in memory.
  std::optional<IndexRange> memory_range() const { return memory_.tail_range(); }
  /// From the lowest to the highest index that is in segments.
  std::optional<IndexRange> segments_range() const { return segments_.range(); }

  // ---- compaction (see MemberSegments)

  /// A major compaction follows after so many minor ones; nothing = only when asked for.
  void set_major_compaction_after(std::optional<std::uint64_t> minors) {
    segments_.set_major_after(minors);
  }
  /// Begins a major compaction unless one is under way, or there is no snapshot.
  void trigger_major_compaction() { segments_.compact_major(); }
  const CompactionCounts& compaction_counts() const { return segments_.counts(); }

  // ---- damaged entries (see MemberSegments)

  /// What can't be read of the segment that `index` is in.
  void find_damage(Index index, std::function<void(Result<SegmentDamage>)> callback) {
    segments_.find_damage(index, std::move(callback));
  }
  /// Puts entries that other members have in the place of those that can't be read.
  void replace_damaged(SegmentDamage damage, std::map<Index, StoredEntry> replacements,
                       DoneCallback done) {
    segments_.replace_damaged(std::move(damage), std::move(replacements), std::move(done));
  }

  // ---- for LogSystem, which has the files that all members share

  WriterId writer() const { return writer_; }
  /// The WAL's event.
  void handle_written(const WalWritten& event);
  void set_config(ServerConfig config) { config_ = std::move(config); }
  /// A term and vote are about to be stored. Gives what term_vote_stored_up_to() is to be told when
  /// they are.
  std::uint64_t begin_term_vote(Term term, std::optional<ServerId> voted_for);
  void term_vote_stored_up_to(std::uint64_t number);
  /// Whether meta() has a higher last_applied now, never more than is durable.
  bool note_last_applied(Index index);
  /// What of the mark of an installation could not be done is tried again: perhaps nothing else
  /// comes that would do it, and somebody waits for what the mark holds back.
  void retry_install_mark();
  FlushSource& flush_source() { return *this; }

 private:
  struct PendingWrite {
    std::uint64_t first_sequence;
    IndexRange range;
    bool sparse;
  };
  void make_place_for(Index first);
  void note_last(const StoredEntry& entry);
  void queue(const StoredEntry& entry, bool sparse);
  void queue_marked_sparse();
  void write_install_mark();
  void remove_install_mark();
  bool own_entries_behind_sparse() const;
  void note_durable(Index last);
  bool agrees_with(Position position) const;
  /// Whether the entry is to stay: needed, superseded a short while ago, or needed by a snapshot
  /// that is being taken in.
  bool keeps(Index index) const {
    return needed(index) || superseded_.keeps(index) || incoming_on_disk_.contains(index);
  }
  bool keeps_any(IndexRange range) const {
    return any_needed(range) || superseded_.keeps_any(range) || incoming_on_disk_.intersects(range);
  }
  MemberSegments::LiveView live_view();
  SupersededEntries::Seams superseded_seams();
  /// A snapshot on its way to the disk.
  struct SnapshotWrite {
    Snapshot snapshot;
    std::optional<std::vector<Index>> unsorted_live;
    bool installed = false;
    DoneCallback done;
  };
  /// How far the live entries of one that is taken in have been looked for.
  struct LiveEntriesSeen {
    std::size_t range = 0;
    Index of_range = 0;
    std::size_t incoming = 0;
  };
  void begin_snapshot(SnapshotWrite write);
  void look_for_live_entries(std::shared_ptr<SnapshotWrite> write, LiveEntriesSeen seen);
  void write_snapshot_file(const std::shared_ptr<SnapshotWrite>& write);
  void end_snapshot(const SnapshotWrite& write, Result<void> outcome);
  void set_snapshot(Snapshot snapshot, bool installed);
  void settle();
  /// Takes entries above `index` out of memory.
  void void_after(Index index);
  bool needed(Index index) const;
  bool any_needed(IndexRange range) const;

  std::vector<StoredEntry> entries_to_flush(Index& next, Index last,
                                            const SegmentOptions& limits) const override;
  Index take_changed_from() override { return voided_.take_changed_from(); }
  std::uint64_t next_segment() const override { return next_segment_; }
  void add_segment(std::shared_ptr<const Segment> segment) override;
  void flushed(IndexRange range) override;
  std::shared_ptr<SnapshotLeftovers> leftovers() const override { return leftovers_; }

  MemberLogContext context_;
  std::string directory_;
  ServerConfig config_;
  MetaRow meta_;
  bool term_vote_stored_ = true;
  std::uint64_t term_vote_number_ = 0;  // of the newest store_term_vote
  std::optional<AmnesiaMark> amnesia_;
  std::string known_voters_;
  MemberLogObserver* observer_ = nullptr;
  WriterId writer_;

  bool empty_;
  Index first_index_;
  Position last_;
  Position last_written_;
  MemoryTable memory_;
  VoidedEntries voided_;
  // Sparse entries wait here until the mark for them is on disk.
  std::vector<StoredEntry> unmarked_;
  std::optional<Index> install_mark_;  // the log's end as it stands, or may stand, on disk
  bool install_mark_sure_ = true;      // false after an error
  bool install_mark_busy_ = false;     // a job is about it
  std::uint64_t last_sparse_sequence_ = 0;
  /// The highest index of an entry that the mark is for.
  Index sparse_up_to_ = 0;
  Index durable_behind_mark_ = 0;  // of the log; counts when the mark is gone

  SparseEntries incoming_;     // write_sparse, until install_snapshot or in a segment
  IndexSet incoming_on_disk_;  // of write_sparse, in segments already
  std::uint64_t next_sequence_ = 1;
  std::deque<PendingWrite> pending_;
  std::optional<Snapshot> snapshot_;
  bool snapshot_in_progress_ = false;
  std::vector<std::function<void()>> settled_waiting_;
  bool installing_ = false;
  SupersededEntries superseded_;
  std::shared_ptr<SnapshotLeftovers> leftovers_;
  MemberSegments segments_;
  std::uint64_t next_segment_;
  Lifetime lifetime_;
};

}  // namespace rakv::raftlog
