// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "raft/log/member_log.h"

// A member's snapshots, its own and those that it takes in, with the live entries that come before
// such a one.

namespace rakv::raftlog {

namespace {

constexpr int kLiveEntriesPerTurn = 4096;

Error deleted_meanwhile() {
  return make_error(ErrorCode::not_found, "the server was deleted meanwhile");
}

}  // namespace

// ---- live entries of a snapshot that is taken in

void MemberLog::drop_sparse() {
  unmarked_.clear();
  incoming_.clear();
  incoming_on_disk_ = {};
}

void MemberLog::write_sparse(std::vector<StoredEntry> entries) {
  for (auto& entry : entries) {
    // The same index and term: the same entry. Not to write it again leaves what follows it.
    if (entry.index <= last_.index && term_at(entry.index) == entry.term) continue;
    incoming_.put(entry);
    sparse_up_to_ = std::max(sparse_up_to_, entry.index);
    unmarked_.push_back(std::move(entry));
  }
  if (!unmarked_.empty()) queue_marked_sparse();
}

/// Queues what waits if the mark on disk allows it, else sees to the mark. Entries at or below the
/// member's own snapshot need none: they void nothing (recover_log).
void MemberLog::queue_marked_sparse() {
  if (install_mark_busy_ || unmarked_.empty()) return;
  const Index covered = snapshot_ ? snapshot_->meta.index : 0;
  std::optional<Index> lowest;
  for (const auto& entry : unmarked_) {
    if (entry.index > covered) lowest = std::min(lowest.value_or(entry.index), entry.index);
  }
  // Recovery does not look at a mark below the snapshot.
  const bool marked = install_mark_ && install_mark_sure_ && *install_mark_ >= covered;
  if (lowest && (!marked || *install_mark_ >= *lowest)) return write_install_mark();
  const std::uint64_t first_sequence = next_sequence_;
  for (const auto& entry : unmarked_) queue(entry, true);
  last_sparse_sequence_ = next_sequence_ - 1;
  context_.queue.append(writer_, first_sequence, std::exchange(unmarked_, {}));
}

/// Everything of the log after the mark is of no leader's log any more: an entry that
/// comes with a snapshot is committed, and takes the place of another one of the log.
void MemberLog::write_install_mark() {
  const Index covered = snapshot_ ? snapshot_->meta.index : 0;
  Index log_end = empty_ ? 0 : last_.index;
  for (const auto& entry : unmarked_) {
    if (entry.index > covered) log_end = std::min(log_end, entry.index - 1);
  }
  if (install_mark_) log_end = std::min(log_end, *install_mark_);
  log_end = std::max(log_end, covered);
  install_mark_busy_ = true;
  // It may come to the disk at any moment from now on, also when nobody waits for it any more: what
  // a next leader appends after it counts only when it is gone again.
  install_mark_ = log_end;
  install_mark_sure_ = false;
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), path = directory_, log_end] {
        return raftlog::write_install_mark(disk, path, log_end);
      },
      lifetime_.guard([this](const Result<void>& written) {
        install_mark_busy_ = false;
        install_mark_sure_ = static_cast<bool>(written);
        if (!written) context_.jobs.report(written.error());  // retry_install_mark() tries again
        if (unmarked_.empty() && incoming_.empty() && own_entries_behind_sparse()) {
          return remove_install_mark();  // they were written before the mark
        }
        if (written) queue_marked_sparse();
      }));
}

/// The log's own entries stand on disk after everything sparse, or a snapshot covers all of that.
void MemberLog::remove_install_mark() {
  if (!install_mark_ || install_mark_busy_) return;
  install_mark_busy_ = true;
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), path = directory_] {
        return raftlog::remove_install_mark(disk, path);
      },
      lifetime_.guard([this](const Result<void>& removed) {
        install_mark_busy_ = false;
        install_mark_sure_ = static_cast<bool>(removed);
        // retry_install_mark() tries again, or the next append.
        if (!removed) return context_.jobs.report(removed.error());
        install_mark_.reset();
        sparse_up_to_ = 0;
        for (const auto& entry : unmarked_) sparse_up_to_ = std::max(sparse_up_to_, entry.index);
        note_durable(std::exchange(durable_behind_mark_, 0));
        if (observer_ != nullptr) {
          const Position at = last_written_;
          observer_->written(*this, at.term, {at.index, at.index});
        }
        queue_marked_sparse();
      }));
}

/// Everything that was queued is written, and the last of it is the log's.
bool MemberLog::own_entries_behind_sparse() const {
  return pending_.empty() && last_sparse_sequence_ + 1 < next_sequence_;
}

