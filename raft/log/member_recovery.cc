// SPDX-License-Identifier: Apache-2.0
#include "raft/log/member_recovery.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/server_directory.h"

namespace rakv::raftlog {

namespace {

Result<bool> is_empty(Disk& disk, const std::string& path) {
  const auto file = disk.open_read(path);
  if (!file) return file.error();
  const auto size = (*file)->size();
  if (!size) return size.error();
  return *size == 0;
}

/// How many members the cluster of a snapshot has.
std::uint32_t cluster_size(const StoredSnapshotMeta& meta) {
  etf::Cursor cursor(meta.cluster);
  if (!cursor.version()) return 0;
  const bool is_map = cursor.kind() == etf::TermKind::map;
  return (is_map ? cursor.map() : cursor.list()).value_or(0);
}

/// See recover_log().
class MemberRecovery {
 public:
  MemberRecovery(const RecoveryContext& context, std::string directory, ServerConfig config,
                 const RecoveredWriter* wal, const MetaRow* meta, std::vector<std::string>& notices)
      : context_(context),
        disk_(context.disk),
        directory_(std::move(directory)),
        wal_(wal),
        meta_(meta),
        notices_(notices) {
    member_.directory = directory_;
    member_.meta.uid = config.uid;
    member_.config = std::move(config);
  }
  Result<RecoveredLog> run();

 private:
  /// Where a tail entry is: in the WAL's entry, or in a segment.
  struct Place {
    Term term;
    const StoredEntry* in_wal;
  };

  Result<void> prepare_directory();
  Result<void> read_snapshot();
  Result<void> read_marks();
  Result<void> open_segments();
  void lay_out_entries();
  void lay_out(Index index, const Place& place);
  void take_tail();
  void take_live();
  Result<void> check_for_loss();
  /// Of the live indexes, the first that is nowhere.
  std::optional<Index> missing_live_entry() const;
  Result<void> record_amnesia(const std::string& reason, bool term_lost);
  Result<void> set_aside(const std::string& snapshot, const std::string& why);
  Result<void> begin_anew();
  Index snapshot_index() const { return member_.snapshot ? member_.snapshot->meta.index : 0; }
  bool covered(Index index) const { return member_.snapshot && index <= snapshot_index(); }
  bool needed(Index index) const { return !member_.snapshot || member_.snapshot->needs(index); }

