// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "raft/core/core.h"

// Clients: commands and other leader_calls. A leader serves them, a member that watches a leader
// redirects (dissertation 6.2), any other holds them until it knows
// (ra_server_proc:maybe_redirect). Held calls never expire. Diverges: a command that is sent twice
// is applied twice (6.3 has sessions).

namespace rakv::raft {

void Core::reject(CallToken token, effect::RejectReason reason) {
  if (token != CallToken(0)) emit(effect::RejectCall{token, reason});
}

bool Core::knows_leader() const {
  const bool may_know = role() != Role::pre_vote && role() != Role::candidate;
  return may_know && monitored_ && leader_ == monitored_;
}

void Core::hold_or_redirect(CallToken token, Held request) {
  if (knows_leader()) {
    emit(effect::RedirectClient{token, *leader_});
    return;
  }
  held_.push_back(std::move(request));
  emit(effect::HoldClient{token});
}

namespace {
CallToken token_of(const event::ClientCommand& request) { return request.token; }
CallToken token_of(const event::ReadRequest& request) { return request.token; }
CallToken token_of(const event::LeaderRequest& request) { return request.token; }
CallToken token_of(const event::TransferLeadershipRequested& request) { return request.token; }
}  // namespace

CallToken Core::token_of_held(const Held& held) {
  return std::visit([](const auto& request) { return token_of(request); }, held);
}

void Core::redirect_held() {
  for (const Held& held : std::exchange(held_, {}))
    emit(effect::RedirectClient{token_of_held(held), *leader_});
}

void Core::on(event::CallersGone& event) {
  std::erase_if(held_, [&](const Held& held) {
    const CallToken token = token_of_held(held);
    const bool gone = std::binary_search(event.tokens.begin(), event.tokens.end(), token);
    if (gone) emit(effect::DropCall{token});
    return gone;
  });
}

/// This member leads now: what was held happens as if it had just come.
void Core::execute_held() {
  std::deque<Held> waiting = std::exchange(held_, {});
  event::CommandBatch commands;
  for (Held& held : waiting) {
    if (auto* command = std::get_if<event::ClientCommand>(&held)) {
      commands.commands.push_back(std::move(*command));
      continue;
    }
    if (!commands.commands.empty()) on(commands);
    commands.commands.clear();
    if (auto* read = std::get_if<event::ReadRequest>(&held)) on(*read);
    if (auto* request = std::get_if<event::LeaderRequest>(&held)) on(*request);
    if (auto* transfer = std::get_if<event::TransferLeadershipRequested>(&held)) on(*transfer);
  }
  if (!commands.commands.empty()) on(commands);
}

void Core::on(event::CommandBatch& event) {
  if (role() == Role::leader) {
    execute_commands(std::move(event.commands));
    return;
  }
  for (event::ClientCommand& command : event.commands) {
    const CallToken token = command.token;
    if (role() == Role::terminating_leader) {
      if (token != CallToken(0)) emit(effect::DropCall{token});
    } else if (command.leader_call) {
      hold_or_redirect(token, std::move(command));
    } else {
      const bool names_leader = role() != Role::await_condition && leader_ != id_;
      emit(effect::NotLeader{std::move(command), names_leader ? leader_ : std::nullopt});
    }
  }
}

/// Makes an entry of a client's command; nothing if the command is refused.
std::optional<Entry> Core::make_entry(event::ClientCommand& command) {
  if (command.kind == event::CommandKind::join || command.kind == event::CommandKind::leave)
    return make_change_entry(command);
  Entry entry;
  entry.token = command.token;
  entry.kind =
      command.kind == event::CommandKind::user ? EntryKind::user : EntryKind::cluster_delete;
  entry.payload = std::move(command.payload);
  return entry;
}

void Core::execute_commands(std::vector<event::ClientCommand> commands) {
  Leader& leader = std::get<Leader>(role_);
  std::vector<Entry> entries;
  entries.reserve(commands.size());
  for (event::ClientCommand& command : commands) {
    const bool low =
        command.priority == event::Priority::low && command.kind == event::CommandKind::user;
    if (low) {
      leader.low_priority.push_back(std::move(command));
    } else if (!log_up_) {
      reject(command.token, effect::RejectReason::wal_down);
    } else if (std::optional<Entry> entry = make_entry(command)) {
      append_own(*entry);
      entries.push_back(std::move(*entry));
    }
  }
  if (!leader.low_priority.empty() && !leader.flush_scheduled) {
    leader.flush_scheduled = true;
    emit(effect::ScheduleFlush{});
  }
  emit_appended(std::move(entries));
  replicate();
}

void Core::on(event::FlushLowPriority&) {
  auto* leader = std::get_if<Leader>(&role_);
  if (leader == nullptr) return;
  leader->flush_scheduled = false;
  std::vector<event::ClientCommand> commands;
  while (!leader->low_priority.empty() &&
         commands.size() < options_.low_priority_commands_flush_size) {
    commands.push_back(std::move(leader->low_priority.front()));
    commands.back().priority = event::Priority::normal;
    leader->low_priority.pop_front();
  }
  if (!commands.empty()) execute_commands(std::move(commands));
}

void Core::on(event::LeaderRequest& event) {
  if (leads()) {
    emit(effect::ServeLeaderRequest{event.token});
  } else {
    hold_or_redirect(event.token, event);
  }
}

}  // namespace rakv::raft
