// SPDX-License-Identifier: Apache-2.0
#include "raft/log/member_log.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "cnode/base/check.h"
#include "raft/log/member_recovery.h"

namespace rakv::raftlog {

MemberLog::MemberLog(const MemberLogContext& context, RecoveredLog recovered)
    : context_(context),
      directory_(std::move(recovered.directory)),
      config_(std::move(recovered.config)),
      meta_(std::move(recovered.meta)),
      amnesia_(std::move(recovered.amnesia)),
      known_voters_(std::move(recovered.known_voters)),
      writer_(context.queue.add_writer(config_.uid)),
      empty_(recovered.empty),
      first_index_(recovered.first_index),
      last_(recovered.last),
      last_written_(recovered.last),
      memory_(std::move(recovered.memory)),
      voided_(recovered.last.index),
      install_mark_(recovered.install_mark),
      sparse_up_to_(recovered.install_mark ? UINT64_MAX : 0),
      snapshot_(std::move(recovered.snapshot)),
      superseded_(context.jobs.disk(), directory_, context.keep_superseded_for,
                  std::move(recovered.superseded), superseded_seams()),
      leftovers_(
          std::make_shared<SnapshotLeftovers>(context.jobs.disk(), directory_ + "/snapshots")),
      segments_(context.jobs, directory_, context.segment, context.segment_files,
                std::move(recovered.segments), live_view()),
      next_segment_(recovered.next_segment) {}

MemberSegments::LiveView MemberLog::live_view() {
  return {
      .snapshot_index =
          [this] { return snapshot_ ? std::optional(snapshot_->meta.index) : std::nullopt; },
      .any_live =
          [this] {
            return snapshot_ && !(snapshot_->live_indexes_known && snapshot_->live_indexes.empty());
          },
      .needed = [this](Index index) { return needed(index); },
      .kept = [this](Index index) { return keeps(index); },
      .any_kept = [this](IndexRange range) { return keeps_any(range); },
      .any_superseded = [this] { return superseded_.any(); },
      .leftovers = leftovers_,
  };
}

SupersededEntries::Seams MemberLog::superseded_seams() {
  return {
      .now = context_.now,
      .run =
          [this](std::function<Result<void>()> job, std::function<void(Result<void>)> then) {
            context_.jobs.run_on(context_.jobs.background(), std::move(job),
                                 lifetime_.guard(std::move(then)));
          },
      .on_dropped = [this] { segments_.superseded_dropped(); },
      .report = [this](const Error& error) { context_.jobs.report(error); },
  };
}

void MemberLog::drop_superseded(bool all) {
  // Until it is known which snapshot is the newest.
  if (!installing_) superseded_.settle(snapshot_, all);
}

// ---- term, vote, last_applied

std::uint64_t MemberLog::begin_term_vote(Term term, std::optional<ServerId> voted_for) {
  meta_.term = term;
  meta_.voted_for = std::move(voted_for);
  term_vote_stored_ = false;
  return ++term_vote_number_;
}

void MemberLog::term_vote_stored_up_to(std::uint64_t number) {
  if (number == term_vote_number_) term_vote_stored_ = true;
}

bool MemberLog::note_last_applied(Index index) {
  // What is not written here would look like a loss at the next start.
  index = std::min(index, last_written_.index);
  if (index <= meta_.last_applied) return false;
  meta_.last_applied = index;
  return true;
}

// ---- amnesia

void MemberLog::end_amnesia(DoneCallback done) {
  amnesia_.reset();
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), path = directory_] { return remove_amnesia(disk, path); },
      std::move(done));
}

void MemberLog::store_known_voters(std::string bytes, DoneCallback done) {
  known_voters_ = bytes;
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), path = directory_,
       bytes = std::move(bytes)]() -> Result<void> {
        const auto there = disk.exists(path);
        if (!there) return there.error();
        // A server that is deleted meanwhile must not come back as a directory.
        return *there ? write_known_voters(disk, path, bytes) : Result<void>();
      },
      std::move(done));
}

