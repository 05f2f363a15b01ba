// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/segments/segment.h"

namespace rakv::raftlog {

/// A member's segments by number, and which of them has an index.
class SegmentTable {
 public:
  using Segments = std::vector<std::shared_ptr<const Segment>>;

  /// Ascending by number.
  const Segments& all() const { return segments_; }
  bool empty() const { return segments_.empty(); }
  std::size_t size() const { return segments_.size(); }
  /// From the lowest to the highest index; nothing when there is no entry.
  std::optional<IndexRange> range() const;
  struct Place {
    std::shared_ptr<const Segment> segment;
    SegmentSlot slot;
  };
  /// Where an index's newest entry is, but for those that are hidden.
  std::optional<Place> find(Index index) const;
  /// Where the segment with this number is, or the next one: a position in all().
  std::size_t position_of(std::uint64_t number) const;
  /// Whether it has this segment, and not another one under its number.
  bool contains(const std::shared_ptr<const Segment>& segment) const;

  void add(std::shared_ptr<const Segment> segment);
  /// Puts the segment in the place of the one with its number, which must be there.
  void replace(std::shared_ptr<const Segment> segment);
  /// Takes out those that `is_dead` accepts, and gives them, ascending.
  template <class IsDead>
  Segments take_out(IsDead&& is_dead) {
    Segments dead;
    std::erase_if(segments_, [&](const std::shared_ptr<const Segment>& segment) {
      if (!is_dead(segment)) return false;
      dead.push_back(segment);
      std::erase_if(hidden_, [number = segment->number()](const auto& hidden) {
        return hidden.first == number;
      });
      return true;
    });
    note_bounds();
    return dead;
  }

  /// find() does not see the segment's entry of the index until show_hidden().
  void hide(const Segment& segment, Index index) { hidden_.emplace(segment.number(), index); }
  /// Those of indexes up to `last`.
  void show_hidden(Index last) {
    std::erase_if(hidden_, [last](const auto& hidden) { return hidden.second <= last; });
  }

 private:
  void note_bounds();

  Segments segments_;
  // The highest index in a segment and those before it, and the lowest in it and those after it:
  // among thousands of segments find() looks into the few that may have an index.
  std::vector<Index> highest_up_to_;
  std::vector<Index> lowest_from_;
  std::set<std::pair<std::uint64_t, Index>> hidden_;  // by the segment's number
};

}  // namespace rakv::raftlog
