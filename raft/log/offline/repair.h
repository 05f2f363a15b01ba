// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "raft/log/directory/server_config.h"
#include "raft/log/disk/disk.h"

namespace rakv::raftlog {

struct SetAside {
  std::string path;  ///< it is PATH.bad now (PATH.bad2 when there was one)
  std::string why;
  bool operator==(const SetAside&) const = default;
};

struct Repair {
  std::vector<SetAside> set_aside;   ///< before recovery could run
  std::vector<std::string> notices;  ///< what recovery did and found, in its words
  std::vector<std::string> left;     ///< servers that can't be started all the same, and why
};

/// Makes the directory of a node that does not run one that starts: what a start can't get over by
/// itself (names that can't be read, segment files whose index can't) is set aside by
/// renaming, nothing is deleted; servers that may have lost what they promised are told so first,
/// and will not vote until they have caught up with their peers (server_marks.h). Then recovery
/// runs, with what it sets aside by itself. The directory is rakv's afterwards.
///
/// Over an OverlayDisk it is a dry run. `admit` as in LogSystemOptions. Errors: not_found when
/// there is no system; unavailable when a process has it; io, no_space; whatever `admit` says.
Result<Repair> repair(Disk& disk, const std::string& directory,
                      const std::function<Result<void>(const ServerConfig&)>& admit);

}  // namespace rakv::raftlog
