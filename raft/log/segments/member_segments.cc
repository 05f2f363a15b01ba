// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/member_segments.h"

#include <algorithm>
#include <utility>

namespace rakv::raftlog {
namespace {

/// Segments that a major compaction looks at before others get their turn on the owner's thread.
constexpr int kLookedAtPerTurn = 2;

}  // namespace

bool MemberSegments::is_dead(const Segment& segment) const {
  const auto range = segment.range();
  if (!range || !live_.any_kept(*range)) return true;
  const auto& slots = segment.slots();
  return std::none_of(slots.begin(), slots.end(),
                      [this](const SegmentSlot& slot) { return live_.kept(slot.index); });
}

void MemberSegments::remove_dead() {
  if (segments_.size() < 2 || compaction_ || replacing_) return;
  auto dead = segments_.take_out([this, newest = segments_.all().back()](const auto& segment) {
    return segment != newest && is_dead(*segment);
  });
  if (dead.empty()) return;
  context_.run_on(
      context_.background(),
      [&disk = context_.disk(), dead = std::move(dead), directory = directory_,
       leftovers = live_.leftovers] {
        auto removed = leftovers->remove();
        return removed ? remove_segments(disk, directory, dead) : removed;
      },
      lifetime_.guard([this](const Result<void>& outcome) {
        if (!outcome) context_.report(outcome.error());
      }));
}

// ---- when to compact (ra_log_segments:schedule_compaction/4)

/// ra's compactable_segrefs/2. Its ranges are cut where newer segments begin; here a segment that
/// still has overwritten entries above the snapshot waits until the snapshot has passed them.
bool MemberSegments::is_candidate(std::size_t position, Index snapshot_index) const {
  if (position + 1 == segments_.size()) return false;  // the newest
  const auto range = segments_.all()[position]->range();
  return !range || range->last <= snapshot_index;
}

void MemberSegments::schedule(bool major) {
  const auto snapshot_index = live_.snapshot_index();
  if (!snapshot_index || compaction_ || replacing_) return;
  if (major_after_ && minors_ >= *major_after_) major = true;
  bool any = false;
  for (std::size_t i = 0; i < segments_.size() && !any; ++i) any = is_candidate(i, *snapshot_index);
  if (!any) return;
  if (!major || !live_.any_live()) {
    ++counts_.minor;
    ++minors_;
    return remove_dead();
  }
  ++counts_.major;
  minors_ = 0;
  begin_major(*snapshot_index);
}

void MemberSegments::begin_major(Index snapshot_index) {
  left_superseded_ = live_.any_superseded();
  compaction_.emplace(Major{snapshot_index, 0, CompactionGroups(limits_), {}});
  continue_major();
}

void MemberSegments::superseded_dropped() {
  const auto snapshot_index = live_.snapshot_index();
  if (!snapshot_index) return;
  if (compaction_ || replacing_) {
    dropped_meanwhile_ = true;
    return;
  }
  if (left_superseded_) return begin_major(*snapshot_index);
  remove_dead();
}

/// What had to wait for a compaction or a replacement that is over.
void MemberSegments::go_on_after() {
  if (std::exchange(dropped_meanwhile_, false)) return superseded_dropped();
  remove_dead();
}

// ---- a major compaction

LiveSegment MemberSegments::live_part(std::size_t position) const {
  LiveSegment part{segments_.all()[position], {}, 0};
  const auto range = part.segment->range();
  if (!range) return part;
  std::vector<const Segment*> newer;  // that may have the same indexes
  for (std::size_t i = position + 1; i < segments_.size(); ++i) {
    const auto other = segments_.all()[i]->range();
    if (other && other->first <= range->last && range->first <= other->last) {
      newer.push_back(segments_.all()[i].get());
    }
  }
  for (const auto& slot : part.segment->slots()) {
    if (!live_.kept(slot.index)) continue;
    const bool overwritten = std::any_of(newer.begin(), newer.end(), [&](const Segment* other) {
      return other->find(slot.index) != nullptr;
    });
    if (overwritten) continue;
    part.live.push_back(slot);
    part.live_bytes += slot.size;
  }
  return part;
}

/// Puts the segment where it belongs; true when that completes a group.
bool MemberSegments::look_at(std::size_t position) {
  Major& major = *compaction_;
  major.next_number = segments_.all()[position]->number() + 1;
  if (!is_candidate(position, major.snapshot_index)) {
    major.step.group = major.groups.finish();
  } else if (LiveSegment part = live_part(position); part.live.empty()) {
    major.step.dead.push_back(std::move(part.segment));
  } else {
    major.step.group = major.groups.add(std::move(part));
  }
  return !major.step.group.empty();
}

void MemberSegments::continue_major() {
  for (int looked_at = 0; looked_at < kLookedAtPerTurn; ++looked_at) {
    const std::size_t next = segments_.position_of(compaction_->next_number);
    if (next < segments_.size()) {
      if (look_at(next)) return run_step();
      continue;
    }
    compaction_->step.group = compaction_->groups.finish();
    if (!compaction_->step.empty()) return run_step();
    const bool moved = live_.snapshot_index() > compaction_->snapshot_index;
    compaction_.reset();
    if (moved) schedule(false);
    return go_on_after();
  }
  context_.owner().post(lifetime_.guard([this] { continue_major(); }));
}

void MemberSegments::run_step() {
  const std::size_t merged_count = compaction_->step.group.size();
  context_.run_on(
      context_.background(),
      [&disk = context_.disk(), directory = directory_, files = files_, leftovers = live_.leftovers,
       step = std::exchange(compaction_->step, {})] {
        if (auto removed = leftovers->remove(); !removed) {
          CompactionOutcome outcome;
          outcome.error = removed.error();
          return outcome;
        }
        return compact(disk, directory, step, files);
      },
      lifetime_.guard([this, merged_count](CompactionOutcome outcome) {
        finish_step(std::move(outcome), merged_count);
      }));
}

void MemberSegments::finish_step(CompactionOutcome outcome, std::size_t merged_count) {
  segments_.take_out([&](const std::shared_ptr<const Segment>& segment) {
    return std::find(outcome.removed.begin(), outcome.removed.end(), segment->number()) !=
           outcome.removed.end();
  });
  if (outcome.merged) {
    segments_.replace(outcome.merged);
    ++counts_.segments_written;
    counts_.segments_compacted += merged_count;
  }
  if (outcome.error) {  // the next compaction tries again
    compaction_.reset();
    dropped_meanwhile_ = false;
    context_.report(*outcome.error);
    return;
  }
  continue_major();
}

// ---- damaged entries

void MemberSegments::find_damage(Index index, std::function<void(Result<SegmentDamage>)> callback) {
  auto place = find(index);
  if (!place) {
    context_.owner().post([callback = std::move(callback), index, directory = directory_] {
      callback(make_error(ErrorCode::not_found,
                          directory + ": no segment has entry " + std::to_string(index)));
    });
    return;
  }
  context_.run_on(
      context_.background(), [segment = place->segment] { return unreadable_slots(*segment); },
      lifetime_.guard([this, segment = place->segment, callback = std::move(callback)](
                          Result<std::vector<SegmentSlot>> unreadable) {
        if (!unreadable) return callback(unreadable.error());
        SegmentDamage damage{segment, {}, {}};
        for (const auto& slot : *unreadable) {
          const auto newest = find(slot.index);
          if (live_.needed(slot.index) && newest && newest->segment == segment) {
            damage.needed.push_back(slot);
          } else {
            damage.dropped.insert(slot.index);
          }
        }
        callback(std::move(damage));
      }));
}

void MemberSegments::replace_damaged(SegmentDamage damage,
                                     std::map<Index, StoredEntry> replacements, DoneCallback done) {
  if (compaction_ || replacing_ || !segments_.contains(damage.segment)) {
    context_.owner().post([done = std::move(done), path = damage.segment->path()] {
      done(make_error(ErrorCode::unavailable, path + ": is being compacted, or was"));
    });
    return;
  }
  replacing_ = true;
  auto shared = std::make_shared<const SegmentDamage>(std::move(damage));
  context_.run_on(
      context_.background(),
      [&disk = context_.disk(), directory = directory_, files = files_, shared,
       replacements = std::move(replacements)] {
        return replace_entries(disk, directory, *shared, replacements, files);
      },
      lifetime_.guard(
          [this, done = std::move(done)](Result<std::shared_ptr<const Segment>> written) {
            replacing_ = false;
            if (!written) return done(written.error());
            segments_.replace(std::move(*written));
            go_on_after();
            done({});
          }));
}

}  // namespace rakv::raftlog
