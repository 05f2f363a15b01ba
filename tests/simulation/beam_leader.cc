// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "cnode/etf/writer.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "tests/simulation/beam_rules.h"

// ra_server:handle_leader/2, make_pipelined_rpc_effects/3, make_rpcs/1, consistent reads.

namespace rakv::simulation {

using namespace beam;
using raft::Index;
using raft::PeerStatus;
using raft::Role;
using raft::Term;

namespace {

constexpr std::uint64_t kMaxPipelineCount = 4096;
constexpr std::uint64_t kMaxBatch = 128;

}  // namespace

void BeamRules::on_leader(const Event& event) {
  if (leader_on_reply(event) || leader_on_rival(event)) return;
  if (const auto* command = std::get_if<Command>(&event.body)) {
    leader_command(*command);
  } else if (const auto* several = std::get_if<Commands>(&event.body)) {
    leader_commands(several->commands);
  } else if (std::holds_alternative<LogWritten>(event.body)) {
    handle_log_event(event);
    if (evaluate_quorum()) return;
    process_pending_reads();
    again({PipelineRpcs{}, {}, {}});
  } else if (std::holds_alternative<SnapshotWritten>(event.body)) {
    handle_log_event(event);
  } else if (std::holds_alternative<PipelineRpcs>(event.body)) {
    if (send_pipelined(false)) again(event);
  } else if (const auto* retry = std::get_if<SnapshotRetry>(&event.body)) {
    const BeamPeer* const found = peer(retry->peer);
    if (found != nullptr && found->status == PeerStatus::snapshot_backoff)
      emit(SendSnapshot{retry->peer});
  } else if (const auto* read = std::get_if<ConsistentRead>(&event.body)) {
    leader_read(event, *read);
  } else if (const auto* transfer = std::get_if<TransferLeadership>(&event.body)) {
    leader_transfer(event, transfer->target);
  } else if (std::holds_alternative<ForceMemberChange>(event.body)) {
    become(Role::follower);
    again(event);
  } else if (!std::holds_alternative<raft::RequestVoteResult>(event.body) &&
             !std::holds_alternative<beam::PreVoteResult>(event.body)) {
    unsupported(event);
  }
}

// --- replies of peers

bool BeamRules::leader_on_reply(const Event& event) {
  if (const auto* replied = std::get_if<beam::AppendEntriesReply>(&event.body)) {
    const raft::AppendEntriesReply& reply = replied->reply;
    if (reply.success && reply.term == term()) {
      leader_success(*replied);
    } else if (peer(replied->peer) == nullptr) {
      // Of somebody unknown.
    } else if (reply.term > term()) {
      leader_abdicates(reply.term, nullptr);
    } else if (!reply.success) {
      leader_refusal(*replied);
    }
    return true;
  }
  if (const auto* replied = std::get_if<beam::HeartbeatReply>(&event.body)) {
    leader_heartbeat_reply(*replied);
    return true;
  }
  if (const auto* result = std::get_if<beam::InstallSnapshotResult>(&event.body)) {
    leader_snapshot_result(*result);
    return true;
  }
  return false;
}

void BeamRules::leader_success(const beam::AppendEntriesReply& replied) {
  BeamPeer* const from = peer(replied.peer);
  if (from == nullptr) return;
  from->match_index = std::max(from->match_index, replied.reply.last_index);
  from->next_index = std::max(from->next_index, replied.reply.next_index);
  const auto& status = from->config.voter_status;
  if (status && status->membership == raft::Membership::promotable && status->target &&
      from->match_index >= *status->target) {
    Command join;
    join.kind = Command::Kind::join;
    join.server = replied.peer;
    join.voter_status = status;
    join.voter_status->membership = raft::Membership::voter;
    join.mode = etf::Writer().atom("noreply").take();
    again({join, {}, {}});
  }
  if (evaluate_quorum()) return;
  process_pending_reads();
  again({PipelineRpcs{}, {}, {}});
  if (cluster_.contains(id()) || commit_ < cluster_at_.index) return;
  send_pipelined(false);
  stops_ = "normal";
}

void BeamRules::leader_refusal(const beam::AppendEntriesReply& replied) {
  BeamPeer& from = *peer(replied.peer);
  const raft::AppendEntriesReply& reply = replied.reply;
  const auto there = log_.fetch_term(reply.last_index);
  if (!there) {
    from.next_index = reply.next_index;
  } else if (*there == reply.last_term && reply.last_index >= from.match_index) {
    from.match_index = reply.last_index;
    from.next_index = reply.next_index;
  } else if (reply.last_index < from.match_index) {
    from.match_index = reply.last_index;
    from.next_index = reply.last_index + 1;
  } else {
    from.next_index =
        std::max(std::min(from.next_index - 1, reply.last_index), from.match_index + 1);
  }
  send_pipelined(false);
}

void BeamRules::leader_snapshot_result(const beam::InstallSnapshotResult& result) {
  BeamPeer* const from = peer(result.peer);
  if (from == nullptr) return;
  if (result.result.term > term()) return leader_abdicates(result.result.term, nullptr);
  from->status = PeerStatus::normal;
  from->match_index = from->commit_index_sent = result.result.last_index;
  from->next_index = result.result.last_index + 1;
  emit_pending_release_cursor();
  send_pipelined(false);
}

void BeamRules::leader_heartbeat_reply(const beam::HeartbeatReply& replied) {
  const raft::HeartbeatReply& reply = replied.reply;
  if (reply.term > term()) return leader_abdicates(reply.term, nullptr);
  if (reply.term < term()) return;
  if (BeamPeer* const from = peer(replied.peer))
    from->query_index = std::max(from->query_index, reply.query_index);
  std::vector<std::uint64_t> indexes{query_index_};
  for (const auto& [member, known] : cluster_) {
    if (member != id() && known.config.is_voter()) indexes.push_back(known.query_index.value());
  }
  std::sort(indexes.begin(), indexes.end(), std::greater<>());
  const std::uint64_t agreed = indexes[indexes.size() / 2];
  while (!waiting_reads_.empty() && waiting_reads_.front().query_index <= agreed) {
    const Read read = std::move(waiting_reads_.front());
    waiting_reads_.pop_front();
    answer(read);
  }
}

// --- others who lead, or want to

void BeamRules::leader_abdicates(Term newer, const Event* event) {
  leader_.reset();
  step_down(newer, false);
  if (event != nullptr) again(*event);
}

bool BeamRules::leader_on_rival(const Event& event) {
  if (const auto* entries = std::get_if<raft::AppendEntriesRpc>(&event.body)) {
    if (entries->term > term()) {
      leader_abdicates(entries->term, &event);
    } else if (entries->term == term()) {
      throw BeamCrash("leader_saw_append_entries_rpc_in_same_term");
    } else {
      send_append_entries_reply(entries->leader, term(), false);
    }
  } else if (const auto* heartbeat = std::get_if<raft::HeartbeatRpc>(&event.body)) {
    if (heartbeat->term > term()) {
      leader_abdicates(heartbeat->term, &event);
    } else if (heartbeat->term == term()) {
      throw BeamCrash("leader_saw_heartbeat_rpc_in_same_term");
    } else {
      emit(Send{heartbeat->leader, raft::HeartbeatReply{heartbeat->query_index, term()}});
    }
  } else if (const auto* chunk = std::get_if<raft::InstallSnapshotRpc>(&event.body)) {
    if (chunk->term <= term()) return false;
    if (peer(chunk->leader) != nullptr) leader_abdicates(chunk->term, &event);
  } else if (const auto* vote = std::get_if<raft::RequestVoteRpc>(&event.body)) {
    if (vote->term <= term()) {
      reply_vote(event, false);
    } else if (peer(vote->candidate) != nullptr) {
      leader_abdicates(vote->term, &event);
    }
  } else if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body)) {
    if (call->rpc.term <= term()) {
      enforce_leadership();
    } else if (peer(call->rpc.candidate) != nullptr) {
      leader_abdicates(call->rpc.term, &event);
    }
  } else if (const auto* asked = std::get_if<raft::InfoRpc>(&event.body)) {
    if (asked->term > term()) {
      leader_abdicates(asked->term, &event);
    } else {
      send_info_reply(*asked, true);
    }
  } else if (const auto* info = std::get_if<raft::InfoReply>(&event.body)) {
    if (info->term > term()) {
      leader_abdicates(info->term, &event);
    } else if (BeamPeer* const from = peer(info->from)) {
      if (!info->keys.empty()) from->config.machine_version = info->machine_version;
    }
  } else {
    return false;
  }
  return true;
}

