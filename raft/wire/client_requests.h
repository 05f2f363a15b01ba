// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/core/event.h"
#include "raft/core/types.h"
#include "raft/wire/ids.h"

// What clients ask of a member, and the words in which it answers (docs/protocol/wire.md 4). Terms
// are without version byte, requests without the envelope of gen ($gen_call, $gen_cast).
//
// Decoding never fails: what is none of these is request::Unknown, and the member says so to its
// caller, as ra does. The terms are valid (node::parse_gen_message looks at them whole); all views
// point into the request.

namespace rakv::wire {

namespace request {

/// `{command, Priority, {Type, Data, Mode}}`.
struct Command {
  enum class Kind {
    user,            ///< '$usr': Data is for the machine
    join,            ///< '$ra_join'; `server` is set
    leave,           ///< '$ra_leave'; `server` is set
    delete_cluster,  ///< '$ra_cluster' with Data `delete`
    unsupported,     ///< another type, or a server that can't be read
  };
  Kind kind = Kind::unsupported;
  raft::event::Priority priority = raft::event::Priority::normal;
  std::string_view data;                          ///< encoded
  std::string_view mode;                          ///< encoded
  raft::ServerId server;                          ///< who joins or leaves
  std::optional<raft::VoterStatus> voter_status;  ///< of the map form of '$ra_join'
};

/// `{command, _, _}` that is no command.
struct MalformedCommand {};
/// `trigger_election`
struct TriggerElection {};
/// `force_member_change`
struct ForceMemberChange {};
/// `ping`
struct Ping {};
/// `{state_query, What}`
struct StateQuery {
  std::string_view what;  ///< encoded
};
/// `{local_query, Query}` or `{local_query, Query, #{condition => {applied, {Index, Term}}}}`.
struct LocalQuery {
  std::string_view query;     ///< encoded
  raft::IndexTerm condition;  ///< what must be applied before; {0, 0}: nothing
};
/// `{consistent_query, Query}`
struct ConsistentQuery {
  std::string_view query;  ///< encoded
};
/// `{consistent_aux, Command}`
struct ConsistentAux {
  std::string_view command;  ///< encoded
};
/// `{aux_command, Command}`
struct AuxCommand {
  std::string_view command;  ///< encoded
};
/// `{read_entries, Indexes}`
struct ReadEntries {
  std::string_view list;  ///< Indexes, encoded
  /// Each once, in ascending order, without what is no index: the answer is a map, which no BEAM
  /// takes with a key twice. Nothing when it is no proper list, or has more than 1,000,000.
  std::optional<std::vector<std::uint64_t>> indexes;
};
/// `{transfer_leadership, Server}`
struct TransferLeadership {
  std::optional<raft::ServerId> target;  ///< nothing: it can't be read
};
/// `{ra_log_event, major_compaction}`, a cast of ra:trigger_compaction/1
struct CompactLog {};
/// None of these.
struct Unknown {};

}  // namespace request

using ClientRequest =
    std::variant<request::Unknown, request::Command, request::MalformedCommand,
                 request::TriggerElection, request::ForceMemberChange, request::Ping,
                 request::StateQuery, request::LocalQuery, request::ConsistentQuery,
                 request::ConsistentAux, request::AuxCommand, request::ReadEntries,
                 request::TransferLeadership, request::CompactLog>;

/// A request with what it was wrapped in.
struct AddressedRequest {
  /// `{leader_call, _}`, `{leader_cast, _}`: whoever does not lead sends the caller on. What is in
  /// a `{local_call, _}` counts as if it had come without.
  bool for_leader = false;
  std::string_view term;  ///< the request without its wrapping, encoded
};
AddressedRequest unwrap_call(std::string_view request);
AddressedRequest unwrap_cast(std::string_view request);

/// Reads a request without wrapping.
ClientRequest decode_client_request(std::string_view term);

// --- what clients send ---

/// `{command, Priority, {'$usr', Data, Mode}}`; `data` and `mode` are encoded.
void write_user_command(etf::Writer& writer, raft::event::Priority priority, std::string_view data,
                        std::string_view mode);
/// `{leader_call, ` : the request must follow.
void write_leader_call(etf::Writer& writer);
/// `{local_call, ` : the request must follow.
void write_local_call(etf::Writer& writer);
/// `{state_query, What}`
void write_state_query(etf::Writer& writer, std::string_view what);
/// `{consistent_aux, Command}`; `command` is encoded.
void write_consistent_aux(etf::Writer& writer, std::string_view command);
/// `{aux_command, Command}`; `command` is encoded.
void write_aux_command(etf::Writer& writer, std::string_view command);
/// `{ra_log_event, major_compaction}`, to be cast.
void write_compact_log(etf::Writer& writer);

// --- answers ---

/// `{error, Reason}`
void write_error(etf::Writer& writer, std::string_view reason_atom);
/// `{error, {unsupported_call, Request}}`
void write_unsupported_call(etf::Writer& writer, std::string_view request);
/// `{redirect, Leader}`
void write_redirect(etf::Writer& writer, const raft::ServerId& leader);
/// The leader of a redirect; nothing when the answer is another one.
std::optional<raft::ServerId> read_redirect(std::string_view answer);

}  // namespace rakv::wire
