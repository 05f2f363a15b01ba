// SPDX-License-Identifier: Apache-2.0
#include "raft/log/disk/space_watch.h"

#include <algorithm>
#include <utility>

namespace rakv::raftlog {
namespace {

constexpr std::uint64_t kLowWaterBytes = std::uint64_t{128} << 20;
constexpr std::uint64_t kSmallestShare = 16;

}  // namespace

std::uint64_t SpaceWatch::low_water(const DiskSpace& space) {
  return std::min(kLowWaterBytes, space.total / kSmallestShare);
}

bool SpaceWatch::update(const DiskSpace& space) {
  const std::uint64_t mark = low_water(space);
  const std::uint64_t times = low_ ? 2 : 1;
  const bool low = space.free < times * mark || space.free_files < times * kLowWaterFiles;
  return std::exchange(low_, low) != low;
}

Result<void> keep_reserve(Disk& disk, const std::string& path, std::uint64_t bytes) {
  if (bytes == 0) return {};
  const auto there = disk.exists(path);
  if (!there) return there.error();
  if (*there) return {};
  return replace_file(disk, path, std::string(bytes, '\0'));
}

Result<DiskSpace> measure_space(Disk& disk, const std::string& directory,
                                const std::string& reserve, std::uint64_t reserve_bytes) {
  auto space = disk.space(directory);
  if (!space || space->free < SpaceWatch::low_water(*space) + reserve_bytes) return space;
  if (auto kept = keep_reserve(disk, reserve, reserve_bytes); !kept) return kept.error();
  return space;
}

}  // namespace rakv::raftlog