void BeamRules::leader_transfer(const Event& event, const raft::ServerId& target) {
  const auto refuse = [&](std::string_view why) {
    etf::Writer answer;
    wire::write_error(answer, why);
    reply(event, answer.take());
  };
  if (target == id()) return reply(event, etf::Writer().atom("already_leader").take());
  const BeamPeer* const to = peer(target);
  if (to == nullptr) return refuse("unknown_member");
  if (!to->config.is_voter()) return refuse("non_voter");
  if (to->next_index != log_.next_index()) return refuse("not_up_to_date");
  condition_ = Condition{Condition::Kind::transfer, Role::follower, Role::leader, {}};
  reply(event, etf::Writer().atom("ok").take());
  emit(SendElectionTimeout{target});
  become(Role::await_condition);
}

// --- commands and commits

void BeamRules::leader_command(const Command& command) {
  const Index before = log_.last().index;
  if (const auto refused = append_command(command)) {
    if (command.from.empty()) return;
    etf::Writer answer;
    wire::write_error(answer, *refused);
    return emit(Reply{command.from, answer.take()});
  }
  send_pipelined(command.kind == Command::Kind::noop);
  const bool told_now = !command.from.empty() && wire::parse_reply_mode(command.mode).kind ==
                                                     wire::ReplyMode::Kind::after_log_append;
  if (!told_now || log_.last().index == before) return;
  etf::Writer answer;
  answer.tuple(2).atom("wrap_reply").tuple(2);
  answer.u64(log_.last().index.value()).u64(term().value());
  emit(Reply{command.from, answer.take()});
}

