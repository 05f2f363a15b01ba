// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "cnode/base/result.h"

namespace rakv::raftlog {

/// How the memory of a node is shared out. It bounds what grows with the bytes of values: log
/// entries that are not in segments yet, and commands that wait for the WAL. What is left over is
/// for messages under way, for segments that are written or merged, and for what the allocator
/// can't give back at once. Keys come on top (docs/memory.md).
struct MemoryBudget {
  static constexpr std::uint64_t kDefaultBytes = std::uint64_t{2} << 30;
  static constexpr std::uint64_t kSmallestBytes = std::uint64_t{64} << 20;
  /// What a process without any value has: it comes off before the rest is shared out, or the
  /// shares of a small budget would make more than the whole.
  static constexpr std::uint64_t kProcessBytes = std::uint64_t{16} << 20;

  std::uint64_t total_bytes = kDefaultBytes;

  /// invalid_argument when it is too small to work with.
  static Result<MemoryBudget> of(std::uint64_t total_bytes);

  /// A WAL file is closed, and goes to segments, when it is larger.
  std::uint64_t wal_file_bytes() const;
  /// Bytes of WAL files whose entries are not all in segments yet: the WAL takes nothing more while
  /// there are as many. Also what a start reads back from these files.
  std::uint64_t unflushed_bytes() const { return shared_bytes() / 8 * 3; }
  /// Payload bytes of commands that wait for the WAL; beyond it they are refused.
  std::uint64_t waiting_bytes() const { return shared_bytes() / 4; }
  /// Payload bytes of one write of the WAL.
  std::uint64_t wal_batch_bytes() const;

 private:
  std::uint64_t shared_bytes() const { return total_bytes - kProcessBytes; }
};

}  // namespace rakv::raftlog
