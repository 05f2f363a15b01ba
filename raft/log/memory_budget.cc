// SPDX-License-Identifier: Apache-2.0
#include "raft/log/memory_budget.h"

#include <algorithm>
#include <string>

namespace rakv::raftlog {
namespace {

/// ra's wal_max_size_bytes.
constexpr std::uint64_t kLargestWalFile = 256'000'000;
constexpr std::uint64_t kLargestBatch = std::uint64_t{16} << 20;

}  // namespace

Result<MemoryBudget> MemoryBudget::of(std::uint64_t total_bytes) {
  if (total_bytes < kSmallestBytes) {
    return make_error(ErrorCode::invalid_argument,
                      "a memory budget of " + std::to_string(total_bytes) +
                          " bytes is too small: a node needs at least " +
                          std::to_string(kSmallestBytes >> 20) + "MB");
  }
  return MemoryBudget{total_bytes};
}

std::uint64_t MemoryBudget::wal_file_bytes() const {
  return std::min(kLargestWalFile, shared_bytes() / 8);
}

std::uint64_t MemoryBudget::wal_batch_bytes() const {
  return std::min(kLargestBatch, shared_bytes() / 32);
}

}  // namespace rakv::raftlog