void MemberLog::forget_from(Index index, const std::string& reason, DoneCallback done) {
  AmnesiaMark amnesia = amnesia_.value_or(AmnesiaMark{});
  amnesia.reason = reason;
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), path = directory_, amnesia] {
        return write_amnesia(disk, path, amnesia);
      },
      [this, watch = lifetime_.watch(), index, amnesia,
       done = std::move(done)](Result<void> written) {
        if (written && !watch.over()) {
          amnesia_ = amnesia;
          truncate_after(index == 0 ? 0 : index - 1);
        }
        done(std::move(written));
      });
}

// ---- reading

bool MemberLog::needed(Index index) const { return !snapshot_ || snapshot_->needs(index); }

bool MemberLog::any_needed(IndexRange range) const {
  return !snapshot_ || snapshot_->needs_any(range);
}

bool MemberLog::has(Index index) const {
  if (empty_ || index > last_.index || !needed(index)) return false;
  return memory_.find(index) != nullptr || segments_.find(index).has_value();
}

std::optional<Term> MemberLog::term_at(Index index) const {
  if (snapshot_ && index == snapshot_->meta.index) return snapshot_->meta.term;
  if (empty_ || index > last_.index || !needed(index)) return std::nullopt;
  if (const StoredEntry* entry = memory_.find(index)) return entry->term;
  const auto place = segments_.find(index);
  if (!place) return std::nullopt;
  return place->slot.term;
}

namespace {

Error missing_entry(const std::string& directory, Index index) {
  return make_error(ErrorCode::not_found,
                    directory + ": the log has no entry " + std::to_string(index));
}

}  // namespace

void MemberLog::read(const std::vector<Index>& indexes, ReadCallback callback) {
  std::vector<StoredEntry> entries;
  std::vector<std::pair<std::size_t, SegmentTable::Place>> on_disk;
  std::optional<Error> missing;
  for (const Index index : indexes) {
    const bool may_be = !empty_ && index <= last_.index;
    if (const StoredEntry* entry = may_be ? memory_.find(index) : nullptr) {
      entries.push_back(*entry);
    } else if (auto place = may_be && keeps(index) ? segments_.find(index) : std::nullopt) {
      on_disk.emplace_back(entries.size(), std::move(*place));
      entries.emplace_back();
    } else {
      missing = missing_entry(directory_, index);
      break;
    }
  }
  if (missing || on_disk.empty()) {
    auto outcome = missing ? Result<std::vector<StoredEntry>>(std::move(*missing))
                           : Result<std::vector<StoredEntry>>(std::move(entries));
    context_.jobs.post([outcome = std::move(outcome), callback = std::move(callback)]() mutable {
      callback(std::move(outcome));
    });
    return;
  }
  context_.jobs.run_on(
      context_.jobs.worker(),
      [entries = std::move(entries),
       on_disk = std::move(on_disk)]() mutable -> Result<std::vector<StoredEntry>> {
        for (const auto& [at, place] : on_disk) {
          auto entry = place.segment->read(place.slot);
          if (!entry) return entry.error();
          entries[at] = std::move(*entry);
        }
        return std::move(entries);
      },
      std::move(callback));
}

Result<StoredEntry> MemberLog::read_blocking(Index index) const {
  if (!empty_ && index <= last_.index && needed(index)) {
    if (const StoredEntry* entry = memory_.find(index)) return *entry;
    if (const auto place = segments_.find(index)) return place->segment->read(place->slot);
  }
  return missing_entry(directory_, index);
}

void MemberLog::visit(IndexRange range, std::function<void(const StoredEntry&)> use,
                      DoneCallback done) {
  std::vector<std::variant<StoredEntry, SegmentTable::Place>> found;
  found.reserve(range.last - range.first + 1);
  std::optional<Error> missing;
  for (Index index = range.first; index <= range.last && !missing; ++index) {
    const bool may_be = !empty_ && index <= last_.index && needed(index);
    if (const StoredEntry* entry = may_be ? memory_.find(index) : nullptr) {
      found.emplace_back(*entry);
    } else if (auto place = may_be ? segments_.find(index) : std::nullopt) {
      found.emplace_back(std::move(*place));
    } else {
      missing = missing_entry(directory_, index);
    }
  }
  context_.jobs.run_on(
      context_.jobs.worker(),
      [found = std::move(found), missing = std::move(missing),
       use = std::move(use)]() -> Result<void> {
        for (const auto& one : found) {
          if (const auto* entry = std::get_if<StoredEntry>(&one)) {
            use(*entry);
            continue;
          }
          const auto& place = std::get<SegmentTable::Place>(one);
          const auto entry = place.segment->read(place.slot);
          if (!entry) return entry.error();
          use(*entry);
        }
        if (missing) return *missing;
        return {};
      },
      std::move(done));
}

