// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>

#include "raft/log/base/types.h"
#include "raft/log/sparse_entries.h"

namespace rakv::raftlog {

/// A member's entries that are in memory: one contiguous run at the end of the log (deque: O(1)
/// fetch and append) and, below it, single live entries of a snapshot. Entries leave
/// when they are in a segment, or when they need not be in one. Not thread-safe: owner
/// thread only; payloads are shared with other threads by reference.
class MemoryTable {
 public:
  bool empty() const { return tail_.empty() && sparse_.empty(); }
  std::size_t size() const { return tail_.size() + sparse_.size(); }
  /// Sum of payload sizes.
  std::uint64_t bytes() const { return tail_bytes_ + sparse_.bytes(); }
  /// First and last index of the contiguous run; nothing when it is empty.
  std::optional<IndexRange> tail_range() const;

  /// Adds at the end. The index must be last+1 when the run is not empty; any index starts an empty
  /// run.
  void append(StoredEntry entry);
  /// Puts an entry outside the run. Replaces.
  void put_sparse(StoredEntry entry);
  /// Puts many of them, which replace what is there.
  void take_sparse(SparseEntries entries);
  /// The entry, or nullptr. Valid until the next change.
  const StoredEntry* find(Index index) const;
  /// Drops every entry above `index`.
  void truncate_after(Index index);
  /// Drops the run's entries up to `index` and sparse ones, except those that `is_live` accepts;
  /// kept ones become sparse.
  template <class IsLive>
  void drop_prefix(Index index, IsLive&& is_live) {
    while (!tail_.empty() && tail_.front().index <= index) {
      StoredEntry entry = std::move(tail_.front());
      tail_.pop_front();
      tail_bytes_ -= entry.payload.size();
      if (is_live(entry.index)) put_sparse(std::move(entry));
    }
    sparse_.drop_if(index, [&](Index at) { return !is_live(at); });
  }
  /// Drops one entry if it is there with that term (it is in a segment now). In the run only from
  /// the front.
  bool drop_flushed(Index index, Term term);
  /// Calls `visit(const StoredEntry&)` for entries in `range`, in index order, until it gives
  /// false.
  template <class Visit>
  void for_each(IndexRange range, Visit&& visit) const {
    const auto& sparse = sparse_.map();
    for (auto at = sparse.lower_bound(range.first); at != sparse.end() && at->first <= range.last;
         ++at) {
      if (!visit(at->second)) return;
    }
    if (tail_.empty()) return;
    const Index base = tail_.front().index;
    for (Index i = range.first > base ? range.first : base;
         i <= range.last && i - base < tail_.size(); ++i) {
      if (!visit(tail_[i - base])) return;
    }
  }
  /// Drops entries of the run from its front, up to `index`, as long as `is_needed` refuses them.
  template <class IsNeeded>
  void drop_front(Index index, IsNeeded&& is_needed) {
    while (!tail_.empty() && tail_.front().index <= index && !is_needed(tail_.front().index)) {
      tail_bytes_ -= tail_.front().payload.size();
      tail_.pop_front();
    }
  }
  /// Drops the entries outside the run whose index `is_dropped` accepts.
  template <class IsDropped>
  void drop_sparse_if(IsDropped&& is_dropped) {
    sparse_.drop_if(UINT64_MAX, is_dropped);
  }
  void clear();

 private:
  std::deque<StoredEntry> tail_;
  std::uint64_t tail_bytes_ = 0;
  SparseEntries sparse_;  // all below tail_
};

}  // namespace rakv::raftlog
