// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cnode/etf/writer.h"
#include "raft/wire/messages.h"
#include "tests/simulation/beam_rules.h"

// ra_server:handle_candidate/2, handle_pre_vote/2, call_for_election/3, process_pre_vote/3.

namespace rakv::simulation {

using namespace beam;
using raft::Role;
using raft::Term;

namespace {

/// The term in which a message was sent, of those that may end a candidacy by it.
std::optional<Term> term_of(const Event& event) {
  if (const auto* rpc = std::get_if<raft::AppendEntriesRpc>(&event.body)) return rpc->term;
  if (const auto* rpc = std::get_if<raft::HeartbeatRpc>(&event.body)) return rpc->term;
  if (const auto* rpc = std::get_if<raft::InstallSnapshotRpc>(&event.body)) return rpc->term;
  if (const auto* rpc = std::get_if<raft::RequestVoteRpc>(&event.body)) return rpc->term;
  if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body)) return call->rpc.term;
  if (const auto* rpc = std::get_if<raft::InfoRpc>(&event.body)) return rpc->term;
  if (const auto* info = std::get_if<raft::InfoReply>(&event.body)) return info->term;
  return std::nullopt;
}

bool is_from_leader(const Event& event) {
  return std::holds_alternative<raft::AppendEntriesRpc>(event.body) ||
         std::holds_alternative<raft::HeartbeatRpc>(event.body) ||
         std::holds_alternative<raft::InstallSnapshotRpc>(event.body);
}

std::optional<Term> term_of_reply(const Event& event) {
  if (const auto* replied = std::get_if<beam::HeartbeatReply>(&event.body))
    return replied->reply.term;
  if (const auto* replied = std::get_if<beam::AppendEntriesReply>(&event.body))
    return replied->reply.term;
  return std::nullopt;
}

}  // namespace

// --- candidate

void BeamRules::on_candidate(const Event& event) {
  if (const auto* result = std::get_if<raft::RequestVoteResult>(&event.body))
    return candidate_vote_result(*result);
  const auto theirs = term_of(event);
  const bool ends = theirs && (is_from_leader(event) ? *theirs >= term() : *theirs > term());
  if (ends) {
    // Whoever sends a snapshot is followed only once the follower has looked at it.
    if (std::holds_alternative<raft::InstallSnapshotRpc>(event.body)) {
      become(Role::follower);
    } else {
      step_down(*theirs, true);
    }
    return again(event);
  }
  if (const auto replied = term_of_reply(event)) {
    if (*replied > term()) return step_down(*replied, true);
    return unsupported(event);
  }
  if (const auto* entries = std::get_if<raft::AppendEntriesRpc>(&event.body)) {
    send_append_entries_reply(entries->leader, term(), false);
  } else if (const auto* heartbeat = std::get_if<raft::HeartbeatRpc>(&event.body)) {
    emit(Send{heartbeat->leader, raft::HeartbeatReply{heartbeat->query_index, term()}});
  } else if (std::holds_alternative<raft::RequestVoteRpc>(event.body)) {
    reply_vote(event, false);
  } else if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body)) {
    process_pre_vote(event, *call);
  } else if (const auto* chunk = std::get_if<raft::InstallSnapshotRpc>(&event.body)) {
    etf::Writer result;
    wire::write_install_snapshot_result(result, {term(), chunk->meta->index, chunk->meta->term});
    reply(event, result.take());
  } else if (std::holds_alternative<LogWritten>(event.body) ||
             std::holds_alternative<SnapshotWritten>(event.body)) {
    handle_log_event(event);
  } else if (std::holds_alternative<ElectionTimeout>(event.body)) {
    call_for_election();
  } else if (std::holds_alternative<ForceMemberChange>(event.body)) {
    become(Role::follower);
    again(event);
  } else if (const auto* asked = std::get_if<raft::InfoRpc>(&event.body)) {
    send_info_reply(*asked, false);
  } else if (!std::holds_alternative<beam::PreVoteResult>(event.body) &&
             !std::holds_alternative<raft::InfoReply>(event.body)) {
    unsupported(event);
  }
}

void BeamRules::candidate_vote_result(const raft::RequestVoteResult& result) {
  if (result.granted && result.term == term()) {
    if (++votes_ != required_quorum()) return;
    if (outside_ || !cluster_.contains(id()))
      witness_.on_broken_rule("a member leads that its configuration does not have");
    leader_ = id();
    initialise_peers();
    become(Role::leader);
    Command noop;
    noop.kind = Command::Kind::noop;
    again({noop, {}, {}});
    if (!peer_ids().empty()) send_info_rpcs();
    return;
  }
  if (result.term > term()) step_down(result.term, true);
}

// --- pre_vote

