// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <chrono>

#include "cnode/node/gen.h"
#include "raft/member/member.h"

// What waits here for a leader, for the disk, for an index or for its receiver, within its shares
// of the memory budget (cnode/base/memory_accounts.h). Who has no room is refused with
// {error, system_limit}, and tries again as after {error, wal_down}.

namespace rakv::member {
namespace {

/// Notifications kept for clients that can't be reached now; beyond it the oldest go.
constexpr std::size_t kUndeliveredMax = 10'000;
/// What a message that waits takes besides its bytes.
constexpr std::size_t kWaitingBytes = 256;
constexpr std::chrono::seconds kReportInterval{10};

/// Whether one that has `own` bytes of the account may have `bytes` more.
bool takes(const ByteAccount& account, std::uint64_t own, std::uint64_t bytes) {
  if (bytes > account.limit() / 2) return account.takes(bytes);
  const std::uint64_t others = account.used() - own;
  return others < account.limit() && own + bytes <= (account.limit() - others) / 2;
}

}  // namespace

std::string Member::node_of(std::string_view from) {
  etf::Cursor cursor(from);
  const std::optional<node::ReplyAddress> address = node::parse_from(cursor);
  return address ? std::string(address->pid.node) : std::string();
}

bool Member::may_wait(std::size_t bytes) const {
  const MemoryAccounts* memory = services_.node.memory();
  const std::uint64_t own = pending_.call_bytes() + conditional_charge_.bytes();
  return memory == nullptr || takes(memory->waiting, own, bytes + PendingCalls::kCallBytes);
}

bool Member::may_query(std::size_t bytes) const {
  const MemoryAccounts* memory = services_.node.memory();
  return memory == nullptr ||
         takes(memory->queries, pending_.query_bytes(), bytes + PendingCalls::kCallBytes);
}

void Member::charge_conditional_queries() {
  std::uint64_t bytes = 0;
  for (const ConditionalQuery& query : conditional_queries_)
    bytes += query.from.size() + query.query.size() + PendingCalls::kCallBytes;
  conditional_charge_.resize(bytes);
}

bool Member::may_step_for_peer(std::size_t bytes, ByteCharge& charge) {
  if (!blocked()) return true;
  charge = services_.node.charge(&MemoryAccounts::member_messages);
  if (charge.try_grow(bytes + kWaitingBytes)) return true;
  counters_->add(Counter::dropped_sends);
  return false;
}

bool Member::concerns_members(const std::string& node) const {
  return kept_nodes_.contains(node) || (core_.leader() && core_.leader()->node() == node);
}

void Member::refuse_for_memory(std::string_view from) {
  const auto now = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point>& said = services_.refusal_said_at;
  if (!said || now - *said >= kReportInterval) {
    said = now;
    spdlog::warn(
        "{}: calls are refused with system_limit: too many wait for a leader, the disk or an "
        "index; see why they wait, or give this node a larger --memory-budget",
        log_id_);
  }
  if (!from.empty()) answer_error(from, "system_limit");
}

/// Nobody waits for their answers any more: what was held for them is given back.
void Member::forget_callers_of(const std::string& node) {
  std::erase_if(conditional_queries_,
                [&](const ConditionalQuery& query) { return node_of(query.from) == node; });
  charge_conditional_queries();
  std::vector<raft::CallToken> tokens =
      pending_.tokens_of([&](std::string_view from) { return node_of(from) == node; });
  if (!tokens.empty()) step(raft::event::CallersGone{std::move(tokens)});
}

/// The newest are kept.
void Member::keep_undelivered(const std::string& pid, std::string_view body) {
  ByteCharge charge = services_.node.charge(&MemoryAccounts::notifications);
  const std::size_t bytes = pid.size() + body.size() + kWaitingBytes;
  while (!undelivered_.empty() && (undelivered_.size() >= kUndeliveredMax || !charge.takes(bytes)))
    undelivered_.pop_front();
  if (!charge.try_grow(bytes)) return;
  undelivered_.push_back({pid, std::string(body), std::move(charge)});
}

}  // namespace rakv::member
