// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "raft/log/base/types.h"

namespace rakv::raftlog {

/// What the WAL has, or is about to have, and the log has no more: entries that were truncated or
/// overwritten, until what comes in their place is in the WAL, too.
///
/// Segments are made of what the WAL files have, and not of the log as it is by then. If the voided
/// entries of a WAL file did not come to segments, what follows them in the next file would
/// follow an older entry after a crash: one leader's log after another's. A later leader
/// whose log has that last entry would take the one before it for its own, too.
///
/// Owner's thread only.
class VoidedEntries {
 public:
  /// The WAL has entries up to `last` at first.
  explicit VoidedEntries(Index last) : last_(last) {}

  /// The log gives up an entry that the WAL has. Ascending.
  void add_written(StoredEntry entry) { written_.insert_or_assign(entry.index, std::move(entry)); }
  /// The log gives up an entry that waits for the WAL as number `sequence`. Ascending.
  void add_queued(std::uint64_t sequence, StoredEntry entry) {
    queued_.emplace_back(sequence, std::move(entry));
  }
  /// The WAL has all that was queued before number `sequence`.
  void written_before(std::uint64_t sequence);
  /// The WAL has these entries of the log. What stood there and after it is void on disk, too.
  void log_written(IndexRange range) { write(range); }
  /// One entry is in a segment.
  void flushed(Index index, Term term);
  /// A snapshot covers them.
  void drop_up_to(Index index) { written_.erase(written_.begin(), written_.upper_bound(index)); }
  /// The lowest index at which the WAL overwrote something since the last call; UINT64_MAX when
  /// there was none.
  Index take_changed_from() { return std::exchange(changed_from_, UINT64_MAX); }
  /// Those that the WAL has, by index. All are above what the WAL has of the log as it is.
  const std::map<Index, StoredEntry>& written() const { return written_; }

 private:
  void write(IndexRange range);

  std::map<Index, StoredEntry> written_;
  std::deque<std::pair<std::uint64_t, StoredEntry>> queued_;  ///< with their numbers
  Index last_;                                                ///< of what a start would read
  Index changed_from_ = UINT64_MAX;
};

}  // namespace rakv::raftlog
