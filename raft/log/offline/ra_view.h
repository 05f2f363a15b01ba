// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "raft/log/segments/segment.h"
#include "raft/log/snapshots/index_set.h"

namespace rakv::raftlog {

/// The first of the `needed` indexes that ra would not read where it is newest, or nothing when it
/// reads all of them rightly. ra knows a segment file as (name, first, last) only: each newer file
/// cuts the ranges of the older ones off at its first index, whatever indexes it really has
/// (ra_log_segments.erl compact_segrefs/2). Here an index belongs to the newest file that has it.
/// `segments` ascending by number; an index that is in none of them is not ra's fault and is passed
/// over.
std::optional<Index> first_hidden_from_ra(
    const std::vector<std::shared_ptr<const Segment>>& segments, const IndexSet& needed);

}  // namespace rakv::raftlog