void MemberLog::retry_install_mark() {
  if (!unmarked_.empty()) return queue_marked_sparse();
  if (!install_mark_sure_ && incoming_.empty() && own_entries_behind_sparse())
    remove_install_mark();
}

bool MemberLog::has_for_install(Index index) const {
  return incoming_.contains(index) || incoming_on_disk_.contains(index) || has(index);
}

// ---- snapshots

void MemberLog::write_snapshot(StoredSnapshotMeta meta, SharedBytes state, IndexSet live_indexes,
                               DoneCallback done) {
  RAKV_CHECK_MSG(meta.index <= last_written_.index, "a snapshot covers durable entries only");
  begin_snapshot({{std::move(meta), std::move(state), std::move(live_indexes), true},
                  std::nullopt,
                  false,
                  std::move(done)});
}

void MemberLog::write_snapshot(StoredSnapshotMeta meta, SharedBytes state,
                               std::vector<Index> live_indexes, DoneCallback done) {
  RAKV_CHECK_MSG(meta.index <= last_written_.index, "a snapshot covers durable entries only");
  begin_snapshot({{std::move(meta), std::move(state), {}, true},
                  std::move(live_indexes),
                  false,
                  std::move(done)});
}

void MemberLog::install_snapshot(StoredSnapshotMeta meta, SharedBytes state, IndexSet live_indexes,
                                 DoneCallback done) {
  begin_snapshot({{std::move(meta), std::move(state), std::move(live_indexes), true},
                  std::nullopt,
                  true,
                  std::move(done)});
}

void MemberLog::begin_snapshot(SnapshotWrite write) {
  std::optional<Error> refused;
  const Index index = write.snapshot.meta.index;
  const std::string where = directory_ + ": snapshot at " + std::to_string(index);
  if (snapshot_in_progress_) {
    refused = make_error(ErrorCode::unavailable,
                         where + ": another one is being written; try again when it is done");
  } else if (snapshot_ && index <= snapshot_->meta.index) {
    refused = make_error(ErrorCode::invalid_argument,
                         where + ": there is one at " + std::to_string(snapshot_->meta.index));
  } else if (write.installed && pending_writes() > 0) {
    refused = make_error(ErrorCode::invalid_argument,
                         where + ": entries are still being written; wait until they are durable");
  }
  if (refused) {
    context_.jobs.owner().post(
        [done = std::move(write.done), error = std::move(*refused)] { done(error); });
    return;
  }
  snapshot_in_progress_ = true;
  installing_ = write.installed;
  auto shared = std::make_shared<SnapshotWrite>(std::move(write));
  if (shared->installed) return look_for_live_entries(shared, {});
  write_snapshot_file(shared);
}

/// There may be millions: the owner's thread does it in many turns.
void MemberLog::look_for_live_entries(std::shared_ptr<SnapshotWrite> write, LiveEntriesSeen seen) {
  context_.jobs.owner().post([this, watch = lifetime_.watch(), write = std::move(write), seen]() {
    if (watch.over()) return write->done(deleted_meanwhile());
    const auto& ranges = write->snapshot.live_indexes.ranges();
    LiveEntriesSeen now = seen;
    for (int i = 0; i < kLiveEntriesPerTurn && now.range < ranges.size(); ++i) {
      const Index index = ranges[now.range].first + now.of_range;
      if (incoming_.contains(index)) {
        ++now.incoming;
      } else if (!has_for_install(index)) {
        return end_snapshot(*write,
                            make_error(ErrorCode::malformed,
                                       directory_ + ": entry " + std::to_string(index) +
                                           ", which the received snapshot needs, did not come"));
      }
      ++now.of_range;
      if (index == ranges[now.range].last) now = {now.range + 1, 0, now.incoming};
    }
    if (now.range < ranges.size()) return look_for_live_entries(write, now);
    if (now.incoming < incoming_.size()) {
      // What came and is not live would be taken for a part of the log.
      incoming_.drop_if(UINT64_MAX, [&snapshot = write->snapshot](Index index) {
        return index > snapshot.meta.index || !snapshot.needs(index);
      });
    }
    write_snapshot_file(write);
  });
}

