// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "raft/log/base/types.h"

namespace rakv::raftlog {

/// A set of indexes held as disjoint ascending ranges; on disk and on the wire ra's `ra_seq`
/// (ra_seq.erl): a list from high to low of integers and `{Low, High}` tuples (runs of three and
/// more).
class IndexSet {
 public:
  IndexSet() = default;
  /// From indexes in any order.
  static IndexSet of(std::vector<Index> indexes);

  bool empty() const { return ranges_.empty(); }
  std::uint64_t size() const;
  bool contains(Index index) const;
  /// Whether any index of the inclusive range is in the set.
  bool intersects(IndexRange range) const;
  const std::vector<IndexRange>& ranges() const { return ranges_; }
  std::vector<Index> indexes() const;
  /// Adds an index above all others.
  void push_back(Index index);
  /// Adds those of the other. As quick as there are ranges in both.
  void unite(const IndexSet& other);
  bool operator==(const IndexSet&) const = default;

  /// ETF of the ra_seq with its leading 131.
  EncodedTerm encode() const;
  /// malformed when it is not a ra_seq (descending, no overlaps).
  static Result<IndexSet> decode(std::string_view etf);

 private:
  /// Adds a range that does not begin before the last one.
  void append(IndexRange range);

  std::vector<IndexRange> ranges_;  // ascending, not touching
};

}  // namespace rakv::raftlog
