// SPDX-License-Identifier: Apache-2.0
#include "raft/log/recovery.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "raft/log/wal/kept_records.h"

namespace rakv::raftlog {

// ---- one member

namespace {

Result<bool> is_empty(Disk& disk, const std::string& path) {
  const auto file = disk.open_read(path);
  if (!file) return file.error();
  const auto size = (*file)->size();
  if (!size) return size.error();
  return *size == 0;
}

}  // namespace

Result<void> MemberRecovery::run(const MetaRow* meta) {
  directory_ = system_.member_directory(config_.uid);
  if (auto done = prepare_directory(); !done) return done;
  // A name that the last process gave may be in the page cache only. What is built on it here must
  // not be removed elsewhere, nor what it replaced be taken for gone, before it is durable.
  if (auto done = system_.disk_.sync_directory(directory_); !done) return done;
  auto found = find_snapshot(system_.disk_, directory_ + "/snapshots");
  if (!found) return found.error();
  found_ = std::move(*found);
  if (auto done = read_marks(); !done) return done;
  for (const auto& [name, why] : found_.damaged) {
    // It may be one that a BEAM was receiving: then the live entries in its log are not the log's.
    const Index applied = meta != nullptr ? meta->last_applied : 0;
    log_end_ = std::min(log_end_.value_or(applied), applied);
    if (auto done = remember("its newest snapshot is damaged and was set aside", false); !done)
      return done;
    if (auto done = set_aside(name, why); !done) return done;
  }
  if (auto done = open_segments(); !done) return done;
  lay_out_entries();

  MemberLog& log = system_.add_member(config_);
  for (const auto& segment : segments_) log.segments_.add(segment);
  log.next_segment_ = next_segment_;
  log.snapshot_ = found_.snapshot;
  if (auto done = log.superseded_.recover(found_.snapshot); !done) return done;
  take_live(log);
  take_tail(log);
  return judge(log, meta);
}

Result<void> MemberRecovery::read_marks() {
  auto amnesia = read_amnesia(system_.disk_, directory_);
  if (!amnesia) return amnesia.error();
  amnesia_ = std::move(*amnesia);
  if (amnesia_) {
    system_.notices_.push_back(directory_ + ": has not caught up since it was found that " +
                               amnesia_->reason + "; the server must not vote until it has");
  }
  auto voters = read_known_voters(system_.disk_, directory_);
  if (!voters) return voters.error();
  known_voters_ = std::move(*voters);
  const auto mark = read_install_mark(system_.disk_, directory_);
  if (!mark && mark.error().code != ErrorCode::corrupt) return mark.error();
  if (!mark) {
    install_mark_ = log_end_ = snapshot_index();
    return remember(mark.error().message, false);
  }
  // A snapshot beyond the mark is the one that was being taken in.
  if (*mark && **mark >= snapshot_index()) log_end_ = **mark;
  install_mark_ = *mark;
  return {};
}

/// Written down at once.
Result<void> MemberRecovery::remember(const std::string& reason, bool term_lost) {
  amnesia_ = Amnesia{reason, term_lost || (amnesia_ && amnesia_->term_lost)};
  system_.notices_.push_back(directory_ + ": " + reason +
                             "; the server must not vote until it has caught up");
  return write_amnesia(system_.disk_, directory_, *amnesia_);
}

Result<void> MemberRecovery::set_aside(const std::string& snapshot, const std::string& why) {
  system_.notices_.push_back(why + "; set aside as " + snapshot + ".bad");
  return set_snapshot_aside(system_.disk_, directory_ + "/snapshots", snapshot);
}

Result<void> MemberRecovery::prepare_directory() {
  for (const char* part : {"/snapshots", "/checkpoints", "/recovery_checkpoint"}) {
    if (auto done = ensure_directory(system_.disk_, directory_ + part); !done) return done;
  }
  // A BEAM's shortcut for its own next start; it would be out of date by then.
  const auto stale = system_.disk_.list(directory_ + "/recovery_checkpoint");
  if (!stale) return stale.error();
  for (const auto& entry : *stale) {
    const std::string path = directory_ + "/recovery_checkpoint/" + entry.name;
    if (auto done = remove_tree(system_.disk_, path); !done) return done;
  }
  return {};
}

/// Regular segment files in the order of their numbers. Half-made files and the marks and symbolic
/// links of a BEAM's compaction are removed: entries are found by content, so every state that a
/// compaction leaves can be read without them.
Result<void> MemberRecovery::open_segments() {
  const auto listed = system_.disk_.list(directory_);
  if (!listed) return listed.error();
  std::vector<std::pair<std::uint64_t, std::string>> files;
  for (const auto& entry : *listed) {
    const std::string path = directory_ + "/" + entry.name;
    const auto number = number_of_name(entry.name, ".segment");
    if (number && entry.kind == DirectoryEntry::Kind::file) files.emplace_back(*number, path);
    if (number) next_segment_ = std::max(next_segment_, *number + 1);
    if (number && entry.kind == DirectoryEntry::Kind::other) {
      if (auto done = system_.disk_.unlink(path); !done) return done;
    }
    for (const std::string_view suffix :
         {".segment.tmp", ".compacting", ".compaction_group", ".link"}) {
      if (!entry.name.ends_with(suffix)) continue;
      if (auto done = system_.disk_.unlink(path); !done) return done;
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& [number, path] : files) {
    const auto empty = is_empty(system_.disk_, path);
    if (!empty) return empty.error();
    if (*empty) {  // a BEAM had made it and not got as far as its header
      if (auto done = system_.disk_.unlink(path); !done) return done;
      continue;
    }
    auto segment = Segment::open(system_.disk_, path, number, system_.segment_files_);
    if (!segment) return segment.error();
    segments_.push_back(std::move(*segment));
    if (system_.options_.on_progress) {
      system_.options_.on_progress("reading the segments of " + directory_, segments_.size(),
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
  for (const auto& segment : segments_) {
    for (const auto& slot : segment->slots()) lay_out(slot.index, {slot.term, nullptr});
  }
  if (wal_ != nullptr) {
    for (const auto& entry : wal_->records) lay_out(entry.index, {entry.term, &entry});
  }
  if (!log_end_) return;
  while (!above_.empty() && above_.back().first > *log_end_) above_.pop_back();
}

/// A newer entry takes the place of an older one.
void MemberRecovery::take_live(MemberLog& log) {
  if (wal_ == nullptr) return;
  for (const auto& entry : wal_->records) {
    if (covered(entry.index) && log.keeps(entry.index)) log.memory_.put_sparse(entry);
  }
}

/// The contiguous run above the snapshot. Entries that are in segments stay there.
void MemberRecovery::take_tail(MemberLog& log) {
  Position last{0, 0};
  if (found_.snapshot) last = {found_.snapshot->meta.index, found_.snapshot->meta.term};
  log.empty_ = !found_.snapshot;
  log.first_index_ = found_.snapshot ? last.index + 1 : 1;
  for (const auto& [index, place] : above_) {
    const bool follows = log.empty_ ? index <= 1 : index == last.index + 1;
    if (!follows || place.term < last.term) break;
    if (log.empty_) log.first_index_ = index;
    log.empty_ = false;
    last = {index, place.term};
    if (place.in_wal != nullptr) log.memory_.append(*place.in_wal);
  }
  log.last_ = log.last_written_ = last;
}

std::optional<Index> MemberRecovery::missing_live_entry(const MemberLog& log) const {
  for (const IndexRange& range : found_.snapshot->live_indexes.ranges()) {
    for (Index index = range.first; index <= range.last; ++index) {
      if (!log.has(index)) return index;
    }
  }
  return std::nullopt;
}

namespace {

/// How many members the cluster of a snapshot has.
std::uint32_t cluster_size(const SnapshotMeta& meta) {
  etf::Cursor cursor(meta.cluster);
  if (!cursor.version()) return 0;
  const bool is_map = cursor.kind() == etf::TermKind::map;
  return (is_map ? cursor.map() : cursor.list()).value_or(0);
}

}  // namespace

Result<void> MemberRecovery::judge(MemberLog& log, const MetaRow* meta) {
  if (meta != nullptr) log.meta_ = *meta;
  Result<void> noted;
  if (log.last_.term > log.meta_.term) {  // the row was lost: no vote can be known for that term
    log.meta_.term = log.last_.term;
    log.meta_.voted_for.reset();
    noted = remember("meta.dets knew of term " + std::to_string(meta != nullptr ? meta->term : 0) +
                         " only, but the log has entries of term " + std::to_string(log.last_.term),
                     true);
  }
  if (noted && log.last_.index < log.meta_.last_applied) {
    noted =
        remember("its log ends at index " + std::to_string(log.last_.index) +
                     ", but it had applied entries up to " + std::to_string(log.meta_.last_applied),
                 false);
  }
  if (noted && found_.snapshot && found_.snapshot->live_indexes_known) {
    if (const auto missing = missing_live_entry(log)) {
      noted = remember(
          "entry " + std::to_string(*missing) + ", which its snapshot needs, is missing", false);
      if (noted && cluster_size(found_.snapshot->meta) > 1) noted = begin_anew(log);
    }
  }
  log.amnesia_ = amnesia_;
  log.known_voters_ = known_voters_;
  log.install_mark_ = install_mark_;
  return noted;
}

/// The snapshot is of no use: it is set aside, and the leader is to send another. A member that is
/// alone keeps it; there is nobody to send one.
Result<void> MemberRecovery::begin_anew(MemberLog& log) {
  const Position at{found_.snapshot->meta.index, found_.snapshot->meta.term};
  if (auto done = set_aside(snapshot_directory_name(at),
                            directory_ + ": the snapshot at index " + std::to_string(at.index));
      !done) {
    return done;
  }
  log.snapshot_.reset();
  log.memory_.clear();
  log.empty_ = true;
  log.first_index_ = 1;
  log.last_ = log.last_written_ = {};
  return {};
}

// ---- the system

Result<void> SystemRecovery::run() {
  if (auto done = open_directory(); !done) return done;
  const auto registered = read_registered(system_.disk_, system_.directory_);
  if (!registered) return registered.error();
  for (const auto& row : registered->rows) system_.names_[row.name] = row.uid;
  if (registered->owner != DirectoryOwner::rakv) {
    if (auto done = take_over(*registered); !done) return done;
  }
  auto meta = read_meta(system_.disk_, system_.meta_path());
  const bool damaged = !meta && meta.error().code != ErrorCode::io;
  if (!meta && !damaged) return meta.error();
  if (meta) {
    for (auto& row : *meta) system_.meta_[row.uid] = row;
  }
  if (auto done = finish_deletions(); !done) return done;
  if (auto done = adopt_servers(); !done) return done;
  if (damaged) {
    if (auto done = give_up_metadata(meta.error()); !done) return done;
  }
  if (auto done = recover_wal_files(); !done) return done;
  if (auto done = sync_wal_files(); !done) return done;
  if (auto done = recover_members(); !done) return done;
  if (names_changed_) {
    if (auto done = system_.names_write_job()(); !done) return done;
  }
  if (auto done = remove_leftovers(); !done) return done;
  if (auto done = keep_records_of_broken(); !done) return done;
  queue_flush();
  return {};
}

Result<void> SystemRecovery::open_directory() {
  Disk& disk = system_.disk_;
  const std::string& directory = system_.directory_;
  const auto there = disk.exists(directory);
  if (!there) return there.error();
  if (!*there) {
    for (std::size_t slash = directory.find('/', 1);; slash = directory.find('/', slash + 1)) {
      const std::string part = directory.substr(0, slash);
      auto made = disk.make_directory(part);
      if (made || made.error().code == ErrorCode::already_exists) {
        made = disk.sync_directory(parent_of(part));  // who made it may not have come that far
      }
      if (!made) {
        return make_error(made.error().code, "can't make the data directory " + directory + ": " +
                                                 made.error().message);
      }
      if (slash == std::string::npos) break;
    }
  }
  auto lock = disk.lock(directory + "/rakv.lock");
  if (!lock) {
    if (lock.error().code != ErrorCode::unavailable) return lock.error();
    return make_error(ErrorCode::unavailable,
                      "the data directory " + directory +
                          " is in use by another process; stop that one, or choose another "
                          "directory or node name");
  }
  system_.lock_ = std::move(*lock);
  // The last process may have been killed between a change and its sync: what is seen here is
  // believed, so it must not change by a power cut any more.
  for (const std::string& seen : {parent_of(directory), directory}) {
    if (auto done = disk.sync_directory(seen); !done) return done;
  }
  auto entries = disk.list(directory);
  if (!entries) {
    return make_error(entries.error().code, "can't read the data directory " + directory + ": " +
                                                entries.error().message);
  }
  entries_ = std::move(*entries);
  return {};
}

Result<void> SystemRecovery::admit(const std::string& uid) const {
  const auto config = read_server_config(system_.disk_, system_.member_directory(uid));
  const auto row = std::find_if(system_.names_.begin(), system_.names_.end(),
                                [&](const auto& name) { return name.second == uid; });
  // Without a name a directory with such a file is no server's.
  if (!config && row == system_.names_.end()) return {};
  Result<void> admitted = config ? system_.options_.admit(*config) : config.error();
  if (admitted) return {};
  return make_error(admitted.error().code, "server " + (config ? config->id.name : row->first) +
                                               " (UId " + uid + "): " + admitted.error().message);
}

/// Nothing has been changed yet: a server that can't be run here leaves the directory as it is.
Result<void> SystemRecovery::take_over(const RegisteredServers& registered) {
  for (const auto& entry : entries_) {
    if (!system_.options_.admit || entry.kind != DirectoryEntry::Kind::directory) continue;
    auto admitted = admit(entry.name);
    if (admitted) continue;
    return make_error(admitted.error().code,
                      system_.directory_ + " can't be taken over: " + admitted.error().message);
  }
  // A BEAM does not sync all that it writes.
  if (auto done = sync_tree(system_.disk_, system_.directory_); !done) return done;
  std::uint64_t last_wal = 0;
  for (const auto& entry : entries_) {
    last_wal = std::max(last_wal, number_of_name(entry.name, ".wal").value_or(0));
  }
  if (auto done = write_last_beam_wal(system_.disk_, system_.directory_, last_wal); !done) {
    return done;
  }
  if (auto done = take_ownership(system_.disk_, system_.directory_, registered.rows); !done) {
    return done;
  }
  if (registered.owner == DirectoryOwner::beam) {
    system_.notices_.push_back(system_.directory_ +
                               ": taken over from a BEAM; `rakv release` hands it back");
  }
  return {};
}

/// Servers whose deletion was begun: by us (UID.deleted), or by a BEAM (a name without directory).
Result<void> SystemRecovery::finish_deletions() {
  std::vector<std::string> trees;
  std::vector<std::string> gone;
  for (const auto& entry : entries_) {
    if (entry.kind == DirectoryEntry::Kind::directory && entry.name.ends_with(kDeletedSuffix)) {
      trees.push_back(entry.name);
      gone.push_back(entry.name.substr(0, entry.name.size() - kDeletedSuffix.size()));
    }
  }
  for (const auto& [name, uid] : system_.names_) {
    const bool there = std::any_of(entries_.begin(), entries_.end(), [&uid = uid](const auto& e) {
      return e.name == uid && e.kind == DirectoryEntry::Kind::directory;
    });
    if (there) continue;
    gone.push_back(uid);
    system_.notices_.push_back(system_.directory_ + ": server " + name + " (UId " + uid +
                               ") has no directory and was taken off the list");
  }
  for (const auto& uid : gone) {
    names_changed_ |=
        std::erase_if(system_.names_, [&](const auto& row) { return row.second == uid; }) > 0;
    metadata_changed_ |= system_.meta_.erase(uid) > 0;
  }
  for (const auto& uid : gone) {  // a rename that was half lost has left both names
    if (auto done = remove_tree(system_.disk_, system_.member_directory(uid)); !done) return done;
  }
  // Without its name gone for good, the server could be taken in again when its entries are not
  // there any more.
  if (!gone.empty()) {
    if (auto done = system_.disk_.sync_directory(system_.directory_); !done) return done;
  }
  if (names_changed_) {
    if (auto done = system_.names_write_job()(); !done) return done;
  }
  if (metadata_changed_) {
    if (auto done = system_.meta_write_job()(); !done) return done;
  }
  for (const auto& tree : trees) {
    if (auto done = remove_tree(system_.disk_, system_.member_directory(tree)); !done) return done;
  }
  return {};
}

/// Directories with a config whose name is not registered: a BEAM makes the name durable up to a
/// second after the server has begun to acknowledge entries (H3 in docs/protocol/disk.md 7.1), and
/// we make it durable last.
Result<void> SystemRecovery::adopt_servers() {
  for (const auto& entry : entries_) {
    if (entry.kind != DirectoryEntry::Kind::directory || entry.name.ends_with(kDeletedSuffix)) {
      continue;
    }
    if (entry.name.ends_with(kReplacedSuffix)) continue;
    const bool known = std::any_of(system_.names_.begin(), system_.names_.end(),
                                   [&](const auto& row) { return row.second == entry.name; });
    if (known) continue;
    const auto there = system_.disk_.exists(system_.member_directory(entry.name));
    if (!there) return there.error();
    if (!*there) continue;  // its deletion was finished just now
    const auto config = read_server_config(system_.disk_, system_.member_directory(entry.name));
    if (!config || config->uid != entry.name || system_.names_.contains(config->id.name)) {
      system_.notices_.push_back(system_.member_directory(entry.name) +
                                 ": belongs to no registered server; left alone");
      continue;
    }
    // Whoever made it may not have come as far as syncing it.
    if (auto done = sync_tree(system_.disk_, system_.member_directory(entry.name)); !done) {
      return done;
    }
    system_.names_[config->id.name] = config->uid;
    names_changed_ = true;
    system_.notices_.push_back(system_.directory_ + ": server " + config->id.name + " (UId " +
                               config->uid + ") was not registered and has been taken in");
  }
  return {};
}

/// Terms and votes are lost: every server is told, then the file is set aside.
Result<void> SystemRecovery::give_up_metadata(const Error& damage) {
  for (const auto& [name, uid] : system_.names_) {
    auto done = write_amnesia(system_.disk_, system_.member_directory(uid), {damage.message, true});
    if (!done) return done;
  }
  const std::string path = system_.meta_path();
  system_.notices_.push_back(damage.message + "; set aside as " + path + ".bad");
  if (auto done = system_.disk_.rename(path, path + ".bad"); !done) return done;
  return system_.disk_.sync_directory(system_.directory_);
}

/// Reads the WAL. What is damaged in it may be any server's acknowledged end: all are told before
/// it is set aside, and what was good up to there is kept.
Result<void> SystemRecovery::recover_wal_files() {
  const auto last_of_beam = read_last_beam_wal(system_.disk_, system_.directory_);
  if (!last_of_beam) return last_of_beam.error();
  const auto on_file = [this](std::size_t done, std::size_t all) {
    if (!system_.options_.on_progress) return;
    system_.options_.on_progress("reading the WAL files of " + system_.directory_, done, all);
  };
  auto wal = recover_wal(system_.disk_, system_.directory_, on_file, *last_of_beam);
  if (!wal) return wal.error();
  wal_ = std::move(*wal);
  for (const auto& notice : wal_.notices) system_.notices_.push_back(notice);
  if (auto done = keep_damaged_records(); !done) return done;
  if (!wal_.damage) return {};
  for (const auto& [name, uid] : system_.names_) {
    if (auto done = tell(uid, wal_.damage->what); !done) return done;
  }
  return set_damage_aside(system_.disk_, *wal_.damage);
}

/// Notes in a server's directory that it may have lost something.
Result<void> SystemRecovery::tell(const std::string& uid, const std::string& what) {
  const std::string directory = system_.member_directory(uid);
  const auto known = read_amnesia(system_.disk_, directory);
  if (!known) return known.error();
  return write_amnesia(system_.disk_, directory, {what, *known && (*known)->term_lost});
}

/// The file itself goes when what was good in it is elsewhere.
Result<void> SystemRecovery::keep_damaged_records() {
  for (const auto& [path, what] : wal_.damaged_kept) {
    const std::string& owner = wal_.kept.at(path);
    for (const auto& [name, uid] : system_.names_) {
      if (!owner.empty() && uid != owner) continue;
      if (auto done = tell(uid, what); !done) return done;
    }
    const auto bytes = read_file(system_.disk_, path);
    if (!bytes) return bytes.error();
    if (auto done = replace_file(system_.disk_, path + ".bad", *bytes); !done) return done;
  }
  return {};
}

/// See kept_records.h. Also of a directory that is no registered server's: it may become one when
/// its config is repaired.
Result<void> SystemRecovery::keep_records_of_broken() {
  for (const auto& [uid, writer] : wal_.writers) {
    if (writer.records.empty() || system_.find(uid) != nullptr) continue;
    const auto there = system_.disk_.exists(system_.member_directory(uid));
    if (there && !*there) continue;  // deleted
    const std::string& newest = writer.files.back();
    if (wal_.kept.contains(newest) && !wal_.damaged_kept.contains(newest)) {
      std::erase(wal_.files, newest);  // it has everything, and stays
      continue;
    }
    const std::string path =
        system_.directory_ + "/" + numbered_name(++wal_.last_number, kKeptSuffix);
    if (auto done = write_kept_records(system_.disk_, path, uid, writer); !done) return done;
    system_.notices_.push_back(path + ": has what the WAL had of server " + uid +
                               ", until that can be started");
  }
  return {};
}

/// What was read may be in the page cache only (the last process was killed): it is about to be
/// called durable. A sync that failed in that process is not told to this one.
Result<void> SystemRecovery::sync_wal_files() {
  for (const auto& bytes : wal_.unproven) {
    if (auto done = write_again(system_.disk_, bytes); !done) return done;
  }
  for (const auto& path : wal_.files) {
    auto file = system_.disk_.open_write(path);
    if (!file) return file.error();
    if (auto done = (*file)->fdatasync(); !done) return done;
  }
  return system_.disk_.sync_directory(system_.directory_);
}

Result<void> SystemRecovery::recover_members() {
  for (const auto& [name, uid] : system_.names_) {
    const std::string directory = system_.member_directory(uid);
    auto config = read_server_config(system_.disk_, directory);
    Result<void> outcome;
    if (!config) {
      outcome = config.error();
    } else if (config->uid != uid) {
      outcome = make_error(ErrorCode::corrupt,
                           directory + "/config: is that of the server " + config->uid);
    } else {
      const auto wal = wal_.writers.find(uid);
      const auto meta = system_.meta_.find(uid);
      const Term stored = meta == system_.meta_.end() ? 0 : meta->second.term;
      MemberRecovery member(system_, std::move(*config),
                            wal == wal_.writers.end() ? nullptr : &wal->second);
      outcome = member.run(meta == system_.meta_.end() ? nullptr : &meta->second);
      if (outcome && system_.find(uid)->meta().term != stored) {
        system_.meta_[uid] = system_.find(uid)->meta();
        metadata_changed_ = true;
      }
    }
    if (outcome) continue;
    if (const auto half_made = system_.members_.find(uid); half_made != system_.members_.end()) {
      std::erase_if(system_.by_writer_,
                    [&](const auto& writer) { return writer.second == half_made->second.get(); });
      system_.members_.erase(half_made);
    }
    system_.broken_.emplace(uid, outcome.error());
    system_.notices_.push_back("server " + name + " can't be started: " + outcome.error().message);
  }
  return {};
}

/// Files of a BEAM that would be out of date when it comes back.
Result<void> SystemRecovery::remove_leftovers() {
  for (const char* name : {"/writers.snapshot", "/writers.snapshot.tmp"}) {
    if (auto done = remove_tree(system_.disk_, system_.directory_ + name); !done) return done;
  }
  return {};
}

/// The recovered WAL files go to segments and are then removed.
void SystemRecovery::queue_flush() {
  if (wal_.files.empty()) return;
  std::map<std::string, IndexRange> ranges;
  for (const auto& [uid, writer] : wal_.writers) {
    if (writer.records.empty()) continue;
    const auto [lowest, highest] = std::minmax_element(
        writer.records.begin(), writer.records.end(),
        [](const Entry& one, const Entry& other) { return one.index < other.index; });
    ranges[uid] = {lowest->index, highest->index};
  }
  system_.flusher_.add(wal_.files, wal_.bytes, ranges);
  unflushed_bytes_ = wal_.bytes;
}

}  // namespace rakv::raftlog