void MemberLog::use_snapshot(std::function<Result<void>(const Snapshot&)> use, DoneCallback done) {
  std::string path;
  Snapshot snapshot;
  if (snapshot_) {
    snapshot = {snapshot_->meta, snapshot_->state, {}, snapshot_->live_indexes_known};
    path = directory_ + "/snapshots/" +
           snapshot_directory_name({snapshot_->meta.index, snapshot_->meta.term}) + "/snapshot.dat";
  }
  context_.jobs.run_on(
      context_.jobs.worker(),
      [&disk = context_.jobs.disk(), path = std::move(path), snapshot = std::move(snapshot),
       use = std::move(use), where = directory_]() mutable -> Result<void> {
        if (path.empty()) return make_error(ErrorCode::not_found, where + ": has no snapshot");
        if (snapshot.state.size() == 0) {  // it was released
          auto bytes = read_shared(disk, path);
          if (!bytes) return bytes.error();
          auto read = decode_snapshot_file(path, std::move(*bytes));
          if (!read) return read.error();
          snapshot.state = std::move(read->state);
        }
        return use(snapshot);
      },
      std::move(done));
}

void MemberLog::read_snapshot_file(std::function<void(Result<SnapshotFile>)> callback) {
  std::string path;
  IndexSet live;
  if (snapshot_) {
    live = snapshot_->live_indexes;
    path = directory_ + "/snapshots/" +
           snapshot_directory_name({snapshot_->meta.index, snapshot_->meta.term}) + "/snapshot.dat";
  }
  context_.jobs.run_on(
      context_.jobs.worker(),
      [&disk = context_.jobs.disk(), path = std::move(path), live = std::move(live),
       where = directory_]() mutable -> Result<SnapshotFile> {
        if (path.empty()) return make_error(ErrorCode::not_found, where + ": has no snapshot");
        auto bytes = read_shared(disk, path);
        if (!bytes) return bytes.error();
        auto meta = verify_snapshot_file(path, bytes->view());
        if (!meta) return meta.error();
        return SnapshotFile{std::move(*meta), std::move(*bytes), std::move(live)};
      },
      std::move(callback));
}

std::uint64_t MemberLog::payload_bytes(Index index) const {
  if (empty_ || index > last_.index || !needed(index)) return 0;
  if (const StoredEntry* entry = memory_.find(index)) return entry->payload.size();
  const auto place = segments_.find(index);
  return place ? place->slot.size : 0;
}

// ---- writing

void MemberLog::queue(const StoredEntry& entry, bool sparse) {
  const std::uint64_t sequence = next_sequence_++;
  PendingWrite* back = pending_.empty() ? nullptr : &pending_.back();
  const bool continues =
      back != nullptr && back->sparse == sparse && back->range.last + 1 == entry.index &&
      back->first_sequence + (back->range.last - back->range.first) + 1 == sequence;
  if (continues) {
    back->range.last = entry.index;
  } else {
    pending_.push_back({sequence, {entry.index, entry.index}, sparse});
  }
}

void MemberLog::make_place_for(Index first) {
  RAKV_CHECK_MSG(!installing_, "no appends while a snapshot is being installed");
  drop_sparse();
  if (!empty_ && first <= last_.index) truncate_after(first - 1);
}

void MemberLog::note_last(const StoredEntry& entry) {
  RAKV_CHECK_MSG(empty_ ? entry.index <= 1 : entry.index == last_.index + 1,
                 "a log has no gaps above its snapshot");
  RAKV_CHECK_MSG(entry.term >= last_.term, "terms do not decrease along a log");
  if (empty_) first_index_ = entry.index;
  empty_ = false;
  last_ = {entry.index, entry.term};
  context_.on_appended(entry.payload.size());
  queue(entry, false);
}

