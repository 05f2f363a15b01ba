// SPDX-License-Identifier: Apache-2.0
#include "raft/log/system_recovery.h"

#include <algorithm>
#include <utility>

#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_directory.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/wal/kept_records.h"

namespace rakv::raftlog {
namespace {

/// See recover_system().
class SystemRecovery {
 public:
  SystemRecovery(const RecoveryContext& context, std::string directory)
      : context_(context), disk_(context.disk), directory_(std::move(directory)) {}
  Result<RecoveredSystem> run();

 private:
  Result<void> open_directory();
  Result<void> recover_servers();
  Result<void> take_over(const RegisteredServers& registered);
  /// Whether the server in a directory may be run here.
  Result<void> admit(const std::string& uid) const;
  Result<void> finish_deletions();
  Result<void> adopt_servers();
  Result<void> sync_wal_files();
  Result<void> recover_members();
  Result<RecoveredLog> recover_one(const std::string& uid);
  Result<void> recover_wal_files();
  Result<void> tell(const std::string& uid, const std::string& what);
  Result<void> keep_damaged_records();
  Result<void> keep_records_of_broken();
  Result<void> give_up_metadata(const Error& damage);
  Result<void> remove_leftovers();
  void note_unflushed();
  void note_missing_directory(const std::string& name, const std::string& uid) {
    system_.notices.push_back(directory_ + ": server " + name + " (UId " + uid +
                              ") has no directory and was taken off the list");
  }
  void note_kept_records(const std::string& path, const std::string& uid) {
    system_.notices.push_back(path + ": has what the WAL had of server " + uid +
                              ", until that can be started");
  }
  Result<void> write_names();
  Result<void> write_metadata();
  std::string directory_of(const std::string& uid) const {
    return server_directory(directory_, uid);
  }

