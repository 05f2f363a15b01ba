// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <chrono>

#include "raft/member/member.h"

// What waits here for a leader, for the disk, for an index or for its receiver, within its shares
// of the memory budget (cnode/base/memory_accounts.h). Who has no room is refused with
// {error, system_limit}, and tries again as after {error, wal_down}.

namespace rakv::member {
namespace {

/// What a message that waits takes besides its bytes.
constexpr std::size_t kMessageOverheadBytes = 256;
constexpr std::chrono::seconds kRefusalInterval{10};

}  // namespace

bool Member::overloaded() const {
  const raftlog::LogSystem& log_system = services_.log_system;
  return term_vote_.fails() ||
         log_system.queued_bytes() > log_system.memory_budget().waiting_bytes();
}

bool Member::may_step_for_peer(std::size_t bytes, ByteCharge& charge) {
  if (!blocked()) return true;
  charge = services_.node.charge(&MemoryAccounts::member_messages);
  if (charge.try_grow(bytes + kMessageOverheadBytes)) return true;
  counters_->add(Counter::dropped_sends);
  return false;
}

bool Member::concerns_members(const std::string& node) const {
  return peer_watch_.has_member_on(node) || (core_.leader() && core_.leader()->node() == node);
}

void Member::refuse_for_memory(std::string_view from) {
  const Clock::time_point now = Clock::of(services_.io).now();
  std::optional<Clock::time_point>& said = services_.refusal_said_at;
  if (!said || now - *said >= kRefusalInterval) {
    said = now;
    spdlog::warn(
        "{}: calls are refused with system_limit: too many wait for a leader, the disk or an "
        "index; see why they wait, or give this node a larger --memory-budget",
        log_id_);
  }
  calls_.answer_error(from, "system_limit");
}

/// Nobody waits for their answers any more: what was held for them is given back.
void Member::forget_callers_of(const std::string& node) {
  queries_.forget_callers_of(node);
  std::vector<raft::CallToken> tokens = calls_.calls_from(node);
  if (!tokens.empty()) step(raft::event::CallersGone{std::move(tokens)});
}

}  // namespace rakv::member
