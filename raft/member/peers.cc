// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <algorithm>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "raft/member/member.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"

// Messages between members (docs/protocol/wire.md 2 and 3). The core decides, here they are
// encoded and sent, received and decoded.

namespace rakv::member {
namespace {

/// Votes that take longer are worth nothing. ra waits 1 s (ra_server_proc: send_vote_requests),
/// which is not enough where links and disks take long together.
constexpr std::chrono::seconds kVoteTimeout{5};
/// Live entries that wait for the disk while a snapshot comes in. Beyond it the leader waits for
/// its answers.
std::uint64_t incoming_bytes_max(const raftlog::LogSystem& log_system) {
  constexpr std::uint64_t kMost = 64 << 20;
  return std::min(kMost, log_system.memory_budget().waiting_bytes() / 2);
}

}  // namespace

// --- casts
// ---------------------------------------------------------------------------------------------------------

void Member::cast_to(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write) {
  counters_->add(Counter::msgs_sent);
  const node::Delivery delivery =
      services_.node.cast(pid_, to.node(), to.name(), [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        write(writer);
      });
  if (delivery != node::Delivery::queued) counters_->add(Counter::dropped_sends);
}

void Member::carry_out(raft::effect::SendAppendEntries& effect) {
  std::unique_ptr<AppendEntriesSender>& sender = append_entries_senders_[effect.to];
  if (!sender) sender = std::make_unique<AppendEntriesSender>(peer_context_, effect.to);
  sender->add(std::move(effect));
}

void Member::carry_out(raft::effect::SendAppendEntriesReply& effect) {
  counters_->add(effect.reply.success ? Counter::aer_replies_success : Counter::aer_replies_fail);
  cast_to(effect.to, [&](etf::Writer& writer) {
    wire::write_reply_sender(writer, id_);
    wire::write_append_entries_reply(writer, effect.reply);
  });
}

void Member::carry_out(raft::effect::SendHeartbeat& effect) {
  counters_->add(Counter::rpcs_sent);
  cast_to(effect.to, [&](etf::Writer& writer) {
    wire::write_heartbeat_rpc(writer, {effect.query_index, effect.term, id_});
  });
}

void Member::carry_out(raft::effect::SendHeartbeatReply& effect) {
  cast_to(effect.to, [&](etf::Writer& writer) {
    wire::write_reply_sender(writer, id_);
    wire::write_heartbeat_reply(writer, effect.reply);
  });
}

void Member::carry_out(raft::effect::SendInfo& effect) {
  counters_->add(Counter::rpcs_sent);
  cast_to(effect.to, [&](etf::Writer& writer) {
    wire::write_info_rpc(writer, {id_, effect.term, {"machine_version"}});
  });
}

void Member::carry_out(raft::effect::SendInfoReply& effect) {
  cast_to(effect.to, [&](etf::Writer& writer) { wire::write_info_reply(writer, effect.reply); });
}

void Member::carry_out(raft::effect::SendElectionTimeout& effect) {
  cast_to(effect.to, [](etf::Writer& writer) { wire::write_election_timeout(writer); });
}

// --- votes
// ---------------------------------------------------------------------------------------------------------

void Member::call_peer(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write,
                       std::function<void(const wire::PeerReply&)> then) {
  counters_->add(Counter::rpcs_sent);
  services_.node.call(
      to.node(), to.name(),
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        write(writer);
      },
      kVoteTimeout,
      [then = std::move(then), alive = alive_](const node::CallResult& result) {
        // Silence, a link that is down, an error: no vote.
        if (!*alive || result.status != node::CallResult::Status::reply) return;
        const Result<std::optional<wire::PeerReply>> reply = wire::decode_peer_reply(result.term);
        if (reply && *reply) then(**reply);
      });
}

void Member::carry_out(raft::effect::CallRequestVote& effect) {
  call_peer(
      effect.to, [&](etf::Writer& writer) { wire::write_request_vote_rpc(writer, effect.rpc); },
      [this, from = effect.to, round = effect.round](const wire::PeerReply& reply) {
        if (const auto* result = std::get_if<raft::RequestVoteResult>(&reply))
          step(raft::event::VoteReplied{from, round, *result});
      });
}

