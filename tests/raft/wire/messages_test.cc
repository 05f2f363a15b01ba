// SPDX-License-Identifier: Apache-2.0
// The records between members, against a real BEAM.

#include "raft/wire/messages.h"

#include <gtest/gtest.h>

#include "cnode/etf/text.h"
#include "tests/support/beam_eval.h"
#include "tests/support/term_text.h"

namespace rakv::wire {
namespace {

namespace event = raft::event;

const raft::ServerId kLeader("kv", "n1@h");
const raft::ServerId kPeer("kv", "n2@h");

/// One append_entries_rpc with every kind of entry, as the BEAM makes it.
constexpr const char* kAppendEntries =
    "{append_entries_rpc, 3, {kv, 'n1@h'}, 99999, 70000, 2, ["
    "{70001, 3, {noop, #{ts => 1764000000123}, 0}},"
    "{70002, 3, {'$usr', #{ts => 1764000000123, from => {self(), [alias|make_ref()]}}, "
    "{put, <<\"k\">>, binary:copy(<<7>>, 500), #{size => 506, hash => 1}}, await_consensus}},"
    "{70003, 3, {'$ra_cluster_change', #{ts => 1}, #{{kv, 'n1@h'} => #{status => normal}}, "
    "noreply}},"
    "{70004, 3, {'$future', x}}]}";

/// Terms made by one BEAM for all tests: pids and references of that node included.
const std::string& from_beam(std::size_t which) {
  static const std::vector<std::string> kTerms = [] {
    std::vector<std::string> made = test::encode_in_beam({kAppendEntries, "make_ref()"});
    made.resize(2);
    return made;
  }();
  return kTerms[which];
}
const std::string& token() { return from_beam(1); }

template <class T>
T cast_of(std::string_view request) {
  auto decoded = decode_peer_cast(request);
  EXPECT_TRUE(decoded.has_value()) << decoded.error().message;
  if (!decoded || !*decoded) return T{};
  EXPECT_TRUE(std::holds_alternative<T>(**decoded));
  return std::holds_alternative<T>(**decoded) ? std::get<T>(**decoded) : T{};
}
template <class T>
T call_of(std::string_view request) {
  auto decoded = decode_peer_call(request);
  EXPECT_TRUE(decoded.has_value()) << decoded.error().message;
  if (!decoded || !*decoded) return T{};
  EXPECT_TRUE(std::holds_alternative<T>(**decoded));
  return std::holds_alternative<T>(**decoded) ? std::get<T>(**decoded) : T{};
}
template <class T>
T reply_of(std::string_view reply) {
  auto decoded = decode_peer_reply(reply);
  EXPECT_TRUE(decoded.has_value()) << decoded.error().message;
  if (!decoded || !*decoded) return T{};
  EXPECT_TRUE(std::holds_alternative<T>(**decoded));
  return std::holds_alternative<T>(**decoded) ? std::get<T>(**decoded) : T{};
}

/// A message with all shared parts put in.
template <class Write>
std::string message_bytes(Write write) {
  std::string out;
  etf::Writer writer(out);
  write(writer, [&](const SharedBytes&, std::string_view part) { out.append(part); });
  return out;
}

TEST(AppendEntriesRpc, FromTheBeam) {
  const auto rpc = cast_of<event::AppendEntries>(from_beam(0)).rpc;
  EXPECT_EQ(rpc.term, raft::Term(3));
  EXPECT_EQ(rpc.leader, kLeader);
  EXPECT_EQ(rpc.leader_commit, raft::Index(99999));
  EXPECT_EQ(rpc.prev_index, raft::Index(70000));
  EXPECT_EQ(rpc.prev_term, raft::Term(2));
  ASSERT_EQ(rpc.entries.size(), 4u);
  EXPECT_EQ(rpc.entries[0].kind, raft::EntryKind::noop);
  EXPECT_EQ(rpc.entries[1].kind, raft::EntryKind::user);
  EXPECT_EQ(rpc.entries[1].index, raft::Index(70002));
  EXPECT_EQ(rpc.entries[1].term, raft::Term(3));
  EXPECT_EQ(rpc.entries[1].payload.view().front(), '\x83');
  EXPECT_EQ(rpc.entries[2].kind, raft::EntryKind::cluster_change);
  ASSERT_NE(rpc.entries[2].cluster, nullptr);
  EXPECT_TRUE(rpc.entries[2].cluster->contains(kLeader));
  EXPECT_EQ(rpc.entries[3].kind, raft::EntryKind::unknown);
}

TEST(AppendEntriesRpc, GoesOutAsItCameIn) {
  const auto rpc = cast_of<event::AppendEntries>(from_beam(0)).rpc;
  test::expect_same_in_beam(
      {{message_bytes([&](auto& w, auto share) { write_append_entries_rpc(w, rpc, share); }),
        test::as_expression(from_beam(0))}});
}

// The bytes of values go out as the entry's own bytes, not as copies.
TEST(AppendEntriesRpc, PayloadsAreShared) {
  const auto rpc = cast_of<event::AppendEntries>(from_beam(0)).rpc;
  std::vector<std::string_view> shared;
  etf::Writer writer;
  write_append_entries_rpc(
      writer, rpc, [&](const SharedBytes&, std::string_view part) { shared.push_back(part); });
  ASSERT_EQ(shared.size(), rpc.entries.size());
  for (std::size_t i = 0; i < shared.size(); ++i) {
    EXPECT_EQ(shared[i].data(), rpc.entries[i].payload.view().data() + 1);
    EXPECT_EQ(shared[i].size(), rpc.entries[i].payload.size() - 1);
  }
}

TEST(AppendEntriesRpc, WithoutEntries) {
  const std::string encoded = term("{append_entries_rpc, 3, {kv, 'n1@h'}, 5, 0, 0, []}");
  const auto rpc = cast_of<event::AppendEntries>(encoded).rpc;
  EXPECT_TRUE(rpc.entries.empty());
  EXPECT_EQ(message_bytes([&](auto& w, auto share) { write_append_entries_rpc(w, rpc, share); }),
            encoded);
}

/// In memory an entry, and a member of a configuration, takes many times its bytes.
TEST(AppendEntriesRpc, TakesNoMoreTablesThanHaveRoom) {
  const auto message = [](std::uint32_t entries, std::string_view command) {
    etf::Writer writer;
    writer.tuple(7).atom("append_entries_rpc").integer(3).tuple(2).atom("kv").atom("n1@h");
    writer.integer(0).integer(0).integer(0).list(entries);
    for (std::uint32_t i = 1; i <= entries; ++i) writer.tuple(3).integer(i).integer(3).raw(command);
    writer.nil();
    return writer.take();
  };
  etf::Writer change;
  change.tuple(4).atom("$ra_cluster_change").map(0).map(1000);
  for (int i = 0; i < 1000; ++i) {
    change.tuple(2).atom("kv" + std::to_string(i)).atom("n1@h").map(0);
  }
  change.atom("noreply");
  for (const auto& [command, most] : {std::pair(term("x"), 60'000U), {change.take(), 15U}}) {
    EXPECT_EQ(cast_of<event::AppendEntries>(message(most, command)).rpc.entries.size(), most);
    const auto refused = decode_peer_cast(message(most * 4 / 3, command));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("fewer entries"), std::string::npos)
        << refused.error().message;
  }
}

TEST(Replies, SentAsCastsWithTheirSender) {
  const raft::AppendEntriesReply append{raft::Term(3), true, raft::Index(8), raft::Index(7),
                                        raft::Term(2)};
  const raft::HeartbeatReply heartbeat{raft::QueryIndex(4), raft::Term(3)};
  const raft::InstallSnapshotResult snapshot{raft::Term(3), raft::Index(70000), raft::Term(2)};
  const std::string append_cast = message_bytes([&](auto& w, auto) {
    write_reply_sender(w, kPeer);
    write_append_entries_reply(w, append);
  });
  const std::string heartbeat_cast = message_bytes([&](auto& w, auto) {
    write_reply_sender(w, kPeer);
    write_heartbeat_reply(w, heartbeat);
  });
  const std::string snapshot_cast = message_bytes([&](auto& w, auto) {
    write_reply_sender(w, kPeer);
    write_install_snapshot_result(w, snapshot);
  });
  test::expect_same_in_beam({
      {append_cast, "{{kv, 'n2@h'}, {append_entries_reply, 3, true, 8, 7, 2}}"},
      {heartbeat_cast, "{{kv, 'n2@h'}, {heartbeat_reply, 4, 3}}"},
      {snapshot_cast, "{{kv, 'n2@h'}, {install_snapshot_result, 3, 70000, 2}}"},
  });
  const auto appended = cast_of<event::AppendEntriesReplied>(append_cast);
  EXPECT_EQ(appended.from, kPeer);
  EXPECT_EQ(appended.reply, append);
  const auto beat = cast_of<event::HeartbeatReplied>(heartbeat_cast);
  EXPECT_EQ(beat.from, kPeer);
  EXPECT_EQ(beat.reply.query_index, raft::QueryIndex(4));
  EXPECT_EQ(beat.reply.term, raft::Term(3));
  const auto installed = cast_of<event::InstallSnapshotReplied>(snapshot_cast);
  EXPECT_EQ(installed.from, kPeer);
  EXPECT_EQ(installed.result.term, raft::Term(3));
  EXPECT_EQ(installed.result.last_index, raft::Index(70000));
  EXPECT_EQ(installed.result.last_term, raft::Term(2));
}

TEST(Votes, BothKindsBothWays) {
  const raft::RequestVoteRpc vote{raft::Term(4), kLeader, raft::Index(70000), raft::Term(3)};
  raft::PreVoteRpc pre_vote;
  pre_vote.machine_version = 2;
  pre_vote.term = raft::Term(4);
  pre_vote.candidate = kLeader;
  pre_vote.last_log_index = raft::Index(7);
  pre_vote.last_log_term = raft::Term(3);
  const std::string vote_call =
      message_bytes([&](auto& w, auto) { write_request_vote_rpc(w, vote); });
  const std::string vote_reply = message_bytes([&](auto& w, auto) {
    write_request_vote_result(w, {raft::Term(4), true});
  });
  const std::string pre_vote_call =
      message_bytes([&](auto& w, auto) { write_pre_vote_rpc(w, pre_vote, token()); });
  const std::string pre_vote_reply = message_bytes([&](auto& w, auto) {
    write_pre_vote_result(w, {raft::Term(4), false}, token());
  });
  const std::string ref = test::as_expression(token());
  test::expect_same_in_beam({
      {vote_call, "{request_vote_rpc, 4, {kv, 'n1@h'}, 70000, 3}"},
      {vote_reply, "{request_vote_result, 4, true}"},
      {pre_vote_call, "{pre_vote_rpc, 1, 2, 4, " + ref + ", {kv, 'n1@h'}, 7, 3}"},
      {pre_vote_reply, "{pre_vote_result, 4, " + ref + ", false}"},
  });

  const auto got_vote = call_of<raft::RequestVoteRpc>(vote_call);
  EXPECT_EQ(got_vote.term, vote.term);
  EXPECT_EQ(got_vote.candidate, vote.candidate);
  EXPECT_EQ(got_vote.last_log_index, vote.last_log_index);
  EXPECT_EQ(got_vote.last_log_term, vote.last_log_term);
  const auto got_pre_vote = call_of<PreVoteCall>(pre_vote_call);
  EXPECT_EQ(got_pre_vote.token, token());
  EXPECT_EQ(got_pre_vote.rpc.protocol_version, 1u);
  EXPECT_EQ(got_pre_vote.rpc.machine_version, 2u);
  EXPECT_EQ(got_pre_vote.rpc.term, pre_vote.term);
  EXPECT_EQ(got_pre_vote.rpc.candidate, pre_vote.candidate);
  EXPECT_EQ(got_pre_vote.rpc.last_log_index, pre_vote.last_log_index);
  EXPECT_EQ(got_pre_vote.rpc.last_log_term, pre_vote.last_log_term);
  EXPECT_TRUE(reply_of<raft::RequestVoteResult>(vote_reply).granted);
  const auto answer = reply_of<PreVoteAnswer>(pre_vote_reply);
  EXPECT_FALSE(answer.result.granted);
  EXPECT_EQ(answer.result.term, raft::Term(4));
  EXPECT_EQ(answer.token, token());
}

TEST(Heartbeat, BothWays) {
  const std::string cast = message_bytes([&](auto& w, auto) {
    write_heartbeat_rpc(w, {raft::QueryIndex(9), raft::Term(2), kLeader});
  });
  test::expect_same_in_beam({{cast, "{heartbeat_rpc, 9, 2, {kv, 'n1@h'}}"}});
  const auto rpc = cast_of<event::Heartbeat>(cast).rpc;
  EXPECT_EQ(rpc.query_index, raft::QueryIndex(9));
  EXPECT_EQ(rpc.term, raft::Term(2));
  EXPECT_EQ(rpc.leader, kLeader);
}

TEST(Info, BothWays) {
  const std::string request = message_bytes([&](auto& w, auto) {
    write_info_rpc(w, {kLeader, raft::Term(2), {"machine_version"}});
  });
  const std::string reply = message_bytes([&](auto& w, auto) {
    write_info_reply(w, {kPeer, raft::Term(2), {"machine_version", "other"}, 0});
  });
  const std::string empty = message_bytes([&](auto& w, auto) {
    write_info_reply(w, {kPeer, raft::Term(2), {}, {}});
  });
  test::expect_same_in_beam({
      {request, "{info_rpc, {kv, 'n1@h'}, 2, [machine_version]}"},
      {reply, "{info_reply, {kv, 'n2@h'}, 2, [machine_version, other], #{machine_version => 0}}"},
      {empty, "{info_reply, {kv, 'n2@h'}, 2, [], #{}}"},
  });
  const auto asked = cast_of<event::InfoRequested>(request).rpc;
  EXPECT_EQ(asked.from, kLeader);
  EXPECT_EQ(asked.term, raft::Term(2));
  EXPECT_EQ(asked.keys, std::vector<std::string>{"machine_version"});
  const auto told = cast_of<event::InfoReplied>(reply).reply;
  EXPECT_EQ(told.from, kPeer);
  EXPECT_EQ(told.machine_version, 0u);
  EXPECT_EQ(told.keys.size(), 2u);
  EXPECT_FALSE(cast_of<event::InfoReplied>(empty).reply.machine_version.has_value());
  const std::string more =
      term("{info_reply, {kv, 'n2@h'}, 2, [machine_version, x], #{x => [], machine_version => 3}}");
  EXPECT_EQ(cast_of<event::InfoReplied>(more).reply.machine_version, 3u);
}

TEST(Elections, OrderedByCast) {
  EXPECT_TRUE(std::holds_alternative<event::ElectionRequested>(
      *decode_peer_cast(term("election_timeout")).value()));
  EXPECT_TRUE(std::holds_alternative<event::ElectionRequested>(
      *decode_peer_cast(term("try_become_leader")).value()));
  EXPECT_EQ(message_bytes([](auto& w, auto) { write_election_timeout(w); }),
            term("election_timeout"));
}

const std::string kMetaText =
    "#{index => 70000, term => 3, cluster => #{{kv, 'n1@h'} => #{}}, machine_version => 0}";

TEST(InstallSnapshot, EveryFlagBothWays) {
  raft::InstallSnapshotRpc rpc;
  rpc.term = raft::Term(4);
  rpc.leader = kLeader;
  rpc.meta = std::make_shared<const raft::SnapshotMeta>(
      raft::SnapshotMeta{raft::Index(70000), raft::Term(3), {{kLeader, {}}}, 0});
  const auto call = [&] {
    return message_bytes([&](auto& w, auto share) { write_install_snapshot_rpc(w, rpc, share); });
  };
  const std::string head = "{install_snapshot_rpc, 4, {kv, 'n1@h'}, " + kMetaText + ", ";

  rpc.flag = raft::ChunkFlag::init;
  const std::string init = call();
  rpc.flag = raft::ChunkFlag::pre;
  const std::string no_entries = call();
  for (const std::uint64_t index : {5u, 300u}) {
    rpc.entries.push_back({});
    rpc.entries.back().index = raft::Index(index);
    rpc.entries.back().term = raft::Term(1);
    rpc.entries.back().payload = SharedBytes::copy_of("\x83" + term("{'$usr', #{}, x, noreply}"));
  }
  const std::string pre = call();
  rpc.entries.clear();
  rpc.flag = raft::ChunkFlag::next;
  rpc.chunk_number = 1;
  rpc.data = SharedBytes::copy_of("part");
  const std::string next = call();
  rpc.flag = raft::ChunkFlag::last;
  rpc.chunk_number = 70000;
  rpc.data = SharedBytes();
  const std::string last = call();
  test::expect_same_in_beam({
      {init, head + "{0, init}, undefined}"},
      {no_entries, head + "{0, pre}, []}"},
      {pre, head + "{0, pre}, [{5, 1, {'$usr', #{}, x, noreply}}, {300, 1, {'$usr', #{}, x, "
                   "noreply}}]}"},
      {next, head + "{1, next}, <<\"part\">>}"},
      {last, head + "{70000, last}, <<>>}"},
  });

  const auto got_init = call_of<raft::InstallSnapshotRpc>(init);
  EXPECT_EQ(got_init.flag, raft::ChunkFlag::init);
  EXPECT_EQ(got_init.term, raft::Term(4));
  EXPECT_EQ(got_init.leader, kLeader);
  ASSERT_NE(got_init.meta, nullptr);
  EXPECT_EQ(got_init.meta->index, raft::Index(70000));
  const auto got_pre = call_of<raft::InstallSnapshotRpc>(pre);
  ASSERT_EQ(got_pre.entries.size(), 2u);
  EXPECT_EQ(got_pre.entries[1].index, raft::Index(300));
  EXPECT_EQ(got_pre.entries[1].kind, raft::EntryKind::user);
  EXPECT_TRUE(call_of<raft::InstallSnapshotRpc>(no_entries).entries.empty());
  const auto got_next = call_of<raft::InstallSnapshotRpc>(next);
  EXPECT_EQ(got_next.flag, raft::ChunkFlag::next);
  EXPECT_EQ(got_next.chunk_number, 1u);
  EXPECT_EQ(got_next.data.view(), "part");
  const auto got_last = call_of<raft::InstallSnapshotRpc>(last);
  EXPECT_EQ(got_last.flag, raft::ChunkFlag::last);
  EXPECT_EQ(got_last.chunk_number, 70000u);

  const std::string old = term(
      "{install_snapshot_rpc, 4, {kv, 'n1@h'}, #{index => 7, term => 3, cluster => [{kv, "
      "'n1@h'}], machine_version => 0}, {1, last}, <<1>>}");
  EXPECT_TRUE(call_of<raft::InstallSnapshotRpc>(old).meta->cluster.contains(kLeader));
}

TEST(InstallSnapshot, Replies) {
  const auto result =
      reply_of<raft::InstallSnapshotResult>(term("{install_snapshot_result, 4, 70000, 3}"));
  EXPECT_EQ(result.last_index, raft::Index(70000));
  const auto refusal =
      reply_of<raft::AppendEntriesReply>(term("{append_entries_reply, 4, false, 8, 7, 3}"));
  EXPECT_EQ(refusal, (raft::AppendEntriesReply{raft::Term(4), false, raft::Index(8), raft::Index(7),
                                               raft::Term(3)}));
}

TEST(Decoders, LeaveOtherMessagesAlone) {
  for (const char* text :
       {"{command, normal, {'$usr', x, noreply}}", "ping", "{}", "[]", "<<\"x\">>", "5",
        "{{kv, 'n1@h'}, {error, noproc}}", "{{kv, 'n1@h'}, ok}", "{{a, b, c}, {heartbeat_reply}}",
        "{aux_command, take_snapshot}", "{{1, 2}, 3}", "#{}", "{ra_log_event, major_compaction}",
        "{error, {unsupported_call, x}}"}) {
    const std::string encoded = term(text);
    const auto cast = decode_peer_cast(encoded);
    ASSERT_TRUE(cast.has_value()) << text;
    EXPECT_FALSE(cast->has_value()) << text;
    const auto call = decode_peer_call(encoded);
    ASSERT_TRUE(call.has_value()) << text;
    EXPECT_FALSE(call->has_value()) << text;
    const auto reply = decode_peer_reply(encoded);
    ASSERT_TRUE(reply.has_value()) << text;
    EXPECT_FALSE(reply->has_value()) << text;
  }
}

template <class Decoded>
void expect_words(const Decoded& decoded, const char* text, const char* words) {
  ASSERT_FALSE(decoded.has_value()) << text;
  EXPECT_EQ(decoded.error().code, ErrorCode::malformed) << text;
  EXPECT_NE(decoded.error().message.find(words), std::string::npos)
      << text << ": " << decoded.error().message;
}

TEST(Decoders, SayWhichFieldIsBad) {
  const struct {
    const char* text;
    const char* words;
  } casts[] = {
      {"{append_entries_rpc, -1, {kv, 'n@h'}, 5, 0, 0, []}", "append_entries_rpc"},
      {"{append_entries_rpc, -1, {kv, 'n@h'}, 5, 0, 0, []}", "Term at byte"},
      {"{append_entries_rpc, 1, kv, 5, 0, 0, []}", "LeaderId"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, x, 0, 0, []}", "LeaderCommit"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 1.5, 0, []}", "PrevLogIndex"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 18446744073709551616, []}", "PrevLogTerm"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, none}", "Entries"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, [{1, 1}]}", "{Index, Term, Command}"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, [{1, 1, x}|y]}", "Entries"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, [{2, 1, x}]}", "ascending"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, [{1, 1, x}, {3, 1, x}]}", "ascending"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, [], more}", "the end of the record"},
      {"{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0}", "Entries"},
      {"{heartbeat_rpc, x, 1, {kv, 'n@h'}}", "QueryIndex"},
      {"{info_rpc, kv, 1, []}", "From"},
      {"{info_rpc, {kv, 'n@h'}, 1, [1]}", "a list of atoms"},
      {"{info_rpc, {kv, 'n@h'}, 1, [a|b]}", "a list of atoms"},
      {"{info_reply, {kv, 'n@h'}, 1, [], []}", "Info"},
      {"{{kv, 'n@h'}, {append_entries_reply, 1, perhaps, 1, 1, 1}}", "Success"},
      {"{{kv, 'n@h'}, {append_entries_reply, 1, true, 1, 1}}", "LastTerm"},
      {"{{kv, 'n@h'}, {heartbeat_reply, 1, x}}", "heartbeat_reply"},
      {"{{kv, 'n@h'}, {install_snapshot_result, 1, x, 1}}", "LastIndex"},
  };
  for (const auto& [text, words] : casts) expect_words(decode_peer_cast(term(text)), text, words);
  const struct {
    const char* text;
    const char* words;
  } calls[] = {
      {"{request_vote_rpc, 1, 2, 3, 4}", "CandidateId"},
      {"{request_vote_rpc, 1, {kv, 'n@h'}, 3}", "LastLogTerm"},
      {"{pre_vote_rpc, one, 0, 1, token, {kv, 'n@h'}, 1, 1}", "Version"},
      {"{pre_vote_rpc, 1, 0, 1, token, {kv, 'n@h'}, 1, x}", "LastLogTerm"},
      {"{install_snapshot_rpc, 1, {kv, 'n@h'}, #{}, {0, init}, undefined}", "Meta"},
      {"{install_snapshot_rpc, 1, {kv, 'n@h'}, #{index => 1, term => 1, cluster => []}, 0, x}",
       "ChunkState"},
      {"{install_snapshot_rpc, 1, {kv, 'n@h'}, #{index => 1, term => 1, cluster => []}, "
       "{1, middle}, <<>>}",
       "one of init, pre, next and last"},
      {"{install_snapshot_rpc, 1, {kv, 'n@h'}, #{index => 1, term => 1, cluster => []}, "
       "{1, next}, undefined}",
       "a binary"},
      {"{install_snapshot_rpc, 1, {kv, 'n@h'}, #{index => 1, term => 1, cluster => []}, "
       "{0, pre}, [{2, 1, x}, {2, 1, x}]}",
       "ascending"},
  };
  for (const auto& [text, words] : calls) expect_words(decode_peer_call(term(text)), text, words);
  const struct {
    const char* text;
    const char* words;
  } replies[] = {
      {"{request_vote_result, 1, yes}", "VoteGranted"},
      {"{pre_vote_result, 1, token}", "VoteGranted"},
      {"{install_snapshot_result, 1, 2}", "LastTerm"},
      {"{append_entries_reply, 1, true}", "NextIndex"},
  };
  for (const auto& [text, words] : replies) {
    expect_words(decode_peer_reply(term(text)), text, words);
  }
  // A million of them would take 32 MB, and once more in the answer.
  std::string keys = "machine_version";
  for (int i = 1; i < 64; ++i) keys += ",k";
  const auto asks = [](const std::string& list) {
    return decode_peer_cast(term("{info_rpc, {kv, 'n@h'}, 1, [" + list + "]}"));
  };
  EXPECT_TRUE(asks(keys).has_value());
  expect_words(asks(keys + ",k"), "65 keys", "at most 64 atoms");
}

