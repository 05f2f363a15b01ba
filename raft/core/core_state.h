// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "raft/core/log_shape.h"
#include "raft/core/types.h"

// What a core is made of: its options, and what a member remembers across a restart.

namespace rakv::raft {

/// Limits and lengths; the defaults are ra's.
struct CoreOptions {
  std::uint64_t max_pipeline_count = 4096;
  std::uint64_t max_append_entries_rpc_batch_size = 128;
  std::uint64_t low_priority_commands_flush_size = 16;
  std::uint64_t await_condition_timeout_ms = 30'000;
  /// How long a member that was asked to lead may take; once more when it was heard to stand.
  std::uint64_t transfer_timeout_ms = 5'000;
  /// How long it may take to be heard when the leader can't write.
  std::uint64_t offer_timeout_ms = 1'000;
  std::uint64_t receive_snapshot_timeout_ms = 30'000;
  std::uint64_t snapshot_retry_base_ms = 5'000;
  std::uint64_t snapshot_retry_limit_ms = 60'000;
  /// Elections as ra holds them: without turns, and without regard for how long answers take. For
  /// tests of mixed clusters.
  bool ra_elections = false;
};

/// An entry that means something to the core itself: cluster change, cluster delete, noop.
struct SpecialEntry {
  IndexTerm at;
  EntryKind kind = EntryKind::noop;
  ClusterPtr cluster;
  MachineVersion machine_version = 0;
};

/// Why a member may not vote: its disk may have lost what it had acknowledged (core/amnesia.cc).
struct Amnesia {
  /// The stored term may be lower than the last one it knew, and its vote may be forgotten.
  bool term_lost = false;
};

/// Everything a member remembers across a restart.
struct CoreState {
  ServerId id;
  std::string uid;
  /// The configured membership, valid while no cluster map says otherwise.
  Membership membership = Membership::voter;
  /// The configuration in the snapshot, or the initial members.
  Cluster cluster;
  /// All cluster_change, cluster_delete and noop entries above the snapshot, ascending.
  std::vector<SpecialEntry> special_entries;
  Term current_term;
  std::optional<ServerId> voted_for;
  LogShape log;
  /// Where the machine stands after recovery (at least the snapshot's index); also the first commit
  /// index.
  Index last_applied;
  /// Set when the disk may have lost what was promised; last_applied must then be the snapshot's
  /// index, because nobody but a leader can say what of this log is committed.
  std::optional<Amnesia> amnesia;
  MachineVersion machine_version = 0;
  CoreOptions options;
};

}  // namespace rakv::raft
