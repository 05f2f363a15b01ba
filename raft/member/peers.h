// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/member/append_entries_sender.h"
#include "raft/member/client_calls.h"
#include "raft/member/peer_context.h"
#include "raft/member/snapshot_sender.h"
#include "raft/wire/messages.h"

namespace rakv::member {

/// What a member sends to the other members of its cluster (docs/protocol/wire.md 2 and 3). The
/// core decides, here it is encoded and sent, as messages, as calls whose answers become events,
/// and as answers to the calls of others.
class Peers {
 public:
  /// `keeps_up`: whether the disk has less to write than a leader's snapshot may bring; when not,
  /// answers to its parts wait. `has_caught_up`: they need not wait any more.
  struct Seams {
    PeerContext& context;
    ClientCalls& calls;
    std::function<bool()> keeps_up;
    std::function<bool()> has_caught_up;
  };
  explicit Peers(Seams seams);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  void carry_out(raft::effect::SendAppendEntries& effect);
  void carry_out(const raft::effect::SendAppendEntriesReply& effect);
  void carry_out(const raft::effect::SendHeartbeat& effect);
  void carry_out(const raft::effect::SendHeartbeatReply& effect);
  void carry_out(const raft::effect::SendInfo& effect);
  void carry_out(const raft::effect::SendInfoReply& effect);
  void carry_out(const raft::effect::SendElectionTimeout& effect);
  void carry_out(const raft::effect::CallRequestVote& effect);
  void carry_out(const raft::effect::CallPreVote& effect);
  void carry_out(const raft::effect::ReplyVote& effect);
  void carry_out(const raft::effect::ReplyPreVote& effect);
  void carry_out(raft::effect::SendSnapshot& effect);
  void carry_out(const raft::effect::StopSnapshotSend& effect);
  void carry_out(const raft::effect::ReplyInstallSnapshot& effect);
  void carry_out(const raft::effect::ReplyInstallSnapshotWithAppendEntries& effect);

  /// Entries became durable: answers that waited for that are sent.
  void on_written();
  /// The connection to a node has room again, or is there again, or is gone.
  void pump(const std::string& node);
  /// Nothing is sent any more.
  void stop();

 private:
  void cast(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write);
  /// Calls with the deadline of votes; `then` gets answers that can be read, nothing else.
  void call(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write,
            std::function<void(const wire::PeerReply&)> then);
  void answer(raft::CallToken token,
              FunctionRef<void(etf::Writer&, const PendingCalls::Call&)> write);

  Seams seams_;
  std::map<raft::ServerId, std::unique_ptr<AppendEntriesSender>> append_senders_;
  std::map<raft::ServerId, std::unique_ptr<SnapshotSender>> snapshot_senders_;
  /// Answers kept back until the disk has caught up with what came.
  std::vector<raft::effect::ReplyInstallSnapshot> held_replies_;
  etf::Writer scratch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