void MemberLog::write_snapshot_file(const std::shared_ptr<SnapshotWrite>& write) {
  const Position position{write->snapshot.meta.index, write->snapshot.meta.term};
  auto prepare = superseded_.before_snapshot(snapshot_, write->installed && !agrees_with(position));
  context_.jobs.run_on(
      context_.jobs.background(),
      [leftovers = leftovers_, write, prepare = std::move(prepare)]() mutable {
        if (auto prepared = prepare(); !prepared) return prepared;
        if (write->unsorted_live)
          write->snapshot.live_indexes = IndexSet::of(std::move(*write->unsorted_live));
        return leftovers->write(write->snapshot);
      },
      [this, watch = lifetime_.watch(), write](Result<void> outcome) {
        if (watch.over()) return write->done(deleted_meanwhile());
        superseded_.snapshot_written(outcome.has_value());
        if (outcome) set_snapshot(std::move(write->snapshot), write->installed);
        end_snapshot(*write, std::move(outcome));
      });
}

void MemberLog::end_snapshot(const SnapshotWrite& write, Result<void> outcome) {
  snapshot_in_progress_ = installing_ = false;
  const auto watch = lifetime_.watch();
  write.done(std::move(outcome));
  if (watch.over()) return;
  context_.jobs.release_memory_soon();
  settle();
}

void MemberLog::run_in_background(std::function<Result<void>()> job, DoneCallback done) {
  context_.jobs.run_on(context_.jobs.background(), std::move(job),
                       lifetime_.guard(std::move(done)));
}

void MemberLog::when_settled(std::function<void()> ready) {
  settled_waiting_.push_back(std::move(ready));
  settle();
}

void MemberLog::settle() {
  if (snapshot_in_progress_ || settled_waiting_.empty()) return;
  drop_sparse();
  context_.jobs.owner().post(
      [watch = lifetime_.watch(), waiting = std::exchange(settled_waiting_, {})] {
        for (const auto& ready : waiting) {
          if (!watch.over()) ready();
        }
      });
}

bool MemberLog::agrees_with(Position position) const {
  return !empty_ && position.index <= last_.index && term_at(position.index) == position.term;
}

void MemberLog::set_snapshot(Snapshot snapshot, bool installed) {
  const Position position{snapshot.meta.index, snapshot.meta.term};
  const bool agrees = agrees_with(position);
  superseded_.snapshot_replaced(std::exchange(snapshot_, std::nullopt), position.index,
                                installed && !agrees);
  snapshot_ = std::move(snapshot);
  voided_.drop_up_to(position.index);
  const auto is_kept = [this](Index index) { return keeps(index); };
  if (installed && !agrees) {
    void_after(position.index);
    pending_.clear();
    durable_behind_mark_ = 0;
    last_ = last_written_ = position;
  }
  // After an own snapshot entries stay in memory until they are in segments, or needed nowhere.
  if (installed || !superseded_.any()) memory_.drop_prefix(position.index, is_kept);
  if (installed) {
    segments_.show_hidden(position.index);
    // An entry of a former leader may have had the place of one that came to disk meanwhile.
    memory_.drop_sparse_if([this](Index index) { return incoming_on_disk_.contains(index); });
    memory_.take_sparse(std::exchange(incoming_, {}));
    drop_sparse();
  }
  first_index_ = position.index + 1;
  empty_ = false;
  if (last_written_.index < position.index) last_written_ = position;
  if (installed && position.index >= sparse_up_to_) remove_install_mark();
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), path = directory_ + "/snapshots", position] {
        return remove_other_snapshots(disk, path, position);
      },
      lifetime_.guard([this](const Result<void>& outcome) {
        if (!outcome) context_.jobs.report(outcome.error());
      }));
  segments_.compact_minor();
}

void MemberLog::set_live_indexes(IndexSet live_indexes, DoneCallback done) {
  RAKV_CHECK(snapshot_);
  std::string encoded_indexes = encode_indexes_file(live_indexes);
  context_.jobs.run_on(
      context_.jobs.background(),
      [&disk = context_.jobs.disk(), bytes = std::move(encoded_indexes),
       path = directory_ + "/snapshots/" +
              snapshot_directory_name({snapshot_->meta.index, snapshot_->meta.term}) +
              "/indexes"] { return replace_file(disk, path, bytes); },
      [this, watch = lifetime_.watch(), index = snapshot_->meta.index,
       live = std::move(live_indexes), done = std::move(done)](Result<void> outcome) mutable {
        if (outcome && !watch.over() && snapshot_->meta.index == index) {
          snapshot_->live_indexes = std::move(live);
          snapshot_->live_indexes_known = true;
          memory_.drop_prefix(index, [this](Index at) { return keeps(at); });
          segments_.remove_dead();
        }
        done(std::move(outcome));
      });
}

}  // namespace rakv::raftlog
