// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/directory/metadata.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/disk/disk.h"
#include "raft/log/offline/release.h"

// What is in the directory of a node that does not run, found out without changing anything: the
// recovery that a start runs is run over an OverlayDisk, then every entry that is needed is read.

namespace rakv::raftlog {

/// One line for an operator.
struct Finding {
  enum class Severity {
    note,     ///< a start copes with it
    damage,   ///< something that may have been acknowledged is lost or unreadable
    obstacle  ///< a takeover is refused because of it
  };
  Severity severity;
  std::string text;
  bool operator==(const Finding&) const = default;
};

/// A server as a start would find it.
struct ServerReport {
  std::string name;
  std::string uid;
  MetaRow meta;
  std::optional<Position> snapshot;
  std::uint64_t live_entries = 0;  ///< below the snapshot
  Index first_index = 0;           ///< above the snapshot
  Position last;
  std::size_t segments = 0;
  std::uint64_t entries_read = 0;  ///< with their checksums verified
  std::uint64_t bytes_read = 0;
};

struct Inspection {
  DirectoryOwner owner = DirectoryOwner::nobody;
  std::size_t wal_files = 0;
  std::vector<ServerReport> servers;  ///< those that can be started
  std::vector<Finding> findings;
  std::vector<std::string> changes;  ///< what a start would remove, rename or replace, in order
  /// Whether there is any finding that is more than a note.
  bool sound() const;
};

struct InspectionOptions {
  LiveIndexesOf live_indexes_of;
  /// Set: also whether a takeover from a BEAM would work; asked for every server.
  std::function<Result<void>(const ServerConfig&)> admit;
};

/// Errors: not_found when there is no system in the directory; unavailable when a process has it;
/// io when it can't be read. Damage is no error, but a finding.
Result<Inspection> inspect(Disk& disk, const std::string& directory,
                           const InspectionOptions& options);

}  // namespace rakv::raftlog
