// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "raft/log/segments/segment.h"

// Entries of a segment that can't be read any more, and their replacement by what other members
// have. What is asked whom is not known here (raft/member/entry_repair.h).

namespace rakv::raftlog {

/// What can't be read of a segment.
struct SegmentDamage {
  std::shared_ptr<const Segment> segment;
  std::vector<SegmentSlot> needed;  ///< to be replaced, ascending
  std::set<Index> dropped;          ///< nobody needs them, or a newer segment has them
  bool empty() const { return needed.empty() && dropped.empty(); }
};

/// Slots of entries whose checksum does not fit or whose bytes are missing. Reads the whole
/// segment; waits for the disk; any thread. Errors: io (the disk's own; says nothing about the
/// entries).
Result<std::vector<SegmentSlot>> unreadable_slots(const Segment& segment);

/// Writes the damaged segment anew under its name, with `replacements` for all that is needed of
/// what can't be read, and without what is dropped. The damaged file is kept as NAME.bad. In an
/// order in which every crash leaves the old or the new segment: the copy, synced; N.compacting,
/// synced, with its directory entry; renamed over the segment; the directory synced. Every other
/// entry's checksum is verified on the way. Waits for the disk; any thread. On an error the segment
/// is as it was.
Result<std::shared_ptr<const Segment>> replace_entries(
    Disk& disk, const std::string& directory, const SegmentDamage& damage,
    const std::map<Index, StoredEntry>& replacements, const std::shared_ptr<SegmentFiles>& files);

}  // namespace rakv::raftlog
