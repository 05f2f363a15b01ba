// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "raft/core/types.h"

namespace rakv::raft {

/// What the core knows of its log without reading it: where it ends, how much is durable, where the
/// snapshot is, and the term of every index above the snapshot as runs of equal term. A log of a
/// billion entries written in three terms has three runs.
class LogShape {
 public:
  /// A stretch of entries of one term, from `first` to the next run's first or the log's end.
  struct Run {
    Index first;
    Term term;
  };

  LogShape() = default;
  /// For a recovered log. `runs`: ascending, of the entries above the snapshot (entries at or below
  /// it are ignored); `last`: the last index (the snapshot's if there is nothing above it);
  /// `last_written`: what is durable of that (the snapshot is). A member that is started again
  /// while its log stayed open may have more in memory than on disk; event::Written follows for the
  /// rest.
  LogShape(IndexTerm snapshot, std::vector<Run> runs, Index last, Index last_written);
  /// The same with everything durable.
  LogShape(IndexTerm snapshot, std::vector<Run> runs, Index last)
      : LogShape(snapshot, std::move(runs), last, last) {}

  IndexTerm last() const { return last_; }
  IndexTerm last_written() const { return last_written_; }
  /// {0, 0} without a snapshot.
  IndexTerm snapshot() const { return snapshot_; }
  Index next() const { return last_.index + 1; }
  /// The log's first index above the snapshot.
  Index first() const { return snapshot_.index + 1; }
  const std::vector<Run>& runs() const { return runs_; }

  /// The term at `index`: of an entry above the snapshot, of the snapshot's own index, or 0 at
  /// index 0 of a log without snapshot. nullopt below the snapshot and beyond the end.
  std::optional<Term> term_at(Index index) const;

  /// Adds an entry; `index` is at most next(), and what is there and above is dropped first (the
  /// durable index falls to index - 1 at once).
  void append(Index index, Term term);
  /// Drops everything above `last` (never below the snapshot).
  void truncate(Index last);
  /// Takes over a durability report if the entry at `up_to` still has that term. True if the
  /// durable index moved.
  bool written(Term term, Index up_to);
  /// The member's own snapshot moved to this place: entries above it stay.
  void snapshot_taken(IndexTerm at);
  /// A foreign snapshot replaced everything up to this place. What is above stays if the log agrees
  /// with the snapshot there (Raft section 7, rule 6), else it goes.
  void snapshot_installed(IndexTerm at);

 private:
  IndexTerm last_;
  IndexTerm last_written_;
  IndexTerm snapshot_;
  std::vector<Run> runs_;
};

}  // namespace rakv::raft
