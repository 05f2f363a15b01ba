// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/check.h"
#include "cnode/etf/version.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"

namespace rakv::wire {

void write_reply_sender(etf::Writer& writer, const raft::ServerId& self) {
  writer.tuple(2);
  write_server_id(writer, self);
}

void write_entry(etf::Writer& writer, raft::Index index, raft::Term term,
                 const SharedBytes& payload, Share share) {
  RAKV_CHECK_MSG(!payload.empty(), "an entry is sent without its payload");
  writer.tuple(3).u64(index.value()).u64(term.value());
  share(payload, etf::without_version(payload.view()));
}

void write_append_entries_head(etf::Writer& writer, const AppendEntriesHead& head) {
  writer.tuple(7).atom("append_entries_rpc").u64(head.term.value());
  write_server_id(writer, head.leader);
  writer.u64(head.leader_commit.value())
      .u64(head.prev_index.value())
      .u64(head.prev_term.value())
      .list(head.entry_count);
}

void write_append_entries_rpc(etf::Writer& writer, const raft::AppendEntriesRpc& rpc, Share share) {
  write_append_entries_head(writer, {rpc.term, rpc.leader, rpc.leader_commit, rpc.prev_index,
                                     rpc.prev_term, rpc.entries.size()});
  for (const raft::Entry& entry : rpc.entries) {
    write_entry(writer, entry.index, entry.term, entry.payload, share);
  }
  writer.nil();
}

void write_append_entries_reply(etf::Writer& writer, const raft::AppendEntriesReply& reply) {
  writer.tuple(6)
      .atom("append_entries_reply")
      .u64(reply.term.value())
      .boolean(reply.success)
      .u64(reply.next_index.value())
      .u64(reply.last_index.value())
      .u64(reply.last_term.value());
}

void write_request_vote_rpc(etf::Writer& writer, const raft::RequestVoteRpc& rpc) {
  writer.tuple(5).atom("request_vote_rpc").u64(rpc.term.value());
  write_server_id(writer, rpc.candidate);
  writer.u64(rpc.last_log_index.value()).u64(rpc.last_log_term.value());
}

void write_request_vote_result(etf::Writer& writer, const raft::RequestVoteResult& result) {
  writer.tuple(3).atom("request_vote_result").u64(result.term.value()).boolean(result.granted);
}

void write_pre_vote_rpc(etf::Writer& writer, const raft::PreVoteRpc& rpc, std::string_view token) {
  writer.tuple(8)
      .atom("pre_vote_rpc")
      .u64(rpc.protocol_version)
      .u64(rpc.machine_version)
      .u64(rpc.term.value())
      .raw(token);
  write_server_id(writer, rpc.candidate);
  writer.u64(rpc.last_log_index.value()).u64(rpc.last_log_term.value());
}

void write_pre_vote_result(etf::Writer& writer, const raft::PreVoteResult& result,
                           std::string_view token) {
  writer.tuple(4)
      .atom("pre_vote_result")
      .u64(result.term.value())
      .raw(token)
      .boolean(result.granted);
}

void write_heartbeat_rpc(etf::Writer& writer, const raft::HeartbeatRpc& rpc) {
  writer.tuple(4).atom("heartbeat_rpc").u64(rpc.query_index.value()).u64(rpc.term.value());
  write_server_id(writer, rpc.leader);
}

void write_heartbeat_reply(etf::Writer& writer, const raft::HeartbeatReply& reply) {
  writer.tuple(3).atom("heartbeat_reply").u64(reply.query_index.value()).u64(reply.term.value());
}

namespace {

void write_keys(etf::Writer& writer, const std::vector<std::string>& keys) {
  writer.list(keys.size());
  for (const std::string& key : keys) writer.atom(key);
  writer.nil();
}

}  // namespace

void write_info_rpc(etf::Writer& writer, const raft::InfoRpc& rpc) {
  writer.tuple(4).atom("info_rpc");
  write_server_id(writer, rpc.from);
  writer.u64(rpc.term.value());
  write_keys(writer, rpc.keys);
}

void write_info_reply(etf::Writer& writer, const raft::InfoReply& reply) {
  writer.tuple(5).atom("info_reply");
  write_server_id(writer, reply.from);
  writer.u64(reply.term.value());
  write_keys(writer, reply.keys);
  writer.map(reply.machine_version ? 1 : 0);
  if (reply.machine_version) writer.atom("machine_version").u64(*reply.machine_version);
}

void write_install_snapshot_head(etf::Writer& writer, const InstallSnapshotHead& head) {
  writer.tuple(6).atom("install_snapshot_rpc").u64(head.term.value());
  write_server_id(writer, head.leader);
  writer.raw(head.meta).tuple(2).u64(head.chunk_number).atom(to_string(head.flag));
}

void write_install_snapshot_rpc(etf::Writer& writer, const raft::InstallSnapshotRpc& rpc,
                                Share share) {
  RAKV_CHECK(rpc.meta != nullptr);
  etf::Writer meta;
  write_snapshot_meta(meta, *rpc.meta);
  write_install_snapshot_head(writer,
                              {rpc.term, rpc.leader, meta.view(), rpc.chunk_number, rpc.flag});
  switch (rpc.flag) {
    case raft::ChunkFlag::init:
      writer.atom("undefined");
      break;
    case raft::ChunkFlag::pre:
      writer.list(rpc.entries.size());
      for (const raft::Entry& entry : rpc.entries) {
        write_entry(writer, entry.index, entry.term, entry.payload, share);
      }
      writer.nil();
      break;
    case raft::ChunkFlag::next:
    case raft::ChunkFlag::last:
      writer.binary_header(rpc.data.size());
      share(rpc.data, rpc.data.view());
      break;
  }
}

void write_install_snapshot_result(etf::Writer& writer, const raft::InstallSnapshotResult& result) {
  writer.tuple(4)
      .atom("install_snapshot_result")
      .u64(result.term.value())
      .u64(result.last_index.value())
      .u64(result.last_term.value());
}

void write_election_timeout(etf::Writer& writer) { writer.atom("election_timeout"); }

}  // namespace rakv::wire
