// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "cnode/etf/map_pairs.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"
#include "raft/wire/record_reader.h"

namespace rakv::wire {

namespace {

/// The tag and arity of a record; the cursor stands after the tag.
struct Tag {
  std::string_view name;
  std::uint32_t arity = 0;
};

/// nullopt for what is not a tuple with an atom in front.
std::optional<Tag> read_tag(etf::Cursor& cursor) {
  if (cursor.kind() != etf::TermKind::tuple) return std::nullopt;
  Tag tag;
  tag.arity = cursor.tuple().value_or(0);
  if (tag.arity == 0 || cursor.kind() != etf::TermKind::atom) return std::nullopt;
  tag.name = cursor.atom().value_or(std::string_view{});
  return tag;
}

raft::AppendEntriesRpc read_append_entries_rpc(RecordReader& fields) {
  raft::AppendEntriesRpc rpc;
  rpc.term = fields.term("Term");
  rpc.leader = fields.server_id("LeaderId");
  rpc.leader_commit = fields.index("LeaderCommit");
  rpc.prev_index = fields.index("PrevLogIndex");
  rpc.prev_term = fields.term("PrevLogTerm");
  rpc.entries = fields.entries("Entries", rpc.prev_index + 1);
  return rpc;
}

raft::AppendEntriesReply read_append_entries_reply(RecordReader& fields) {
  raft::AppendEntriesReply reply;
  reply.term = fields.term("Term");
  reply.success = fields.boolean("Success");
  reply.next_index = fields.index("NextIndex");
  reply.last_index = fields.index("LastIndex");
  reply.last_term = fields.term("LastTerm");
  return reply;
}

raft::RequestVoteRpc read_request_vote_rpc(RecordReader& fields) {
  raft::RequestVoteRpc rpc;
  rpc.term = fields.term("Term");
  rpc.candidate = fields.server_id("CandidateId");
  rpc.last_log_index = fields.index("LastLogIndex");
  rpc.last_log_term = fields.term("LastLogTerm");
  return rpc;
}

raft::RequestVoteResult read_request_vote_result(RecordReader& fields) {
  raft::RequestVoteResult result;
  result.term = fields.term("Term");
  result.granted = fields.boolean("VoteGranted");
  return result;
}

PreVoteCall read_pre_vote_rpc(RecordReader& fields) {
  PreVoteCall call;
  call.rpc.protocol_version = fields.number("Version");
  call.rpc.machine_version = fields.number("MachineVersion");
  call.rpc.term = fields.term("Term");
  call.token = fields.any("Token");
  call.rpc.candidate = fields.server_id("CandidateId");
  call.rpc.last_log_index = fields.index("LastLogIndex");
  call.rpc.last_log_term = fields.term("LastLogTerm");
  return call;
}

PreVoteAnswer read_pre_vote_result(RecordReader& fields) {
  PreVoteAnswer answer;
  answer.result.term = fields.term("Term");
  answer.token = fields.any("Token");
  answer.result.granted = fields.boolean("VoteGranted");
  return answer;
}

raft::HeartbeatRpc read_heartbeat_rpc(RecordReader& fields) {
  raft::HeartbeatRpc rpc;
  rpc.query_index = raft::QueryIndex(fields.number("QueryIndex"));
  rpc.term = fields.term("Term");
  rpc.leader = fields.server_id("LeaderId");
  return rpc;
}

raft::HeartbeatReply read_heartbeat_reply(RecordReader& fields) {
  raft::HeartbeatReply reply;
  reply.query_index = raft::QueryIndex(fields.number("QueryIndex"));
  reply.term = fields.term("Term");
  return reply;
}

raft::InfoRpc read_info_rpc(RecordReader& fields) {
  raft::InfoRpc rpc;
  rpc.from = fields.server_id("From");
  rpc.term = fields.term("Term");
  rpc.keys = fields.atoms("Keys");
  return rpc;
}

raft::InfoReply read_info_reply(RecordReader& fields) {
  raft::InfoReply reply;
  reply.from = fields.server_id("From");
  reply.term = fields.term("Term");
  reply.keys = fields.atoms("Keys");
  const bool read =
      fields.ok() &&
      etf::for_each_atom_pair(fields.cursor(), [&](std::string_view key, std::string_view value) {
        if (key == "machine_version") reply.machine_version = etf::Cursor(value).u64();
      });
  if (!read) fields.fail("Info", "a map");
  return reply;
}

raft::ChunkFlag read_chunk_flag(RecordReader& fields) {
  for (const raft::ChunkFlag flag : {raft::ChunkFlag::init, raft::ChunkFlag::pre,
                                     raft::ChunkFlag::next, raft::ChunkFlag::last}) {
    if (fields.cursor().is_atom(to_string(flag))) return flag;
  }
  fields.fail("ChunkState", "one of init, pre, next and last");
  return raft::ChunkFlag::next;
}

raft::InstallSnapshotRpc read_install_snapshot_rpc(RecordReader& fields) {
  raft::InstallSnapshotRpc rpc;
  rpc.term = fields.term("Term");
  rpc.leader = fields.server_id("LeaderId");
  if (auto meta = read_snapshot_meta(fields.cursor())) {
    rpc.meta = std::make_shared<const raft::SnapshotMeta>(std::move(*meta));
  } else {
    fields.fail("Meta", "a map with index, term, cluster and machine_version");
  }
  if (!fields.cursor().tuple(2)) fields.fail("ChunkState", "{Number, Flag}");
  rpc.chunk_number = fields.number("ChunkState");
  rpc.flag = read_chunk_flag(fields);
  switch (rpc.flag) {
    case raft::ChunkFlag::init:
      fields.any("Data");
      break;
    case raft::ChunkFlag::pre:
      rpc.entries = fields.entries("Data", std::nullopt);
      break;
    case raft::ChunkFlag::next:
    case raft::ChunkFlag::last:
      if (const auto data = fields.cursor().binary()) {
        rpc.data = SharedBytes::copy_of(*data);
      } else {
        fields.fail("Data", "a binary");
      }
      break;
  }
  return rpc;
}

raft::InstallSnapshotResult read_install_snapshot_result(RecordReader& fields) {
  raft::InstallSnapshotResult result;
  result.term = fields.term("Term");
  result.last_index = fields.index("LastIndex");
  result.last_term = fields.term("LastTerm");
  return result;
}

/// How one record is read: `read` gets the fields after the tag and gives a T.
template <class T>
struct Record {
  std::string_view tag;
  T (*read)(RecordReader& fields);
};

/// Reads the record whose tag the cursor has just passed, if it is one of `records`. Whatever its
/// arity: a field too few or too many is an error that says so.
template <class T, std::size_t kCount>
Result<std::optional<T>> read_record(etf::Cursor& cursor, const Tag& tag,
                                     const std::array<Record<T>, kCount>& records) {
  const auto record = std::find_if(records.begin(), records.end(),
                                   [&](const auto& known) { return known.tag == tag.name; });
  if (record == records.end()) return std::optional<T>{};
  RecordReader fields(cursor, record->tag);
  T value = record->read(fields);
  if (!fields.finished()) return fields.error();
  return std::optional<T>(std::move(value));
}

/// Adapters: a reader of a record as a reader of what a decoder gives.
template <class Event, auto kRead>
raft::Event as_event(RecordReader& fields) {
  return Event{kRead(fields)};
}
template <class T, auto kRead>
T as(RecordReader& fields) {
  return kRead(fields);
}

constexpr std::array<Record<raft::Event>, 4> kCasts{{
    {"append_entries_rpc", as_event<raft::event::AppendEntries, read_append_entries_rpc>},
    {"heartbeat_rpc", as_event<raft::event::Heartbeat, read_heartbeat_rpc>},
    {"info_rpc", as_event<raft::event::InfoRequested, read_info_rpc>},
    {"info_reply", as_event<raft::event::InfoReplied, read_info_reply>},
}};

/// A reply that came as a cast: its sender is filled in later.
template <class Event, auto kRead>
raft::Event as_replied(RecordReader& fields) {
  return Event{raft::ServerId{}, kRead(fields)};
}
constexpr std::array<Record<raft::Event>, 3> kReplyCasts{{
    {"append_entries_reply",
     as_replied<raft::event::AppendEntriesReplied, read_append_entries_reply>},
    {"heartbeat_reply", as_replied<raft::event::HeartbeatReplied, read_heartbeat_reply>},
    {"install_snapshot_result",
     as_replied<raft::event::InstallSnapshotReplied, read_install_snapshot_result>},
}};

constexpr std::array<Record<PeerCall>, 3> kCalls{{
    {"request_vote_rpc", as<PeerCall, read_request_vote_rpc>},
    {"pre_vote_rpc", as<PeerCall, read_pre_vote_rpc>},
    {"install_snapshot_rpc", as<PeerCall, read_install_snapshot_rpc>},
}};

constexpr std::array<Record<PeerReply>, 4> kReplies{{
    {"request_vote_result", as<PeerReply, read_request_vote_result>},
    {"pre_vote_result", as<PeerReply, read_pre_vote_result>},
    {"install_snapshot_result", as<PeerReply, read_install_snapshot_result>},
    {"append_entries_reply", as<PeerReply, read_append_entries_reply>},
}};

void set_sender(raft::Event& event, const raft::ServerId& from) {
  std::visit(
      [&](auto& kind) {
        if constexpr (
            requires {
              kind.from = from;
              kind.reply;
            } ||
            requires {
              kind.from = from;
              kind.result;
            }) {
          kind.from = from;
        }
      },
      event);
}

/// `{SrvId, Reply}`; nullopt when it is some other pair. The cursor stands at SrvId.
Result<std::optional<raft::Event>> read_reply_cast(etf::Cursor& cursor) {
  const std::optional<raft::ServerId> from = read_server_id(cursor);
  if (!from) return std::optional<raft::Event>{};
  const std::optional<Tag> tag = read_tag(cursor);
  if (!tag) return std::optional<raft::Event>{};
  Result<std::optional<raft::Event>> event = read_record(cursor, *tag, kReplyCasts);
  if (event && *event) set_sender(**event, *from);
  return event;
}

template <class T, std::size_t kCount>
Result<std::optional<T>> decode(std::string_view term,
                                const std::array<Record<T>, kCount>& records) {
  etf::Cursor cursor(term, etf::kAnyDepth);
  const std::optional<Tag> tag = read_tag(cursor);
  if (!tag) return std::optional<T>{};
  return read_record(cursor, *tag, records);
}

}  // namespace

Result<std::optional<raft::Event>> decode_peer_cast(std::string_view request) {
  etf::Cursor cursor(request, etf::kAnyDepth);
  if (cursor.is_atom("election_timeout") || cursor.is_atom("try_become_leader")) {
    if (!cursor.at_end()) return std::optional<raft::Event>{};
    return std::optional<raft::Event>(raft::event::ElectionRequested{});
  }
  etf::Cursor pair = cursor;
  if (pair.kind() == etf::TermKind::tuple && pair.tuple() == 2U &&
      pair.kind() == etf::TermKind::tuple) {
    return read_reply_cast(pair);
  }
  return decode(request, kCasts);
}

Result<std::optional<PeerCall>> decode_peer_call(std::string_view request) {
  return decode(request, kCalls);
}

Result<std::optional<PeerReply>> decode_peer_reply(std::string_view reply) {
  return decode(reply, kReplies);
}

}  // namespace rakv::wire
