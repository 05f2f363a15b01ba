// SPDX-License-Identifier: Apache-2.0
#include "raft/log/snapshots/snapshot_leftovers.h"

namespace rakv::raftlog {

Result<void> SnapshotLeftovers::write(const Snapshot& snapshot) {
  const std::string name = snapshot_directory_name({snapshot.meta.index, snapshot.meta.term});
  auto written = write_snapshot(disk_, directory_, snapshot);
  if (written) {
    names_.erase(name);
  } else {
    names_.insert(name);
    static_cast<void>(remove());  // else before something is dropped
  }
  return written;
}

Result<void> SnapshotLeftovers::remove() {
  while (!names_.empty()) {
    auto removed = remove_snapshot(disk_, directory_ + "/" + *names_.begin());
    if (!removed) return removed;
    names_.erase(names_.begin());
  }
  return {};
}

}  // namespace rakv::raftlog
