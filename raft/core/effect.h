// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "raft/core/event.h"
#include "raft/core/messages.h"
#include "raft/core/types.h"

// What the core wants done. The shell carries effects out strictly in order.

namespace rakv::raft::effect {

// --- durable state
// --------------------------------------------------------------------------------------------------

/// Make term and vote durable. Everything after this effect in the list must wait for it, and so
/// must the member's next events: an answer may only leave once the promise it rests on cannot be
/// forgotten.
struct PersistTermVote {
  Term term;
  /// nullopt: no vote in this term.
  std::optional<ServerId> voted_for;
};
/// Append entries (contiguous, at least one). If the first index is not above the log's last,
/// everything from it on is overwritten. They are readable at once, durable later: event::Written.
struct AppendToLog {
  std::vector<Entry> entries;
};
/// Forget all entries above `last`.
struct TruncateLog {
  Index last;
};

// --- machine
// --------------------------------------------------------------------------------------------------------

/// Apply the entries first..last to the machine, in order. `leader`: the member applies as leader,
/// so it answers clients (of entries of older leaders too); otherwise only callers that asked for a
/// reply from this member.
struct Apply {
  Index first;
  Index last;
  bool leader = false;
};

// --- timers
// ---------------------------------------------------------------------------------------------------------

enum class ElectionTimer : std::uint8_t {
  really_short,  ///< 1–100 ms
  in_turn,       ///< a part of short_'s range, by SetElectionTimer::turn
  short_,        ///< 101–600 ms
  medium,        ///< 101–1100 ms
  long_,         ///< 1001–2000 ms
  patient,       ///< 2001–3000 ms: for answers that take long, and for another to win
};
/// Arm the election timer with a random length of this class (election_timer.h). Replaces an armed
/// one.
struct SetElectionTimer {
  ElectionTimer length = ElectionTimer::long_;
  /// For in_turn: how many voters are to go before this member. Turn 0 has 101–200 ms, 1 has
  /// 201–300 ms, and so on to 4, which those after it share. Members with different turns do not
  /// collide, and the first need not wait as long as chance would have it.
  std::uint32_t turn = 0;
  /// For medium and those after it: the range is so many times as wide, from the same shortest
  /// length on.
  std::uint32_t stretch = 1;
  /// To be given back with event::ElectionTimeout.
  std::uint64_t number = 0;
};
struct CancelElectionTimer {};
struct SetConditionTimer {
  std::uint64_t timeout_ms = 0;
};
struct CancelConditionTimer {};
/// Arm the receive_snapshot timer (30 s); replaces an armed one.
struct SetReceiveSnapshotTimer {
  std::uint64_t timeout_ms = 0;
};
struct CancelReceiveSnapshotTimer {};
struct SetSnapshotRetryTimer {
  ServerId peer;
  std::uint64_t timeout_ms = 0;
};
struct CancelSnapshotRetryTimer {
  ServerId peer;
};

// --- clients
// --------------------------------------------------------------------------------------------------------

/// A client's command is in the log (AppendToLog comes before this in the same list).
struct CommandAppended {
  CallToken token;
  Index index;
  Term term;
};
/// Tell the caller to ask this server: {redirect, Leader}.
struct RedirectClient {
  CallToken token;
  ServerId leader;
};
/// No leader is known: the core keeps the request and later redirects or executes it. Nothing to do
/// now.
struct HoldClient {
  CallToken token;
};
/// A command outside a leader_call reached a member that does not lead: reject, forward or drop it
/// by its mode. `leader` is the leader to name, if any.
struct NotLeader {
  event::ClientCommand command;
  std::optional<ServerId> leader;
};
enum class RejectReason : std::uint8_t {
  cluster_change_not_permitted,
  already_member,
  not_member,
  missing_uid,
  wal_down,
  unknown_member,
  non_voter,
  not_up_to_date,
  nodedown,
  snapshot_corrupt,  ///< a transferred snapshot failed its checks; any error value will do
  unsupported_call,  ///< {error, {unsupported_call, Msg}}, Msg being the request
};
/// Answer {error, Reason} to a client's or a peer's call.
struct RejectCall {
  CallToken token;
  RejectReason reason = RejectReason::unsupported_call;
};
/// Answer `ok`.
struct AnswerOk {
  CallToken token;
};
/// Answer `already_leader`.
struct AnswerAlreadyLeader {
  CallToken token;
};
/// This call will never be answered: forget it.
struct DropCall {
  CallToken token;
};
/// The leadership is confirmed and the machine is recent enough: evaluate this read now.
struct ReadReady {
  CallToken token;
};
/// Serve this request of a leader_call now.
struct ServeLeaderRequest {
  CallToken token;
};
/// Give back event::FlushLowPriority after the events that are already waiting.
struct ScheduleFlush {};

// --- messages to peers
// ------------------------------------------------------------------------------------------------
// In order per peer, on one connection; dropped silently when there is none. `Call…` effects
// connect if necessary.

/// Read the entries first..last from the log, encode and send. `last < first`: no entries, and then
/// prev_index is this leader's last index. A long range may be split into several messages, each
/// continuing at the last one's end.
struct SendAppendEntries {
  ServerId to;
  Term term;
  Index prev_index;
  Term prev_term;
  Index first;
  Index last;
  Index commit;
};
struct SendAppendEntriesReply {
  ServerId to;
  AppendEntriesReply reply;
};
struct SendHeartbeat {
  ServerId to;
  QueryIndex query_index;
  Term term;
};
struct SendHeartbeatReply {
  ServerId to;
  HeartbeatReply reply;
};
/// info_rpc for [machine_version].
struct SendInfo {
  ServerId to;
  Term term;
};
struct SendInfoReply {
  ServerId to;
  InfoReply reply;
};
/// A call with a deadline of seconds; the answer comes as event::VoteReplied with the same round.
struct CallRequestVote {
  ServerId to;
  RoundId round;
  RequestVoteRpc rpc;
};
struct CallPreVote {
  ServerId to;
  RoundId round;
  PreVoteRpc rpc;
};
struct ReplyVote {
  CallToken call;
  RequestVoteResult result;
};
struct ReplyPreVote {
  CallToken call;
  PreVoteResult result;
};
/// The cast election_timeout, to the target of a leadership transfer.
struct SendElectionTimeout {
  ServerId to;
};

// --- snapshots
// --------------------------------------------------------------------------------------------------------

/// Start a transfer of the member's snapshot to `to`, outside the member's own loop. Its end is
/// event::SnapshotTransferEnded with this id; the peer's answer is an event of its own.
struct SendSnapshot {
  ServerId to;
  RoundId transfer;
  Term term;
  IndexTerm snapshot;
};
/// Give up this transfer (leadership lost, peer removed). No event needs to follow.
struct StopSnapshotSend {
  ServerId to;
  RoundId transfer;
};
/// A transfer to this member begins: clear the target directory.
struct BeginSnapshot {
  std::shared_ptr<const SnapshotMeta> meta;
};
/// Write live entries at their own indexes, below the snapshot's; gaps are legal.
struct AcceptLiveEntries {
  std::vector<Entry> entries;
};
/// Append a chunk to the snapshot file. Numbers are checked by the core.
struct AcceptChunk {
  std::uint64_t number = 0;
  SharedBytes data;
};
/// All chunks are there: verify, decode, make durable together with the live entries, make it the
/// member's snapshot, replace the machine's state, then event::SnapshotInstalled. What the log has
/// above the snapshot stays if its entry at the snapshot's index has the snapshot's term, else it
/// goes.
struct CompleteSnapshot {
  std::shared_ptr<const SnapshotMeta> meta;
};
/// Drop the partial transfer, live entries that were written included. The log is as it was before.
struct AbortSnapshot {};
struct ReplyInstallSnapshot {
  CallToken call;
  InstallSnapshotResult result;
};
/// Refusal of a snapshot that is not newer than what is applied.
struct ReplyInstallSnapshotWithAppendEntries {
  CallToken call;
  AppendEntriesReply reply;
};

// --- liveness and tables
// ----------------------------------------------------------------------------------------------

/// Monitor this server by name and watch its node with the failure detector, which says its present
/// opinion first.
struct MonitorLeader {
  ServerId leader;
};
/// Undo MonitorLeader.
struct DemonitorLeader {
  ServerId leader;
};
/// For ra_state, overviews and logs.
struct RoleChanged {
  Role from = Role::follower;
  Role to = Role::follower;
};
/// For the leaderboard. nullopt: unknown.
struct LeaderChanged {
  std::optional<ServerId> leader;
};
/// For the leaderboard: Core::cluster() is another one now.
struct ClusterChanged {};

/// The member has everything again that it may have forgotten: it votes from now on, and need not
/// remember that it did not.
struct AmnesiaEnded {};

/// A peer sent what no correct peer sends; the message was ignored. For the log.
struct BadMessage {
  ServerId from;
  std::string what;
};

enum class StopReason : std::uint8_t {
  removed,  ///< the member left the cluster: stop with reason `normal`
  deleted,  ///< the cluster was deleted: stop with {shutdown, delete} and remove all data
};
/// The member's life is over; no event may follow.
struct Stop {
  StopReason reason = StopReason::removed;
  /// Whom a removed leader has asked to take over.
  std::optional<ServerId> successor;
};

}  // namespace rakv::raft::effect