  const RecoveryContext& context_;
  Disk& disk_;
  std::string directory_;
  RecoveredSystem system_;
  RecoveredWal wal_;
  std::vector<DirectoryEntry> entries_;
  bool names_changed_ = false;
};

Result<RecoveredSystem> SystemRecovery::run() {
  if (auto done = open_directory(); !done) return done.error();
  if (auto done = recover_servers(); !done) return done.error();
  note_unflushed();
  return std::move(system_);
}

Result<void> SystemRecovery::recover_servers() {
  const auto registered = read_registered(disk_, directory_);
  if (!registered) return registered.error();
  for (const auto& row : registered->rows) system_.names[row.name] = row.uid;
  if (registered->owner != DirectoryOwner::rakv) {
    if (auto done = take_over(*registered); !done) return done;
  }
  const auto meta = read_meta(disk_, meta_path(directory_));
  const bool damaged = !meta && meta.error().code != ErrorCode::io;
  if (!meta && !damaged) return meta.error();
  if (meta) {
    for (const auto& row : *meta) system_.meta[row.uid] = row;
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
    if (auto done = write_names(); !done) return done;
  }
  if (auto done = remove_leftovers(); !done) return done;
  return keep_records_of_broken();
}

Result<void> SystemRecovery::write_names() {
  std::vector<NameRow> rows;
  for (const auto& [name, uid] : system_.names) rows.push_back({name, uid});
  return write_registered(disk_, directory_, rows);
}

Result<void> SystemRecovery::write_metadata() {
  std::vector<MetaRow> rows;
  for (const auto& [uid, row] : system_.meta) rows.push_back(row);
  return write_meta_with_reserve(disk_, directory_, rows);
}

Result<void> SystemRecovery::open_directory() {
  const auto there = disk_.exists(directory_);
  if (!there) return there.error();
  if (!*there) {
    for (std::size_t slash = directory_.find('/', 1);; slash = directory_.find('/', slash + 1)) {
      const std::string part = directory_.substr(0, slash);
      auto made = disk_.make_directory(part);
      if (made || made.error().code == ErrorCode::already_exists) {
        made = disk_.sync_directory(parent_of(part));  // who made it may not have come that far
      }
      if (!made) {
        return make_error(made.error().code, "can't make the data directory " + directory_ + ": " +
                                                 made.error().message);
      }
      if (slash == std::string::npos) break;
    }
  }
  auto lock = disk_.lock(directory_ + "/rakv.lock");
  if (!lock) {
    if (lock.error().code != ErrorCode::unavailable) return lock.error();
    return make_error(ErrorCode::unavailable,
                      "the data directory " + directory_ +
                          " is in use by another process; stop that one, or choose another "
                          "directory or node name");
  }
  system_.lock = std::move(*lock);
  // The last process may have been killed between a change and its sync: what is seen here is
  // believed, so it must not change by a power cut any more.
  for (const std::string& seen : {parent_of(directory_), directory_}) {
    if (auto done = disk_.sync_directory(seen); !done) return done;
  }
  auto entries = disk_.list(directory_);
  if (!entries) {
    return make_error(entries.error().code, "can't read the data directory " + directory_ + ": " +
                                                entries.error().message);
  }
  entries_ = std::move(*entries);
  return {};
}

Result<void> SystemRecovery::admit(const std::string& uid) const {
  const auto config = read_server_config(disk_, directory_of(uid));
  const auto row = std::find_if(system_.names.begin(), system_.names.end(),
                                [&](const auto& name) { return name.second == uid; });
  // Without a name a directory with such a file is no server's.
  if (!config && row == system_.names.end()) return {};
  Result<void> admitted = config ? context_.admit(*config) : config.error();
  if (admitted) return {};
  return make_error(admitted.error().code, "server " + (config ? config->id.name() : row->first) +
                                               " (UId " + uid + "): " + admitted.error().message);
}

/// Nothing has been changed yet: a server that can't be run here leaves the directory as it is.
Result<void> SystemRecovery::take_over(const RegisteredServers& registered) {
  for (const auto& entry : entries_) {
    if (!context_.admit || entry.kind != DirectoryEntry::Kind::directory) continue;
    auto admitted = admit(entry.name);
    if (admitted) continue;
    return make_error(admitted.error().code,
                      directory_ + " can't be taken over: " + admitted.error().message);
  }
  // A BEAM does not sync all that it writes.
  if (auto done = sync_tree(disk_, directory_); !done) return done;
  // The voters may have been replaced, one by one, while a BEAM ran the servers.
  for (const auto& entry : entries_) {
    if (entry.kind != DirectoryEntry::Kind::directory) continue;
    if (auto done = remove_known_voters(disk_, directory_of(entry.name)); !done) return done;
  }
  std::uint64_t last_wal = 0;
  for (const auto& entry : entries_) {
    last_wal = std::max(last_wal, number_of_name(entry.name, ".wal").value_or(0));
  }
  if (auto done = write_last_beam_wal(disk_, directory_, last_wal); !done) {
    return done;
  }
  if (auto done = take_ownership(disk_, directory_, registered.rows); !done) {
    return done;
  }
  if (registered.owner == DirectoryOwner::beam) {
    system_.notices.push_back(directory_ +
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
  for (const auto& [name, uid] : system_.names) {
    const bool there = std::any_of(entries_.begin(), entries_.end(), [&uid = uid](const auto& e) {
      return e.name == uid && e.kind == DirectoryEntry::Kind::directory;
    });
    if (there) continue;
    gone.push_back(uid);
    note_missing_directory(name, uid);
  }
  for (const auto& uid : gone) {
    names_changed_ |=
        std::erase_if(system_.names, [&](const auto& row) { return row.second == uid; }) > 0;
    system_.metadata_changed |= system_.meta.erase(uid) > 0;
  }
  for (const auto& uid : gone) {  // a rename that was half lost has left both names
    if (auto done = remove_tree(disk_, directory_of(uid)); !done) return done;
  }
  // Without its name gone for good, the server could be taken in again when its entries are not
  // there any more.
  if (!gone.empty()) {
    if (auto done = disk_.sync_directory(directory_); !done) return done;
  }
  if (names_changed_) {
    if (auto done = write_names(); !done) return done;
  }
  if (system_.metadata_changed) {
    if (auto done = write_metadata(); !done) return done;
  }
  for (const auto& tree : trees) {
    if (auto done = remove_tree(disk_, directory_of(tree)); !done) return done;
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
    const bool known = std::any_of(system_.names.begin(), system_.names.end(),
                                   [&](const auto& row) { return row.second == entry.name; });
    if (known) continue;
    const auto there = disk_.exists(directory_of(entry.name));
    if (!there) return there.error();
    if (!*there) continue;  // its deletion was finished just now
    const auto config = read_server_config(disk_, directory_of(entry.name));
    if (!config || config->uid != entry.name || system_.names.contains(config->id.name())) {
      system_.notices.push_back(directory_of(entry.name) +
                                ": belongs to no registered server; left alone");
      continue;
    }
    // Whoever made it may not have come as far as syncing it.
    if (auto done = sync_tree(disk_, directory_of(entry.name)); !done) {
      return done;
    }
    system_.names[config->id.name()] = config->uid;
    names_changed_ = true;
    system_.notices.push_back(directory_ + ": server " + config->id.name() + " (UId " +
                              config->uid + ") was not registered and has been taken in");
  }
  return {};
}

/// Terms and votes are lost: every server is told, then the file is set aside.
Result<void> SystemRecovery::give_up_metadata(const Error& damage) {
  for (const auto& [name, uid] : system_.names) {
    auto done = write_amnesia(disk_, directory_of(uid), {damage.message, true});
    if (!done) return done;
  }
  const std::string path = meta_path(directory_);
  system_.notices.push_back(damage.message + "; set aside as " + path + ".bad");
  if (auto done = disk_.rename(path, path + ".bad"); !done) return done;
  return disk_.sync_directory(directory_);
}

/// Reads the WAL. What is damaged in it may be any server's acknowledged end: all are told before
/// it is set aside, and what was good up to there is kept.
Result<void> SystemRecovery::recover_wal_files() {
  const auto last_of_beam = read_last_beam_wal(disk_, directory_);
  if (!last_of_beam) return last_of_beam.error();
  const auto on_file = [this](std::size_t done, std::size_t all) {
    if (!context_.on_progress) return;
    context_.on_progress("reading the WAL files of " + directory_, done, all);
  };
  auto wal = recover_wal(disk_, directory_, on_file, *last_of_beam);
  if (!wal) return wal.error();
  wal_ = std::move(*wal);
  for (const auto& notice : wal_.notices) system_.notices.push_back(notice);
  if (auto done = keep_damaged_records(); !done) return done;
  if (!wal_.damage) return {};
  for (const auto& [name, uid] : system_.names) {
    if (auto done = tell(uid, wal_.damage->what); !done) return done;
  }
  return set_damage_aside(disk_, *wal_.damage);
}

/// Notes in a server's directory that it may have lost something.
Result<void> SystemRecovery::tell(const std::string& uid, const std::string& what) {
  const std::string directory = directory_of(uid);
  const auto known = read_amnesia(disk_, directory);
  if (!known) return known.error();
  return write_amnesia(disk_, directory, {what, *known && (*known)->term_lost});
}

/// The file itself goes when what was good in it is elsewhere.
Result<void> SystemRecovery::keep_damaged_records() {
  for (const auto& [path, what] : wal_.damaged_kept) {
    const std::string& owner = wal_.kept.at(path);
    for (const auto& [name, uid] : system_.names) {
      if (!owner.empty() && uid != owner) continue;
      if (auto done = tell(uid, what); !done) return done;
    }
    const auto bytes = read_file(disk_, path);
    if (!bytes) return bytes.error();
    if (auto done = replace_file(disk_, path + ".bad", *bytes); !done) return done;
  }
  return {};
}

/// See kept_records.h. Also of a directory that is no registered server's: it may become one when
/// its config is repaired.
Result<void> SystemRecovery::keep_records_of_broken() {
  for (const auto& [uid, writer] : wal_.writers) {
    const bool recovered =
        std::any_of(system_.members.begin(), system_.members.end(),
                    [&uid = uid](const auto& member) { return member.config.uid == uid; });
    if (writer.records.empty() || recovered) continue;
    const auto there = disk_.exists(directory_of(uid));
    if (there && !*there) continue;  // deleted
    const std::string& newest = writer.files.back();
    if (wal_.kept.contains(newest) && !wal_.damaged_kept.contains(newest)) {
      std::erase(wal_.files, newest);  // it has everything, and stays
      continue;
    }
    const std::string path = directory_ + "/" + numbered_name(++wal_.last_number, kKeptSuffix);
    if (auto done = write_kept_records(disk_, path, uid, writer); !done) return done;
    note_kept_records(path, uid);
  }
  return {};
}

/// What was read may be in the page cache only (the last process was killed): it is about to be
/// called durable. A sync that failed in that process is not told to this one.
Result<void> SystemRecovery::sync_wal_files() {
  for (const auto& bytes : wal_.unproven) {
    if (auto done = write_again(disk_, bytes); !done) return done;
  }
  for (const auto& path : wal_.files) {
    auto file = disk_.open_write(path);
    if (!file) return file.error();
    if (auto done = (*file)->fdatasync(); !done) return done;
  }
  return disk_.sync_directory(directory_);
}

Result<RecoveredLog> SystemRecovery::recover_one(const std::string& uid) {
  const std::string directory = directory_of(uid);
  auto config = read_server_config(disk_, directory);
  if (!config) return config.error();
  if (config->uid != uid) {
    return make_error(ErrorCode::corrupt,
                      directory + "/config: is that of the server " + config->uid);
  }
  const auto wal = wal_.writers.find(uid);
  const auto meta = system_.meta.find(uid);
  return recover_log(context_, directory, std::move(*config),
                     wal == wal_.writers.end() ? nullptr : &wal->second,
                     meta == system_.meta.end() ? nullptr : &meta->second, system_.notices);
}

Result<void> SystemRecovery::recover_members() {
  for (const auto& [name, uid] : system_.names) {
    auto member = recover_one(uid);
    if (!member) {
      system_.broken.emplace(uid, member.error());
      system_.notices.push_back("server " + name + " can't be started: " + member.error().message);
      continue;
    }
    const auto meta = system_.meta.find(uid);
    const Term stored = meta == system_.meta.end() ? 0 : meta->second.term;
    if (member->meta.term != stored) {
      system_.meta[uid] = member->meta;
      system_.metadata_changed = true;
    }
    system_.members.push_back(std::move(*member));
  }
  return {};
}

/// Files of a BEAM that would be out of date when it comes back, and half-made ones of ours that
/// nothing else is written over.
Result<void> SystemRecovery::remove_leftovers() {
  for (const auto& entry : entries_) {
    if (!number_of_kept(entry.name, ".kept.tmp")) continue;
    if (auto done = disk_.unlink(directory_ + "/" + entry.name); !done) return done;
  }
  for (const char* name : {"/writers.snapshot", "/writers.snapshot.tmp"}) {
    if (auto done = remove_tree(disk_, directory_ + name); !done) return done;
  }
  return {};
}

/// The recovered WAL files go to segments and are then removed.
void SystemRecovery::note_unflushed() {
  system_.next_wal_number = wal_.last_number + 1;
  if (wal_.files.empty()) return;
  for (const auto& [uid, writer] : wal_.writers) {
    if (writer.records.empty()) continue;
    const auto [lowest, highest] = std::minmax_element(
        writer.records.begin(), writer.records.end(),
        [](const StoredEntry& one, const StoredEntry& other) { return one.index < other.index; });
    system_.wal_ranges[uid] = {lowest->index, highest->index};
  }
  system_.wal_files = std::move(wal_.files);
  system_.wal_bytes = wal_.bytes;
}

}  // namespace

Result<RecoveredSystem> recover_system(const RecoveryContext& context,
                                       const std::string& directory) {
  return SystemRecovery(context, directory).run();
}

}  // namespace rakv::raftlog
