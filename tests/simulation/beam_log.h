// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "raft/core/types.h"
#include "tests/support/memory_disk.h"

// The log of a member that behaves as one on a BEAM, and what its machine keeps of it. All files
// of ra are one queue of writes here: what counts is when an entry is durable, and what a kill
// leaves. Source: ra_log.erl, ra_log_wal.erl, ra_snapshot.erl.

namespace rakv::simulation {

/// The server's process ends by an error, as ra's does. Its supervisor starts it again.
struct BeamCrash : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A snapshot as it lies on the disk.
struct BeamSnapshot {
  raft::SnapshotMeta meta;
  std::string state;                ///< of the machine, encoded
  std::vector<std::uint64_t> live;  ///< ascending
  raft::IndexTerm place() const { return {meta.index, meta.term}; }
};
/// `snapshot.dat` (docs/protocol/disk.md 4.1).
std::string to_snapshot_file(const BeamSnapshot& snapshot);
/// Crashes when the file is damaged, as ra_log_snapshot:complete_accept/2.
BeamSnapshot from_snapshot_file(std::string_view file);

/// What a BEAM's machine keeps of one server; it outlives the process.
class BeamDisk {
 public:
  struct Config {
    raft::ServerId id;
    std::string uid;
    std::vector<raft::ServerId> initial_members;
    raft::Membership membership = raft::Membership::voter;
  };
  /// Of an entry, on its way to the WAL.
  struct Written {
    raft::Term term;
    std::vector<std::uint64_t> indexes;
  };

  Config config;
  raft::Term term;
  std::optional<raft::ServerId> voted_for;  ///< ra_log_meta:store_sync: stored at once
  raft::Index last_applied;                 ///< durable
  std::optional<BeamSnapshot> snapshot;
  /// No file of ra's: who got a vote in which term, for BeamWitness.
  std::map<raft::Term, raft::ServerId> votes_given;

  void write(const raft::Entry& entry) { writes_.push_back({entry, {}}); }
  void write_last_applied(raft::Index index) { writes_.push_back({std::nullopt, index}); }
  std::size_t unsynced() const { return writes_.size(); }
  /// So many of the writes are durable from now on; gives what the WAL tells the server, an item
  /// for each term.
  std::vector<Written> sync(std::size_t count);
  /// What is left of the writes.
  void crash(raftlog::CrashMode mode, std::mt19937_64& random);
  /// The newest entry at each index, durable or not.
  std::map<std::uint64_t, raft::Entry> entries_with_unsynced() const;
  const std::map<std::uint64_t, raft::Entry>& entries() const { return entries_; }
  /// The snapshot is there: of what is below it only live entries stay.
  void drop_superseded();

 private:
  struct Write {
    std::optional<raft::Entry> entry;
    raft::Index last_applied;
  };
  static void put(std::map<std::uint64_t, raft::Entry>& entries, const raft::Entry& entry);
  void carry_out(const Write& write);

  std::map<std::uint64_t, raft::Entry> entries_;
  std::deque<Write> writes_;
};

/// The log of a server that runs: ra_log's state.
class BeamLog {
 public:
  /// What is on the disk and, after a restart of the server alone, on its way there: ra_log:init/1.
  explicit BeamLog(BeamDisk& disk);

  /// Whose log it is.
  const raft::ServerId& id() const { return disk_.config.id; }
  raft::IndexTerm last() const;
  raft::Index next_index() const { return last().index + 1; }
  raft::IndexTerm last_written() const { return written_; }
  std::optional<raft::IndexTerm> snapshot() const;
  /// Nothing below the range, and in holes.
  std::optional<raft::Term> fetch_term(raft::Index index) const;
  /// The same, and of the snapshot's index.
  std::optional<raft::Term> fetch_term_or_snapshot(raft::Index index) const;
  bool exists(raft::Index index, raft::Term term) const { return fetch_term(index) == term; }
  /// Also a live one below the snapshot; null when it is not there.
  const raft::Entry* read(raft::Index index) const;
  bool has_pending() const { return !pending_.empty(); }

  void append(const raft::Entry& entry);
  void write(const std::vector<raft::Entry>& entries);
  void write_sparse(const raft::Entry& entry, raft::Index previous);
  void set_last_index(raft::Index index);
  void handle_written(raft::Term term, std::vector<std::uint64_t> indexes);
  void handle_snapshot_written(const BeamSnapshot& snapshot);
  void install_snapshot(const BeamSnapshot& snapshot);

 private:
  void put(const raft::Entry& entry);
  void forget_pending_from(std::uint64_t index);

  BeamDisk& disk_;
  std::map<std::uint64_t, raft::Entry> entries_;
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  std::optional<Range> range_;
  raft::Term last_term_;
  raft::IndexTerm written_;
  std::set<std::uint64_t> pending_;
};

}  // namespace rakv::simulation
