// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/gen.h"
#include "raft/member/member.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

// Queries (docs/protocol/wire.md 4.5 to 4.7).

namespace rakv::member {
namespace {

/// How long the caller's node may take to evaluate a fun.
constexpr std::chrono::milliseconds kEvaluationTimeout{30'000};

}  // namespace

void Member::write_query_leader(etf::Writer& writer) const {
  if (role() == raft::Role::leader) {
    wire::write_server_id(writer, id_);
  } else if (role() == raft::Role::follower && core_.leader()) {
    wire::write_server_id(writer, *core_.leader());
  } else {
    writer.atom("not_known");
  }
}

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

bool Member::evaluate_known(std::string_view query, etf::Writer& result) const {
  const std::string name = known_query(query);
  const std::string module(machine_->module());
  if (name == "ra_lib:ignore") {
    result.atom("ok");
  } else if (name == "ra_lib:id") {
    machine_->write_state(result);
  } else if (name == module + ":overview") {
    machine_->write_overview(result);
  } else if (name == module + ":live_indexes") {
    const std::vector<std::uint64_t> indexes = machine_->live_indexes();
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
void Member::evaluate_at_caller(std::string_view from, std::string_view query,
                                std::function<void(bool ok, std::string_view term)> done) {
  etf::Cursor cursor(from);
  const std::optional<node::ReplyAddress> address = node::parse_from(cursor);
  if (!address) return;
  // The caller waits here while its node evaluates.
  const std::size_t bytes = 2 * from.size() + 4 * PendingCalls::kCallBytes;
  if (!may_wait(bytes)) return refuse_for_memory(from);
  auto charge =
      std::make_shared<ByteCharge>(services_.node.charge(&MemoryAccounts::waiting, bytes));
  etf::Writer arguments;
  arguments.list(4).atom(machine_->module()).raw(query);
  machine_->write_state(arguments);
  arguments.map(3).atom("index").u64(applied_.value());
  arguments.atom("term")
      .u64(core_.current_term().value())
      .atom("machine_version")
      .u64(core_.machine_version());
  arguments.nil();
  services_.node.apply(address->pid.node, "ra_machine", "query", arguments.view(),
                       kEvaluationTimeout,
                       [done = std::move(done), charge = std::move(charge),
                        alive = alive_](const node::ApplyResult& result) {
                         if (!*alive || result.status == node::ApplyResult::Status::timeout) return;
                         done(result.status == node::ApplyResult::Status::returned, result.term);
                       });
}

// --- local queries
// ------------------------------------------------------------------------------------------------------

void Member::serve_local_query(std::string_view from, const wire::request::LocalQuery& asked) {
  if (asked.condition.index == raft::Index{}) return answer_local_query(from, asked.query);
  const std::size_t bytes = from.size() + asked.query.size() + PendingCalls::kCallBytes;
  if (!may_wait(bytes)) return refuse_for_memory(from);
  conditional_queries_.push_back({std::string(from), std::string(asked.query), asked.condition});
  conditional_charge_.grow(bytes);
  check_conditional_queries();
}

void Member::check_conditional_queries() {
  if (conditional_queries_.empty()) return;
  std::vector<ConditionalQuery> ready;
  std::erase_if(conditional_queries_, [&](ConditionalQuery& waiting) {
    if (applied_ < waiting.condition.index) return false;
    // Another term at that index: the awaited entry was lost, the query can never be answered (as
    // ra: it stays).
    const std::optional<raftlog::Term> term = log_.term_at(waiting.condition.index.value());
    if (!term || raft::Term{*term} != waiting.condition.term) return false;
    ready.push_back(std::move(waiting));
    return true;
  });
  if (!ready.empty()) charge_conditional_queries();
  for (const ConditionalQuery& query : ready) {
    answer_local_query(query.from, query.query);
    awaited_index_ = std::max(awaited_index_, query.condition.index);
  }
  end_farewell_when_seen();
}

void Member::answer_local_query(std::string_view from, std::string_view query) {
  counters_->add(Counter::local_queries);
  etf::Writer reply;
  reply.tuple(3).atom("ok").tuple(2).tuple(2);
  reply.u64(applied_.value()).u64(core_.current_term().value());
  if (evaluate_known(query, reply)) {
    write_query_leader(reply);
    return answer(from, reply.view());
  }
  etf::Writer leader;
  write_query_leader(leader);
  evaluate_at_caller(from, query,
                     [this, from = std::string(from), head = reply.take(), leader = leader.take()](
                         bool ok, std::string_view term) {
                       etf::Writer made;
                       if (ok) {
                         made.append(head).raw(term).raw(leader);
                       } else {
                         made.tuple(2).atom("error").raw(term);
                       }
                       answer(from, made.view());
                     });
}

// --- consistent reads
// -----------------------------------------------------------------------------------------------------

void Member::carry_out(raft::effect::ReadReady& effect) { serve_read(effect.token); }

void Member::serve_read(raft::CallToken token) {
  const PendingCalls::Call* call = pending_.find(token);
  if (call == nullptr) return;
  const wire::ClientRequest asked = wire::decode_client_request(call->request);
  etf::Writer reply;
  if (const auto* aux = std::get_if<wire::request::ConsistentAux>(&asked)) {
    reply.tuple(2).atom("wrap_reply");
    if (run_aux(aux->command, reply)) answer(call->from, reply.view());
    return pending_.remove(token);
  }
  const std::string from = call->from;
  const std::string query(std::get<wire::request::ConsistentQuery>(asked).query);
  pending_.remove(token);
  reply.tuple(3).atom("ok");
  if (evaluate_known(query, reply)) {
    wire::write_server_id(reply, id_);
    return answer(from, reply.view());
  }
  evaluate_at_caller(from, query, [this, from](bool ok, std::string_view term) {
    etf::Writer made;
    if (ok) {
      made.tuple(3).atom("ok").raw(term);
      wire::write_server_id(made, id_);
    } else {
      made.tuple(2).atom("error").raw(term);
    }
    answer(from, made.view());
  });
}

// --- state queries
// ----------------------------------------------------------------------------------------------------------

void Member::serve_state_query(std::string_view from, std::string_view spec) {
  etf::Cursor cursor(spec);
  const std::string_view name =
      cursor.kind() == etf::TermKind::atom ? cursor.atom().value_or("") : std::string_view{};
  etf::Writer reply;
  reply.tuple(3).atom("ok");
  if (name == "members") {
    write_member_ids(reply);
  } else if (name == "voters") {
    write_voters(reply);
  } else if (name == "leader") {
    if (core_.leader()) {
      wire::write_server_id(reply, *core_.leader());
    } else {
      reply.atom("undefined");
    }
  } else if (name == "last_applied") {
    reply.u64(applied_.value());
  } else if (name == "machine") {
    machine_->write_state(reply);
  } else if (name == "initial_members") {
    const std::vector<raftlog::ServerId>& initial = log_.config().initial_members;
    reply.list(initial.size());
    for (const raftlog::ServerId& member : initial)
      reply.tuple(2).atom(member.name).atom(member.node);
    reply.nil();
  } else if (name == "members_info") {
    write_members_info(reply);
  } else if (name == "overview" || name == "all") {
    write_overview(reply);  // `all` is a BEAM member's inside: there is no such thing here
  } else {
    reply.tuple(2).atom("error").tuple(2).atom("unknown_query").raw(spec);
  }
  wire::write_server_id(reply, id_);
  answer(from, reply.view());
}

void Member::write_member_ids(etf::Writer& writer) const {
  writer.list(core_.cluster().size());
  for (const auto& [member, config] : core_.cluster()) wire::write_server_id(writer, member);
  writer.nil();
}

void Member::write_voters(etf::Writer& writer) const {
  std::vector<raft::ServerId> voters;
  for (const auto& [member, config] : core_.cluster()) {
    if (config.is_voter()) voters.push_back(member);
  }
  writer.list(voters.size());
  for (auto voter = voters.rbegin(); voter != voters.rend(); ++voter)
    wire::write_server_id(writer, *voter);
  writer.nil();
}

void Member::write_members_info(etf::Writer& writer) const {
  const bool leading = core_.role() == raft::Role::leader;
  writer.map(core_.cluster().size());
  for (const auto& [member, config] : core_.cluster()) {
    wire::write_server_id(writer, member);
    if (member == id_) {
      writer.map(leading ? 5 : 3);
      if (leading) {
        writer.atom("next_index").u64(core_.commit_index().value() + 1);
        writer.atom("status").atom("normal");
      }
      writer.atom("match_index").u64(core_.commit_index().value());
      writer.atom("query_index").u64(core_.query_index().value());
      raft::VoterStatus status;
      if (leading && config.voter_status) status = *config.voter_status;
      status.membership = core_.membership();
      writer.atom("voter_status");
      wire::write_voter_status(writer, status);
    } else if (leading && core_.peers() != nullptr && core_.peers()->contains(member)) {
      raft::Peer peer = core_.peers()->at(member);
      if (!peer.config.voter_status)
        peer.config.voter_status = raft::VoterStatus{raft::Membership::voter, {}, {}};
      wire::write_peer(writer, peer);
    } else {
      writer.map(0);
    }
  }
}

// All that is found is in the answer's map; nothing is left to be read from files by the caller.
void Member::serve_read_entries(std::string_view from, const wire::request::ReadEntries& asked) {
  if (!asked.indexes) return unsupported(from, asked.list);
  std::vector<raftlog::Index> wanted;
  std::uint64_t bytes = 0;
  for (const std::uint64_t index : *asked.indexes) {
    if (index == 0 || !log_.has(index)) continue;
    wanted.push_back(index);
    bytes += log_.payload_bytes(index);
  }
  // All of them are in memory at once: more than a single value may be, is too much for one answer.
  const MemoryAccounts* memory = services_.node.memory();
  if (memory != nullptr && wanted.size() > 1 && bytes > memory->outgoing.limit())
    return refuse_for_memory(from);
  services_.node.when_room(node_of(from), bytes,
                           [this, from = std::string(from), wanted = std::move(wanted),
                            alive = alive_](std::optional<ByteCharge> room) {
                             if (!*alive || !room) return;
                             answer_entries(from, wanted,
                                            std::make_shared<ByteCharge>(std::move(*room)));
                           });
}

void Member::answer_entries(const std::string& from, std::vector<raftlog::Index> wanted,
                            std::shared_ptr<ByteCharge> room) {
  entry_repair_.read(std::move(wanted), [this, from, room = std::move(room), alive = alive_](
                                            Result<std::vector<raftlog::Entry>> entries) {
    if (!*alive) return;
    etf::Writer reply;
    if (!entries) {
      reply.tuple(2).atom("error").tuple(2).atom("not_readable").binary(entries.error().message);
      return answer(from, reply.view());
    }
    reply.tuple(2).atom("ok").tuple(4).atom("read_plan").byte_list(log_.uid()).map(entries->size());
    for (const raftlog::Entry& entry : *entries) {
      reply.u64(entry.index)
          .tuple(3)
          .u64(entry.index)
          .u64(entry.term)
          .raw(entry.payload.view().substr(1));
    }
    reply.nil();
    answer(from, reply.view());
  });
}

}  // namespace rakv::member
