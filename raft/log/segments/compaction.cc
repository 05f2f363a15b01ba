// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/compaction.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "raft/log/base/numbered_name.h"

namespace rakv::raftlog {

// ---- groups

bool CompactionGroups::fits(const LiveSegment& segment) const {
  return entries_ + segment.live.size() <= limits_.max_entries &&
         bytes_ + segment.live_bytes <= limits_.max_size_bytes;
}

void CompactionGroups::take(LiveSegment segment) {
  entries_ += segment.live.size();
  bytes_ += segment.live_bytes;
  group_.push_back(std::move(segment));
}

std::vector<LiveSegment> CompactionGroups::add(LiveSegment segment) {
  RAKV_CHECK(!segment.live.empty());
  const bool sparse = segment.live.size() * 2 < segment.segment->slots().size() ||
                      segment.live_bytes * 2 < segment.segment->bytes();
  if (!sparse) return finish();
  std::vector<LiveSegment> complete;
  if (!fits(segment)) complete = finish();
  if (fits(segment)) take(std::move(segment));  // else it is too large for any group
  return complete;
}

std::vector<LiveSegment> CompactionGroups::finish() {
  entries_ = bytes_ = 0;
  return std::exchange(group_, {});
}

// ---- the work on the disk

namespace {

Result<void> unlink_if_there(Disk& disk, const std::string& path) {
  auto done = disk.unlink(path);
  if (!done && done.error().code == ErrorCode::not_found) return {};
  return done;
}

/// FIRST.compacting, durable with its directory entry, then FIRST.segment.
Result<std::shared_ptr<const Segment>> merge(Disk& disk, const std::string& directory,
                                             const std::vector<LiveSegment>& group,
                                             const std::shared_ptr<SegmentFiles>& files) {
  std::size_t count = 0;
  std::vector<std::shared_ptr<const Segment>> replaced;
  for (const auto& part : group) {
    count += part.live.size();
    replaced.push_back(part.segment);
  }
  // Indexes ascend over the whole group only if no segment was written after one with higher
  // indexes; a transfer of a snapshot's live entries may have done that.
  std::vector<std::pair<const Segment*, const SegmentSlot*>> ordered;
  ordered.reserve(count);
  for (const auto& part : group) {
    for (const auto& slot : part.live) ordered.emplace_back(part.segment.get(), &slot);
  }
  std::sort(ordered.begin(), ordered.end(),
            [](const auto& a, const auto& b) { return a.second->index < b.second->index; });

  const Segment& first = *group.front().segment;
  auto writer =
      SegmentWriter::create(disk, directory + "/" + numbered_name(first.number(), ".compacting"),
                            static_cast<std::uint32_t>(count));
  if (!writer) return writer.error();
  for (const auto& [segment, slot] : ordered) {
    auto entry = segment->read(*slot);
    if (!entry) return entry.error();
    if (auto done = (*writer)->append(*entry); !done) return done.error();
  }
  if (auto done = (*writer)->sync(); !done) return done.error();
  if (auto done = disk.sync_directory(directory); !done) return done.error();
  return (*writer)->publish(first.path(), first.number(), files, replaced);
}

}  // namespace

Result<void> remove_segments(Disk& disk, const std::string& directory,
                             const std::vector<std::shared_ptr<const Segment>>& segments) {
  if (segments.empty()) return {};
  for (const auto& segment : segments) {
    if (auto done = unlink_if_there(disk, segment->path()); !done) return done;
  }
  return disk.sync_directory(directory);
}

CompactionOutcome compact(Disk& disk, const std::string& directory, const CompactionStep& step,
                          const std::shared_ptr<SegmentFiles>& files) {
  CompactionOutcome outcome;
  const auto stop = [&outcome](const Error& error) {
    outcome.error = error;
    return std::move(outcome);
  };
  if (auto done = remove_segments(disk, directory, step.dead); !done) return stop(done.error());
  for (const auto& segment : step.dead) outcome.removed.push_back(segment->number());
  if (step.group.empty()) return outcome;

  auto merged = merge(disk, directory, step.group, files);
  if (!merged) {
    const auto& first = *step.group.front().segment;
    // Best effort: a start removes it too.
    static_cast<void>(disk.unlink(directory + "/" + numbered_name(first.number(), ".compacting")));
    return stop(merged.error());
  }
  outcome.merged = std::move(*merged);
  if (auto done = disk.sync_directory(directory); !done) return stop(done.error());
  for (std::size_t i = 1; i < step.group.size(); ++i) {
    const Segment& member = *step.group[i].segment;
    if (auto done = unlink_if_there(disk, member.path()); !done) return stop(done.error());
    outcome.removed.push_back(member.number());
    if (auto done = disk.sync_directory(directory); !done) return stop(done.error());
  }
  return outcome;
}

}  // namespace rakv::raftlog