void MemberLog::append(StoredEntry entry) {
  make_place_for(entry.index);
  note_last(entry);
  context_.queue.append(writer_, next_sequence_ - 1, entry);
  memory_.append(std::move(entry));
}

void MemberLog::append(std::vector<StoredEntry> entries) {
  if (entries.empty()) return;
  if (entries.size() == 1) return append(std::move(entries.front()));
  make_place_for(entries.front().index);
  const std::uint64_t first_sequence = next_sequence_;
  for (const auto& entry : entries) {
    note_last(entry);
    memory_.append(entry);
  }
  context_.queue.append(writer_, first_sequence, std::move(entries));
}

void MemberLog::truncate_after(Index index) {
  RAKV_CHECK_MSG(!installing_, "no truncation while a snapshot is being installed");
  drop_sparse();
  if (empty_ || index >= last_.index) return;
  RAKV_CHECK_MSG(!snapshot_ || index >= snapshot_->meta.index,
                 "what a snapshot covers is committed");
  // Index 0 may be "before everything" as well as ra's dummy entry.
  const auto term = term_at(index);
  empty_ = !term.has_value();
  RAKV_CHECK_MSG(term || index < first_index_ || first_index_ == 0, "truncation leaves an entry");
  last_ = {term ? index : 0, term.value_or(0)};
  if (last_written_.index > last_.index || empty_) last_written_ = last_;
  durable_behind_mark_ = std::min(durable_behind_mark_, last_.index);
  void_after(index);
  if (empty_) {
    memory_.clear();
    first_index_ = 1;
  }
  // WalWritten events of what is gone must not be taken for what will be written in its place.
  // What waits last need not be what is highest: live entries of a snapshot come in between.
  std::erase_if(pending_, [&](const PendingWrite& write) { return write.range.first > index; });
  for (PendingWrite& write : pending_) write.range.last = std::min(write.range.last, index);
}

void MemberLog::void_after(Index index) {
  Index queued_from = UINT64_MAX;
  for (const PendingWrite& write : pending_) {
    if (write.sparse) continue;
    queued_from = std::min(queued_from, write.range.first);
    memory_.for_each(
        {std::max(write.range.first, index + 1), write.range.last}, [&](const StoredEntry& entry) {
          voided_.add_queued(write.first_sequence + (entry.index - write.range.first), entry);
          return true;
        });
  }
  memory_.for_each({index + 1, UINT64_MAX}, [&](const StoredEntry& entry) {
    if (entry.index >= queued_from) return false;
    voided_.add_written(entry);
    return true;
  });
  memory_.truncate_after(index);
}

std::uint64_t MemberLog::pending_writes() const {
  std::uint64_t count = unmarked_.size();
  for (const auto& write : pending_) count += write.range.last - write.range.first + 1;
  return count;
}

/// The log is durable up to `last`. What lies after the mark must wait until that is gone.
void MemberLog::note_durable(Index last) {
  if (install_mark_ && last > *install_mark_) {
    durable_behind_mark_ = std::max(durable_behind_mark_, std::min(last, last_.index));
    last = std::min(last, *install_mark_);
  }
  last = std::min(last, last_.index);
  if (last <= last_written_.index) return;
  last_written_ = {last, term_at(last).value_or(last_written_.term)};
}

void MemberLog::handle_written(const WalWritten& event) {
  bool own_behind_sparse = false;
  while (!pending_.empty() && pending_.front().first_sequence <= event.sequence) {
    PendingWrite& front = pending_.front();
    const std::uint64_t size = front.range.last - front.range.first + 1;
    const std::uint64_t durable = std::min(size, event.sequence - front.first_sequence + 1);
    voided_.written_before(front.first_sequence);
    if (!front.sparse) {
      voided_.log_written({front.range.first, front.range.first + durable - 1});
      note_durable(front.range.first + durable - 1);
      own_behind_sparse = front.first_sequence > last_sparse_sequence_;
    }
    if (durable == size) {
      pending_.pop_front();
      continue;
    }
    front.first_sequence += durable;
    front.range.first += durable;
    break;
  }
  voided_.written_before(event.sequence + 1);
  if (own_behind_sparse && unmarked_.empty()) remove_install_mark();
  if (observer_ != nullptr) observer_->written(*this, event.term, event.range);
}

