// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cnode/base/byte_account.h"
#include "raft/core/types.h"
#include "raft/log/member_log.h"
#include "raft/member/state_machine.h"

namespace rakv::member {

/// What arrives of a leader's snapshot (docs/protocol/wire.md 3.3), until it is complete and
/// installed. The core checks order and numbers; here are the bytes. Live entries go to the log's
/// WAL as they come; the file itself, which has no values in it, is kept in memory.
class SnapshotReceiver {
 public:
  /// `machine` makes an empty machine to read the state into.
  /// `charge` is for the file, and empty.
  SnapshotReceiver(raftlog::MemberLog& log, std::function<std::unique_ptr<StateMachine>()> machine,
                   ByteCharge charge = {});
  ~SnapshotReceiver();
  SnapshotReceiver(const SnapshotReceiver&) = delete;
  SnapshotReceiver& operator=(const SnapshotReceiver&) = delete;

  /// Forgets what came before.
  void begin();
  void accept_entries(std::vector<raft::Entry> entries);
  void accept_chunk(std::string_view bytes);

  /// What came of complete(): the machine at the snapshot's place, or why everything is as before.
  using Installed = std::function<void(Result<std::unique_ptr<StateMachine>>)>;
  /// Checks the file and that every live entry is there, and makes it the log's snapshot once the
  /// entries are durable. `done` comes later.
  void complete(const raft::SnapshotMeta& meta, Installed done);
  /// Entries became durable.
  void on_written();

 private:
  /// What is complete, on its way into the log.
  struct Installation {
    raft::SnapshotMeta wanted;
    std::string file;
    std::unique_ptr<StateMachine> machine;
    raftlog::Snapshot snapshot;
    Installed done;

    /// In the background: the file's snapshot, and its state in the machine.
    Result<void> read();
  };
  void install();
  void make_it_the_logs(const std::shared_ptr<Installation>& installation);

  raftlog::MemberLog& log_;
  std::function<std::unique_ptr<StateMachine>()> make_machine_;
  std::string file_;
  ByteCharge charge_;
  raft::SnapshotMeta wanted_;
  Installed done_;  ///< set from complete() until the installation has begun
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
