// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "raft/core/core.h"
#include "raft/log/member_log.h"
#include "raft/member/counters.h"
#include "raft/member/state_machine.h"

namespace rakv::member {

/// The size of snapshot.dat for this meta and a state of so many bytes.
std::uint64_t snapshot_file_bytes(const raftlog::StoredSnapshotMeta& meta, std::size_t state_bytes);

/// Snapshots of the member's own state. A release cursor is at last_applied: it is taken once
/// everything up to there is durable here, no transfer to a peer needs the old snapshot, and none
/// is being written (ra_log:update_release_cursor, conditions {written, _} and no_snapshot_sends).
class OwnSnapshots {
 public:
  /// What a snapshot needs of the member. All live as long as this.
  struct Seams {
    raftlog::MemberLog& log;
    Counters& counters;
    const std::string& log_id;
    /// The machine of the moment, and the last entry that it has applied.
    std::function<StateMachine&()> machine;
    std::function<raft::Index()> applied;
    /// Whether effects wait for the disk.
    std::function<bool()> blocked;
    /// Whether some peer gets the present snapshot.
    std::function<bool()> sending;
    /// The configuration as of an index.
    std::function<const raft::Cluster&(raft::Index)> cluster_at;
    /// Calls the function when all that waits has had its turn.
    std::function<void(std::function<void()>)> later;
    /// The snapshot is durable.
    std::function<void(raft::event::SnapshotTaken)> taken;
  };

  /// At least `min_interval` entries lie between two snapshots. `bytes`: of the one that is there.
  OwnSnapshots(Seams seams, std::uint64_t min_interval, std::uint64_t bytes);
  ~OwnSnapshots();
  OwnSnapshots(const OwnSnapshots&) = delete;
  OwnSnapshots& operator=(const OwnSnapshots&) = delete;

  /// A snapshot of what is applied now, or a newer one, as soon as it may be taken.
  void want();
  /// Something that was in the way may have gone.
  void take_when_durable();
  /// What is being copied is dropped; what is being written goes on.
  void cancel() { copying_.reset(); }
  /// No snapshot is begun any more.
  void stop() {
    stopped_ = true;
    cancel();
  }

  bool wanted() const { return wanted_; }
  bool copying() const { return copying_ != nullptr; }
  /// Bytes of snapshot.dat, whoever wrote it.
  std::uint64_t file_bytes() const { return file_bytes_; }
  void note_installed(std::uint64_t bytes) { file_bytes_ = bytes; }

 private:
  /// A snapshot of the state at `meta`, which is being copied.
  struct Copy {
    raftlog::StoredSnapshotMeta meta;
    std::unique_ptr<StateCapture> state;
  };
  void copy();
  void write();
  void written(std::uint64_t index, std::uint64_t term, std::uint64_t bytes,
               const Result<void>& outcome);

  Seams seams_;
  std::uint64_t min_interval_;
  std::uint64_t file_bytes_;
  bool wanted_ = false;
  bool stopped_ = false;
  std::shared_ptr<Copy> copying_;  ///< jobs in flight look at it
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
