// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "raft/core/messages.h"
#include "raft/core/types.h"

// Everything that can happen to a member. The shell turns messages, timers, disk completions and
// client calls into these values and hands them to Core::step one at a time.

namespace rakv::raft::event {

// --- timers
// ---------------------------------------------------------------------------------------------------------

/// The timer of effect::SetElectionTimer fired. Its number tells it from one that was set since,
/// while the event waited for its turn; without a number it is the one that is set.
struct ElectionTimeout {
  std::optional<std::uint64_t> number;
};
/// The timer of effect::SetConditionTimer fired, or what is waited for came and had no room.
struct ConditionTimeout {};
/// The timer of effect::SetReceiveSnapshotTimer fired.
struct ReceiveSnapshotTimeout {};
/// The timer of effect::SetSnapshotRetryTimer fired for this peer.
struct SnapshotRetry {
  ServerId peer;
};
/// Every second (`tick_timeout`), in every state.
struct Tick {};

/// The cluster's deletion is under way and this member has carried it out: its node has no such
/// server any more.
struct PeerDeleted {
  ServerId peer;
};

// --- own log
// --------------------------------------------------------------------------------------------------------

/// All entries up to `up_to` are durable, and the entry at `up_to` has term `term`. Events about
/// entries that were overwritten or truncated since are recognised by their term and ignored.
struct Written {
  Term term;
  Index up_to;
};
/// The log can't be written any more: appends given since the last Written may be lost.
struct LogDown {};
/// The log can be written again, and what was appended before LogDown is being written again by the
/// log itself.
struct LogUp {};
/// The member's own snapshot at this place is durable; entries up to it may be gone from now on.
struct SnapshotTaken {
  Index index;
  Term term;
};

// --- clients
// --------------------------------------------------------------------------------------------------------

enum class CommandKind : std::uint8_t { user, join, leave, delete_cluster };
enum class Priority : std::uint8_t { normal, low };

/// One client command. The shell has validated the mode and the machine command before; for `user`
/// and `delete_cluster` the payload is the whole encoded entry command (Meta included).
struct ClientCommand {
  CallToken token;
  CommandKind kind = CommandKind::user;
  Priority priority = Priority::normal;
  /// Came wrapped in leader_call: redirected or held when not leader. Otherwise effect::NotLeader.
  bool leader_call = true;
  SharedBytes payload;
  /// join, leave: whom.
  ServerId server;
  /// join: nullopt for the bare-id form.
  std::optional<VoterStatus> voter_status;
};
/// Commands in the order of arrival. Give many at once: they become one append.
struct CommandBatch {
  std::vector<ClientCommand> commands;
};
/// Time to append some of the queued low-priority commands; answers effect::ScheduleFlush.
struct FlushLowPriority {};
/// A consistent read ({consistent_query, _} or {consistent_aux, _} in a leader_call).
struct ReadRequest {
  CallToken token;
};
/// Those who made these calls are gone. What is still held for them is dropped (effect::DropCall).
/// Ascending.
struct CallersGone {
  std::vector<CallToken> tokens;
};
/// Any other request in a leader_call (state_query, local_query, ping…): the shell serves it once
/// told so.
struct LeaderRequest {
  CallToken token;
};
/// {transfer_leadership, Target} in a leader_call.
struct TransferLeadershipRequested {
  CallToken token;
  ServerId target;
};
/// The call trigger_election.
struct TriggerElectionRequested {
  CallToken token;
};
/// The cast election_timeout (or try_become_leader): someone wants this member to try an election
/// now.
struct ElectionRequested {};
/// The call force_member_change: make this member the only one.
struct ForceMemberChangeRequested {
  CallToken token;
};

// --- peers
// ----------------------------------------------------------------------------------------------------------
// `from` is the sender as the message itself names it; `call` is answered with a Reply… effect or
// DropCall.

struct AppendEntries {
  AppendEntriesRpc rpc;
};
struct AppendEntriesReplied {
  ServerId from;
  AppendEntriesReply reply;
};
struct VoteRequested {
  CallToken call;
  RequestVoteRpc rpc;
};
/// The answer to effect::CallRequestVote of the same round. Silence and error answers need no
/// event.
struct VoteReplied {
  ServerId from;
  RoundId round;
  RequestVoteResult result;
};
struct PreVoteRequested {
  CallToken call;
  PreVoteRpc rpc;
};
/// The answer to effect::CallPreVote of the same round.
struct PreVoteReplied {
  ServerId from;
  RoundId round;
  PreVoteResult result;
};
struct Heartbeat {
  HeartbeatRpc rpc;
};
struct HeartbeatReplied {
  ServerId from;
  HeartbeatReply reply;
};
struct InfoRequested {
  InfoRpc rpc;
};
struct InfoReplied {
  InfoReply reply;
};
struct InstallSnapshot {
  CallToken call;
  InstallSnapshotRpc rpc;
};
struct InstallSnapshotReplied {
  ServerId from;
  InstallSnapshotResult result;
};

// --- snapshot data plane
// ----------------------------------------------------------------------------------------------

/// effect::CompleteSnapshot is done: file, live entries and machine state are in place and durable.
/// The machine now stands at the snapshot; `ok` false: the data was bad (checksum, undecodable) and
/// everything is as before.
struct SnapshotInstalled {
  Index index;
  bool ok = true;
};
enum class TransferOutcome : std::uint8_t {
  finished,      ///< the sender ended normally (whatever the peer said comes as its own event)
  failed,        ///< timeout, link loss, refusal: back off and retry
  disconnected,  ///< the peer's node is not connected: wait for NodeUp
};
/// The transfer started by effect::SendSnapshot ended.
struct SnapshotTransferEnded {
  ServerId peer;
  RoundId transfer;
  TransferOutcome outcome = TransferOutcome::finished;
};

// --- liveness
// -------------------------------------------------------------------------------------------------------

enum class DownReason : std::uint8_t { noconnection, other };
/// The monitor of effect::MonitorLeader reported this server down; the monitor is gone.
struct LeaderDown {
  ServerId leader;
  DownReason reason = DownReason::other;
};
/// The failure detector's opinion of the node of effect::MonitorLeader changed (or its first
/// opinion).
struct SuspicionChanged {
  std::string node;
  bool up = true;
};
struct NodeUp {
  std::string node;
};
struct NodeDown {
  std::string node;
};
/// The link to this peer is full: a helper is sending, keep quiet until PeerResumed.
struct PeerSuspended {
  ServerId peer;
};
struct PeerResumed {
  ServerId peer;
};

}  // namespace rakv::raft::event

namespace rakv::raft {

using Event = std::variant<
    event::ElectionTimeout, event::ConditionTimeout, event::ReceiveSnapshotTimeout,
    event::SnapshotRetry, event::Tick, event::Written, event::LogDown, event::LogUp,
    event::SnapshotTaken, event::CommandBatch, event::FlushLowPriority, event::ReadRequest,
    event::LeaderRequest, event::CallersGone, event::TransferLeadershipRequested,
    event::TriggerElectionRequested, event::ElectionRequested, event::ForceMemberChangeRequested,
    event::AppendEntries, event::AppendEntriesReplied, event::VoteRequested, event::VoteReplied,
    event::PreVoteRequested, event::PreVoteReplied, event::Heartbeat, event::HeartbeatReplied,
    event::InfoRequested, event::InfoReplied, event::InstallSnapshot, event::InstallSnapshotReplied,
    event::SnapshotInstalled, event::SnapshotTransferEnded, event::LeaderDown, event::PeerDeleted,
    event::SuspicionChanged, event::NodeUp, event::NodeDown, event::PeerSuspended,
    event::PeerResumed>;

}  // namespace rakv::raft
