// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/repair.h"

#include <memory>

#include "cnode/base/executor.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/metadata.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/offline/release.h"
#include "raft/log/segments/segment.h"
#include "raft/log/system.h"

namespace rakv::raftlog {
namespace {

/// Whether an error says that a file's content is unusable, and not that it could not be read.
bool is_damage(const Error& error) {
  return error.code == ErrorCode::corrupt || error.code == ErrorCode::malformed;
}

class Repairer {
 public:
  Repairer(Disk& disk, const std::string& directory) : disk_(disk), directory_(directory) {}

  Result<Repair> run(const std::function<Result<void>(const ServerConfig&)>& admit) {
    {
      const auto lock = disk_.lock(directory_ + "/rakv.lock");
      if (!lock) return lock.error();
      if (auto done = find_servers(); !done) return done.error();
      if (auto done = repair_names(); !done) return done.error();
      for (const std::string& server : servers_) {
        if (auto done = repair_segments(server); !done) return done.error();
      }
    }
    if (auto done = recover(admit); !done) return done.error();
    return std::move(repair_);
  }

 private:
  Result<void> find_servers() {
    const auto entries = disk_.list(directory_);
    if (!entries) return entries.error();
    for (const auto& entry : *entries) {
      if (entry.kind != DirectoryEntry::Kind::directory || !valid_uid(entry.name)) continue;
      servers_.push_back(directory_ + "/" + entry.name);
    }
    return {};
  }

  /// The servers are found by their configs then.
  Result<void> repair_names() {
    const auto registered = read_registered(disk_, directory_);
    if (registered || !is_damage(registered.error())) {
      return registered ? Result<void>{} : registered.error();
    }
    for (const char* name : {"/names.dets", "/names.dets.rakv"}) {
      const auto rows = read_names(disk_, directory_ + name);
      if (rows || !is_damage(rows.error())) continue;
      // The empty file that keeps BEAMs away is no damage.
      const auto bytes = read_file(disk_, directory_ + name);
      if (bytes && bytes->empty()) continue;
      if (auto done = set_aside(directory_ + name, rows.error().message); !done) return done;
    }
    return {};
  }

  Result<void> repair_segments(const std::string& server) {
    const auto entries = disk_.list(server);
    if (!entries) return entries.error();
    for (const auto& entry : *entries) {
      const auto number = number_of_name(entry.name, ".segment");
      if (!number || entry.kind != DirectoryEntry::Kind::file) continue;
      const std::string path = server + "/" + entry.name;
      const auto bytes = disk_.open_read(path);
      if (!bytes) return bytes.error();
      const auto size = (*bytes)->size();
      if (!size) return size.error();
      if (*size == 0) continue;  // recovery knows what that is
      const auto segment = Segment::open(disk_, path, *number);
      if (segment) continue;
      if (!is_damage(segment.error())) return segment.error();
      if (auto told = tell(server, segment.error().message); !told) return told;
      if (auto done = set_aside(path, segment.error().message); !done) return done;
    }
    return {};
  }

  /// Before anything is set aside: a crash in between must not hide it.
  Result<void> tell(const std::string& server, const std::string& reason) {
    auto known = read_amnesia(disk_, server);
    if (!known) return known.error();
    return write_amnesia(disk_, server, {reason, *known && (*known)->term_lost});
  }

  Result<void> set_aside(const std::string& path, const std::string& why) {
    std::string aside = path + ".bad";
    for (int number = 2;; ++number) {
      const auto there = disk_.exists(aside);
      if (!there) return there.error();
      if (!*there) break;
      aside = path + ".bad" + std::to_string(number);
    }
    if (auto done = disk_.rename(path, aside); !done) return done;
    repair_.set_aside.push_back({path, why});
    return disk_.sync_directory(parent_of(path));
  }

  Result<void> recover(const std::function<Result<void>(const ServerConfig&)>& admit) {
    ManualExecutor owner;
    ManualExecutor worker;
    LogSystemOptions options;
    options.wal_thread = false;
    options.admit = admit;
    auto system = LogSystem::open(directory_, disk_, owner, worker, options);
    if (!system) return system.error();
    repair_.notices = (*system)->notices();
    for (const auto& [uid, error] : (*system)->broken_servers()) {
      repair_.left.push_back("the server with UId " + uid + " can't be started: " + error.message);
    }
    auto stopped = (*system)->stop();
    system->reset();
    owner.clear();
    worker.clear();
    return stopped;
  }

  Disk& disk_;
  const std::string& directory_;
  std::vector<std::string> servers_;  // their directories
  Repair repair_;
};

}  // namespace

Result<Repair> repair(Disk& disk, const std::string& directory,
                      const std::function<Result<void>(const ServerConfig&)>& admit) {
  if (auto checked = check_system_directory(disk, directory); !checked) return checked.error();
  return Repairer(disk, directory).run(admit);
}

}  // namespace rakv::raftlog
