// SPDX-License-Identifier: Apache-2.0
#include "raft/wire/messages.h"

#include <spdlog/spdlog.h>

#include "cnode/etf/text.h"
#include "cnode/node/gen.h"
#include "raft/member/member.h"
#include "raft/member/overview.h"
#include "raft/wire/client_requests.h"

// What comes to a member: clients' requests (docs/protocol/wire.md 4), messages of other members (2
// and 3), and OTP's.

namespace rakv::member {

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
  commands_.flush();
  if (handle_system_message(gen->request)) return;
  spdlog::debug("{}: unknown message {}", log_id_, etf::print_brief(gen->request));
}

void Member::handle_call(std::string_view from, std::string_view request) {
  const wire::AddressedRequest asked = wire::unwrap_call(request);
  if (farewell_.has_begun()) return farewell_.handle_call(from, asked);
  const wire::ClientRequest decoded = wire::decode_client_request(asked.term);
  if (asked.for_leader) return handle_leader_call(from, asked.term, decoded);
  if (const auto* command = std::get_if<wire::request::Command>(&decoded))
    return commands_.submit(from, asked.term, *command, false);
  const bool unknown = std::holds_alternative<wire::request::Unknown>(decoded);
  if (unknown && handle_peer_call(from, asked.term)) return;
  commands_.flush();
  if (std::holds_alternative<wire::request::TriggerElection>(decoded)) {
    if (!voters_.takes_part()) return answer_stays_out(from);
    if (blocked() && !calls_.may_wait(asked.term.size())) return refuse_for_memory(from);
    return step(raft::event::TriggerElectionRequested{calls_.pending().add(from, asked.term)});
  }
  if (std::holds_alternative<wire::request::ForceMemberChange>(decoded)) {
    voters_.forget();
    if (blocked() && !calls_.may_wait(asked.term.size())) return refuse_for_memory(from);
    return step(raft::event::ForceMemberChangeRequested{calls_.pending().add(from, asked.term)});
  }
  if (!serve(from, decoded)) calls_.answer_unsupported(from, asked.term);
}

void Member::answer_stays_out(std::string_view from) {
  const bool out = voters_.standing() == VoterIdentities::Standing::stays_out;
  etf::Writer reply;
  reply.tuple(2).atom("error").tuple(2).atom(out ? "stays_out" : "undecided");
  reply.binary(voters_.why());
  calls_.answer(from, reply.view());
}

void Member::handle_cast(std::string_view request) {
  const wire::AddressedRequest asked = wire::unwrap_cast(request);
  const wire::ClientRequest decoded = wire::decode_client_request(asked.term);
  const auto* command = std::get_if<wire::request::Command>(&decoded);
  if (asked.for_leader) {
    if (core_.role() == raft::Role::leader && command != nullptr)
      commands_.submit({}, asked.term, *command, false);
    return;
  }
  if (command != nullptr) return commands_.submit({}, asked.term, *command, false);
  if (std::holds_alternative<wire::request::AuxCommand>(decoded)) {
    counters_->add(Counter::aux_commands);
    return;  // no machine has an aux command that acts without a caller
  }
  if (std::holds_alternative<wire::request::CompactLog>(decoded))
    return log_.trigger_major_compaction();
  if (handle_peer_cast(asked.term)) return;
  spdlog::debug("{}: unknown cast {}", log_id_, etf::print_brief(asked.term));
}

void Member::handle_leader_call(std::string_view from, std::string_view request,
                                const wire::ClientRequest& decoded) {
  if (voters_.standing() == VoterIdentities::Standing::stays_out) return answer_stays_out(from);
  const std::size_t bytes = from.size() + request.size();
  const bool waits = requests_wait();
  if (waits && !calls_.may_wait(bytes)) return refuse_for_memory(from);
  if (const auto* command = std::get_if<wire::request::Command>(&decoded))
    return commands_.submit(from, request, *command, true);
  if (std::holds_alternative<wire::request::MalformedCommand>(decoded))
    return calls_.answer_unsupported(from, request);
  commands_.flush();
  if (std::holds_alternative<wire::request::ConsistentQuery>(decoded) ||
      std::holds_alternative<wire::request::ConsistentAux>(decoded)) {
    counters_->add(Counter::consistent_queries);
    // Even a leader has to ask whether it still is one.
    if (!waits && !calls_.may_query(bytes)) return refuse_for_memory(from);
    return step(raft::event::ReadRequest{waits ? calls_.pending().add(from, request)
                                               : calls_.pending().add_query(from, request)});
  }
  if (const auto* transfer = std::get_if<wire::request::TransferLeadership>(&decoded)) {
    if (!transfer->target) return calls_.answer_unsupported(from, request);
    return step(raft::event::TransferLeadershipRequested{calls_.pending().add(from, request),
                                                         *transfer->target});
  }
  step(raft::event::LeaderRequest{calls_.pending().add(from, request)});
}

void Member::carry_out(raft::effect::ServeLeaderRequest& effect) {
  const std::optional<PendingCalls::Call> call = calls_.take(effect.token);
  if (!call) return;
  const wire::ClientRequest decoded = wire::decode_client_request(call->request);
  if (const auto* command = std::get_if<wire::request::Command>(&decoded)) {
    // It was held because it can't be accepted: now it is refused.
    commands_.submit(call->from, call->request, *command, true);
  } else if (!serve(call->from, decoded)) {
    calls_.answer_unsupported(call->from, call->request);
  }
}

