// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "raft/core/messages.h"
#include "tests/simulation/beam_log.h"

// What happens to a member that behaves as one on a BEAM, and what it wants done. Source:
// ra_server.erl.

namespace rakv::simulation::beam {

/// A command on its way into the log.
struct Command {
  enum class Kind : std::uint8_t { user, noop, join, leave, delete_cluster };
  Kind kind = Kind::user;
  std::string data;  ///< of user: for the machine, encoded
  std::string mode;  ///< encoded
  std::string from;  ///< of a call: the caller, encoded
  raft::ServerId server;
  std::optional<raft::VoterStatus> voter_status;
  bool bare_id = false;  ///< a join by its id alone
};

struct AppendEntriesReply {
  raft::ServerId peer;
  raft::AppendEntriesReply reply;
};
struct PreVoteRpc {
  raft::PreVoteRpc rpc;
  std::string token;
};
struct PreVoteResult {
  raft::PreVoteResult result;
  std::string token;
};
struct HeartbeatReply {
  raft::ServerId peer;
  raft::HeartbeatReply reply;
};
struct InstallSnapshotResult {
  raft::ServerId peer;
  raft::InstallSnapshotResult result;
};
struct ElectionTimeout {};
struct AwaitConditionTimeout {};
struct ReceiveSnapshotTimeout {};
struct LogWritten {
  raft::Term term;
  std::vector<std::uint64_t> indexes;
};
struct SnapshotWritten {
  BeamSnapshot snapshot;
};
struct Commands {
  std::vector<Command> commands;
};
struct ConsistentRead {
  bool is_aux = false;
  std::string request;  ///< encoded
};
struct PipelineRpcs {};
struct SnapshotRetry {
  raft::ServerId peer;
};
struct TransferLeadership {
  raft::ServerId target;
};
struct ForceMemberChange {};
/// What no state knows.
struct Unknown {};

using Body = std::variant<Unknown, raft::AppendEntriesRpc, AppendEntriesReply, raft::RequestVoteRpc,
                          raft::RequestVoteResult, PreVoteRpc, PreVoteResult, raft::HeartbeatRpc,
                          HeartbeatReply, raft::InfoRpc, raft::InfoReply, raft::InstallSnapshotRpc,
                          InstallSnapshotResult, ElectionTimeout, AwaitConditionTimeout,
                          ReceiveSnapshotTimeout, LogWritten, SnapshotWritten, Command, Commands,
                          ConsistentRead, PipelineRpcs, SnapshotRetry, TransferLeadership,
                          ForceMemberChange>;

struct Event {
  Body body;
  std::string from;     ///< of a call: the caller, encoded; else empty
  std::string request;  ///< of a call: as it came
};

// --- what it wants done, in this order

using Message = std::variant<raft::AppendEntriesRpc, raft::AppendEntriesReply, raft::HeartbeatRpc,
                             raft::HeartbeatReply, raft::InfoRpc, raft::InfoReply>;
/// A cast to another member. Replies name their sender.
struct Send {
  raft::ServerId to;
  Message message;
};
/// The cast `election_timeout`.
struct SendElectionTimeout {
  raft::ServerId to;
};
/// To a caller; `term` is encoded.
struct Reply {
  std::string from;
  std::string term;
};
/// To the caller of a command that is applied: in its mode.
struct CommandReply {
  std::string from;
  std::string mode;
  std::string term;
};
struct Notify {
  std::string pid;
  std::string correlation;
  std::string reply;
};
struct RequestVotes {
  raft::ServerId peer;
  std::variant<raft::RequestVoteRpc, PreVoteRpc> rpc;
};
struct NextEvent {
  Event event;
};
struct RecordLeaderMessage {};
struct StartElectionTimeout {};
struct SendSnapshot {
  raft::ServerId peer;
};
struct StartSnapshotRetry {
  raft::ServerId peer;
  std::uint64_t milliseconds = 0;
};
/// Answer the caller by the machine's aux handler, in `{wrap_reply, _}`.
struct RunAux {
  std::string from;
  std::string command;
};
/// A query of the machine's state that the leadership is confirmed for.
struct RunQuery {
  std::string from;
  std::string query;
};
/// Write it beside the log; SnapshotWritten follows.
struct WriteSnapshot {
  BeamSnapshot snapshot;
};

using Effect = std::variant<Send, SendElectionTimeout, Reply, CommandReply, Notify, RequestVotes,
                            NextEvent, RecordLeaderMessage, StartElectionTimeout, SendSnapshot,
                            StartSnapshotRetry, RunAux, RunQuery, WriteSnapshot>;
using Effects = std::vector<Effect>;

}  // namespace rakv::simulation::beam
