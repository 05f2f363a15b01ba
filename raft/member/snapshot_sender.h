// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "raft/member/peer_context.h"
#include "raft/wire/messages.h"

namespace rakv::member {

/// One transfer of a leader's snapshot to another member (ra_server_proc:send_snapshots,
/// docs/protocol/wire.md 3.2): init, the live entries in batches, the file in chunks, each by a
/// call that waits for the answer of the one before. One batch or chunk is in memory at a time.
///
/// Ends with event::SnapshotTransferEnded, unless it is destroyed before.
class SnapshotSender {
 public:
  SnapshotSender(PeerContext& context, raft::effect::SendSnapshot what);
  ~SnapshotSender();
  SnapshotSender(const SnapshotSender&) = delete;
  SnapshotSender& operator=(const SnapshotSender&) = delete;

  void start();
  raft::RoundId transfer() const { return what_.transfer; }

 private:
  using Outcome = raft::event::TransferOutcome;
  void send_init();
  void ask_last_applied();
  void read_live_entries();
  void send_live_entries(const std::vector<raftlog::StoredEntry>& entries);
  void send_chunk();
  void on_last_reply(const wire::PeerReply& reply);
  /// Calls the member with this part; `then` gets a reply that is one of the records of ra.
  /// Anything else ends the transfer.
  void call(raft::ChunkFlag flag, std::uint64_t number,
            FunctionRef<void(distribution::OutMessage&)> write_data,
            std::function<void(const wire::PeerReply&)> then);
  /// True when the member goes on receiving. If not, the transfer has ended.
  bool accepted(const wire::PeerReply& reply);
  void fail(const std::string& why);
  void end(Outcome outcome, std::optional<raft::Event> news = std::nullopt);
  void report_progress();

  PeerContext& context_;
  raft::effect::SendSnapshot what_;
  raftlog::MemberLog::SnapshotFile file_;
  ByteCharge charge_;                 ///< for file_ and live_
  std::vector<raftlog::Index> live_;  ///< to be sent, ascending
  std::size_t next_live_ = 0;
  std::size_t next_byte_ = 0;
  std::uint64_t next_chunk_ = 1;
  std::uint64_t live_bytes_sent_ = 0;
  Clock::time_point reported_ = context_.node.clock().now();
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
