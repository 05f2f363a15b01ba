// SPDX-License-Identifier: Apache-2.0
#include "raft/member/queries.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/node/gen.h"
#include "raft/wire/ids.h"
#include "raft/wire/tagged.h"

namespace rakv::member {

// --- evaluation
// -------------------------------------------------------------------------------------------------------

namespace {

/// `{Module, Function, Arguments}` without extra arguments, or `fun Module:Function/1`, as
/// "module:function".
std::string known_query(std::string_view query) {
  etf::Cursor cursor(query);
  if (cursor.kind() == etf::TermKind::export_fun) {
    const std::optional<etf::ExportView> fun = cursor.export_fun();
    if (!fun || fun->arity != 1) return {};
    return std::string(fun->module) + ":" + std::string(fun->function);
  }
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 3u) return {};
  if (cursor.kind() != etf::TermKind::atom) return {};
  std::string name(*cursor.atom());
  if (cursor.kind() != etf::TermKind::atom) return {};
  name += ":" + std::string(*cursor.atom());
  return cursor.nil() ? name : std::string();
}

}  // namespace

bool Queries::evaluate_known(std::string_view query, etf::Writer& result) const {
  const std::string name = known_query(query);
  const StateMachine& machine = seams_.machine();
  const std::string module(machine.module());
  if (name == "ra_lib:ignore") {
    result.atom("ok");
  } else if (name == "ra_lib:id") {
    machine.write_state(result);
  } else if (name == module + ":overview") {
    machine.write_overview(result);
  } else if (name == module + ":live_indexes") {
    const std::vector<std::uint64_t> indexes = machine.live_indexes();
    result.list(indexes.size());
    for (const std::uint64_t index : indexes) result.u64(index);
    result.nil();
  } else {
    return false;
  }
  return true;
}

// ra_machine:query/4 on the node that made the fun, where its module is loaded by construction;
// errors come out as on BEAM.
void Queries::evaluate_at_caller(std::string_view from, std::string_view query, Evaluated done) {
  const std::string node = node_of_caller(from);
  if (node.empty()) return;
  // The caller waits here while its node evaluates.
  const std::size_t bytes = 2 * from.size() + 4 * PendingCalls::kCallBytes;
  if (!seams_.calls.may_wait(bytes)) return seams_.refuse_for_memory(from);
  auto charge = std::make_shared<ByteCharge>(seams_.charge(bytes));
  const StateMachine& machine = seams_.machine();
  etf::Writer arguments;
  arguments.list(4).atom(machine.module()).raw(query);
  machine.write_state(arguments);
  arguments.map(3).atom("index").u64(seams_.applied().value());
  arguments.atom("term")
      .u64(seams_.core.current_term().value())
      .atom("machine_version")
      .u64(seams_.core.machine_version());
  arguments.nil();
  seams_.evaluate_at(node, arguments.view(),
                     [done = std::move(done), charge = std::move(charge), alive = alive_](
                         bool ok, std::string_view term) {
                       if (*alive) done(ok, term);
                     });
}

// --- local queries
// ------------------------------------------------------------------------------------------------------

void Queries::serve_local(std::string_view from, const wire::request::LocalQuery& asked) {
  if (asked.condition.index == raft::Index{}) return answer_local(from, asked.query);
  Waiting query{std::string(from), std::string(asked.query), asked.condition};
  if (!seams_.calls.may_wait(query.bytes())) return seams_.refuse_for_memory(from);
  seams_.calls.local_queries().grow(query.bytes());
  waiting_.push_back(std::move(query));
  check_waiting();
}

bool Queries::is_met(const raft::IndexTerm& condition) const {
  if (seams_.applied() < condition.index) return false;
  // Another term at that index: the awaited entry was lost, the query can never be answered (as
  // ra: it stays).
  const std::optional<std::uint64_t> term = seams_.term_at(condition.index.value());
  return term && raft::Term{*term} == condition.term;
}

void Queries::check_waiting() {
  if (waiting_.empty()) return;
  std::vector<Waiting> ready;
  std::erase_if(waiting_, [&](Waiting& query) {
    if (!is_met(query.condition)) return false;
    ready.push_back(std::move(query));
    return true;
  });
  if (!ready.empty()) charge_waiting();
  for (const Waiting& query : ready) {
    answer_local(query.from, query.query);
    awaited_index_ = std::max(awaited_index_, query.condition.index);
  }
}