void Member::carry_out(raft::effect::CallPreVote& effect) {
  const std::string token = etf::Writer().reference(services_.node.make_reference()).take();
  call_peer(
      effect.to, [&](etf::Writer& writer) { wire::write_pre_vote_rpc(writer, effect.rpc, token); },
      [this, from = effect.to, round = effect.round, token](const wire::PeerReply& reply) {
        const auto* answer = std::get_if<wire::PreVoteAnswer>(&reply);
        if (answer != nullptr && answer->token == token)
          step(raft::event::PreVoteReplied{from, round, answer->result});
      });
}

void Member::carry_out(raft::effect::ReplyVote& effect) {
  answer_peer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call&) {
    wire::write_request_vote_result(writer, effect.result);
  });
}

void Member::carry_out(raft::effect::ReplyPreVote& effect) {
  answer_peer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call& call) {
    // It was decoded when it came: the token is in it.
    const auto request = wire::decode_peer_call(call.request);
    RAKV_CHECK(request && *request);
    wire::write_pre_vote_result(writer, effect.result,
                                std::get<wire::PreVoteCall>(**request).token);
  });
}

void Member::answer_peer(raft::CallToken token,
                         FunctionRef<void(etf::Writer&, const PendingCalls::Call&)> write) {
  const PendingCalls::Call* call = pending_.find(token);
  if (call == nullptr) return;
  reply_.clear();
  write(reply_, *call);
  answer(call->from, reply_.view());
  pending_.remove(token);
}

// --- what peers send
// ---------------------------------------------------------------------------------------------------------

bool Member::handle_peer_call(std::string_view from, std::string_view request) {
  Result<std::optional<wire::PeerCall>> call = wire::decode_peer_call(request);
  if (!call) {
    spdlog::warn("{}: a malformed call: {}", log_id_, call.error().message);
    return false;  // an unknown request, as to ra
  }
  if (!*call) return false;
  if (!voters_.takes_part()) return true;  // as if it were not here
  ByteCharge charge;
  if (!may_step_for_peer(request.size(), charge)) return true;
  if (auto* vote = std::get_if<raft::RequestVoteRpc>(&**call)) {
    step(raft::event::VoteRequested{pending_.add(from, request), *vote}, std::move(charge));
  } else if (auto* pre_vote = std::get_if<wire::PreVoteCall>(&**call)) {
    step(raft::event::PreVoteRequested{pending_.add(from, request), pre_vote->rpc},
         std::move(charge));
  } else {
    // Chunks are large; an error answer names the record only.
    const std::string name = etf::Writer().atom("install_snapshot_rpc").take();
    step(raft::event::InstallSnapshot{pending_.add(from, name),
                                      std::move(std::get<raft::InstallSnapshotRpc>(**call))},
         std::move(charge));
  }
  return true;
}

bool Member::handle_peer_cast(std::string_view request) {
  Result<std::optional<raft::Event>> event = wire::decode_peer_cast(request);
  if (!event) {
    spdlog::warn("{}: ignored a malformed message: {}", log_id_, event.error().message);
    return true;
  }
  if (!*event) return false;
  if (!voters_.takes_part()) return true;
  if (const auto* append = std::get_if<raft::event::AppendEntries>(&**event)) {
    counters_->add(append->rpc.entries.empty() ? Counter::aer_received_follower_empty
                                               : Counter::aer_received_follower);
    // More than may wait for the disk: as if lost on the way. The leader sends it again when the
    // next message shows the gap.
    if (!append->rpc.entries.empty() && overloaded()) return true;
  }
  ByteCharge charge;
  if (!may_step_for_peer(request.size(), charge)) return true;
  step(std::move(**event), std::move(charge));
  return true;
}

// --- snapshots, sending
// ---------------------------------------------------------------------------------------------------------

void Member::carry_out(raft::effect::SendSnapshot& effect) {
  const raft::ServerId to = effect.to;
  snapshot_senders_[to] = std::make_unique<SnapshotSender>(peer_context_, std::move(effect));
  snapshot_senders_[to]->start();
}

void Member::carry_out(raft::effect::StopSnapshotSend& effect) {
  const auto sender = snapshot_senders_.find(effect.to);
  if (sender == snapshot_senders_.end() || sender->second->transfer() != effect.transfer) return;
  spdlog::info("{}: snapshot transfer to {} is given up", log_id_, to_string(effect.to));
  snapshot_senders_.erase(sender);
}

