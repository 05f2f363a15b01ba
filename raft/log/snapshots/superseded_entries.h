// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"
#include "raft/log/snapshots/index_set.h"
#include "raft/log/snapshots/snapshot_file.h"

namespace rakv::raftlog {

/// A snapshot's index and live indexes: everything at or below the index that is not live has been
/// superseded before the snapshot was taken.
struct SnapshotHorizon {
  Index index = 0;
  std::shared_ptr<const IndexSet> live = std::make_shared<const IndexSet>();
  /// Whether the snapshot needs the entry, or does not cover it.
  bool needs(Index at) const { return at > index || live->contains(at); }
  bool needs_any(IndexRange range) const { return range.last > index || live->intersects(range); }
};

/// The file of a horizon in a server's directory (`superseded`): what may not be read any more. Of
/// what is at or below its index only its live indexes may be; the rest may be gone, or be an
/// older entry of that index than the committed one. Without the file, or when it is damaged or
/// beyond the snapshot, only what the snapshot needs may be read. ra ignores it.
Result<void> write_horizon(Disk& disk, const std::string& server_directory, Index index,
                           const IndexSet& live);
/// Nothing when there is none, or it is damaged.
Result<std::optional<SnapshotHorizon>> read_horizon(Disk& disk,
                                                    const std::string& server_directory);
Result<void> remove_horizon(Disk& disk, const std::string& server_directory);

/// Which entries stay readable although the newest snapshot does not need them.
///
/// A client asks the leader for the index of a key's entry and reads the entry afterwards. If
/// the key is put again and a snapshot is taken in between, the entry is superseded when the client
/// comes for it. So nothing that a snapshot superseded is dropped before `keep_for` has passed
/// since that snapshot, also when the process was started again meanwhile (then it is counted from
/// the start). What is dropped is what an older snapshot, the settled one, does not need either.
///
/// Bounds: besides the newest snapshot's live indexes those of two older ones are held, whatever
/// the number of snapshots; entries are kept for `keep_for` at least and for twice that and a
/// snapshot's interval at most, in WAL files and segments. When the disk is short of room, or
/// refuses the file, they are given up at once.
///
/// Owner thread only; jobs wait for the disk in the background.
class SupersededEntries {
 public:
  using Milliseconds = std::chrono::milliseconds;
  /// A client reads right after it was told the index: round trips and pauses of it are a small
  /// part of this.
  static constexpr Milliseconds kDefaultKeepFor{30'000};

  /// How the member's log and its jobs are reached.
  struct Seams {
    std::function<Milliseconds()> now;
    /// Runs the job in the background, then the other on the owner, if the member is still there.
    std::function<void(std::function<Result<void>()>, std::function<void(Result<void>)>)> run;
    /// Something has been dropped: segments may be removed.
    std::function<void()> on_dropped;
    std::function<void(const Error&)> report;
  };
  /// What is known of them; as it is, that of a server without a snapshot.
  struct State {
    SnapshotHorizon settled;
    bool newest_is_settled = false;  ///< then nothing is kept, and `settled` does not count
    bool file_fits = false;          ///< the file is there and is the settled one's
    Index newest_index = 0;          ///< of the newest snapshot

    /// Whether an entry that the newest snapshot does not need is kept.
    bool keeps(Index index) const { return !newest_is_settled && settled.needs(index); }
  };
  /// What a start finds in the server's directory. Waits for the disk. `newest`: the snapshot,
  /// nothing if there is none.
  static Result<State> recover(Disk& disk, const std::string& server_directory,
                               Milliseconds keep_for, const std::optional<Snapshot>& newest);

  /// `keep_for` 0: nothing is kept.
  SupersededEntries(Disk& disk, std::string server_directory, Milliseconds keep_for, State state,
                    Seams seams)
      : disk_(disk),
        directory_(std::move(server_directory)),
        keep_for_(keep_for),
        seams_(std::move(seams)),
        state_(std::move(state)),
        newest_since_(seams_.now()) {}

  /// Whether an entry that the newest snapshot does not need is kept.
  bool keeps(Index index) const { return state_.keeps(index); }
  bool keeps_any(IndexRange range) const {
    return !state_.newest_is_settled && state_.settled.needs_any(range);
  }
  /// Whether anything may be kept.
  bool any() const { return !state_.newest_is_settled; }

  /// Part of the job that writes a snapshot, before it is durable: what a start may read is known
  /// by then. `installed_over_other_log`: nothing that the log held may be read.
  std::function<Result<void>()> before_snapshot(const std::optional<Snapshot>& newest,
                                                bool installed_over_other_log);
  /// The job has ended, with the snapshot durable or not; comes before snapshot_replaced().
  void snapshot_written(bool written);
  /// The newest snapshot has a successor. `former` is the one before, if there was one, and gives
  /// its live indexes away. An installed snapshot that the log did not agree with leaves nothing.
  void snapshot_replaced(std::optional<Snapshot> former, Index newest,
                         bool installed_over_other_log);

  /// Gives up what has been kept long enough; with `everything` all that the newest snapshot does
  /// not need. To be called every second or so.
  void settle(const std::optional<Snapshot>& newest, bool everything);

 private:
  struct Waiting {
    SnapshotHorizon horizon;
    Milliseconds since;
  };
  bool due(Milliseconds since) const { return seams_.now() - since >= keep_for_; }
  void settle_newest(const Snapshot& newest, bool everything);
  void settle_waiting();
  void settled(Index index, bool fits, const Result<void>& done);
  std::string snapshot_path(const Snapshot& snapshot) const;

  Disk& disk_;
  std::string directory_;
  Milliseconds keep_for_;
  Seams seams_;

  State state_;
  std::optional<Waiting> waiting_;  // an older snapshot than the newest
  Milliseconds newest_since_;
  std::shared_ptr<bool> file_written_;  // by the job of before_snapshot()
  bool busy_ = false;
};

}  // namespace rakv::raftlog
