// SPDX-License-Identifier: Apache-2.0
#include "raft/member/client_calls.h"

#include <utility>

#include "cnode/node/gen.h"
#include "raft/wire/client_requests.h"

namespace rakv::member {
namespace {

/// Whether one that has `own` bytes of the account may have `bytes` more.
bool takes(const ByteAccount& account, std::uint64_t own, std::uint64_t bytes) {
  if (bytes > account.limit() / 2) return account.takes(bytes);
  const std::uint64_t others = account.used() - own;
  return others < account.limit() && own + bytes <= (account.limit() - others) / 2;
}

std::string_view reason_atom(raft::effect::RejectReason reason) {
  switch (reason) {
    case raft::effect::RejectReason::cluster_change_not_permitted:
      return "cluster_change_not_permitted";
    case raft::effect::RejectReason::already_member:
      return "already_member";
    case raft::effect::RejectReason::not_member:
      return "not_member";
    case raft::effect::RejectReason::missing_uid:
      return "missing_uid";
    case raft::effect::RejectReason::wal_down:
      return "wal_down";
    case raft::effect::RejectReason::nodedown:
      return "nodedown";
    case raft::effect::RejectReason::unknown_member:
      return "unknown_member";
    case raft::effect::RejectReason::non_voter:
      return "non_voter";
    case raft::effect::RejectReason::not_up_to_date:
      return "not_up_to_date";
    case raft::effect::RejectReason::snapshot_corrupt:
      return "snapshot_corrupt";
    case raft::effect::RejectReason::unsupported_call:
      break;
  }
  return "unsupported_call";
}

}  // namespace

std::string node_of_caller(std::string_view from) {
  etf::Cursor cursor(from);
  const std::optional<node::ReplyAddress> address = node::parse_from(cursor);
  return address ? std::string(address->pid.node) : std::string();
}

ClientCalls::ClientCalls(Reply reply, const MemoryAccounts* memory, Charges charges)
    : reply_(std::move(reply)),
      memory_(memory),
      pending_(std::move(charges.calls), std::move(charges.queries)),
      local_queries_(std::move(charges.local_queries)) {}

void ClientCalls::answer_atom(std::string_view from, std::string_view name) {
  scratch_.clear();
  answer(from, scratch_.atom(name).view());
}

void ClientCalls::answer_error(std::string_view from, std::string_view reason_atom) {
  scratch_.clear();
  wire::write_error(scratch_, reason_atom);
  answer(from, scratch_.view());
}

void ClientCalls::answer_redirect(std::string_view from, const raft::ServerId& leader) {
  scratch_.clear();
  wire::write_redirect(scratch_, leader);
  answer(from, scratch_.view());
}

void ClientCalls::answer_unsupported(std::string_view from, std::string_view request) {
  scratch_.clear();
  wire::write_unsupported_call(scratch_, request);
  answer(from, scratch_.view());
}

bool ClientCalls::may_wait(std::size_t bytes) const {
  const std::uint64_t own = pending_.call_bytes() + local_queries_.bytes();
  return memory_ == nullptr || takes(memory_->waiting, own, bytes + PendingCalls::kCallBytes);
}

bool ClientCalls::may_query(std::size_t bytes) const {
  return memory_ == nullptr ||
         takes(memory_->queries, pending_.query_bytes(), bytes + PendingCalls::kCallBytes);
}

std::optional<PendingCalls::Call> ClientCalls::take(raft::CallToken token) {
  const PendingCalls::Call* call = pending_.find(token);
  if (call == nullptr) return std::nullopt;
  std::optional<PendingCalls::Call> taken(*call);
  pending_.remove(token);
  return taken;
}

std::vector<raft::CallToken> ClientCalls::calls_from(const std::string& node) const {
  return pending_.tokens_of([&](std::string_view from) { return node_of_caller(from) == node; });
}

void ClientCalls::carry_out(const raft::effect::CommandAppended& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  if (call->answer_when_appended) {
    scratch_.clear();
    scratch_.tuple(2).atom("wrap_reply").tuple(2);
    scratch_.u64(effect.index.value()).u64(effect.term.value());
    answer(call->from, scratch_.view());
  }
  pending_.remove(effect.token);
}

void ClientCalls::carry_out(const raft::effect::RedirectClient& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  answer_redirect(call->from, effect.leader);
  pending_.remove(effect.token);
}

void ClientCalls::carry_out(const raft::effect::RejectCall& effect) {
  const std::optional<PendingCalls::Call> call = take(effect.token);
  if (!call) return;
  if (effect.reason == raft::effect::RejectReason::unsupported_call)
    return answer_unsupported(call->from, call->request);
  answer_error(call->from, reason_atom(effect.reason));
}

void ClientCalls::carry_out(const raft::effect::AnswerOk& effect) {
  if (const auto call = take(effect.token)) answer_atom(call->from, "ok");
}

void ClientCalls::carry_out(const raft::effect::AnswerAlreadyLeader& effect) {
  if (const auto call = take(effect.token)) answer_atom(call->from, "already_leader");
}

}  // namespace rakv::member