bool Member::serve(std::string_view from, const wire::ClientRequest& request) {
  namespace asked = wire::request;
  if (std::holds_alternative<asked::Ping>(request)) {
    // As ra, whose terminating states answer as what they were.
    std::string_view state = shown_state(*this);
    if (state == to_string(raft::Role::terminating_leader)) state = "leader";
    if (state == to_string(raft::Role::terminating_follower)) state = "follower";
    calls_.answer(from, etf::Writer().tuple(2).atom("pong").atom(state).view());
  } else if (const auto* state = std::get_if<asked::StateQuery>(&request)) {
    etf::Writer reply;
    write_state_query_answer(*this, state->what, reply);
    calls_.answer(from, reply.view());
  } else if (const auto* local = std::get_if<asked::LocalQuery>(&request)) {
    queries_.serve_local(from, *local);
    farewell_.end_when_seen();
  } else if (const auto* aux = std::get_if<asked::AuxCommand>(&request)) {
    queries_.serve_aux(from, aux->command);
  } else if (const auto* entries = std::get_if<asked::ReadEntries>(&request);
             entries != nullptr && core_.role() != raft::Role::receive_snapshot) {
    entry_reads_.serve(from, *entries);
  } else {
    return false;
  }
  return true;
}

// --- what peers send
// ---------------------------------------------------------------------------------------------------------

bool Member::handle_peer_call(std::string_view from, std::string_view request) {
  Result<std::optional<wire::PeerCall>> call = wire::decode_peer_call(request);
  if (!call) {
    spdlog::warn("{}: a malformed call: {}", log_id_, call.error().message);
    return false;  // an unknown request, as to ra
  }
  if (!*call) return false;
  const auto* snapshot = std::get_if<raft::InstallSnapshotRpc>(&**call);
  if (!voters_.takes_part() && (snapshot == nullptr || !voters_.may_follow(snapshot->leader)))
    return true;  // as if it were not here
  ByteCharge charge;
  if (!may_step_for_peer(request.size(), charge)) return true;
  if (auto* vote = std::get_if<raft::RequestVoteRpc>(&**call)) {
    step(raft::event::VoteRequested{calls_.pending().add(from, request), *vote}, std::move(charge));
  } else if (auto* pre_vote = std::get_if<wire::PreVoteCall>(&**call)) {
    step(raft::event::PreVoteRequested{calls_.pending().add(from, request), pre_vote->rpc},
         std::move(charge));
  } else {
    // Chunks are large; an error answer names the record only.
    const std::string name = etf::Writer().atom("install_snapshot_rpc").take();
    step(raft::event::InstallSnapshot{calls_.pending().add(from, name),
                                      std::move(std::get<raft::InstallSnapshotRpc>(**call))},
         std::move(charge));
  }
  return true;
}

/// Who does not take part yet heeds a leader that it knows, and nobody else.
bool Member::may_heed(const raft::Event& event) const {
  if (voters_.takes_part()) return true;
  if (const auto* append = std::get_if<raft::event::AppendEntries>(&event))
    return voters_.may_follow(append->rpc.leader);
  const auto* heartbeat = std::get_if<raft::event::Heartbeat>(&event);
  return heartbeat != nullptr && voters_.may_follow(heartbeat->rpc.leader);
}

bool Member::handle_peer_cast(std::string_view request) {
  Result<std::optional<raft::Event>> event = wire::decode_peer_cast(request);
  if (!event) {
    spdlog::warn("{}: ignored a malformed message: {}", log_id_, event.error().message);
    return true;
  }
  if (!*event) return false;
  if (!may_heed(**event)) return true;
  bool brings_entries = false;
  if (const auto* append = std::get_if<raft::event::AppendEntries>(&**event)) {
    brings_entries = !append->rpc.entries.empty();
    counters_->add(brings_entries ? Counter::aer_received_follower
                                  : Counter::aer_received_follower_empty);
  }
  // More than may wait for the disk: as if lost on the way. The leader sends it again when the next
  // message shows the gap, or when there is room (ask_again()).
  ByteCharge charge;
  if ((brings_entries && overloaded()) || !may_step_for_peer(request.size(), charge)) {
    entries_dropped_ |= brings_entries;
    return true;
  }
  step(std::move(**event), std::move(charge));
  return true;
}

// --- OTP
// ---------------------------------------------------------------------------------------------------------

// OTP's system messages. Whoever sends one waits, so each is answered. What this server can do is
// to end, which is what gen_statem:stop/1 asks for; it has no Erlang state to show or to replace.
bool Member::handle_system_message(std::string_view message) {
  const std::optional<node::SystemMessage> system = node::parse_system_message(message);
  if (!system) return false;
  const std::string from(system->from);
  if (!system->end_for) {
    etf::Writer reply;
    reply.tuple(2).atom("error").tuple(2).atom("unsupported_system_message").raw(system->request);
    calls_.answer(from, reply.view());
    return true;
  }
  calls_.answer_atom(from, "ok");
  // A server that ends in order stays stopped; any other end is a crash, and its supervisor starts
  // it again.
  etf::Cursor reason(*system->end_for);
  const std::string_view name =
      reason.kind() == etf::TermKind::atom ? reason.atom().value_or("") : std::string_view{};
  if (name == "normal" || name == "shutdown") {
    end(raft::effect::StopReason::removed);
  } else {
    services_.on_crash(id_.name(), "shutdown");
  }
  return true;
}

}  // namespace rakv::member
