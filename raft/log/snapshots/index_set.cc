// SPDX-License-Identifier: Apache-2.0
#include "raft/log/snapshots/index_set.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"

namespace rakv::raftlog {
namespace {

/// First range that ends at or above `index`.
auto range_from(const std::vector<IndexRange>& ranges, Index index) {
  return std::lower_bound(ranges.begin(), ranges.end(), index,
                          [](const IndexRange& range, Index at) { return range.last < at; });
}

Error not_a_sequence() {
  return make_error(ErrorCode::malformed,
                    "not a ra_seq: a list of indexes and {Low, High} from high to low");
}

}  // namespace

IndexSet IndexSet::of(std::vector<Index> indexes) {
  std::sort(indexes.begin(), indexes.end());
  indexes.erase(std::unique(indexes.begin(), indexes.end()), indexes.end());
  IndexSet set;
  for (const Index index : indexes) set.push_back(index);
  return set;
}

std::uint64_t IndexSet::size() const {
  std::uint64_t count = 0;
  for (const auto& range : ranges_) count += range.last - range.first + 1;
  return count;
}

bool IndexSet::contains(Index index) const { return intersects({index, index}); }

bool IndexSet::intersects(IndexRange range) const {
  const auto found = range_from(ranges_, range.first);
  return found != ranges_.end() && found->first <= range.last;
}

std::vector<Index> IndexSet::indexes() const {
  std::vector<Index> all;
  for (const auto& range : ranges_) {
    for (Index index = range.first; index <= range.last; ++index) all.push_back(index);
  }
  return all;
}

void IndexSet::append(IndexRange range) {
  if (ranges_.empty() || range.first > ranges_.back().last + 1) {
    ranges_.push_back(range);
  } else {
    ranges_.back().last = std::max(ranges_.back().last, range.last);
  }
}

void IndexSet::push_back(Index index) {
  RAKV_CHECK(ranges_.empty() || index > ranges_.back().last);
  append({index, index});
}

void IndexSet::unite(const IndexSet& other) {
  const std::vector<IndexRange> own = std::exchange(ranges_, {});
  auto mine = own.begin();
  for (const IndexRange& range : other.ranges_) {
    while (mine != own.end() && mine->first < range.first) append(*mine++);
    append(range);
  }
  while (mine != own.end()) append(*mine++);
}

EncodedTerm IndexSet::encode() const {
  std::size_t count = 0;
  for (const auto& range : ranges_) count += range.last - range.first == 1 ? 2 : 1;
  etf::Writer writer;
  writer.version().list(count);
  for (auto range = ranges_.rbegin(); range != ranges_.rend(); ++range) {
    if (range->last - range->first >= 2) {
      writer.tuple(2).u64(range->first).u64(range->last);
      continue;
    }
    if (range->last != range->first) writer.u64(range->last);
    writer.u64(range->first);
  }
  writer.nil();
  return writer.take();
}

Result<IndexSet> IndexSet::decode(std::string_view etf) {
  etf::Cursor cursor(etf);
  std::vector<IndexRange> descending;
  if (!cursor.version()) return not_a_sequence();
  if (cursor.kind() == etf::TermKind::string) {  // small integers only: one byte each
    const auto bytes = cursor.string();
    for (const char byte : *bytes) {
      const Index index = static_cast<unsigned char>(byte);
      descending.push_back({index, index});
    }
  } else {
    const auto count = cursor.list();
    if (!count) return not_a_sequence();
    for (std::uint32_t i = 0; i < *count && cursor.ok(); ++i) {
      if (cursor.kind() == etf::TermKind::tuple) {
        if (!cursor.tuple(2)) return not_a_sequence();
        const auto low = cursor.u64();
        const auto high = cursor.u64();
        if (!low || !high) return not_a_sequence();
        descending.push_back({*low, *high});
      } else {
        const auto index = cursor.u64();
        if (!index) return not_a_sequence();
        descending.push_back({*index, *index});
      }
    }
    if (!cursor.list_end(*count)) return not_a_sequence();
  }
  if (!cursor.at_end()) return not_a_sequence();
  IndexSet set;
  for (auto range = descending.rbegin(); range != descending.rend(); ++range) {
    if (range->first > range->last) return not_a_sequence();
    if (!set.ranges_.empty()) {
      if (range->first <= set.ranges_.back().last) return not_a_sequence();
      if (range->first == set.ranges_.back().last + 1) {
        set.ranges_.back().last = range->last;
        continue;
      }
    }
    set.ranges_.push_back(*range);
  }
  return set;
}

}  // namespace rakv::raftlog