void BeamRules::leader_commands(const std::vector<Command>& commands) {
  for (const Command& command : commands) append_command(command);
  send_pipelined(false);
}

Index BeamRules::agreed_commit(bool with_own) const {
  std::vector<std::uint64_t> indexes;
  if (with_own) indexes.push_back(log_.last_written().index.value());
  for (const auto& [member, known] : cluster_) {
    if (member != id() && known.config.is_voter()) indexes.push_back(known.match_index.value());
  }
  std::sort(indexes.begin(), indexes.end(), std::greater<>());
  if (indexes.empty()) return {};
  return Index(indexes[indexes.size() / 2]);
}

/// A leader that is no member any more counts its own log all the same.
bool BeamRules::evaluate_quorum() {
  const Index agreed = agreed_commit(true);
  if (log_.fetch_term_or_snapshot(agreed) == term()) {
    if (!cluster_.contains(id()) && agreed > commit_ && agreed_commit(false) < agreed)
      witness_.on_broken_rule("a removed leader counted itself");
    commit_ = agreed;
  }
  apply_to(commit_, false);
  if (deletes_ && role_ == Role::leader) {
    become(Role::terminating_leader);
    return true;
  }
  emit_pending_release_cursor();
  return false;
}

// --- reads

void BeamRules::leader_read(const Event& event, const ConsistentRead& read) {
  Read asked{0, read, event.from, commit_};
  if (!permitted_) {
    pending_reads_.push_back(std::move(asked));
  } else {
    begin_read(std::move(asked));
  }
}

void BeamRules::begin_read(Read read) {
  if (peer_ids().empty()) return answer(read);
  read.query_index = ++query_index_;
  send_heartbeats();
  waiting_reads_.push_back(std::move(read));
}

void BeamRules::process_pending_reads() {
  if (!permitted_) return;
  for (Read& read : std::exchange(pending_reads_, {})) begin_read(std::move(read));
}

void BeamRules::answer(const Read& read) {
  if (applied_ < read.commit) throw BeamCrash("badmatch: a read that is not applied");
  if (read.read.is_aux) {
    emit(RunAux{read.from, read.read.request});
  } else {
    emit(RunQuery{read.from, read.read.request});
  }
}