namespace rakv::raft {

using Effect =
    std::variant<effect::PersistTermVote, effect::AppendToLog, effect::TruncateLog, effect::Apply,
                 effect::SetElectionTimer, effect::CancelElectionTimer, effect::SetConditionTimer,
                 effect::CancelConditionTimer, effect::SetReceiveSnapshotTimer,
                 effect::CancelReceiveSnapshotTimer, effect::SetSnapshotRetryTimer,
                 effect::CancelSnapshotRetryTimer, effect::CommandAppended, effect::RedirectClient,
                 effect::HoldClient, effect::NotLeader, effect::RejectCall, effect::AnswerOk,
                 effect::AnswerAlreadyLeader, effect::DropCall, effect::ReadReady,
                 effect::ServeLeaderRequest, effect::ScheduleFlush, effect::SendAppendEntries,
                 effect::SendAppendEntriesReply, effect::SendHeartbeat, effect::SendHeartbeatReply,
                 effect::SendInfo, effect::SendInfoReply, effect::CallRequestVote,
                 effect::CallPreVote, effect::ReplyVote, effect::ReplyPreVote,
                 effect::SendElectionTimeout, effect::SendSnapshot, effect::StopSnapshotSend,
                 effect::BeginSnapshot, effect::AcceptLiveEntries, effect::AcceptChunk,
                 effect::CompleteSnapshot, effect::AbortSnapshot, effect::ReplyInstallSnapshot,
                 effect::ReplyInstallSnapshotWithAppendEntries, effect::MonitorLeader,
                 effect::DemonitorLeader, effect::RoleChanged, effect::LeaderChanged,
                 effect::ClusterChanged, effect::AmnesiaEnded, effect::BadMessage, effect::Stop>;

/// Filled by Core::step after what is already in it; the caller clears and reuses it.
using Effects = std::vector<Effect>;

}  // namespace rakv::raft
