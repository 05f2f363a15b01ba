// SPDX-License-Identifier: Apache-2.0
#include "raft/member/client_commands.h"

#include <utility>

#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

using Asked = wire::request::Command::Kind;

raft::event::CommandKind kind_of(Asked asked) {
  switch (asked) {
    case Asked::join:
      return raft::event::CommandKind::join;
    case Asked::leave:
      return raft::event::CommandKind::leave;
    case Asked::delete_cluster:
      return raft::event::CommandKind::delete_cluster;
    case Asked::user:
    case Asked::unsupported:
      break;
  }
  return raft::event::CommandKind::user;
}

}  // namespace

void ClientCommands::submit(std::string_view from, std::string_view request,
                            const wire::request::Command& asked, bool leader_call) {
  const bool leading = seams_.core.role() == raft::Role::leader;
  if (leading) seams_.counters.add(Counter::commands);
  // What can't be accepted is refused by the leader only: a follower sends the caller on.
  if (const std::string reason = refusal(asked); !reason.empty())
    return refuse(from, request, asked, leader_call, reason);
  if (asked.kind == Asked::unsupported) return seams_.calls.answer_unsupported(from, request);
  if (leading && seams_.overloaded()) {
    if (from.empty()) return reject_notification(asked.mode, std::nullopt);
    return seams_.calls.answer_error(from, "wal_down");
  }
  raft::event::ClientCommand command;
  command.leader_call = leader_call;
  command.kind = kind_of(asked.kind);
  if (asked.kind == Asked::user) command.priority = asked.priority;
  command.server = asked.server;
  command.voter_status = asked.voter_status;
  gather(from, request, asked, std::move(command));
}

std::string ClientCommands::refusal(const wire::request::Command& asked) {
  if (std::optional<std::string> bad_mode = wire::invalid_reply_mode(asked.mode)) {
    seams_.counters.add(Counter::invalid_reply_mode_commands);
    return std::move(*bad_mode);
  }
  if (asked.kind != Asked::user) return {};
  const Result<void> accepted = seams_.machine().check_command(asked.data);
  if (accepted) return {};
  etf::Writer reason;
  reason.tuple(2).atom("unsupported_command").binary(accepted.error().message);
  return reason.take();
}

void ClientCommands::refuse(std::string_view from, std::string_view request,
                            const wire::request::Command& asked, bool leader_call,
                            std::string_view reason) {
  const bool leading = seams_.core.role() == raft::Role::leader;
  if (!leading && from.empty()) return reject_notification(asked.mode, seams_.core.leader());
  if (!leading && leader_call)
    return seams_.step(raft::event::LeaderRequest{seams_.calls.pending().add(from, request)});
  scratch_.clear();
  scratch_.tuple(2).atom("error").raw(reason);
  seams_.calls.answer(from, scratch_.view());
}

void ClientCommands::gather(std::string_view from, std::string_view request,
                            const wire::request::Command& asked,
                            raft::event::ClientCommand command) {
  // What came as a cast, or with low priority, waits, too: for a store, or for others.
  const bool queues = seams_.blocked() || command.priority == raft::event::Priority::low;
  if (queues && !seams_.calls.may_wait(request.size())) {
    if (from.empty()) return reject_notification(asked.mode, std::nullopt);
    return seams_.refuse_for_memory(from);
  }
  // The request itself is needed again only where the core's answer may be about it.
  const bool is_user = command.kind == raft::event::CommandKind::user;
  if (!from.empty() || !is_user || queues) {
    const bool answer_when_appended =
        wire::parse_reply_mode(asked.mode).kind == wire::ReplyMode::Kind::after_log_append;
    command.token = seams_.calls.pending().add(from, is_user ? std::string_view{} : request,
                                               answer_when_appended, request.size());
  }
  const std::int64_t now = seams_.system_time_ms();
  if (is_user) {
    // A large message becomes the entry where it lies; `from` and `request` are gone then.
    command.payload = wire::encode_user_within(seams_.take_message(asked.data), now, from,
                                               asked.data, asked.mode);
  } else if (command.kind == raft::event::CommandKind::delete_cluster) {
    command.payload = wire::encode_cluster_delete(now, from, asked.mode);
  }
  batch_.push_back(std::move(command));
  if (!is_user || batch_.size() >= kBatchMax) return flush();
  if (std::exchange(flush_scheduled_, true)) return;
  seams_.at_end_of_turn([this, alive = alive_] {
    if (*alive) flush();
  });
}

void ClientCommands::flush() {
  flush_scheduled_ = false;
  if (batch_.empty()) return;
  raft::event::CommandBatch event;
  event.commands.swap(batch_);
  seams_.step(std::move(event));
}

void ClientCommands::carry_out(const raft::effect::NotLeader& effect) {
  const raft::event::ClientCommand& command = effect.command;
  const std::optional<PendingCalls::Call> call = seams_.calls.take(command.token);
  const wire::EntryView entry = wire::parse_entry(command.payload.view());
  const wire::ReplyMode mode = wire::parse_reply_mode(entry.mode);
  if (call && !call->from.empty()) {
    scratch_.clear();
    scratch_.tuple(2).atom("error").tuple(2).atom("unsupported_call");
    wire::write_user_command(scratch_, command.priority, entry.data, entry.mode);
    seams_.calls.answer(call->from, scratch_.view());
  } else if (mode.kind == wire::ReplyMode::Kind::noreply && effect.leader &&
             *effect.leader != seams_.core.id()) {
    seams_.cast(*effect.leader, [&](etf::Writer& writer) {
      wire::write_user_command(writer, command.priority, entry.data,
                               etf::Writer().atom("noreply").view());
    });
  } else if (mode.kind == wire::ReplyMode::Kind::notify) {
    reject_notification(entry.mode, effect.leader);
  }
}

void ClientCommands::reject_notification(std::string_view mode_term,
                                         const std::optional<raft::ServerId>& leader) {
  // A follower does not look whether a leader would take the correlation.
  const wire::ReplyMode mode = wire::parse_notify(mode_term);
  if (mode.kind != wire::ReplyMode::Kind::notify) return;
  const bool waits =
      seams_.core.role() == raft::Role::await_condition || seams_.overloaded() || seams_.blocked();
  if (!waits && (!leader || *leader == seams_.core.id())) return;
  etf::Writer event;
  event.tuple(2).atom("rejected").tuple(3).atom("not_leader");
  if (leader && !waits) {
    wire::write_server_id(event, *leader);
  } else {
    event.atom("undefined");
  }
  event.raw(mode.correlation);
  seams_.notifications.send(std::string(mode.pid), event.view());
}

}  // namespace rakv::member
