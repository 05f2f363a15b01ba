// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/ra_view.h"

#include <algorithm>

namespace rakv::raftlog {
namespace {

struct Reference {
  const Segment* segment;
  IndexRange range;
};

/// What ra makes of the files, oldest first, ranges disjoint and ascending.
std::vector<Reference> references(const std::vector<std::shared_ptr<const Segment>>& segments) {
  std::vector<Reference> known;
  for (const auto& segment : segments) {
    if (segment->slots().empty()) continue;
    const Index first = segment->slots().front().index;
    while (!known.empty() && known.back().range.first >= first) known.pop_back();
    if (!known.empty()) known.back().range.last = std::min(known.back().range.last, first - 1);
    known.push_back({segment.get(), {first, segment->slots().back().index}});
  }
  return known;
}

const SegmentSlot* newest(const std::vector<std::shared_ptr<const Segment>>& segments,
                          Index index) {
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (const SegmentSlot* slot = (*segment)->find(index)) return slot;
  }
  return nullptr;
}

}  // namespace

std::optional<Index> first_hidden_from_ra(
    const std::vector<std::shared_ptr<const Segment>>& segments, const IndexSet& needed) {
  const std::vector<Reference> known = references(segments);
  for (const IndexRange& range : needed.ranges()) {
    for (Index index = range.first; index <= range.last; ++index) {
      const SegmentSlot* ours = newest(segments, index);
      if (ours == nullptr) continue;
      const auto at = std::lower_bound(
          known.begin(), known.end(), index,
          [](const Reference& reference, Index wanted) { return reference.range.last < wanted; });
      const bool in_range = at != known.end() && at->range.first <= index;
      const SegmentSlot* theirs = in_range ? at->segment->find(index) : nullptr;
      if (theirs == nullptr || theirs->term != ours->term || theirs->crc != ours->crc) return index;
    }
  }
  return std::nullopt;
}

}  // namespace rakv::raftlog
