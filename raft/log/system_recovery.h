// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/log/directory/metadata.h"
#include "raft/log/disk/disk.h"
#include "raft/log/member_recovery.h"

namespace rakv::raftlog {

/// A system's directory as it is when it may be used again.
struct RecoveredSystem {
  std::unique_ptr<FileLock> lock;
  std::map<std::string, std::string> names;  ///< of registered servers, to UIds
  std::map<std::string, MetaRow> meta;       ///< by UId
  bool metadata_changed = false;             ///< and is not on disk yet
  /// Registered servers that can be started, in the order of their names; and by UId why the others
  /// can't.
  std::vector<RecoveredLog> members;
  std::map<std::string, Error> broken;

  /// WAL files whose entries are to go to segments, oldest first, their bytes together, and the
  /// indexes that each server (by UId) has in them.
  std::vector<std::string> wal_files;
  std::uint64_t wal_bytes = 0;
  std::map<std::string, IndexRange> wal_ranges;
  std::uint64_t next_wal_number = 1;

  std::vector<std::string> notices;  ///< what is worth telling the operator
};

/// Everything LogSystem::open does before the new WAL file is made: makes the directory if it is
/// missing, takes it over from a BEAM, ends what was begun, reads the WAL and every server. Waits
/// for the disk; may be repeated after a crash at any moment. Errors: see LogSystem::open.
Result<RecoveredSystem> recover_system(const RecoveryContext& context,
                                       const std::string& directory);

}  // namespace rakv::raftlog