void BeamRules::send_heartbeats() {
  for (const auto& [member, known] : cluster_) {
    if (member == id() || known.status != PeerStatus::normal) continue;
    if (known.query_index.value() >= query_index_) continue;
    emit(Send{member, raft::HeartbeatRpc{raft::QueryIndex(query_index_), term(), id()}});
  }
}

// --- what is sent

bool BeamRules::send_pipelined(bool force) {
  const Index next = log_.next_index();
  bool more = false;
  for (auto& [member, known] : cluster_) {
    if (member == id() || known.status != PeerStatus::normal) continue;
    if (known.next_index >= next && known.commit_index_sent >= commit_) continue;
    const auto in_flight = [&known = known] { return known.next_index - known.match_index - 1; };
    const std::uint64_t under_way =
        known.next_index.value() <= known.match_index.value() ? 0 : in_flight();
    if (under_way >= kMaxPipelineCount && !force) continue;
    const std::uint64_t room = kMaxPipelineCount - std::min(under_way, kMaxPipelineCount);
    const Index sent =
        send_entries(member, known, std::max<std::uint64_t>(1, std::min(kMaxBatch, room)));
    if (sent < known.next_index) throw BeamCrash("assert: next_index falls");
    known.next_index = sent;
    known.commit_index_sent = commit_;
    more = more || (sent < next && sent - known.match_index - 1 < kMaxPipelineCount);
  }
  return more;
}

/// make_rpc_effect/5: entries, or a snapshot. Gives the next index after that.
Index BeamRules::send_entries(const raft::ServerId& to, const BeamPeer& known, std::uint64_t most) {
  const Index previous(known.next_index.value() - 1);
  auto previous_term = log_.fetch_term(previous);
  if (!previous_term) {
    const auto snapshot = log_.snapshot();
    if (!snapshot) throw BeamCrash("case_clause: no snapshot");
    if (snapshot->index != previous) {
      if (previous > snapshot->index) throw BeamCrash("assert: next_index beyond the log");
      emit(SendSnapshot{to});
      return snapshot->index;
    }
    previous_term = snapshot->term;
  }
  raft::AppendEntriesRpc rpc{term(), id(), commit_, previous, *previous_term, {}};
  const Index until = std::min(log_.last().index, previous + most);
  for (Index index = previous + 1; index <= until; ++index) {
    const raft::Entry* const entry = log_.read(index);
    if (entry == nullptr) throw BeamCrash("missing entry");
    rpc.entries.push_back(*entry);
  }
  emit(Send{to, std::move(rpc)});
  return until + 1;
}

Effects BeamRules::make_rpcs() {
  for (const auto& [member, known] : cluster_) {
    if (member == id() || known.status != PeerStatus::normal) continue;
    const bool unconfirmed = known.match_index + 1 < known.next_index;
    if (unconfirmed || known.commit_index_sent < commit_) send_entries(member, known, 1);
  }
  if (peer_ids().empty()) {
    for (const Read& read : std::exchange(waiting_reads_, {})) answer(read);
  } else {
    send_heartbeats();
  }
  return std::exchange(effects_, {});
}

Effects BeamRules::tick() {
  Effects effects = make_rpcs();
  send_info_rpcs();
  for (Effect& effect : std::exchange(effects_, {})) effects.push_back(std::move(effect));
  return effects;
}

/// make_all_rpcs/1: whoever asks for a pre-vote hears who leads.
void BeamRules::enforce_leadership() {
  for (const auto& [member, known] : cluster_) {
    if (member == id()) continue;
    if (known.status == PeerStatus::normal || known.status == PeerStatus::snapshot_backoff)
      send_entries(member, known, 1);
  }
  if (!peer_ids().empty()) send_heartbeats();
}

void BeamRules::send_info_rpcs() {
  for (const auto& [member, known] : cluster_) {
    if (member != id() && !known.config.machine_version)
      emit(Send{member, raft::InfoRpc{id(), term(), {"machine_version"}}});
  }
}

void BeamRules::initialise_peers() {
  const Index next = log_.next_index();
  for (auto& [member, known] : cluster_) {
    BeamPeer fresh;
    fresh.config = known.config;
    fresh.next_index = next;
    known = fresh;
  }
}

}  // namespace rakv::simulation
