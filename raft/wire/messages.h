// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "cnode/base/function_ref.h"
#include "cnode/base/result.h"
#include "cnode/base/shared_bytes.h"
#include "cnode/etf/writer.h"
#include "raft/core/event.h"
#include "raft/core/messages.h"

// The records that members of a cluster send one another (ra.hrl; docs/protocol/wire.md 2 and 3),
// to and from the core's values. Terms are without version byte; requests and replies are without
// the envelope of gen ($gen_cast, $gen_call, the reply's tag).
//
// Decoders: an error is ErrorCode::malformed and names record, field and byte; the message is to be
// logged and dropped, as if it had been lost. nullopt means: not a message between members, ask
// elsewhere.

namespace rakv::wire {

// --- what members receive ---

/// A peer's cast: append_entries_rpc, heartbeat_rpc, info_rpc, info_reply, election_timeout,
/// try_become_leader, or `{SrvId, Reply}` with append_entries_reply, heartbeat_reply or
/// install_snapshot_result. The bytes of each entry are copied once, into its payload.
Result<std::optional<raft::Event>> decode_peer_cast(std::string_view request);

/// A pre-vote with its Token, encoded, which the reply must echo. The view points into the request.
struct PreVoteCall {
  raft::PreVoteRpc rpc;
  std::string_view token;
};
using PeerCall = std::variant<raft::RequestVoteRpc, PreVoteCall, raft::InstallSnapshotRpc>;
/// A peer's call: request_vote_rpc, pre_vote_rpc, install_snapshot_rpc.
Result<std::optional<PeerCall>> decode_peer_call(std::string_view request);

struct PreVoteAnswer {
  raft::PreVoteResult result;
  std::string_view token;
};
using PeerReply = std::variant<raft::RequestVoteResult, PreVoteAnswer, raft::InstallSnapshotResult,
                               raft::AppendEntriesReply>;
/// The reply to a call of ours. append_entries_reply refuses a snapshot that is not newer. nullopt
/// for everything else, `{error, _}` among it: no vote, transfer failed.
Result<std::optional<PeerReply>> decode_peer_reply(std::string_view reply);

// --- what members send ---

/// Puts `part`, a range of `owner`, at the end of the message without copying it
/// (distribution::OutMessage::share).
using Share = FunctionRef<void(const SharedBytes& owner, std::string_view part)>;

/// `{Self, ` : what comes in front of a reply that is sent as a cast; the bare record must follow.
void write_reply_sender(etf::Writer& writer, const raft::ServerId& self);

/// One element of a list of entries: `{Idx, Term, Cmd}`. `payload` has its version byte; the bytes
/// after it are shared.
void write_entry(etf::Writer& writer, raft::Index index, raft::Term term,
                 const SharedBytes& payload, Share share);

/// Everything of an append_entries_rpc but its entries.
struct AppendEntriesHead {
  raft::Term term;
  raft::ServerId leader;
  raft::Index leader_commit;
  raft::Index prev_index;
  raft::Term prev_term;
  std::size_t entry_count = 0;
};
/// Up to the list's header: entry_count times write_entry() and then writer.nil() must follow.
void write_append_entries_head(etf::Writer& writer, const AppendEntriesHead& head);
/// The whole record at once.
void write_append_entries_rpc(etf::Writer& writer, const raft::AppendEntriesRpc& rpc, Share share);
void write_append_entries_reply(etf::Writer& writer, const raft::AppendEntriesReply& reply);

void write_request_vote_rpc(etf::Writer& writer, const raft::RequestVoteRpc& rpc);
void write_request_vote_result(etf::Writer& writer, const raft::RequestVoteResult& result);

/// `token` is an encoded reference.
void write_pre_vote_rpc(etf::Writer& writer, const raft::PreVoteRpc& rpc, std::string_view token);
void write_pre_vote_result(etf::Writer& writer, const raft::PreVoteResult& result,
                           std::string_view token);

void write_heartbeat_rpc(etf::Writer& writer, const raft::HeartbeatRpc& rpc);
void write_heartbeat_reply(etf::Writer& writer, const raft::HeartbeatReply& reply);

void write_info_rpc(etf::Writer& writer, const raft::InfoRpc& rpc);
void write_info_reply(etf::Writer& writer, const raft::InfoReply& reply);

/// Everything of an install_snapshot_rpc but its Data, which must follow: `undefined` for init; a
/// list of entries for pre; a binary for next and last. `meta` is the encoded meta map, as in the
/// snapshot's file.
struct InstallSnapshotHead {
  raft::Term term;
  raft::ServerId leader;
  std::string_view meta;
  std::uint64_t chunk_number = 0;
  raft::ChunkFlag flag = raft::ChunkFlag::next;
};
void write_install_snapshot_head(etf::Writer& writer, const InstallSnapshotHead& head);
/// The whole record at once.
void write_install_snapshot_rpc(etf::Writer& writer, const raft::InstallSnapshotRpc& rpc,
                                Share share);
void write_install_snapshot_result(etf::Writer& writer, const raft::InstallSnapshotResult& result);

/// The cast `election_timeout`, to the target of a leadership transfer.
void write_election_timeout(etf::Writer& writer);

}  // namespace rakv::wire
