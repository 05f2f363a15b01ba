// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "cnode/distribution/turn.h"
#include "cnode/etf/text.h"
#include "cnode/node/gen.h"
#include "raft/member/member.h"
#include "raft/member/tagged.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

// Clients' requests (docs/protocol/wire.md 4).

namespace rakv::member {
namespace {

/// `{command, Priority, {Type, Data, Mode}}` taken apart.
struct CommandRequest {
  bool low_priority = false;
  std::string_view type;
  std::string_view data;
  std::string_view mode;
};

std::optional<CommandRequest> parse_command_request(std::string_view request) {
  Tagged tagged(request);
  if (!tagged.is("command", 3)) return std::nullopt;
  CommandRequest command;
  etf::Cursor& cursor = tagged.elements;
  if (cursor.is_atom("low")) {
    command.low_priority = true;
  } else if (!cursor.is_atom("normal")) {
    return std::nullopt;
  }
  if (cursor.kind() != etf::TermKind::tuple) return std::nullopt;
  const std::optional<std::uint32_t> arity = cursor.tuple();
  if (!arity || *arity < 2 || *arity > 3 || cursor.kind() != etf::TermKind::atom)
    return std::nullopt;
  command.type = *cursor.atom();
  // {'$ra_cluster', delete, Mode}, {'$usr', Data, Mode}, {'$ra_join', Server, Mode}, ...
  if (*arity != 3) return std::nullopt;
  command.data = cursor.skip().value_or(std::string_view{});
  command.mode = cursor.skip().value_or(std::string_view{});
  if (command.mode.empty()) return std::nullopt;
  return command;
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

/// Who joins, in either form of `$ra_join`'s data.
bool parse_join(std::string_view data, raft::event::ClientCommand& command) {
  etf::Cursor cursor(data);
  if (cursor.kind() == etf::TermKind::tuple) {
    const std::optional<raft::ServerId> server = wire::read_server_id(cursor);
    if (!server) return false;
    command.server = *server;
    return true;
  }
  const std::optional<wire::JoinData> join = wire::read_join_data(cursor);
  if (!join) return false;
  command.server = join->id;
  command.voter_status = join->voter_status;
  return true;
}

}  // namespace

void Member::on_message(std::string_view message) {
  const std::optional<node::GenMessage> gen = node::parse_gen_message(message);
  if (!gen) return;  // not a term: nothing a client of ours would send
  switch (gen->kind) {
    case node::GenMessage::Kind::call:
      return handle_call(gen->from, gen->request);
    case node::GenMessage::Kind::cast:
      return handle_cast(gen->request);
    case node::GenMessage::Kind::info:
      break;
  }
  flush_commands();
  if (handle_system_message(gen->request)) return;
  spdlog::debug("{}: unknown message {}", log_id_, etf::print_text(gen->request));
}

void Member::answer(std::string_view from, std::string_view term) {
  if (from.empty()) return;
  services_.node.reply(pid_, from, [&](distribution::OutMessage& out) { out.text.append(term); });
}

void Member::answer_error(std::string_view from, std::string_view reason_atom) {
  reply_.clear();
  reply_.tuple(2).atom("error").atom(reason_atom);
  answer(from, reply_.view());
}

void Member::answer_redirect(std::string_view from, const raft::ServerId& leader) {
  reply_.clear();
  reply_.tuple(2).atom("redirect");
  wire::write_server_id(reply_, leader);
  answer(from, reply_.view());
}

void Member::unsupported(std::string_view from, std::string_view request) {
  reply_.clear();
  reply_.tuple(2).atom("error").tuple(2).atom("unsupported_call").raw(request);
  answer(from, reply_.view());
}

void Member::handle_call(std::string_view from, std::string_view request) {
  if (farewell_) return handle_call_after_removal(from, request);
  Tagged tagged(request);
  if (tagged.is("leader_call", 2)) return handle_leader_call(from, tagged.next());
  if (tagged.is("local_call", 2)) return handle_call(from, tagged.next());
  if (tagged.is("command", 3)) return submit_command(from, request, false);
  if (handle_peer_call(from, request)) return;
  flush_commands();
  if (tagged.is("trigger_election", 0)) {
    if (!voters_.takes_part()) return answer_stays_out(from);
    if (blocked() && !may_wait(request.size())) return refuse_for_memory(from);
    return step(raft::event::TriggerElection{pending_.add(from, request)});
  }
  if (tagged.is("force_member_change", 0)) {
    voters_.forget();
    if (blocked() && !may_wait(request.size())) return refuse_for_memory(from);
    return step(raft::event::ForceMemberChange{pending_.add(from, request)});
  }
  if (serve(from, request, core_.role() == raft::Role::leader)) return;
  unsupported(from, request);
}

void Member::answer_stays_out(std::string_view from) {
  const bool out = voters_.standing() == VoterIdentities::Standing::stays_out;
  reply_.clear();
  reply_.tuple(2).atom("error").tuple(2).atom(out ? "stays_out" : "undecided");
  reply_.binary(voters_.why());
  answer(from, reply_.view());
}

void Member::handle_cast(std::string_view request) {
  Tagged tagged(request);
  if (tagged.is("command", 3)) return submit_command({}, request, false);
  if (tagged.is("leader_cast", 2)) {
    const std::string_view inner = tagged.next();
    if (core_.role() == raft::Role::leader && Tagged(inner).is("command", 3))
      submit_command({}, inner, false);
    return;
  }
  if (tagged.is("aux_command", 2)) {
    counters_->add(Counter::aux_commands);
    return;  // ra_kv has no aux command that acts without a caller
  }
  if (tagged.is("ra_log_event", 2)) {  // ra:trigger_compaction/1
    if (Tagged(tagged.next()).is("major_compaction", 0)) log_.trigger_major_compaction();
    return;
  }
  if (handle_peer_cast(request)) return;
  spdlog::debug("{}: unknown cast {}", log_id_, etf::print_text(request));
}

void Member::handle_leader_call(std::string_view from, std::string_view request) {
  if (voters_.standing() == VoterIdentities::Standing::stays_out) return answer_stays_out(from);
  Tagged tagged(request);
  const std::size_t bytes = from.size() + request.size();
  const bool waits = requests_wait();
  if (waits && !may_wait(bytes)) return refuse_for_memory(from);
  if (tagged.is("command", 3)) return submit_command(from, request, true);
  flush_commands();
  if (tagged.is("consistent_query", 2) || tagged.is("consistent_aux", 2)) {
    counters_->add(Counter::consistent_queries);
    // Even a leader has to ask whether it still is one.
    if (!waits && !may_query(bytes)) return refuse_for_memory(from);
    return step(raft::event::ReadRequest{waits ? pending_.add(from, request)
                                               : pending_.add_query(from, request)});
  }
  if (tagged.is("transfer_leadership", 2)) return submit_transfer(from, request);
  step(raft::event::LeaderRequest{pending_.add(from, request)});
}

void Member::carry_out(raft::effect::ServeLeaderRequest& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  const PendingCalls::Call kept = *call;
  pending_.remove(effect.token);
  if (Tagged(kept.request).is("command", 3)) {
    submit_command(kept.from, kept.request,
                   true);  // was held because it can't be accepted: now refused
  } else if (!serve(kept.from, kept.request, true)) {
    unsupported(kept.from, kept.request);
  }
}

bool Member::serve(std::string_view from, std::string_view request, bool) {
  Tagged tagged(request);
  if (tagged.is("ping", 0)) {
    reply_.clear();
    // As ra, whose terminating states answer as what they were.
    std::string_view state = shown_state();
    if (state == to_string(raft::Role::terminating_leader)) state = "leader";
    if (state == to_string(raft::Role::terminating_follower)) state = "follower";
    reply_.tuple(2).atom("pong").atom(state);
    answer(from, reply_.view());
  } else if (tagged.is("state_query", 2)) {
    serve_state_query(from, tagged.next());
  } else if (tagged.is("local_query", 2)) {
    serve_local_query(from, tagged.next(), {});
  } else if (tagged.is("local_query", 3)) {
    const std::string_view query = tagged.next();
    serve_local_query(from, query, tagged.next());
  } else if (tagged.is("aux_command", 2)) {
    serve_aux(from, tagged.next());
  } else if (tagged.is("read_entries", 2) && core_.role() != raft::Role::receive_snapshot) {
    serve_read_entries(from, tagged.next());
  } else {
    return false;
  }
  return true;
}

// --- commands
// ---------------------------------------------------------------------------------------------------------

void Member::submit_command(std::string_view from, std::string_view request, bool leader_call) {
  const std::optional<CommandRequest> parsed = parse_command_request(request);
  if (!parsed) return unsupported(from, request);
  const bool leading = core_.role() == raft::Role::leader;
  if (leading) counters_->add(Counter::commands);

  raft::event::ClientCommand command;
  command.leader_call = leader_call;
  if (parsed->low_priority && parsed->type == "$usr") command.priority = raft::event::Priority::low;

  // What can't be accepted is refused by the leader only: a follower sends the caller on.
  std::string refusal;
  if (const std::optional<std::string> bad_mode = wire::invalid_reply_mode(parsed->mode)) {
    counters_->add(Counter::invalid_reply_mode_commands);
    refusal = *bad_mode;
  } else if (parsed->type == "$usr") {
    if (const Result<void> accepted = machine_->check_command(parsed->data); !accepted) {
      refusal = etf::Writer()
                    .tuple(2)
                    .atom("unsupported_command")
                    .binary(accepted.error().message)
                    .take();
    }
  } else if (parsed->type == "$ra_join" || parsed->type == "$ra_leave") {
    command.kind = parsed->type == "$ra_join" ? raft::event::CommandKind::join
                                              : raft::event::CommandKind::leave;
    if (!parse_join(parsed->data, command)) return unsupported(from, request);
  } else if (parsed->type == "$ra_cluster" && etf::Cursor(parsed->data).is_atom("delete")) {
    command.kind = raft::event::CommandKind::delete_cluster;
  } else {
    return unsupported(from, request);
  }
  if (!refusal.empty()) {
    if (!leading && from.empty()) return reject_notification(parsed->mode, core_.leader());
    if (leading || !leader_call) {
      if (from.empty()) return;
      reply_.clear();
      reply_.tuple(2).atom("error").raw(refusal);
      return answer(from, reply_.view());
    }
    return step(raft::event::LeaderRequest{pending_.add(from, request)});
  }

  if (leading && overloaded()) {
    if (from.empty()) return reject_notification(parsed->mode, std::nullopt);
    return answer_error(from, "wal_down");
  }
  // What came as a cast, or with low priority, waits, too: behind a store, or behind others.
  const bool queues = blocked() || command.priority == raft::event::Priority::low;
  if (queues && !may_wait(request.size())) {
    if (from.empty()) return reject_notification(parsed->mode, std::nullopt);
    return refuse_for_memory(from);
  }

  // The request itself is needed again only where the core's answer may be about it.
  const bool keep_request = command.kind != raft::event::CommandKind::user;
  if (!from.empty() || keep_request || queues) {
    const bool answer_when_appended =
        wire::parse_reply_mode(parsed->mode).kind == wire::ReplyMode::Kind::after_log_append;
    command.token = pending_.add(from, keep_request ? request : std::string_view{},
                                 answer_when_appended, request.size());
  }
  const std::int64_t now = services_.system_time_ms();
  if (command.kind == raft::event::CommandKind::user) {
    // A large message becomes the entry where it lies; `from` and `request` are gone then.
    command.payload = wire::encode_user_within(services_.node.take_message(parsed->data), now, from,
                                               parsed->data, parsed->mode);
  } else if (command.kind == raft::event::CommandKind::delete_cluster) {
    command.payload = wire::encode_cluster_delete(now, from, parsed->mode);
  }
  batch_.push_back(std::move(command));
  if (command.kind != raft::event::CommandKind::user || batch_.size() >= kBatchMax)
    return flush_commands();
  if (!batch_scheduled_) {
    batch_scheduled_ = true;
    distribution::Turn::of(services_.io).at_end([this, alive = alive_] {
      if (*alive) flush_commands();
    });
  }
}

bool Member::overloaded() const {
  const raftlog::LogSystem& log_system = services_.log_system;
  return persist_fails_ || log_system.queued_bytes() > log_system.memory_budget().waiting_bytes();
}

// Commands that arrive in one turn of the event loop become one append. Whatever else a client asks
// for in that turn comes after the commands that it sent before; members' messages need not wait.
void Member::flush_commands() {
  batch_scheduled_ = false;
  if (batch_.empty()) return;
  raft::event::ClientCommands event;
  event.commands.swap(batch_);
  step(std::move(event));
}

void Member::carry_out(raft::effect::CommandAppended& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  if (call->answer_when_appended) {
    reply_.clear();
    reply_.tuple(2).atom("wrap_reply").tuple(2).u64(effect.index.value()).u64(effect.term.value());
    answer(call->from, reply_.view());
  }
  pending_.remove(effect.token);
}

void Member::carry_out(raft::effect::RedirectClient& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  answer_redirect(call->from, effect.leader);
  pending_.remove(effect.token);
}

void Member::carry_out(raft::effect::HoldClient&) {
}  // the core keeps the token, pending_ the caller

void Member::carry_out(raft::effect::NotLeader& effect) {
  const raft::event::ClientCommand& command = effect.command;
  const PendingCalls::Call* call = pending_.find(command.token);
  const wire::EntryView entry = wire::parse_entry(command.payload.view());
  const wire::ReplyMode mode = wire::parse_reply_mode(entry.mode);
  if (call != nullptr && !call->from.empty()) {
    const std::string from = call->from;
    reply_.clear();
    reply_.tuple(2)
        .atom("error")
        .tuple(2)
        .atom("unsupported_call")
        .tuple(3)
        .atom("command")
        .atom(command.priority == raft::event::Priority::low ? "low" : "normal");
    reply_.tuple(3).atom("$usr").raw(entry.data).raw(entry.mode);
    answer(from, reply_.view());
  } else if (mode.kind == wire::ReplyMode::Kind::noreply && effect.leader &&
             *effect.leader != id_) {
    const bool low = command.priority == raft::event::Priority::low;
    services_.node.cast(pid_, effect.leader->node(), effect.leader->name(),
                        [&](distribution::OutMessage& out) {
                          etf::Writer writer(out.text);
                          writer.tuple(3).atom("command").atom(low ? "low" : "normal");
                          writer.tuple(3).atom("$usr").raw(entry.data).atom("noreply");
                        });
  } else if (mode.kind == wire::ReplyMode::Kind::notify) {
    reject_notification(entry.mode, effect.leader);
  }
  pending_.remove(command.token);
}

void Member::reject_notification(std::string_view mode_term,
                                 const std::optional<raft::ServerId>& leader) {
  // A follower does not look whether a leader would take the correlation.
  const wire::ReplyMode mode = wire::parse_notify(mode_term);
  if (mode.kind != wire::ReplyMode::Kind::notify) return;
  const bool waits = core_.role() == raft::Role::await_condition || overloaded() || blocked();
  if (!waits && (!leader || *leader == id_)) return;
  etf::Writer body;
  body.tuple(2).atom("rejected").tuple(3).atom("not_leader");
  if (leader && !waits) {
    wire::write_server_id(body, *leader);
  } else {
    body.atom("undefined");
  }
  body.raw(mode.correlation);
  send_notification(std::string(mode.pid), body.view());
}

void Member::carry_out(raft::effect::RejectCall& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  const PendingCalls::Call kept = *call;
  pending_.remove(effect.token);
  if (effect.reason == raft::effect::RejectReason::unsupported_call)
    return unsupported(kept.from, kept.request);
  answer_error(kept.from, reason_atom(effect.reason));
}

void Member::carry_out(raft::effect::AnswerOk& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  answer(call->from, etf::Writer().atom("ok").view());
  pending_.remove(effect.token);
}

void Member::carry_out(raft::effect::AnswerAlreadyLeader& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  answer(call->from, etf::Writer().atom("already_leader").view());
  pending_.remove(effect.token);
}

void Member::carry_out(raft::effect::DropCall& effect) { pending_.remove(effect.token); }

void Member::carry_out(raft::effect::ScheduleFlush&) {
  boost::asio::post(services_.io, [this, alive = alive_] {
    if (!*alive) return;
    counters_->add(Counter::command_flushes);
    step(raft::event::FlushLowPriority{});
  });
}

void Member::submit_transfer(std::string_view from, std::string_view request) {
  Tagged tagged(request);
  const std::optional<raft::ServerId> target = wire::read_server_id(tagged.elements);
  if (!target) return unsupported(from, request);
  step(raft::event::TransferLeadership{pending_.add(from, request), *target});
}

// --- aux commands
// -----------------------------------------------------------------------------------------------------

bool Member::run_aux(std::string_view command, etf::Writer& reply) {
  Tagged tagged(command);
  const bool wrapped = tagged.is("$wrap_reply", 2);
  if (wrapped) reply.tuple(2).atom("wrap_reply");
  const AuxResult result = machine_->handle_aux(wrapped ? tagged.next() : command, *this, reply);
  if (result.takes_snapshot) {
    counters_->add(Counter::release_cursors);
    snapshot_wanted_ = true;
    take_snapshot_when_durable();
  }
  return result.replies;
}

void Member::serve_aux(std::string_view from, std::string_view command) {
  counters_->add(Counter::aux_commands);
  etf::Writer reply;
  if (run_aux(command, reply)) answer(from, reply.view());
}

}  // namespace rakv::member
