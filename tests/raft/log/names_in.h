// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "raft/log/disk/disk.h"
#include "tests/raft/log/store.h"

namespace rakv::raftlog::testing {

/// The names in a directory that end like that.
inline std::vector<std::string> names_in(Disk& disk, const std::string& path,
                                         std::string_view suffix = "") {
  std::vector<std::string> names;
  for (const auto& entry : disk.list(path).value()) {
    if (entry.name.ends_with(suffix)) names.push_back(entry.name);
  }
  return names;
}

/// How many WAL files with records of servers that could not take them there are.
inline std::size_t kept_files(Disk& disk) {
  return names_in(disk, kSystemDirectory, ".kept").size();
}

}  // namespace rakv::raftlog::testing
