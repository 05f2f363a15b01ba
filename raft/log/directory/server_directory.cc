// SPDX-License-Identifier: Apache-2.0
#include "raft/log/directory/server_directory.h"

namespace rakv::raftlog {

Result<void> ensure_server_parts(Disk& disk, const std::string& server_directory) {
  for (const char* part : {"/snapshots", "/checkpoints", "/recovery_checkpoint"}) {
    if (auto done = ensure_directory(disk, server_directory + part); !done) return done;
  }
  return {};
}

Result<void> create_server(Disk& disk, const std::string& system_directory,
                           const ServerConfig& config) {
  const std::string directory = server_directory(system_directory, config.uid);
  const auto taken = disk.exists(directory + "/config");
  if (!taken) return taken.error();
  if (*taken) {
    return make_error(ErrorCode::already_exists,
                      directory +
                          " belongs to a server that is not registered; move it away, or choose "
                          "another UId");
  }
  // What is left of a deleted server of the same UId would have this one deleted at the next start.
  if (auto done = remove_tree(disk, directory + std::string(kDeletedSuffix)); !done) return done;
  if (auto done = ensure_directory(disk, directory); !done) return done;
  if (auto done = ensure_server_parts(disk, directory); !done) return done;
  if (auto done = write_server_config(disk, directory, config); !done) return done;
  return disk.sync_directory(system_directory);
}

Result<void> discard_server(Disk& disk, const std::string& system_directory,
                            const std::string& uid) {
  // Half removed it would be a broken server of its name; with this one the next start goes on.
  if (auto done = mark_deleted(disk, system_directory, uid); !done) return done;
  const std::string gone = server_directory(system_directory, uid) + std::string(kDeletedSuffix);
  if (auto done = remove_tree(disk, gone); !done) return done;
  return disk.sync_directory(system_directory);
}

Result<void> mark_deleted(Disk& disk, const std::string& system_directory, const std::string& uid) {
  const std::string directory = server_directory(system_directory, uid);
  const auto there = disk.exists(directory);
  if (!there) return there.error();
  if (*there) {
    auto renamed = disk.rename(directory, directory + std::string(kDeletedSuffix));
    if (!renamed) return renamed;
  }
  return disk.sync_directory(system_directory);
}

}  // namespace rakv::raftlog
