// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"

// names.dets and meta.dets (ra_directory.erl, ra_log_meta.erl): kept whole in memory, replaced
// whole on disk (tmp, fsync, rename, fsync of the directory), so that a crash leaves the old file
// or the new one.

namespace rakv::raftlog {

/// Row of names.dets: `{Name, UId}`.
struct NameRow {
  std::string name;
  std::string uid;
  bool operator==(const NameRow&) const = default;
};

/// Row of meta.dets: `{UId, Term, VotedFor, LastApplied}`; absent fields are `undefined` on disk
/// and 0 / nothing here.
struct MetaRow {
  std::string uid;
  Term term = 0;
  std::optional<ServerId> voted_for;
  Index last_applied = 0;
  bool operator==(const MetaRow&) const = default;
};

/// Missing file = no rows. A key seen twice (dirty file): the larger (term, last_applied) wins.
Result<std::vector<NameRow>> read_names(Disk& disk, const std::string& path);
Result<std::vector<MetaRow>> read_meta(Disk& disk, const std::string& path);

/// A BEAM that updates a file in place leaves the seal as it is, so what is written for one has
/// none.
enum class Seal { yes, no };

/// Durable when they return.
Result<void> write_names(Disk& disk, const std::string& path, const std::vector<NameRow>& rows,
                         Seal seal = Seal::yes);
Result<void> write_meta(Disk& disk, const std::string& path, const std::vector<MetaRow>& rows,
                        Seal seal = Seal::yes);

/// DIRECTORY/meta.dets of a system's directory.
std::string meta_path(const std::string& system_directory);
/// A file that is given up when the disk is full and a vote must be stored (keep_reserve).
std::string reserve_path(const std::string& system_directory);
/// write_meta() for the system's directory; on a full disk once more without the reserve.
Result<void> write_meta_with_reserve(Disk& disk, const std::string& system_directory,
                                     const std::vector<MetaRow>& rows);

}  // namespace rakv::raftlog