TEST(Decoders, SurviveEveryTruncation) {
  std::vector<std::string> messages = {
      term("{append_entries_rpc, 1, {kv, 'n@h'}, 5, 0, 0, [{1, 1, {noop, #{ts => 1}, 0}}]}"),
      term("{heartbeat_rpc, 1, 1, {kv, 'n@h'}}"),
      term("{info_rpc, {kv, 'n@h'}, 1, [machine_version]}"),
      term("{info_reply, {kv, 'n@h'}, 1, [machine_version], #{machine_version => 0}}"),
      term("{{kv, 'n@h'}, {append_entries_reply, 1, true, 1, 1, 1}}"),
      term("{{kv, 'n@h'}, {heartbeat_reply, 1, 1}}"),
      term("{request_vote_rpc, 1, {kv, 'n@h'}, 3, 4}"),
      term("{pre_vote_rpc, 1, 0, 1, token, {kv, 'n@h'}, 1, 1}"),
      term("{install_snapshot_rpc, 1, {kv, 'n@h'}, " + kMetaText + ", {0, pre}, [{5, 1, x}]}"),
      term("{install_snapshot_rpc, 1, {kv, 'n@h'}, " + kMetaText + ", {1, last}, <<1, 2, 3>>}"),
      term("{request_vote_result, 1, true}"),
      term("{pre_vote_result, 1, token, true}"),
      term("{install_snapshot_result, 1, 2, 3}"),
      term("election_timeout"),
  };
  for (const std::string& message : messages) {
    for (std::size_t size = 0; size < message.size(); ++size) {
      const std::string cut = message.substr(0, size);
      // After a tag that is known a cut is an error; before it, it is not a message between
      // members.
      const auto cast = decode_peer_cast(cut);
      EXPECT_FALSE(cast.has_value() && cast->has_value()) << etf::print_text(message) << size;
      const auto call = decode_peer_call(cut);
      EXPECT_FALSE(call.has_value() && call->has_value()) << etf::print_text(message) << size;
      const auto reply = decode_peer_reply(cut);
      EXPECT_FALSE(reply.has_value() && reply->has_value()) << etf::print_text(message) << size;
    }
    const std::string longer = message + "x";
    const auto cast = decode_peer_cast(longer);
    EXPECT_FALSE(cast.has_value() && cast->has_value()) << etf::print_text(message);
  }
}

}  // namespace
}  // namespace rakv::wire
