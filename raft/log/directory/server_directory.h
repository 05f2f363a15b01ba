// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "raft/log/directory/server_config.h"
#include "raft/log/disk/disk.h"

// The directory of one server, SYSTEM/UID, and what its name says.

namespace rakv::raftlog {

/// A server's directory gets this suffix when it is deleted.
inline constexpr std::string_view kDeletedSuffix = ".deleted";
/// A server whose name another one has taken (LogSystem::set_server_aside). No UId has a dot.
inline constexpr std::string_view kReplacedSuffix = ".replaced";

/// The directory of the server with this UId.
inline std::string server_directory(const std::string& system_directory, const std::string& uid) {
  return system_directory + "/" + uid;
}

/// Makes the directories in a server's directory that ra expects, where they are missing.
Result<void> ensure_server_parts(Disk& disk, const std::string& server_directory);
/// Everything a server needs on disk before its name is known. Durable when it returns.
/// already_exists: a directory of that UId holds a server's config, though no name leads there.
Result<void> create_server(Disk& disk, const std::string& system_directory,
                           const ServerConfig& config);
/// Removes what create_server() has made of a server that was not to be, so that the next start
/// does not find it and take it in.
Result<void> discard_server(Disk& disk, const std::string& system_directory,
                            const std::string& uid);
/// Renames a server's directory to UID.deleted: from then on the deletion is certain, and recovery
/// finishes it if we do not get further. May be repeated.
Result<void> mark_deleted(Disk& disk, const std::string& system_directory, const std::string& uid);

}  // namespace rakv::raftlog
