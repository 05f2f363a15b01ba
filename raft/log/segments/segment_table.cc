// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/segment_table.h"

#include <algorithm>

#include "cnode/base/check.h"

namespace rakv::raftlog {

std::optional<IndexRange> SegmentTable::range() const {
  if (segments_.empty() || lowest_from_.front() == UINT64_MAX) return std::nullopt;
  return IndexRange{lowest_from_.front(), highest_up_to_.back()};
}

void SegmentTable::note_bounds() {
  highest_up_to_.assign(segments_.size(), 0);
  lowest_from_.assign(segments_.size(), UINT64_MAX);
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const auto range = segments_[i]->range();
    highest_up_to_[i] = std::max(range ? range->last : 0, i == 0 ? 0 : highest_up_to_[i - 1]);
  }
  for (std::size_t i = segments_.size(); i-- > 0;) {
    const auto range = segments_[i]->range();
    lowest_from_[i] = std::min(range ? range->first : UINT64_MAX,
                               i + 1 == segments_.size() ? UINT64_MAX : lowest_from_[i + 1]);
  }
}

std::optional<SegmentTable::Place> SegmentTable::find(Index index) const {
  // The newest file that has an index has its newest entry.
  const auto beyond = std::upper_bound(lowest_from_.begin(), lowest_from_.end(), index);
  for (auto i = static_cast<std::size_t>(beyond - lowest_from_.begin());
       i-- > 0 && highest_up_to_[i] >= index;) {
    const SegmentSlot* slot = segments_[i]->find(index);
    if (slot == nullptr || hidden_.contains({segments_[i]->number(), index})) continue;
    return Place{segments_[i], *slot};
  }
  return std::nullopt;
}

std::size_t SegmentTable::position_of(std::uint64_t number) const {
  const auto at = std::lower_bound(
      segments_.begin(), segments_.end(), number,
      [](const auto& segment, std::uint64_t wanted) { return segment->number() < wanted; });
  return static_cast<std::size_t>(at - segments_.begin());
}

bool SegmentTable::contains(const std::shared_ptr<const Segment>& segment) const {
  const std::size_t at = position_of(segment->number());
  return at < segments_.size() && segments_[at] == segment;
}

void SegmentTable::add(std::shared_ptr<const Segment> segment) {
  const std::size_t at = position_of(segment->number());
  segments_.insert(segments_.begin() + static_cast<std::ptrdiff_t>(at), std::move(segment));
  note_bounds();
}

void SegmentTable::replace(std::shared_ptr<const Segment> segment) {
  const std::size_t at = position_of(segment->number());
  RAKV_CHECK(at < segments_.size() && segments_[at]->number() == segment->number());
  segments_[at] = std::move(segment);
  note_bounds();
}

}  // namespace rakv::raftlog