void BeamRules::on_pre_vote(const Event& event) {
  if (const auto* answer = std::get_if<beam::PreVoteResult>(&event.body)) {
    if (answer->result.term > term()) return step_down(answer->result.term, false);
    const bool counts = answer->result.granted && answer->result.term == term() &&
                        answer->token == pre_vote_token_ && membership_ == raft::Membership::voter;
    if (counts && ++votes_ == required_quorum()) call_for_election();
    return;
  }
  const auto theirs = term_of(event);
  const bool is_pre_vote = std::holds_alternative<beam::PreVoteRpc>(event.body);
  const bool ends =
      theirs && !is_pre_vote && (is_from_leader(event) ? *theirs >= term() : *theirs > term());
  if (ends) {
    const bool adopts = !std::holds_alternative<raft::InstallSnapshotRpc>(event.body) &&
                        !std::holds_alternative<raft::InfoRpc>(event.body) &&
                        !std::holds_alternative<raft::InfoReply>(event.body);
    step_down(adopts ? *theirs : term(), false);
    return again(event);
  }
  if (const auto* heartbeat = std::get_if<raft::HeartbeatRpc>(&event.body)) {
    emit(Send{heartbeat->leader, raft::HeartbeatReply{heartbeat->query_index, term()}});
  } else if (const auto* replied = std::get_if<beam::HeartbeatReply>(&event.body)) {
    if (replied->reply.term > term()) step_down(replied->reply.term, false);
  } else if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body)) {
    process_pre_vote(event, *call);
  } else if (std::holds_alternative<ElectionTimeout>(event.body)) {
    call_for_pre_vote();
  } else if (std::holds_alternative<LogWritten>(event.body) ||
             std::holds_alternative<SnapshotWritten>(event.body)) {
    handle_log_event(event);
  } else if (std::holds_alternative<ForceMemberChange>(event.body)) {
    become(Role::follower);
    again(event);
  } else if (const auto* asked = std::get_if<raft::InfoRpc>(&event.body)) {
    send_info_reply(*asked, false);
  } else if (!std::holds_alternative<raft::RequestVoteResult>(event.body) &&
             !std::holds_alternative<raft::InfoReply>(event.body)) {
    unsupported(event);
  }
}

// --- calls for votes

void BeamRules::call_for_election() {
  const Term next = term() + 1;
  const raft::IndexTerm last = log_.last();
  store_term_and_vote(next, id());
  disk_.votes_given.emplace(next, id());
  leader_.reset();
  votes_ = 0;
  become(Role::candidate);
  again({raft::RequestVoteResult{next, true}, {}, {}});
  RequestVotes request{{}, raft::RequestVoteRpc{next, id(), last.index, last.term}};
  for (const raft::ServerId& member : peer_ids()) {
    request.peer = member;
    effects_.emplace_back(request);
  }
}

/// The vote for itself that goes with it is stored in the present term.
void BeamRules::call_for_pre_vote() {
  const raft::IndexTerm last = log_.last();
  pre_vote_token_ = sources_.make_token();
  store_term_and_vote(term(), id());
  leader_.reset();
  votes_ = 0;
  condition_.reset();
  become(Role::pre_vote);
  again({beam::PreVoteResult{{term(), true}, pre_vote_token_}, {}, {}});
  beam::PreVoteRpc call;
  call.rpc.term = term();
  call.rpc.candidate = id();
  call.rpc.last_log_index = last.index;
  call.rpc.last_log_term = last.term;
  call.token = pre_vote_token_;
  for (const raft::ServerId& member : peer_ids()) emit(RequestVotes{member, call});
}

void BeamRules::process_pre_vote(const Event& event, const beam::PreVoteRpc& call) {
  const auto answer = [&](bool granted) {
    etf::Writer result;
    wire::write_pre_vote_result(result, {term(), granted}, call.token);
    reply(event, result.take());
  };
  if (call.rpc.term < term()) return answer(false);
  update_term(call.rpc.term);
  if (!is_up_to_date(call.rpc.last_log_index, call.rpc.last_log_term)) {
    if (role_ == Role::follower) return emit(StartElectionTimeout{});
    return answer(false);
  }
  if (call.rpc.protocol_version > 1) return answer(false);
  answer(call.rpc.machine_version == 0);
  if (call.rpc.machine_version != 0) emit(StartElectionTimeout{});
}

void BeamRules::reply_vote(const Event& event, bool granted) {
  etf::Writer result;
  wire::write_request_vote_result(result, {term(), granted});
  reply(event, result.take());
}

bool BeamRules::is_up_to_date(raft::Index index, Term last_term) const {
  const raft::IndexTerm own = log_.last();
  return last_term > own.term || (last_term == own.term && index >= own.index);
}

std::size_t BeamRules::required_quorum() const {
  std::size_t voters = 0;
  for (const auto& [member, peer] : cluster_) voters += peer.config.is_voter() ? 1 : 0;
  return voters / 2 + 1;
}

}  // namespace rakv::simulation
