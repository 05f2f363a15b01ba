// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "raft/log/disk/disk.h"

namespace rakv::raftlog {

/// When writes are to be refused for want of room: below the low-water mark of bytes or of files,
/// until twice as much is free again. What is left below it is for terms, votes and the way of a
/// WAL into segments.
class SpaceWatch {
 public:
  /// 128 MiB, or a sixteenth of a small disk.
  static std::uint64_t low_water(const DiskSpace& space);
  /// Files (inodes) that must be free.
  static constexpr std::uint64_t kLowWaterFiles = 64;
  /// Takes a new measurement; true when low() is another than before.
  bool update(const DiskSpace& space);
  bool low() const { return low_; }

 private:
  bool low_ = false;
};

/// A file of `bytes` at `path` whose only use is to be removed when the disk is full, so that a
/// term and a vote can still be stored. Made unless it is there; 0 bytes = none.
Result<void> keep_reserve(Disk& disk, const std::string& path, std::uint64_t bytes);

/// The room on the disk of `directory`. While there is enough of it, the reserve at `reserve` is
/// kept, too.
Result<DiskSpace> measure_space(Disk& disk, const std::string& directory,
                                const std::string& reserve, std::uint64_t reserve_bytes);

}  // namespace rakv::raftlog
