// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"
#include "raft/log/snapshots/index_set.h"

// snapshot.dat ("RASN", ra_log_snapshot.erl) and indexes ("RASI", ra_snapshot.erl).

namespace rakv::raftlog {

/// The meta map of a snapshot: `#{index, term, cluster, machine_version}`.
struct StoredSnapshotMeta {
  Index index = 0;
  Term term = 0;
  EncodedTerm cluster;  ///< `#{ServerId => #{...}}`, ETF with 131, or a list of ServerIds (old ra)
  std::uint64_t machine_version = 0;
};

/// A snapshot as it is on disk.
struct Snapshot {
  StoredSnapshotMeta meta;
  SharedBytes state;  ///< ETF of the machine's state, with 131
  IndexSet live_indexes;
  bool live_indexes_known =
      true;  ///< false when the `indexes` file was missing or damaged: recompute from the state

  /// Whether the entry at `index` is live, or not covered. All are while it is not known which.
  bool needs(Index index) const {
    return index > meta.index || !live_indexes_known || live_indexes.contains(index);
  }
  bool needs_any(IndexRange range) const {
    return range.last > meta.index || !live_indexes_known || live_indexes.intersects(range);
  }
};

/// The meta as ETF map with 131 (also what install_snapshot_rpc carries).
EncodedTerm encode_snapshot_meta(const StoredSnapshotMeta& meta);
Result<StoredSnapshotMeta> decode_snapshot_meta(std::string_view etf);

/// Bytes of snapshot.dat. Concatenated chunks of an incoming snapshot are such bytes too (first
/// chunk has the header).
std::string encode_snapshot_file(const StoredSnapshotMeta& meta, std::string_view state);
/// corrupt when the CRC does not fit, malformed when the form is not a snapshot's. live_indexes is
/// left empty.
Result<Snapshot> decode_snapshot_file(const std::string& name, std::string_view bytes);
/// The same without a copy; `bytes` has no other owner.
Result<Snapshot> decode_snapshot_file(const std::string& name, SharedBytes bytes);
/// Its meta, the checksum of the whole verified.
Result<StoredSnapshotMeta> verify_snapshot_file(const std::string& name, std::string_view bytes);
/// Bytes of the `indexes` file, and back (a bare ETF ra_seq of old ra is taken as well).
std::string encode_indexes_file(const IndexSet& live_indexes);
Result<IndexSet> decode_indexes_file(const std::string& name, std::string_view bytes);

/// TTTTTTTTTTTTTTTT_IIIIIIIIIIIIIIII: term and index in upper-case hex.
std::string snapshot_directory_name(Position position);
std::optional<Position> position_of_snapshot_name(std::string_view name);

/// Writes a snapshot below `snapshots_directory` in the order that leaves no unsafe window: indexes
/// and fsync, snapshot.dat as a temporary file and fsync, rename, fsync of the directory, fsync of
/// the parent. Durable when it returns. After an error it may be there or not, or be there after a
/// crash (SnapshotLeftovers).
Result<void> write_snapshot(Disk& disk, const std::string& snapshots_directory,
                            const Snapshot& snapshot);

struct FoundSnapshot {
  std::optional<Snapshot> snapshot;
  /// Names of damaged ones that are newer than `snapshot`, and what is wrong with each.
  std::vector<std::pair<std::string, std::string>> damaged;
};
/// The newest valid one. Directories without snapshot.dat (a crash while writing) and older ones
/// are removed; damaged ones are left where they are.
Result<FoundSnapshot> find_snapshot(Disk& disk, const std::string& snapshots_directory);
/// Renames a snapshot to NAME.bad, where nothing looks for it. Durable when it returns.
Result<void> set_snapshot_aside(Disk& disk, const std::string& snapshots_directory,
                                const std::string& name);
/// Removes a snapshot's directory so that no crash leaves it without its live indexes. It may not
/// be there. Durable when it returns.
Result<void> remove_snapshot(Disk& disk, const std::string& directory);
/// Removes snapshots other than that at `keep`, oldest first. Durable when it returns.
Result<void> remove_other_snapshots(Disk& disk, const std::string& snapshots_directory,
                                    Position keep);

}  // namespace rakv::raftlog