void Member::carry_out(raft::effect::SetSnapshotRetryTimer& effect) {
  auto& timer = snapshot_retry_timers_[effect.peer];
  if (!timer) timer = std::make_unique<boost::asio::steady_timer>(services_.io);
  arm(*timer, effect.timeout_ms, raft::event::SnapshotRetry{effect.peer});
}

void Member::carry_out(raft::effect::CancelSnapshotRetryTimer& effect) {
  snapshot_retry_timers_.erase(effect.peer);
}

// --- snapshots, receiving
// ---------------------------------------------------------------------------------------------------------

void Member::carry_out(raft::effect::BeginSnapshot& effect) {
  spdlog::info("{}: receiving snapshot at index {} term {}", log_id_, effect.meta->index.value(),
               effect.meta->term.value());
  snapshot_receiver_.begin();
}

void Member::carry_out(raft::effect::AcceptLiveEntries& effect) {
  snapshot_receiver_.accept_entries(std::move(effect.entries));
}

void Member::carry_out(raft::effect::AcceptChunk& effect) {
  snapshot_receiver_.accept_chunk(effect.data.view());
}

void Member::carry_out(raft::effect::CompleteSnapshot& effect) {
  snapshot_receiver_.complete(*effect.meta, [this, meta = effect.meta, alive = alive_](
                                                Result<std::unique_ptr<Machine>> installed) {
    if (!*alive) return;
    if (!installed) {
      spdlog::error("{}: snapshot at index {} can't be installed: {}", log_id_, meta->index.value(),
                    installed.error().message);
      return step(raft::event::SnapshotInstalled{meta->index, false});
    }
    own_snapshot_.reset();
    machine_ = std::move(*installed);
    applied_ = meta->index;
    counters_->add(Counter::snapshot_installed);
    const raftlog::Snapshot& snapshot = *log_.snapshot();
    snapshot_size_bytes_ = snapshot_file_bytes(snapshot.meta, snapshot.state.size());
    spdlog::info("{}: installed snapshot at index {} term {}, {} live entries", log_id_,
                 snapshot.meta.index, snapshot.meta.term, snapshot.live_indexes.size());
    log_.release_snapshot_state();
    step(raft::event::SnapshotInstalled{meta->index, true});
    check_conditional_queries();
  });
}

void Member::carry_out(raft::effect::AbortSnapshot&) {
  spdlog::warn("{}: the snapshot that was coming in is dropped", log_id_);
  snapshot_receiver_.begin();
}

void Member::carry_out(raft::effect::ReplyInstallSnapshot& effect) {
  if (core_.role() == raft::Role::receive_snapshot &&
      services_.log_system.queued_bytes() > incoming_bytes_max(services_.log_system)) {
    held_snapshot_replies_.push_back(effect);
    return;
  }
  answer_peer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call&) {
    wire::write_install_snapshot_result(writer, effect.result);
  });
}

void Member::send_held_snapshot_replies() {
  const raftlog::LogSystem& log_system = services_.log_system;
  if (held_snapshot_replies_.empty() ||
      log_system.queued_bytes() > incoming_bytes_max(log_system) / 2)
    return;
  std::vector<raft::effect::ReplyInstallSnapshot> held;
  held.swap(held_snapshot_replies_);
  for (raft::effect::ReplyInstallSnapshot& reply : held) carry_out(reply);
}

void Member::carry_out(raft::effect::ReplyInstallSnapshotWithAppendEntries& effect) {
  answer_peer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call&) {
    wire::write_append_entries_reply(writer, effect.reply);
  });
}

// --- connections
// ---------------------------------------------------------------------------------------------------------

void Member::on_node_up(const std::string& node) {
  voters_.node_up(node);
  if (!blocked() || concerns_members(node)) step(raft::event::NodeUp{node});
  pump_senders(node);
}

void Member::on_node_down(const std::string& node) {
  forget_callers_of(node);
  if (!blocked() || concerns_members(node)) step(raft::event::NodeDown{node});
  pump_senders(node);
}

void Member::on_node_writable(const std::string& node) { pump_senders(node); }

void Member::pump_senders(const std::string& node) {
  for (auto& [peer, sender] : append_entries_senders_) {
    if (peer.node() == node) sender->pump();
  }
}

}  // namespace rakv::member