void Queries::charge_waiting() {
  std::uint64_t bytes = 0;
  for (const Waiting& query : waiting_) bytes += query.bytes();
  seams_.calls.local_queries().resize(bytes);
}

void Queries::forget_callers_of(const std::string& node) {
  std::erase_if(waiting_, [&](const Waiting& query) { return node_of_caller(query.from) == node; });
  charge_waiting();
}

void Queries::write_leader(etf::Writer& writer) const {
  const raft::Role role = seams_.role();
  if (role == raft::Role::leader) {
    wire::write_server_id(writer, seams_.core.id());
  } else if (role == raft::Role::follower && seams_.core.leader()) {
    wire::write_server_id(writer, *seams_.core.leader());
  } else {
    writer.atom("not_known");
  }
}

void Queries::answer_local(std::string_view from, std::string_view query) {
  seams_.counters.add(Counter::local_queries);
  etf::Writer reply;
  reply.tuple(3).atom("ok").tuple(2).tuple(2);
  reply.u64(seams_.applied().value()).u64(seams_.core.current_term().value());
  if (evaluate_known(query, reply)) {
    write_leader(reply);
    return seams_.calls.answer(from, reply.view());
  }
  etf::Writer leader;
  write_leader(leader);
  evaluate_at_caller(from, query,
                     [this, from = std::string(from), head = reply.take(), leader = leader.take()](
                         bool ok, std::string_view term) {
                       etf::Writer made;
                       if (ok) {
                         made.append(head).raw(term).raw(leader);
                       } else {
                         made.tuple(2).atom("error").raw(term);
                       }
                       seams_.calls.answer(from, made.view());
                     });
}

// --- consistent reads
// -----------------------------------------------------------------------------------------------------

void Queries::carry_out(const raft::effect::ReadReady& effect) {
  const PendingCalls::Call* call = seams_.calls.pending().find(effect.token);
  if (call == nullptr) return;
  const wire::ClientRequest asked = wire::decode_client_request(call->request);
  if (const auto* aux = std::get_if<wire::request::ConsistentAux>(&asked)) {
    etf::Writer reply;
    reply.tuple(2).atom("wrap_reply");
    if (run_aux(aux->command, reply)) seams_.calls.answer(call->from, reply.view());
    return seams_.calls.pending().remove(effect.token);
  }
  const std::string from = call->from;
  const std::string query(std::get<wire::request::ConsistentQuery>(asked).query);
  seams_.calls.pending().remove(effect.token);
  answer_consistent(from, query);
}

void Queries::answer_consistent(const std::string& from, std::string_view query) {
  etf::Writer reply;
  reply.tuple(3).atom("ok");
  if (evaluate_known(query, reply)) {
    wire::write_server_id(reply, seams_.core.id());
    return seams_.calls.answer(from, reply.view());
  }
  evaluate_at_caller(from, query, [this, from](bool ok, std::string_view term) {
    etf::Writer made;
    if (ok) {
      made.tuple(3).atom("ok").raw(term);
      wire::write_server_id(made, seams_.core.id());
    } else {
      made.tuple(2).atom("error").raw(term);
    }
    seams_.calls.answer(from, made.view());
  });
}

// --- aux commands
// -----------------------------------------------------------------------------------------------------

bool Queries::run_aux(std::string_view command, etf::Writer& reply) {
  wire::Tagged tagged(command);
  const bool wrapped = tagged.is("$wrap_reply", 2);
  if (wrapped) reply.tuple(2).atom("wrap_reply");
  const AuxResult result =
      seams_.machine().handle_aux(wrapped ? tagged.next() : command, seams_.aux_context, reply);
  if (result.takes_snapshot) {
    seams_.counters.add(Counter::release_cursors);
    seams_.want_snapshot();
  }
  return result.replies;
}

void Queries::serve_aux(std::string_view from, std::string_view command) {
  seams_.counters.add(Counter::aux_commands);
  etf::Writer reply;
  if (run_aux(command, reply)) seams_.calls.answer(from, reply.view());
}

}  // namespace rakv::member
