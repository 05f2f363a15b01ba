// SPDX-License-Identifier: Apache-2.0
#include "raft/wire/client_requests.h"

#include <algorithm>
#include <array>

#include "cnode/etf/map_pairs.h"
#include "raft/wire/tagged.h"

namespace rakv::wire {
namespace {

/// Who joins or leaves, in either form of the data.
bool read_server(std::string_view data, request::Command& command) {
  etf::Cursor cursor(data);
  if (cursor.kind() == etf::TermKind::tuple) {
    std::optional<raft::ServerId> server = read_server_id(cursor);
    if (!server) return false;
    command.server = std::move(*server);
    return true;
  }
  std::optional<JoinData> join = read_join_data(cursor);
  if (!join) return false;
  command.server = std::move(join->id);
  command.voter_status = std::move(join->voter_status);
  return true;
}

request::Command::Kind read_kind(std::string_view type, request::Command& command) {
  using Kind = request::Command::Kind;
  if (type == "$usr") return Kind::user;
  if (type == "$ra_join")
    return read_server(command.data, command) ? Kind::join : Kind::unsupported;
  if (type == "$ra_leave")
    return read_server(command.data, command) ? Kind::leave : Kind::unsupported;
  if (type == "$ra_cluster" && etf::Cursor(command.data).is_atom("delete"))
    return Kind::delete_cluster;
  return Kind::unsupported;
}

ClientRequest read_command(Tagged& tagged) {
  request::Command command;
  etf::Cursor& cursor = tagged.elements;
  if (cursor.is_atom("low")) {
    command.priority = raft::event::Priority::low;
  } else if (!cursor.is_atom("normal")) {
    return request::MalformedCommand{};
  }
  if (cursor.kind() != etf::TermKind::tuple || !cursor.tuple(3) ||
      cursor.kind() != etf::TermKind::atom)
    return request::MalformedCommand{};
  // The name of a Latin-1 atom lives in its cursor.
  const std::string_view type = cursor.atom().value_or("");
  command.data = cursor.skip().value_or(std::string_view{});
  command.mode = cursor.skip().value_or(std::string_view{});
  if (command.mode.empty()) return request::MalformedCommand{};
  command.kind = read_kind(type, command);
  return command;
}

/// `#{condition => {applied, {Index, Term}}}`; other options, and other forms, count as none.
raft::IndexTerm read_condition(std::string_view options) {
  raft::IndexTerm condition;
  const std::optional<std::string_view> value = etf::map_value(options, "condition");
  etf::Cursor cursor(value.value_or(std::string_view{}));
  if (!cursor.tuple(2) || !cursor.is_atom("applied") || !cursor.tuple(2)) return condition;
  condition.index = raft::Index{cursor.u64().value_or(0)};
  condition.term = raft::Term{cursor.u64().value_or(0)};
  return condition;
}

std::optional<std::vector<std::uint64_t>> read_indexes(std::string_view list) {
  constexpr std::uint32_t kMaxIndexes = 1'000'000;  // each takes more in memory than in the list
  std::vector<std::uint64_t> indexes;
  const auto add = [&](std::uint64_t index) {
    if (index > 0) indexes.push_back(index);
  };
  etf::Cursor cursor(list);
  if (cursor.kind() == etf::TermKind::string) {
    for (const char byte : cursor.string().value_or("")) add(static_cast<unsigned char>(byte));
  } else {
    const std::optional<std::uint32_t> count = cursor.list();
    if (!count || *count > kMaxIndexes) return std::nullopt;
    for (std::uint32_t i = 0; i < *count; ++i) {
      const std::optional<std::string_view> element = cursor.skip();
      if (!element) return std::nullopt;
      etf::Cursor index(*element);
      add(index.kind() == etf::TermKind::integer ? index.u64().value_or(0) : 0);
    }
    if (!cursor.list_end(*count) || !cursor.at_end()) return std::nullopt;
  }
  std::sort(indexes.begin(), indexes.end());
  indexes.erase(std::unique(indexes.begin(), indexes.end()), indexes.end());
  return indexes;
}

/// Adapters: a request whose only element is a term of any form, and one that is an atom.
template <class Request>
ClientRequest with_term(Tagged& tagged) {
  return Request{tagged.next()};
}
template <class Request>
ClientRequest bare(Tagged&) {
  return Request{};
}

ClientRequest read_local_query(Tagged& tagged) { return request::LocalQuery{tagged.next(), {}}; }

ClientRequest read_local_query_with_options(Tagged& tagged) {
  const std::string_view query = tagged.next();
  return request::LocalQuery{query, read_condition(tagged.next())};
}

ClientRequest read_read_entries(Tagged& tagged) {
  const std::string_view list = tagged.next();
  return request::ReadEntries{list, read_indexes(list)};
}

ClientRequest read_transfer(Tagged& tagged) {
  return request::TransferLeadership{read_server_id(tagged.elements)};
}

ClientRequest read_log_event(Tagged& tagged) {
  if (!Tagged(tagged.next()).is("major_compaction", 0)) return request::Unknown{};
  return request::CompactLog{};
}

struct Form {
  std::string_view tag;
  std::uint32_t arity;  ///< 0: a bare atom
  ClientRequest (*read)(Tagged& tagged);
};

/// The first are the ones that come most often.
constexpr std::array<Form, 13> kForms{{
    {"command", 3, read_command},
    {"consistent_aux", 2, with_term<request::ConsistentAux>},
    {"consistent_query", 2, with_term<request::ConsistentQuery>},
    {"local_query", 2, read_local_query},
    {"local_query", 3, read_local_query_with_options},
    {"aux_command", 2, with_term<request::AuxCommand>},
    {"read_entries", 2, read_read_entries},
    {"state_query", 2, with_term<request::StateQuery>},
    {"ping", 0, bare<request::Ping>},
    {"trigger_election", 0, bare<request::TriggerElection>},
    {"force_member_change", 0, bare<request::ForceMemberChange>},
    {"transfer_leadership", 2, read_transfer},
    {"ra_log_event", 2, read_log_event},
}};

}  // namespace

AddressedRequest unwrap_call(std::string_view request) {
  for (;;) {
    Tagged tagged(request);
    if (tagged.is("leader_call", 2)) return {true, tagged.next()};
    if (!tagged.is("local_call", 2)) return {false, request};
    request = tagged.next();
  }
}

AddressedRequest unwrap_cast(std::string_view request) {
  Tagged tagged(request);
  if (tagged.is("leader_cast", 2)) return {true, tagged.next()};
  return {false, request};
}

ClientRequest decode_client_request(std::string_view term) {
  Tagged tagged(term);
  const auto form = std::find_if(kForms.begin(), kForms.end(), [&](const Form& known) {
    return tagged.is(known.tag, known.arity);
  });
  if (form == kForms.end()) return request::Unknown{};
  return form->read(tagged);
}

void write_user_command(etf::Writer& writer, raft::event::Priority priority, std::string_view data,
                        std::string_view mode) {
  writer.tuple(3).atom("command").atom(priority == raft::event::Priority::low ? "low" : "normal");
  writer.tuple(3).atom("$usr").raw(data).raw(mode);
}

void write_leader_call(etf::Writer& writer) { writer.tuple(2).atom("leader_call"); }

void write_local_call(etf::Writer& writer) { writer.tuple(2).atom("local_call"); }

void write_state_query(etf::Writer& writer, std::string_view what) {
  writer.tuple(2).atom("state_query").atom(what);
}

void write_consistent_aux(etf::Writer& writer, std::string_view command) {
  writer.tuple(2).atom("consistent_aux").raw(command);
}

void write_aux_command(etf::Writer& writer, std::string_view command) {
  writer.tuple(2).atom("aux_command").raw(command);
}

void write_compact_log(etf::Writer& writer) {
  writer.tuple(2).atom("ra_log_event").atom("major_compaction");
}

void write_error(etf::Writer& writer, std::string_view reason_atom) {
  writer.tuple(2).atom("error").atom(reason_atom);
}

void write_unsupported_call(etf::Writer& writer, std::string_view request) {
  writer.tuple(2).atom("error").tuple(2).atom("unsupported_call").raw(request);
}

void write_redirect(etf::Writer& writer, const raft::ServerId& leader) {
  writer.tuple(2).atom("redirect");
  write_server_id(writer, leader);
}

std::optional<raft::ServerId> read_redirect(std::string_view answer) {
  Tagged tagged(answer);
  if (!tagged.is("redirect", 2) || tagged.elements.kind() != etf::TermKind::tuple)
    return std::nullopt;
  return read_server_id(tagged.elements);
}

}  // namespace rakv::wire
