// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "cnode/distribution/turn.h"
#include "cnode/etf/text.h"
#include "cnode/node/gen.h"
#include "raft/member/member.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"
#include "raft/wire/tagged.h"

// Clients' requests (docs/protocol/wire.md 4).

namespace rakv::member {
namespace {

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

raft::event::CommandKind kind_of(wire::request::Command::Kind asked) {
  switch (asked) {
    case wire::request::Command::Kind::join:
      return raft::event::CommandKind::join;
    case wire::request::Command::Kind::leave:
      return raft::event::CommandKind::leave;
    case wire::request::Command::Kind::delete_cluster:
      return raft::event::CommandKind::delete_cluster;
    case wire::request::Command::Kind::user:
    case wire::request::Command::Kind::unsupported:
      break;
  }
  return raft::event::CommandKind::user;
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
  wire::write_error(reply_, reason_atom);
  answer(from, reply_.view());
}

void Member::answer_redirect(std::string_view from, const raft::ServerId& leader) {
  reply_.clear();
  wire::write_redirect(reply_, leader);
  answer(from, reply_.view());
}

void Member::unsupported(std::string_view from, std::string_view request) {
  reply_.clear();
  wire::write_unsupported_call(reply_, request);
  answer(from, reply_.view());
}

void Member::handle_call(std::string_view from, std::string_view request) {
  const wire::AddressedRequest asked = wire::unwrap_call(request);
  if (farewell_) return handle_call_after_removal(from, asked);
  const wire::ClientRequest decoded = wire::decode_client_request(asked.term);
  if (asked.for_leader) return handle_leader_call(from, asked.term, decoded);
  if (const auto* command = std::get_if<wire::request::Command>(&decoded))
    return submit_command(from, asked.term, *command, false);
  const bool unknown = std::holds_alternative<wire::request::Unknown>(decoded);
  if (unknown && handle_peer_call(from, asked.term)) return;
  flush_commands();
  if (std::holds_alternative<wire::request::TriggerElection>(decoded)) {
    if (!voters_.takes_part()) return answer_stays_out(from);
    if (blocked() && !may_wait(asked.term.size())) return refuse_for_memory(from);
    return step(raft::event::TriggerElection{pending_.add(from, asked.term)});
  }
  if (std::holds_alternative<wire::request::ForceMemberChange>(decoded)) {
    voters_.forget();
    if (blocked() && !may_wait(asked.term.size())) return refuse_for_memory(from);
    return step(raft::event::ForceMemberChange{pending_.add(from, asked.term)});
  }
  if (!serve(from, decoded)) unsupported(from, asked.term);
}

void Member::answer_stays_out(std::string_view from) {
  const bool out = voters_.standing() == VoterIdentities::Standing::stays_out;
  reply_.clear();
  reply_.tuple(2).atom("error").tuple(2).atom(out ? "stays_out" : "undecided");
  reply_.binary(voters_.why());
  answer(from, reply_.view());
}

void Member::handle_cast(std::string_view request) {
  const wire::AddressedRequest asked = wire::unwrap_cast(request);
  const wire::ClientRequest decoded = wire::decode_client_request(asked.term);
  const auto* command = std::get_if<wire::request::Command>(&decoded);
  if (asked.for_leader) {
    if (core_.role() == raft::Role::leader && command != nullptr)
      submit_command({}, asked.term, *command, false);
    return;
  }
  if (command != nullptr) return submit_command({}, asked.term, *command, false);
  if (std::holds_alternative<wire::request::AuxCommand>(decoded)) {
    counters_->add(Counter::aux_commands);
    return;  // no machine has an aux command that acts without a caller
  }
  if (std::holds_alternative<wire::request::CompactLog>(decoded))
    return log_.trigger_major_compaction();
  if (handle_peer_cast(asked.term)) return;
  spdlog::debug("{}: unknown cast {}", log_id_, etf::print_text(asked.term));
}

void Member::handle_leader_call(std::string_view from, std::string_view request,
                                const wire::ClientRequest& decoded) {
  if (voters_.standing() == VoterIdentities::Standing::stays_out) return answer_stays_out(from);
  const std::size_t bytes = from.size() + request.size();
  const bool waits = requests_wait();
  if (waits && !may_wait(bytes)) return refuse_for_memory(from);
  if (const auto* command = std::get_if<wire::request::Command>(&decoded))
    return submit_command(from, request, *command, true);
  if (std::holds_alternative<wire::request::MalformedCommand>(decoded))
    return unsupported(from, request);
  flush_commands();
  if (std::holds_alternative<wire::request::ConsistentQuery>(decoded) ||
      std::holds_alternative<wire::request::ConsistentAux>(decoded)) {
    counters_->add(Counter::consistent_queries);
    // Even a leader has to ask whether it still is one.
    if (!waits && !may_query(bytes)) return refuse_for_memory(from);
    return step(raft::event::ReadRequest{waits ? pending_.add(from, request)
                                               : pending_.add_query(from, request)});
  }
  if (const auto* transfer = std::get_if<wire::request::TransferLeadership>(&decoded)) {
    if (!transfer->target) return unsupported(from, request);
    return step(raft::event::TransferLeadership{pending_.add(from, request), *transfer->target});
  }
  step(raft::event::LeaderRequest{pending_.add(from, request)});
}

void Member::carry_out(raft::effect::ServeLeaderRequest& effect) {
  const PendingCalls::Call* call = pending_.find(effect.token);
  if (call == nullptr) return;
  const PendingCalls::Call kept = *call;
  pending_.remove(effect.token);
  const wire::ClientRequest decoded = wire::decode_client_request(kept.request);
  if (const auto* command = std::get_if<wire::request::Command>(&decoded)) {
    // It was held because it can't be accepted: now it is refused.
    submit_command(kept.from, kept.request, *command, true);
  } else if (!serve(kept.from, decoded)) {
    unsupported(kept.from, kept.request);
  }
}

bool Member::serve(std::string_view from, const wire::ClientRequest& request) {
  namespace asked = wire::request;
  if (std::holds_alternative<asked::Ping>(request)) {
    reply_.clear();
    // As ra, whose terminating states answer as what they were.
    std::string_view state = shown_state();
    if (state == to_string(raft::Role::terminating_leader)) state = "leader";
    if (state == to_string(raft::Role::terminating_follower)) state = "follower";
    reply_.tuple(2).atom("pong").atom(state);
    answer(from, reply_.view());
  } else if (const auto* state = std::get_if<asked::StateQuery>(&request)) {
    serve_state_query(from, state->what);
  } else if (const auto* local = std::get_if<asked::LocalQuery>(&request)) {
    serve_local_query(from, *local);
  } else if (const auto* aux = std::get_if<asked::AuxCommand>(&request)) {
    serve_aux(from, aux->command);
  } else if (const auto* entries = std::get_if<asked::ReadEntries>(&request);
             entries != nullptr && core_.role() != raft::Role::receive_snapshot) {
    serve_read_entries(from, *entries);
  } else {
    return false;
  }
  return true;
}

// --- commands
// ---------------------------------------------------------------------------------------------------------

void Member::submit_command(std::string_view from, std::string_view request,
                            const wire::request::Command& asked, bool leader_call) {
  using Asked = wire::request::Command::Kind;
  const bool leading = core_.role() == raft::Role::leader;
  if (leading) counters_->add(Counter::commands);

  raft::event::ClientCommand command;
  command.leader_call = leader_call;
  if (asked.kind == Asked::user) command.priority = asked.priority;

  // What can't be accepted is refused by the leader only: a follower sends the caller on.
  std::string refusal;
  if (const std::optional<std::string> bad_mode = wire::invalid_reply_mode(asked.mode)) {
    counters_->add(Counter::invalid_reply_mode_commands);
    refusal = *bad_mode;
  } else if (asked.kind == Asked::user) {
    if (const Result<void> accepted = machine_->check_command(asked.data); !accepted) {
      refusal = etf::Writer()
                    .tuple(2)
                    .atom("unsupported_command")
                    .binary(accepted.error().message)
                    .take();
    }
  } else if (asked.kind == Asked::unsupported) {
    return unsupported(from, request);
  } else {
    command.kind = kind_of(asked.kind);
    command.server = asked.server;
    command.voter_status = asked.voter_status;
  }
  if (!refusal.empty()) {
    if (!leading && from.empty()) return reject_notification(asked.mode, core_.leader());
    if (leading || !leader_call) {
      if (from.empty()) return;
      reply_.clear();
      reply_.tuple(2).atom("error").raw(refusal);
      return answer(from, reply_.view());
    }
    return step(raft::event::LeaderRequest{pending_.add(from, request)});
  }

  if (leading && overloaded()) {
    if (from.empty()) return reject_notification(asked.mode, std::nullopt);
    return answer_error(from, "wal_down");
  }
  // What came as a cast, or with low priority, waits, too: behind a store, or behind others.
  const bool queues = blocked() || command.priority == raft::event::Priority::low;
  if (queues && !may_wait(request.size())) {
    if (from.empty()) return reject_notification(asked.mode, std::nullopt);
    return refuse_for_memory(from);
  }

  // The request itself is needed again only where the core's answer may be about it.
  const bool keep_request = command.kind != raft::event::CommandKind::user;
  if (!from.empty() || keep_request || queues) {
    const bool answer_when_appended =
        wire::parse_reply_mode(asked.mode).kind == wire::ReplyMode::Kind::after_log_append;
    command.token = pending_.add(from, keep_request ? request : std::string_view{},
                                 answer_when_appended, request.size());
  }
  const std::int64_t now = services_.system_time_ms();
  if (command.kind == raft::event::CommandKind::user) {
    // A large message becomes the entry where it lies; `from` and `request` are gone then.
    command.payload = wire::encode_user_within(services_.node.take_message(asked.data), now, from,
                                               asked.data, asked.mode);
  } else if (command.kind == raft::event::CommandKind::delete_cluster) {
    command.payload = wire::encode_cluster_delete(now, from, asked.mode);
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
    reply_.tuple(2).atom("error").tuple(2).atom("unsupported_call");
    wire::write_user_command(reply_, command.priority, entry.data, entry.mode);
    answer(from, reply_.view());
  } else if (mode.kind == wire::ReplyMode::Kind::noreply && effect.leader &&
             *effect.leader != id_) {
    services_.node.cast(pid_, effect.leader->node(), effect.leader->name(),
                        [&](distribution::OutMessage& out) {
                          etf::Writer writer(out.text);
                          wire::write_user_command(writer, command.priority, entry.data,
                                                   etf::Writer().atom("noreply").view());
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

// --- aux commands
// -----------------------------------------------------------------------------------------------------

bool Member::run_aux(std::string_view command, etf::Writer& reply) {
  wire::Tagged tagged(command);
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
