// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "tests/raft/log/member_model.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog::testing {

inline constexpr std::size_t kDiskOperations = static_cast<std::size_t>(DiskOperation::lock) + 1;
const char* name_of(DiskOperation operation);

/// Errors of the disk, in one of several ways that is drawn anew now and then. What fails has not
/// been done, or has been done all the same; of a failed sync the kernel may give the pages up.
class RandomFaults {
 public:
  /// How often a call failed, by its operation.
  using Counts = std::array<std::uint64_t, kDiskOperations>;

  RandomFaults(MemoryDisk& memory, Random& random, Counts& counts)
      : memory_(memory), random_(random), counts_(counts) {}

  FaultyDisk::Rule rule();
  void none() { way_ = Way::none; }
  /// Draws a way for the work, or for a start; `none` is one of them.
  void draw();
  /// Until the next draw, calls that look into this server's directory fail.
  void fail_server(const std::string& uid);
  /// Until the next draw, one kind of call that a segment needs fails in this server's directory.
  void fail_segments(const std::string& uid);
  /// Since the last draw.
  bool any() const { return failed_ > 0; }

 private:
  enum class Way { none, by_chance, bursts, one_call, one_operation, server };
  bool chosen(DiskOperation operation, const std::string& path);
  Error fail(DiskOperation operation, const std::string& path);

  MemoryDisk& memory_;
  Random& random_;
  Counts& counts_;
  Way way_ = Way::none;
  std::uint64_t one_in_ = 1;
  bool burst_ = false;
  DiskOperation operation_ = DiskOperation::open;
  std::uint64_t calls_left_ = 0;
  std::string server_;
  std::uint64_t failed_ = 0;
};

}  // namespace rakv::raftlog::testing
