// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"

namespace rakv::simulation {

/// What may go wrong in a random run.
enum class FaultKind : std::uint8_t {
  kill,             ///< a process ends; the machine goes on, or loses power
  halt,             ///< a process ends between two handlers of its event loop
  stop_in_disk,     ///< a process ends between two calls to its disk
  power_cut,        ///< all machines at once
  restart_server,   ///< a server is stopped and started inside the process
  stop_server,      ///< and is away for a while
  crash_server,     ///< a server gets an exit signal
  slow_wal,         ///< the WAL takes long, or stands still
  slow_worker,      ///< the same of terms, votes and reads
  slow_background,  ///< the same of segments, snapshots and compactions
  slow_restart,     ///< something is slow, and meanwhile what waits for it is started again
  cut,              ///< a link carries nothing
  cut_one_way,      ///< a link carries nothing one way
  isolate,          ///< a node's links carry nothing
  reset,            ///< connections end
  freeze,           ///< SIGSTOP, and SIGCONT
  snapshot,         ///< a member is asked for a snapshot
  transfer,         ///< the leader is asked to hand over
  election,         ///< a member is told to stand for election
  membership,       ///< a member leaves, and comes back as a new one
  disk_errors,      ///< what changes the disk fails now and then
  full_disk,        ///< nothing can be written for want of room
  flap,             ///< a link carries nothing, then something, and so on
  epmd,             ///< a host's epmd ends, and a new one starts
  clock_jump,       ///< a wall clock is set forward or back
  flip_bits,        ///< a bit of a node's files, always the same node's
  vanish,           ///< a machine loses power, and its peers hear nothing of it
  stranger,         ///< somebody without the cookie begins handshakes in a node's name
  descriptors,      ///< a process has no descriptors left for files
  replacement,      ///< the second cluster is deleted and made anew
};
/// All of them, in order.
const std::vector<FaultKind>& all_fault_kinds();
std::string_view to_string(FaultKind kind);

/// All that makes one random run: two runs of the same options are the same run.
struct RunOptions {
  std::uint64_t seed = 1;
  std::uint64_t nodes = 3;
  std::uint64_t beam_nodes = 0;  ///< so many of the nodes behave as BEAM nodes with ra
  std::uint64_t clusters = 1;    ///< another one is on the first three nodes
  std::uint64_t clients = 3;     ///< of each cluster
  std::uint64_t keys = 3;
  std::uint64_t operations = 100;        ///< of each client, during the faults
  std::uint64_t think_ms = 20;           ///< between two of a client's operations, at most
  std::uint64_t deadline_ms = 3000;      ///< of an operation
  std::uint64_t large_bytes = 4096;      ///< of a large value
  std::uint64_t fault_seconds = 10;      ///< how long faults happen
  std::uint64_t fault_pause_ms = 500;    ///< between two faults, about
  std::uint64_t fault_length_ms = 1000;  ///< of a fault that lasts, about
  std::uint64_t wal_bytes = 32768;       ///< of a WAL file
  std::uint64_t segment_entries = 64;
  std::uint64_t far_ms = 0;    ///< that bytes are under way, one way, and a little more
  std::uint64_t store_ms = 0;  ///< that a term and vote, or a read, takes longer
  std::uint64_t minority = 0;  ///< 1: before all is made whole, a majority has to do alone
  std::set<FaultKind> faults;

  /// A set drawn by this seed.
  static RunOptions draw(std::uint64_t seed);
  /// Replaces one by its name, as in text(). invalid_argument: no such name or value.
  Result<void> set(std::string_view name, std::string_view value);
  /// Reads what text() gives, or a part of it. invalid_argument as of set().
  static Result<RunOptions> parse(std::string_view text);
  /// All as arguments of rakv_sim: `--seed=1 --nodes=3 ...`.
  std::string text() const;

  friend bool operator==(const RunOptions&, const RunOptions&) = default;
};

}  // namespace rakv::simulation
