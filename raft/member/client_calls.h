// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/memory_accounts.h"
#include "cnode/etf/writer.h"
#include "raft/core/core.h"
#include "raft/member/pending_calls.h"

namespace rakv::member {

/// The node that a call came from; empty when it can't be read.
std::string node_of_caller(std::string_view from);

/// The calls of clients that wait for the core's word (for a leader, for the log, for an index),
/// the room that there is for them, and the answers. What waits has a bound in bytes: a server
/// takes at most half of what the other ones of its node leave, because a cluster without a leader
/// is no reason to refuse the calls of another one.
class ClientCalls {
 public:
  /// Sends an encoded answer to an encoded `{Pid, Tag}`.
  using Reply = std::function<void(std::string_view from, std::string_view term)>;
  /// The charges are to the accounts of `memory` that they count for (null: there is no bound), and
  /// empty.
  struct Charges {
    ByteCharge calls;
    ByteCharge queries;
    ByteCharge local_queries;
  };
  ClientCalls(Reply reply, const MemoryAccounts* memory, Charges charges);

  // --- answers; those to nobody (an empty `from`: it was a cast) go nowhere

  void answer(std::string_view from, std::string_view term) const {
    if (!from.empty()) reply_(from, term);
  }
  void answer_atom(std::string_view from, std::string_view name);
  void answer_error(std::string_view from, std::string_view reason_atom);
  void answer_redirect(std::string_view from, const raft::ServerId& leader);
  void answer_unsupported(std::string_view from, std::string_view request);

  // --- room

  /// Whether a call of so many bytes may wait.
  bool may_wait(std::size_t bytes) const;
  /// Whether a query may wait for the moment that it takes to confirm the leadership.
  bool may_query(std::size_t bytes) const;
  /// What local queries that wait for an index take is held here.
  ByteCharge& local_queries() { return local_queries_; }

  // --- calls

  PendingCalls& pending() { return pending_; }
  const PendingCalls& pending() const { return pending_; }
  /// Takes the call out, and gives it; nothing when it has been answered or dropped before.
  std::optional<PendingCalls::Call> take(raft::CallToken token);
  /// The calls of those on a node, ascending.
  std::vector<raft::CallToken> calls_from(const std::string& node) const;

  // --- what the core says of them

  void carry_out(const raft::effect::CommandAppended& effect);
  void carry_out(const raft::effect::RedirectClient& effect);
  /// The core keeps the token, the caller stays here.
  void carry_out(const raft::effect::HoldClient&) {}
  void carry_out(const raft::effect::RejectCall& effect);
  void carry_out(const raft::effect::AnswerOk& effect);
  void carry_out(const raft::effect::AnswerAlreadyLeader& effect);
  void carry_out(const raft::effect::DropCall& effect) { pending_.remove(effect.token); }

 private:
  Reply reply_;
  const MemoryAccounts* memory_;
  PendingCalls pending_;
  ByteCharge local_queries_;
  etf::Writer scratch_;
};

}  // namespace rakv::member
