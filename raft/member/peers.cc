// SPDX-License-Identifier: Apache-2.0
#include "raft/member/peers.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "cnode/base/check.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

/// Votes that take longer are worth nothing. ra waits 1 s (ra_server_proc: send_vote_requests),
/// which is not enough where links and disks take long together.
constexpr std::chrono::seconds kVoteTimeout{5};

}  // namespace

Peers::Peers(Seams seams) : seams_(std::move(seams)) {}

Peers::~Peers() { *alive_ = false; }

void Peers::stop() {
  snapshot_senders_.clear();
  append_senders_.clear();
}

// --- casts
// ---------------------------------------------------------------------------------------------------------

void Peers::cast(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write) {
  PeerContext& context = seams_.context;
  context.counters.add(Counter::msgs_sent);
  const node::Delivery delivery =
      context.node.cast(context.pid, to.node(), to.name(), [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        write(writer);
      });
  if (delivery != node::Delivery::queued) context.counters.add(Counter::dropped_sends);
}

void Peers::carry_out(raft::effect::SendAppendEntries& effect) {
  std::unique_ptr<AppendEntriesSender>& sender = append_senders_[effect.to];
  if (!sender) sender = std::make_unique<AppendEntriesSender>(seams_.context, effect.to);
  sender->add(std::move(effect));
}

void Peers::carry_out(const raft::effect::SendAppendEntriesReply& effect) {
  seams_.context.counters.add(effect.reply.success ? Counter::aer_replies_success
                                                   : Counter::aer_replies_fail);
  cast(effect.to, [&](etf::Writer& writer) {
    wire::write_reply_sender(writer, seams_.context.core.id());
    wire::write_append_entries_reply(writer, effect.reply);
  });
}

void Peers::carry_out(const raft::effect::SendHeartbeat& effect) {
  seams_.context.counters.add(Counter::rpcs_sent);
  cast(effect.to, [&](etf::Writer& writer) {
    wire::write_heartbeat_rpc(writer, {effect.query_index, effect.term, seams_.context.core.id()});
  });
}

void Peers::carry_out(const raft::effect::SendHeartbeatReply& effect) {
  cast(effect.to, [&](etf::Writer& writer) {
    wire::write_reply_sender(writer, seams_.context.core.id());
    wire::write_heartbeat_reply(writer, effect.reply);
  });
}

void Peers::carry_out(const raft::effect::SendInfo& effect) {
  seams_.context.counters.add(Counter::rpcs_sent);
  cast(effect.to, [&](etf::Writer& writer) {
    wire::write_info_rpc(writer, {seams_.context.core.id(), effect.term, {"machine_version"}});
  });
}

void Peers::carry_out(const raft::effect::SendInfoReply& effect) {
  cast(effect.to, [&](etf::Writer& writer) { wire::write_info_reply(writer, effect.reply); });
}

void Peers::carry_out(const raft::effect::SendElectionTimeout& effect) {
  cast(effect.to, [](etf::Writer& writer) { wire::write_election_timeout(writer); });
}

// --- votes
// ---------------------------------------------------------------------------------------------------------

void Peers::call(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write,
                 std::function<void(const wire::PeerReply&)> then) {
  seams_.context.counters.add(Counter::rpcs_sent);
  seams_.context.node.call(
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

void Peers::carry_out(const raft::effect::CallRequestVote& effect) {
  call(
      effect.to, [&](etf::Writer& writer) { wire::write_request_vote_rpc(writer, effect.rpc); },
      [this, from = effect.to, round = effect.round](const wire::PeerReply& reply) {
        if (const auto* result = std::get_if<raft::RequestVoteResult>(&reply))
          seams_.context.step(raft::event::VoteReplied{from, round, *result});
      });
}

void Peers::carry_out(const raft::effect::CallPreVote& effect) {
  const std::string token = etf::Writer().reference(seams_.context.node.make_reference()).take();
  call(
      effect.to, [&](etf::Writer& writer) { wire::write_pre_vote_rpc(writer, effect.rpc, token); },
      [this, from = effect.to, round = effect.round, token](const wire::PeerReply& reply) {
        const auto* answer = std::get_if<wire::PreVoteAnswer>(&reply);
        if (answer != nullptr && answer->token == token)
          seams_.context.step(raft::event::PreVoteReplied{from, round, answer->result});
      });
}

void Peers::carry_out(const raft::effect::ReplyVote& effect) {
  answer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call&) {
    wire::write_request_vote_result(writer, effect.result);
  });
}

void Peers::carry_out(const raft::effect::ReplyPreVote& effect) {
  answer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call& call) {
    // It was decoded when it came: the token is in it.
    const auto request = wire::decode_peer_call(call.request);
    RAKV_CHECK(request && *request);
    wire::write_pre_vote_result(writer, effect.result,
                                std::get<wire::PreVoteCall>(**request).token);
  });
}

void Peers::answer(raft::CallToken token,
                   FunctionRef<void(etf::Writer&, const PendingCalls::Call&)> write) {
  PendingCalls& pending = seams_.calls.pending();
  const PendingCalls::Call* call = pending.find(token);
  if (call == nullptr) return;
  scratch_.clear();
  write(scratch_, *call);
  seams_.calls.answer(call->from, scratch_.view());
  pending.remove(token);
}

// --- snapshots
// ---------------------------------------------------------------------------------------------------------

void Peers::carry_out(raft::effect::SendSnapshot& effect) {
  std::unique_ptr<SnapshotSender>& sender = snapshot_senders_[effect.to];
  sender = std::make_unique<SnapshotSender>(seams_.context, std::move(effect));
  sender->start();
}

void Peers::carry_out(const raft::effect::StopSnapshotSend& effect) {
  const auto sender = snapshot_senders_.find(effect.to);
  if (sender == snapshot_senders_.end() || sender->second->transfer() != effect.transfer) return;
  spdlog::info("{}: snapshot transfer to {} is given up", seams_.context.log_id,
               to_string(effect.to));
  snapshot_senders_.erase(sender);
}

void Peers::carry_out(const raft::effect::ReplyInstallSnapshot& effect) {
  if (seams_.context.core.role() == raft::Role::receive_snapshot && !seams_.keeps_up()) {
    held_replies_.push_back(effect);
    return;
  }
  answer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call&) {
    wire::write_install_snapshot_result(writer, effect.result);
  });
}

void Peers::carry_out(const raft::effect::ReplyInstallSnapshotWithAppendEntries& effect) {
  answer(effect.call, [&](etf::Writer& writer, const PendingCalls::Call&) {
    wire::write_append_entries_reply(writer, effect.reply);
  });
}

void Peers::on_written() {
  if (held_replies_.empty() || !seams_.has_caught_up()) return;
  std::vector<raft::effect::ReplyInstallSnapshot> held;
  held.swap(held_replies_);
  for (const raft::effect::ReplyInstallSnapshot& reply : held) carry_out(reply);
}

void Peers::pump(const std::string& node) {
  for (auto& [peer, sender] : append_senders_) {
    if (peer.node() == node) sender->pump();
  }
}

}  // namespace rakv::member
