// SPDX-License-Identifier: Apache-2.0
// Requests of clients, taken apart and written_text.

#include "raft/wire/client_requests.h"

#include <gtest/gtest.h>

#include "cnode/etf/text.h"
#include "tests/support/term_text.h"

namespace rakv::wire {
namespace {

using CommandKind = request::Command::Kind;

std::string text(std::string_view encoded) { return etf::print_text(encoded); }

template <class Write>
std::string written_text(Write write) {
  etf::Writer writer;
  write(writer);
  return text(writer.view());
}

/// The request of this text as a T; what its views point into is in `encoded`.
template <class T>
struct Decoded {
  explicit Decoded(std::string_view from) : encoded(term(from)) {
    const ClientRequest request = decode_client_request(encoded);
    EXPECT_TRUE(std::holds_alternative<T>(request))
        << from << " is alternative " << request.index();
    if (const T* found = std::get_if<T>(&request)) value = *found;
  }
  std::string encoded;
  T value;
};

// --- commands

TEST(ClientRequests, ACommandForTheMachine) {
  const Decoded<request::Command> put("{command, normal, {'$usr', {put, k, v}, await_consensus}}");
  EXPECT_EQ(put.value.kind, CommandKind::user);
  EXPECT_EQ(put.value.priority, raft::event::Priority::normal);
  EXPECT_EQ(text(put.value.data), "{put,k,v}");
  EXPECT_EQ(text(put.value.mode), "await_consensus");
  const Decoded<request::Command> low("{command, low, {'$usr', x, {notify, 1, p}}}");
  EXPECT_EQ(low.value.priority, raft::event::Priority::low);
  EXPECT_EQ(text(low.value.mode), "{notify,1,p}");
}

TEST(ClientRequests, TheViewsOfACommandPointIntoTheRequest) {
  const Decoded<request::Command> put("{command, normal, {'$usr', <<\"large\">>, noreply}}");
  EXPECT_GE(put.value.data.data(), put.encoded.data());
  EXPECT_LE(put.value.mode.data() + put.value.mode.size(), put.encoded.data() + put.encoded.size());
  EXPECT_EQ(put.value.data.data() + put.value.data.size(), put.value.mode.data());
}

TEST(ClientRequests, WhoJoinsAndWhoLeaves) {
  const Decoded<request::Command> join("{command, normal, {'$ra_join', {kv, 'n@h'}, noreply}}");
  EXPECT_EQ(join.value.kind, CommandKind::join);
  EXPECT_EQ(join.value.server, raft::ServerId("kv", "n@h"));
  EXPECT_FALSE(join.value.voter_status.has_value());
  const Decoded<request::Command> promotable(
      "{command, normal, {'$ra_join', #{id => {kv, 'n@h'}, membership => promotable, uid => "
      "<<\"U\">>}, noreply}}");
  EXPECT_EQ(promotable.value.kind, CommandKind::join);
  EXPECT_EQ(promotable.value.server, raft::ServerId("kv", "n@h"));
  ASSERT_TRUE(promotable.value.voter_status.has_value());
  EXPECT_EQ(promotable.value.voter_status->membership, raft::Membership::promotable);
  EXPECT_EQ(promotable.value.voter_status->uid, "U");
  const Decoded<request::Command> leave("{command, normal, {'$ra_leave', {kv, 'n@h'}, noreply}}");
  EXPECT_EQ(leave.value.kind, CommandKind::leave);
  EXPECT_EQ(leave.value.server, raft::ServerId("kv", "n@h"));
}

TEST(ClientRequests, TheEndOfACluster) {
  const Decoded<request::Command> end("{command, normal, {'$ra_cluster', delete, noreply}}");
  EXPECT_EQ(end.value.kind, CommandKind::delete_cluster);
  EXPECT_EQ(text(end.value.mode), "noreply");
}

// The mode is judged before the type, so it is there for these, too.
TEST(ClientRequests, CommandsOfATypeThatIsNotKnownOrWithoutAServer) {
  for (const char* asked :
       {"{command, normal, {'$ra_cluster', other, mode}}",
        "{command, normal, {'$ra_machine', x, mode}}", "{command, normal, {'$ra_join', x, mode}}",
        "{command, normal, {'$ra_join', {kv, 1}, mode}}",
        "{command, normal, {'$ra_join', #{voter_status => #{}}, mode}}",
        "{command, normal, {'$ra_leave', {kv}, mode}}"}) {
    const Decoded<request::Command> command(asked);
    EXPECT_EQ(command.value.kind, CommandKind::unsupported) << asked;
    EXPECT_EQ(text(command.value.mode), "mode") << asked;
  }
}

TEST(ClientRequests, WhatIsTaggedAsACommandAndIsNone) {
  for (const char* asked : {"{command, urgent, {'$usr', x, noreply}}", "{command, normal, x}",
                            "{command, normal, {'$usr', x}}", "{command, normal, {}}",
                            "{command, normal, {'$usr', x, noreply, more}}",
                            "{command, normal, {1, x, noreply}}", "{command, [], []}"})
    const Decoded<request::MalformedCommand> command(asked);
}

// --- queries and the rest

TEST(ClientRequests, QueriesAndTheirConditions) {
  const Decoded<request::LocalQuery> plain("{local_query, {m, f, []}}");
  EXPECT_EQ(text(plain.value.query), "{m,f,[]}");
  EXPECT_EQ(plain.value.condition, raft::IndexTerm{});
  const Decoded<request::LocalQuery> waits(
      "{local_query, q, #{condition => {applied, {7, 3}}, other => [1], 5 => 6}}");
  EXPECT_EQ(text(waits.value.query), "q");
  EXPECT_EQ(waits.value.condition, (raft::IndexTerm{raft::Index{7}, raft::Term{3}}));
  for (const char* asked :
       {"{local_query, q, #{}}", "{local_query, q, []}", "{local_query, q, #{timeout => 5}}",
        "{local_query, q, #{condition => {written_text, {7, 3}}}}",
        "{local_query, q, #{condition => {applied, 7}}}",
        "{local_query, q, #{condition => now}}"}) {
    const Decoded<request::LocalQuery> none(asked);
    EXPECT_EQ(none.value.condition, raft::IndexTerm{}) << asked;
  }
  EXPECT_EQ(text(Decoded<request::ConsistentQuery>("{consistent_query, q}").value.query), "q");
  const Decoded<request::ConsistentAux> aux("{consistent_aux, {get, k}}");
  EXPECT_EQ(text(aux.value.command), "{get,k}");
  const Decoded<request::AuxCommand> command("{aux_command, take_snapshot}");
  EXPECT_EQ(text(command.value.command), "take_snapshot");
  EXPECT_EQ(text(Decoded<request::StateQuery>("{state_query, members}").value.what), "members");
}

TEST(ClientRequests, IndexesToBeRead) {
  using Indexes = std::vector<std::uint64_t>;
  EXPECT_EQ(Decoded<request::ReadEntries>("{read_entries, [300, 1, 70000]}").value.indexes,
            (Indexes{1, 300, 70000}));
  EXPECT_EQ(Decoded<request::ReadEntries>("{read_entries, []}").value.indexes, Indexes{});
  EXPECT_EQ(Decoded<request::ReadEntries>("{read_entries, [500, -1, x]}").value.indexes,
            (Indexes{500}));
  // A map with a key twice would cost the connection with the caller.
  EXPECT_EQ(Decoded<request::ReadEntries>("{read_entries, [300, 5, 300, 5]}").value.indexes,
            (Indexes{5, 300}));
  // Small integers come as a list of bytes.
  etf::Writer bytes;
  bytes.tuple(2).atom("read_entries").byte_list("\x01\xff");
  const ClientRequest decoded = decode_client_request(bytes.view());
  EXPECT_EQ(std::get<request::ReadEntries>(decoded).indexes, (Indexes{1, 255}));
  for (const std::uint32_t count : {1'000'000U, 1'000'001U}) {
    etf::Writer many;
    many.tuple(2).atom("read_entries").list(count);
    for (std::uint32_t i = 1; i <= count; ++i) many.integer(i);
    many.nil();
    const ClientRequest read = decode_client_request(many.view());
    EXPECT_EQ(std::get<request::ReadEntries>(read).indexes.has_value(), count == 1'000'000U);
  }
  const Decoded<request::ReadEntries> improper("{read_entries, [300|x]}");
  EXPECT_FALSE(improper.value.indexes.has_value());
  EXPECT_EQ(text(improper.value.list), "[300|x]");
  EXPECT_FALSE(Decoded<request::ReadEntries>("{read_entries, 5}").value.indexes.has_value());
}

TEST(ClientRequests, TheOthers) {
  const Decoded<request::Ping> ping("ping");
  const Decoded<request::TriggerElection> election("trigger_election");
  const Decoded<request::ForceMemberChange> force("force_member_change");
  const Decoded<request::CompactLog> compact("{ra_log_event, major_compaction}");
  const Decoded<request::TransferLeadership> transfer("{transfer_leadership, {kv, 'n@h'}}");
  EXPECT_EQ(transfer.value.target, raft::ServerId("kv", "n@h"));
  const Decoded<request::TransferLeadership> nobody("{transfer_leadership, kv}");
  EXPECT_FALSE(nobody.value.target.has_value());
}

TEST(ClientRequests, WhatIsNoneOfThem) {
  for (const char* asked :
       {"pong", "{ping}", "{}", "[]", "5", "<<\"command\">>", "{command, normal}", "{local_query}",
        "{local_query, a, #{}, b}", "{trigger_election, 1}", "{ra_log_event, other}",
        "{request_vote_rpc, 1, {kv, 'n@h'}, 1, 1}", "{leader_call, ping}"})
    const Decoded<request::Unknown> unknown(asked);
  EXPECT_TRUE(std::holds_alternative<request::Unknown>(decode_client_request({})));
}

// --- wrapping

TEST(ClientRequests, ForTheLeaderOrForWhoeverIsAsked) {
  const auto unwrapped = [](const char* asked) {
    const std::string encoded = term(asked);
    const AddressedRequest addressed = unwrap_call(encoded);
    return (addressed.for_leader ? "leader: " : "anybody: ") + text(addressed.term);
  };
  EXPECT_EQ(unwrapped("ping"), "anybody: ping");
  EXPECT_EQ(unwrapped("{leader_call, ping}"), "leader: ping");
  EXPECT_EQ(unwrapped("{local_call, ping}"), "anybody: ping");
  EXPECT_EQ(unwrapped("{local_call, {local_call, {leader_call, {leader_call, x}}}}"),
            "leader: {leader_call,x}");
  EXPECT_EQ(unwrapped("{leader_cast, x}"), "anybody: {leader_cast,x}");
  const std::string cast = term("{leader_cast, {leader_cast, x}}");
  EXPECT_TRUE(unwrap_cast(cast).for_leader);
  EXPECT_EQ(text(unwrap_cast(cast).term), "{leader_cast,x}");
  EXPECT_FALSE(unwrap_cast(term("{leader_call, x}")).for_leader);
}

TEST(ClientRequests, ManyLevelsOfWrapping) {
  std::string nested;
  etf::Writer writer(nested);
  for (int level = 0; level < 500; ++level) writer.tuple(2).atom("local_call");
  writer.atom("ping");
  EXPECT_EQ(text(unwrap_call(nested).term), "ping");
}

// --- writing

TEST(ClientRequests, WrittenAndReadAgain) {
  etf::Writer writer;
  write_leader_call(writer);
  write_user_command(writer, raft::event::Priority::low, term("{delete, k}"), term("noreply"));
  EXPECT_EQ(text(writer.view()), "{leader_call,{command,low,{'$usr',{delete,k},noreply}}}");
  const AddressedRequest asked = unwrap_call(writer.view());
  EXPECT_TRUE(asked.for_leader);
  EXPECT_TRUE(std::holds_alternative<request::Command>(decode_client_request(asked.term)));
  EXPECT_EQ(written_text([](etf::Writer& out) { write_state_query(out, "members"); }),
            "{state_query,members}");
  EXPECT_EQ(written_text([](etf::Writer& out) {
              write_local_call(out);
              write_consistent_aux(out, term("{get, k}"));
            }),
            "{local_call,{consistent_aux,{get,k}}}");
  EXPECT_EQ(written_text([](etf::Writer& out) { write_aux_command(out, term("take_snapshot")); }),
            "{aux_command,take_snapshot}");
  EXPECT_EQ(written_text(write_compact_log), "{ra_log_event,major_compaction}");
}

TEST(ClientRequests, Answers) {
  EXPECT_EQ(written_text([](etf::Writer& out) { write_error(out, "wal_down"); }),
            "{error,wal_down}");
  EXPECT_EQ(written_text([](etf::Writer& out) { write_unsupported_call(out, term("{a, 1}")); }),
            "{error,{unsupported_call,{a,1}}}");
  etf::Writer redirect;
  write_redirect(redirect, {"kv", "n@h"});
  EXPECT_EQ(text(redirect.view()), "{redirect,{kv,n@h}}");
  EXPECT_EQ(read_redirect(redirect.view()), raft::ServerId("kv", "n@h"));
  for (const char* other :
       {"{redirect, kv}", "{redirect, undefined}", "redirect", "{error, nodedown}",
        "{redirect, {kv, 'n@h'}, more}", "{redirect, {kv, 1}}"})
    EXPECT_FALSE(read_redirect(term(other)).has_value()) << other;
}

}  // namespace
}  // namespace rakv::wire
