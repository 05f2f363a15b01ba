// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cnode/base/result.h"

// What the process may use of the machine, and how the node shares it out.

namespace rakv::kv {

/// Who may hold how many of the process's file descriptors. Together they are no more than the
/// limit, so none of them takes what another one needs.
struct DescriptorShares {
  /// Never shared out: WAL files, the metadata, names, a snapshot, segments that are written or
  /// merged, directories that are synced, the lock, epmd's connection and questions, the listening
  /// socket, one accept, the event loop, standard streams.
  static constexpr std::size_t kReserve = 64;
  static constexpr std::size_t kSmallestLimit = 96;
  static constexpr std::size_t kMostSegments = 256;
  static constexpr std::size_t kMostHandshakes = 256;

  std::size_t segments = kMostSegments;      ///< open segment files
  std::size_t handshakes = kMostHandshakes;  ///< incoming connections before they are verified
  std::size_t connections = 0;               ///< connections with peers

  /// From the soft limit on descriptors (`ulimit -n`). limit_exceeded when it is too small for a
  /// node.
  static Result<DescriptorShares> of(std::uint64_t limit);
};

/// Raises the soft limit on descriptors to the hard one as far as the system allows; gives the
/// limit that counts from now on.
std::uint64_t raise_descriptor_limit();

/// Bytes of memory that the process can have: the machine's, or what its cgroup allows if that is
/// less. Nothing when the system does not say.
std::optional<std::uint64_t> available_memory();
/// From the texts of /proc/meminfo and of a cgroup's limit (`memory.max`, `memory.limit_in_bytes`;
/// empty when there is none).
std::optional<std::uint64_t> memory_in(std::string_view meminfo, std::string_view cgroup_limit);

/// The memory budget to work with and, if it is not the one that was asked for or is more than
/// there is, a line that says so. The default is at most half of the memory; what the user asked
/// for is taken as it is.
struct BudgetChoice {
  std::uint64_t bytes = 0;
  std::string notice;
};
BudgetChoice choose_budget(std::uint64_t asked_for, std::optional<std::uint64_t> memory);

}  // namespace rakv::kv