  const RecoveryContext& context_;
  Disk& disk_;
  std::string directory_;
  const RecoveredWriter* wal_;
  const MetaRow* meta_;
  std::vector<std::string>& notices_;
  RecoveredLog member_;
  std::vector<std::pair<Index, Place>> above_;  // what is not covered; ascending
  /// What follows this index is not known to be the log's.
  std::optional<Index> log_end_;
};

Result<RecoveredLog> MemberRecovery::run() {
  if (auto done = prepare_directory(); !done) return done.error();
  // A name that the last process gave may be in the page cache only. What is built on it here must
  // not be removed elsewhere, nor what it replaced be taken for gone, before it is durable.
  if (auto done = disk_.sync_directory(directory_); !done) return done.error();
  if (auto done = read_snapshot(); !done) return done.error();
  if (auto done = open_segments(); !done) return done.error();
  lay_out_entries();
  auto superseded =
      SupersededEntries::recover(disk_, directory_, context_.keep_superseded_for, member_.snapshot);
  if (!superseded) return superseded.error();
  member_.superseded = std::move(*superseded);
  take_live();
  take_tail();
  if (auto done = check_for_loss(); !done) return done.error();
  return std::move(member_);
}

/// The marks beside it are read when it is known, and before damaged ones are set aside.
Result<void> MemberRecovery::read_snapshot() {
  auto found = find_snapshot(disk_, directory_ + "/snapshots");
  if (!found) return found.error();
  member_.snapshot = std::move(found->snapshot);
  if (auto done = read_marks(); !done) return done;
  for (const auto& [name, why] : found->damaged) {
    // It may be one that a BEAM was receiving: then the live entries in its log are not the log's.
    const Index applied = meta_ != nullptr ? meta_->last_applied : 0;
    log_end_ = std::min(log_end_.value_or(applied), applied);
    if (auto done = record_amnesia("its newest snapshot is damaged and was set aside", false);
        !done)
      return done;
    if (auto done = set_aside(name, why); !done) return done;
  }
  return {};
}

Result<void> MemberRecovery::read_marks() {
  auto amnesia = read_amnesia(disk_, directory_);
  if (!amnesia) return amnesia.error();
  member_.amnesia = std::move(*amnesia);
  if (member_.amnesia) {
    notices_.push_back(directory_ + ": has not caught up since it was found that " +
                       member_.amnesia->reason + "; the server must not vote until it has");
  }
  auto voters = read_known_voters(disk_, directory_);
  if (!voters) return voters.error();
  member_.known_voters = std::move(*voters);
  const auto mark = read_install_mark(disk_, directory_);
  if (!mark && mark.error().code != ErrorCode::corrupt) return mark.error();
  if (!mark) {
    member_.install_mark = log_end_ = snapshot_index();
    return record_amnesia(mark.error().message, false);
  }
  // After the mark, and after a snapshot that was installed meanwhile, may be live entries of a
  // transfer that was given up. Nothing there was acknowledged as long as the mark stands.
  if (*mark) log_end_ = std::max(**mark, snapshot_index());
  member_.install_mark = *mark;
  return {};
}

/// Written down at once.
Result<void> MemberRecovery::record_amnesia(const std::string& reason, bool term_lost) {
  member_.amnesia =
      AmnesiaMark{reason, term_lost || (member_.amnesia && member_.amnesia->term_lost)};
  notices_.push_back(directory_ + ": " + reason +
                     "; the server must not vote until it has caught up");
  return write_amnesia(disk_, directory_, *member_.amnesia);
}

Result<void> MemberRecovery::set_aside(const std::string& snapshot, const std::string& why) {
  notices_.push_back(why + "; set aside as " + snapshot + ".bad");
  return set_snapshot_aside(disk_, directory_ + "/snapshots", snapshot);
}

Result<void> MemberRecovery::prepare_directory() {
  if (auto done = ensure_server_parts(disk_, directory_); !done) return done;
  // A BEAM's shortcut for its own next start; it would be out of date by then.
  const auto stale = disk_.list(directory_ + "/recovery_checkpoint");
  if (!stale) return stale.error();
  for (const auto& entry : *stale) {
    const std::string path = directory_ + "/recovery_checkpoint/" + entry.name;
    if (auto done = remove_tree(disk_, path); !done) return done;
  }
  return {};
}

/// Regular segment files in the order of their numbers. Half-made files and the marks and symbolic
/// links of a BEAM's compaction are removed: entries are found by content, so every state that a
/// compaction leaves can be read without them.
Result<void> MemberRecovery::open_segments() {
  const auto listed = disk_.list(directory_);
  if (!listed) return listed.error();
  std::vector<std::pair<std::uint64_t, std::string>> files;
  for (const auto& entry : *listed) {
    const std::string path = directory_ + "/" + entry.name;
    const auto number = number_of_name(entry.name, ".segment");
    if (number && entry.kind == DirectoryEntry::Kind::file) files.emplace_back(*number, path);
    if (number) member_.next_segment = std::max(member_.next_segment, *number + 1);
    if (number && entry.kind == DirectoryEntry::Kind::other) {
      if (auto done = disk_.unlink(path); !done) return done;
    }
    for (const std::string_view suffix :
         {".segment.tmp", ".compacting", ".compaction_group", ".link"}) {
      if (!entry.name.ends_with(suffix)) continue;
      if (auto done = disk_.unlink(path); !done) return done;
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& [number, path] : files) {
    const auto empty = is_empty(disk_, path);
    if (!empty) return empty.error();
    if (*empty) {  // a BEAM had made it and not got as far as its header
      if (auto done = disk_.unlink(path); !done) return done;
      continue;
    }
    auto segment = Segment::open(disk_, path, number, context_.segment_files);
    if (!segment) return segment.error();
    member_.segments.add(std::move(*segment));
    if (context_.on_progress) {
      context_.on_progress("reading the segments of " + directory_, member_.segments.size(),
                           files.size());
    }
  }
  return {};
}

/// Takes the next entry in the order of writing.
void MemberRecovery::lay_out(Index index, const Place& place) {
  if (covered(index)) return;
  while (!above_.empty() && above_.back().first >= index) above_.pop_back();
  above_.emplace_back(index, place);
}

void MemberRecovery::lay_out_entries() {
  for (const auto& segment : member_.segments.all()) {
    for (const auto& slot : segment->slots()) lay_out(slot.index, {slot.term, nullptr});
  }
  if (wal_ != nullptr) {
    for (const auto& entry : wal_->records) lay_out(entry.index, {entry.term, &entry});
  }
  if (!log_end_) return;
  while (!above_.empty() && above_.back().first > *log_end_) above_.pop_back();
}

/// A newer entry takes the place of an older one.
void MemberRecovery::take_live() {
  if (wal_ == nullptr) return;
  for (const auto& entry : wal_->records) {
    if (covered(entry.index) && (needed(entry.index) || member_.superseded.keeps(entry.index)))
      member_.memory.put_sparse(entry);
  }
}

/// The contiguous run above the snapshot. Entries that are in segments stay there.
void MemberRecovery::take_tail() {
  Position last{0, 0};
  if (member_.snapshot) last = {member_.snapshot->meta.index, member_.snapshot->meta.term};
  member_.empty = !member_.snapshot;
  member_.first_index = member_.snapshot ? last.index + 1 : 1;
  for (const auto& [index, place] : above_) {
    const bool follows = member_.empty ? index <= 1 : index == last.index + 1;
    if (!follows || place.term < last.term) break;
    if (member_.empty) member_.first_index = index;
    member_.empty = false;
    last = {index, place.term};
    if (place.in_wal != nullptr) member_.memory.append(*place.in_wal);
  }
  member_.last = last;
}

std::optional<Index> MemberRecovery::missing_live_entry() const {
  for (const IndexRange& range : member_.snapshot->live_indexes.ranges()) {
    for (Index index = range.first; index <= range.last; ++index) {
      const bool there = member_.memory.find(index) != nullptr || member_.segments.find(index);
      if (!there || index > member_.last.index) return index;
    }
  }
  return std::nullopt;
}

Result<void> MemberRecovery::check_for_loss() {
  if (meta_ != nullptr) member_.meta = *meta_;
  Result<void> noted;
  // The row was lost: no vote can be known for that term.
  if (member_.last.term > member_.meta.term) {
    member_.meta.term = member_.last.term;
    member_.meta.voted_for.reset();
    noted = record_amnesia(
        "meta.dets knew of term " + std::to_string(meta_ != nullptr ? meta_->term : 0) +
            " only, but the log has entries of term " + std::to_string(member_.last.term),
        true);
  }
  if (noted && member_.last.index < member_.meta.last_applied) {
    noted = record_amnesia("its log ends at index " + std::to_string(member_.last.index) +
                               ", but it had applied entries up to " +
                               std::to_string(member_.meta.last_applied),
                           false);
  }
  if (noted && member_.snapshot && member_.snapshot->live_indexes_known) {
    if (const auto missing = missing_live_entry()) {
      noted = record_amnesia(
          "entry " + std::to_string(*missing) + ", which its snapshot needs, is missing", false);
      if (noted && cluster_size(member_.snapshot->meta) > 1) noted = begin_anew();
    }
  }
  return noted;
}

/// The snapshot is of no use: it is set aside, and the leader is to send another. A member that is
/// alone keeps it; there is nobody to send one.
Result<void> MemberRecovery::begin_anew() {
  const Position at{member_.snapshot->meta.index, member_.snapshot->meta.term};
  if (auto done = set_aside(snapshot_directory_name(at),
                            directory_ + ": the snapshot at index " + std::to_string(at.index));
      !done) {
    return done;
  }
  member_.snapshot.reset();
  member_.memory.clear();
  member_.empty = true;
  member_.first_index = 1;
  member_.last = {};
  return {};
}

}  // namespace

Result<RecoveredLog> recover_log(const RecoveryContext& context, std::string directory,
                                 ServerConfig config, const RecoveredWriter* wal,
                                 const MetaRow* meta, std::vector<std::string>& notices) {
  return MemberRecovery(context, std::move(directory), std::move(config), wal, meta, notices).run();
}

}  // namespace rakv::raftlog
