// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cnode/etf/writer.h"
#include "raft/wire/messages.h"
#include "tests/simulation/beam_rules.h"

// ra_server:handle_receive_snapshot/2.

namespace rakv::simulation {

using namespace beam;
using raft::ChunkFlag;
using raft::Index;
using raft::Role;

void BeamRules::on_receive_snapshot(const Event& event) {
  const auto leave = [&](raft::Term newer) {
    abort_receive();
    step_down(newer, false);
    again(event);
  };
  if (const auto* chunk = std::get_if<raft::InstallSnapshotRpc>(&event.body)) {
    if (chunk->term >= term()) receive_chunk(event, *chunk);
  } else if (const auto* entries = std::get_if<raft::AppendEntriesRpc>(&event.body)) {
    if (entries->term > term()) leave(entries->term);
  } else if (std::holds_alternative<LogWritten>(event.body) ||
             std::holds_alternative<SnapshotWritten>(event.body)) {
    handle_log_event(event);
    if (receiving_->deferred && !log_.has_pending()) {
      receiving_->phase = ChunkFlag::next;
      again(*std::exchange(receiving_->deferred, std::nullopt));
    }
  } else if (std::holds_alternative<ReceiveSnapshotTimeout>(event.body)) {
    abort_receive();
    become(Role::follower);
  } else if (const auto* asked = std::get_if<raft::InfoRpc>(&event.body)) {
    if (asked->term > term()) return leave(asked->term);
    send_info_reply(*asked, false);
  } else if (const auto* info = std::get_if<raft::InfoReply>(&event.body)) {
    if (info->term > term()) leave(info->term);
  } else if (const auto* vote = std::get_if<raft::RequestVoteRpc>(&event.body)) {
    if (vote->term > term()) return leave(vote->term);
    reply_vote(event, false);
  } else if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body)) {
    process_pre_vote(event, *call);
  }
}

void BeamRules::receive_chunk(const Event& event, const raft::InstallSnapshotRpc& rpc) {
  etf::Writer result;
  wire::write_install_snapshot_result(result, {term(), rpc.meta->index, rpc.meta->term});
  const bool same = rpc.meta->index == receiving_->place.index;
  if (rpc.flag == ChunkFlag::init) {
    if (same && receiving_->phase == ChunkFlag::init) {
      receiving_->has_live = true;
      return reply(event, result.take());
    }
    abort_receive();
    become(Role::follower);
    return again(event);
  }
  if (rpc.flag == ChunkFlag::last && receiving_->has_live && log_.has_pending()) {
    receiving_->deferred = event;
    return;
  }
  if (!same) throw BeamCrash("assert: a chunk of another snapshot");
  switch (rpc.flag) {
    case ChunkFlag::pre:
      receive_live_entries(rpc);
      break;
    case ChunkFlag::next:
      accept_chunk(rpc);
      break;
    default:
      complete_snapshot(rpc);
      break;
  }
  reply(event, result.take());
}

void BeamRules::receive_live_entries(const raft::InstallSnapshotRpc& rpc) {
  Index previous = log_.last().index;
  for (const raft::Entry& entry : rpc.entries) {
    if (entry.index <= applied_) continue;
    log_.write_sparse(entry, previous);
    previous = entry.index;
  }
  update_term(rpc.term);
  receiving_->phase = ChunkFlag::pre;
}

void BeamRules::accept_chunk(const raft::InstallSnapshotRpc& rpc) {
  if (rpc.chunk_number > receiving_->next_chunk) throw BeamCrash("function_clause: accept_chunk");
  if (rpc.chunk_number == receiving_->next_chunk) {
    receiving_->bytes += rpc.data.view();
    ++receiving_->next_chunk;
  }
  update_term(rpc.term);
  receiving_->phase = ChunkFlag::next;
}

void BeamRules::complete_snapshot(const raft::InstallSnapshotRpc& rpc) {
  if (rpc.chunk_number != receiving_->next_chunk) throw BeamCrash("function_clause: last chunk");
  const BeamSnapshot snapshot =
      from_snapshot_file(receiving_->bytes + std::string(rpc.data.view()));
  if (!machine_.read_state(snapshot.state)) throw BeamCrash("the snapshot's state");
  log_.install_snapshot(snapshot);
  receiving_.reset();
  commit_ = applied_ = rpc.meta->index;
  cluster_ = make_cluster(rpc.meta->cluster);
  cluster_at_ = {rpc.meta->index, rpc.meta->term};
  membership_ = membership_in(rpc.meta->cluster);
  append_self();
  update_term(rpc.term);
  become(Role::follower);
}

void BeamRules::abort_receive() {
  const bool has_live = receiving_->has_live;
  receiving_.reset();
  if (has_live) log_.set_last_index(applied_);
  leader_.reset();
}

}  // namespace rakv::simulation