// ---- segments

/// Only what the WAL has: a start reads the WAL files that are left after the segments, and if a
/// newer entry were in a segment and in none of them, an older file would be read over it, and an
/// entry of one leader's log would follow one of another's. What is not in the WAL yet will
/// be in a later file; the flush does not wait for it, for the WAL may wait for the flush.
///
/// What the WAL has is not always the log as it is: voided entries count as long as nothing else is
/// in their place there.
std::vector<StoredEntry> MemberLog::entries_to_flush(Index& next, Index last,
                                                     const SegmentOptions& limits) const {
  std::set<Index> unwritten;  // of incoming_
  for (const StoredEntry& entry : unmarked_) unwritten.insert(entry.index);
  Index own_unwritten = UINT64_MAX;
  for (const PendingWrite& write : pending_) {
    if (!write.sparse) own_unwritten = std::min(own_unwritten, write.range.first);
    for (Index i = write.range.first; write.sparse && i <= write.range.last; ++i)
      unwritten.insert(i);
  }
  std::vector<StoredEntry> part;
  std::uint64_t bytes = 0;
  const auto full = [&] {
    return part.size() == limits.max_entries || bytes > limits.max_size_bytes;
  };
  const auto take = [&](const StoredEntry& entry) {
    bytes += entry.payload.size();
    part.push_back(entry);
  };
  auto incoming = incoming_.map().lower_bound(next);
  const auto incoming_end = incoming_.map().upper_bound(last);
  const auto take_incoming_below = [&](Index end) {
    for (; !full() && incoming != incoming_end && incoming->first < end; ++incoming) {
      if (!unwritten.contains(incoming->first)) take(incoming->second);
    }
  };
  if (next <= last) {
    const auto take_written = [&](const StoredEntry& entry) {
      take_incoming_below(entry.index);
      if (full()) return false;
      const bool replaced = incoming_on_disk_.contains(entry.index) ||
                            (incoming != incoming_end && incoming->first == entry.index &&
                             !unwritten.contains(entry.index));
      if (!replaced && keeps(entry.index)) take(entry);
      return true;
    };
    memory_.for_each({next, last}, [&](const StoredEntry& entry) {
      return entry.index < own_unwritten && take_written(entry);
    });
    const auto& voided = voided_.written();
    for (auto at = voided.lower_bound(next); at != voided.end() && at->first <= last; ++at) {
      if (!take_written(at->second)) break;
    }
    take_incoming_below(UINT64_MAX);
  }
  next = full() ? part.back().index + 1 : last + 1;
  return part;
}

void MemberLog::add_segment(std::shared_ptr<const Segment> segment) {
  next_segment_ = segment->number() + 1;
  const auto is_kept = [this](Index index) { return keeps(index); };
  IndexSet came;  // with a snapshot that is taken in
  for (const auto& slot : segment->slots()) {
    memory_.drop_front(slot.index - std::min<Index>(slot.index, 1), is_kept);
    // Not when it was truncated or overwritten while the segment was written: memory has the
    // newer one.
    memory_.drop_flushed(slot.index, slot.term);
    voided_.flushed(slot.index, slot.term);
    const StoredEntry* incoming = incoming_.find(slot.index);
    if (incoming == nullptr || incoming->term != slot.term) continue;
    // Until the snapshot is there the log is what it was.
    if (slot.index <= last_.index) segments_.hide(*segment, slot.index);
    incoming_.drop(slot.index, slot.term);
    came.push_back(slot.index);
  }
  if (!came.empty()) incoming_on_disk_.unite(came);
  segments_.add(std::move(segment));
}

void MemberLog::flushed(IndexRange range) {
  if (snapshot_) {
    memory_.drop_prefix(std::min(range.last, snapshot_->meta.index),
                        [this](Index index) { return keeps(index); });
  }
  segments_.remove_dead();
}

}  // namespace rakv::raftlog
