// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "raft/log/directory/metadata.h"
#include "raft/log/disk/disk.h"

// Whose a system directory is: a BEAM's, or ours. Both keep a node's data in DIR/NAME@HOST, and a
// BEAM that started on a directory in which a rakv node has written since would miss what it finds
// in forms of ours, or take up state that has moved on. So while it is ours, names.dets is an empty
// file, on which ra refuses to start ("not a dets file"), and the servers' names are in
// names.dets.rakv beside it.
//
// names.dets is believed whenever it has content: a crash between the two files of a change leaves
// the directory with its former owner.

namespace rakv::raftlog {

enum class DirectoryOwner {
  nobody,  ///< no names at all: fresh, or not a ra system's directory
  beam,    ///< names.dets has content
  rakv     ///< names.dets is empty or missing, and names.dets.rakv is there
};

struct RegisteredServers {
  DirectoryOwner owner = DirectoryOwner::nobody;
  std::vector<NameRow> rows;
};

/// The names of a directory and who has them. An empty names.dets alone (a BEAM that lost it) is
/// nobody's.
Result<RegisteredServers> read_registered(Disk& disk, const std::string& directory);

/// Replaces the names while the directory is ours. Durable when it returns.
Result<void> write_registered(Disk& disk, const std::string& directory,
                              const std::vector<NameRow>& rows);
/// Makes the directory ours, with these names. Durable when it returns.
Result<void> take_ownership(Disk& disk, const std::string& directory,
                            const std::vector<NameRow>& rows);
/// Gives it to a BEAM, with these names; the last step of a release. Durable when it returns.
Result<void> give_up_ownership(Disk& disk, const std::string& directory,
                               const std::vector<NameRow>& rows);

/// The highest number of a WAL file that was there when the directory was taken over (0: none): a
/// file after it is ours, and begins with a mark (wal_format.h). Durable when it returns.
Result<void> write_last_beam_wal(Disk& disk, const std::string& directory, std::uint64_t number);
/// 0 when nothing is written down; the highest number there is when that is damaged.
Result<std::uint64_t> read_last_beam_wal(Disk& disk, const std::string& directory);

}  // namespace rakv::raftlog
