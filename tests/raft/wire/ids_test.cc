// SPDX-License-Identifier: Apache-2.0
// Server ids, voter statuses, cluster maps and snapshot metas, against a real BEAM.

#include "raft/wire/ids.h"

#include <gtest/gtest.h>

#include "tests/support/beam_eval.h"
#include "tests/support/term_text.h"

namespace rakv::wire {
namespace {

using raft::Membership;

raft::ServerId id(const std::string& name) { return {name, "n1@host"}; }

template <class Write>
std::string written(Write write) {
  etf::Writer writer;
  write(writer);
  return writer.take();
}

TEST(ServerId, ReadAndWritten) {
  const std::string encoded = term("{kv, 'n1@host'}");
  etf::Cursor cursor(encoded);
  const auto read = read_server_id(cursor);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, id("kv"));
  EXPECT_TRUE(cursor.at_end());
  EXPECT_EQ(written([&](etf::Writer& writer) { write_server_id(writer, *read); }), encoded);
}

TEST(ServerId, OtherTermsAreNone) {
  for (const char* text :
       {"kv", "{kv}", "{kv, 'n@h', 1}", "{<<\"kv\">>, 'n@h'}", "{kv, 1}", "[]"}) {
    const std::string encoded = term(text);
    etf::Cursor cursor(encoded);
    EXPECT_FALSE(read_server_id(cursor).has_value()) << text;
    EXPECT_FALSE(cursor.ok()) << text;
  }
}

TEST(VoterStatus, AbsenceIsKept) {
  const struct {
    const char* text;
    raft::VoterStatus status;
  } cases[] = {
      {"#{}", {}},
      {"#{membership => voter}", {Membership::voter, {}, {}}},
      {"#{membership => promotable, uid => <<\"U1\">>, target => 70000}",
       {Membership::promotable, "U1", raft::Index(70000)}},
      {"#{membership => non_voter, uid => <<\"U1\">>}", {Membership::non_voter, "U1", {}}},
      {"#{membership => unknown}", {Membership::unknown, {}, {}}},
  };
  std::vector<test::SameTerm> claims;
  for (const auto& [text, status] : cases) {
    const std::string encoded = term(text);
    etf::Cursor cursor(encoded);
    const auto read = read_voter_status(cursor);
    ASSERT_TRUE(read.has_value()) << text;
    EXPECT_EQ(*read, status) << text;
    claims.push_back(
        {written([&, shown = status](etf::Writer& writer) { write_voter_status(writer, shown); }),
         text});
  }
  test::expect_same_in_beam(claims);
}

TEST(VoterStatus, StrangePartsCountAsAbsent) {
  const std::string encoded =
      term("#{membership => observer, uid => undefined, target => -1, \"x\" => y, z => {}}");
  etf::Cursor cursor(encoded);
  const auto read = read_voter_status(cursor);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, (raft::VoterStatus{Membership::unknown, {}, {}}));
  EXPECT_TRUE(cursor.at_end());
}

// Dumps of ra's live peer table: nothing but voter_status and machine_version may matter.
TEST(ClusterMap, DirtyPeerMapsFromTheBeam) {
  const std::vector<std::string> encoded = test::encode_in_beam(
      {"#{{a, 'n1@host'} => #{next_index => 7, match_index => 6, query_index => 0, "
       "commit_index_sent => 6, status => normal},"
       " {b, 'n1@host'} => #{next_index => 1, match_index => 0, query_index => 0, "
       "commit_index_sent => 0, status => {sending_snapshot, self(), 3}, voter_status => #{}, "
       "machine_version => 2},"
       " {c, 'n1@host'} => #{status => {snapshot_backoff, 1}, next_index => what, junk => "
       "fun(X) -> X end, {odd} => [1|2], machine_version => none, voter_status => #{membership => "
       "promotable, uid => <<\"u\">>, target => 5}},"
       " {d, 'n1@host'} => #{},"
       " {e, 'n1@host'} => not_a_map}"});
  ASSERT_EQ(encoded.size(), 1u);
  etf::Cursor cursor(encoded[0]);
  const auto cluster = read_cluster(cursor);
  ASSERT_TRUE(cluster.has_value()) << cursor.error("a cluster").message;
  EXPECT_TRUE(cursor.at_end());
  const raft::Cluster expected = {
      {id("a"), {}},
      {id("b"), {raft::VoterStatus{}, 2}},
      {id("c"), {raft::VoterStatus{Membership::promotable, "u", raft::Index(5)}, std::nullopt}},
      {id("d"), {}},
      {id("e"), {}},
  };
  EXPECT_EQ(*cluster, expected);
  EXPECT_FALSE(cluster->at(id("a")).voter_status.has_value());
  EXPECT_TRUE(cluster->at(id("b")).is_voter());
  EXPECT_FALSE(cluster->at(id("c")).is_voter());
}

TEST(ClusterMap, AListOfIdsAsOldRaHadIt) {
  const std::string encoded = term("[{b, 'n1@host'}, {a, 'n1@host'}]");
  etf::Cursor cursor(encoded);
  const auto cluster = read_cluster(cursor);
  ASSERT_TRUE(cluster.has_value());
  EXPECT_EQ(*cluster, (raft::Cluster{{id("a"), {}}, {id("b"), {}}}));
  EXPECT_TRUE(cursor.at_end());
}

TEST(ClusterMap, OtherTermsAreNone) {
  for (const char* text : {"a", "#{a => #{}}", "[a]", "[{a, 'n@h'}|b]", "\"ab\"", "{a, 'n@h'}"}) {
    const std::string encoded = term(text);
    etf::Cursor cursor(encoded);
    EXPECT_FALSE(read_cluster(cursor).has_value()) << text;
    EXPECT_FALSE(cursor.ok()) << text;
  }
  const std::string whole = term("#{{a, 'n@h'} => #{voter_status => #{uid => <<\"u\">>}}}");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    etf::Cursor cursor(cut);
    EXPECT_FALSE(read_cluster(cursor).has_value()) << size;
  }
}

TEST(ClusterMap, HasABound) {
  for (const bool as_map : {false, true}) {
    for (const std::uint32_t members : {16'384U, 16'385U}) {
      etf::Writer writer;
      as_map ? writer.map(members) : writer.list(members);
      for (std::uint32_t i = 0; i < members; ++i) {
        writer.tuple(2).atom("a" + std::to_string(i)).atom("n@h");
        if (as_map) writer.map(0);
      }
      if (!as_map) writer.nil();
      etf::Cursor cursor(writer.view());
      EXPECT_EQ(read_cluster(cursor).has_value(), members == 16'384U);
      EXPECT_EQ(cursor.ok(), members == 16'384U);
    }
  }
}

TEST(ClusterMap, BothFormsAsTheBeamHasThem) {
  const raft::Cluster cluster = {
      {id("a"), {}},
      {id("b"), {raft::VoterStatus{}, 0}},
      {id("c"), {raft::VoterStatus{Membership::voter, "u", raft::Index(9)}, std::nullopt}},
  };
  raft::Peers peers;
  peers[id("b")].next_index = raft::Index(70001);
  peers[id("b")].match_index = raft::Index(70000);
  peers[id("b")].query_index = raft::QueryIndex(3);
  peers[id("b")].commit_index_sent = raft::Index(69999);
  peers[id("b")].status = raft::PeerStatus::suspended;
  test::expect_same_in_beam({
      {written([&](etf::Writer& w) { write_cluster_change_map(w, cluster, &peers); }),
       "begin New = #{next_index => 1, match_index => 0, query_index => 0, commit_index_sent => 0, "
       "status => normal},"
       "#{{a, 'n1@host'} => New,"
       " {b, 'n1@host'} => #{next_index => 70001, match_index => 70000, query_index => 3, "
       "commit_index_sent => 69999, status => normal, voter_status => #{}, machine_version => 0},"
       " {c, 'n1@host'} => New#{voter_status => #{membership => voter, uid => <<\"u\">>, target => "
       "9}}} end"},
      {written([&](etf::Writer& w) {
         write_cluster_change_map(w, {{id("a"), {}}}, nullptr);
       }),
       "#{{a, 'n1@host'} => #{next_index => 1, match_index => 0, query_index => 0, "
       "commit_index_sent => 0, status => normal}}"},
      {written([&](etf::Writer& w) { write_snapshot_cluster(w, cluster); }),
       "#{{a, 'n1@host'} => #{}, {b, 'n1@host'} => #{voter_status => #{}},"
       " {c, 'n1@host'} => #{voter_status => #{membership => voter, uid => <<\"u\">>, target => "
       "9}}}"},
  });
}

TEST(Peer, StatusAsTheBeamHasIt) {
  raft::Peer peer;
  peer.snapshot_failures = 2;
  const etf::Pid pid("n1@host", 100, 2, 7);
  const etf::PidView sender = pid.view();
  const std::string numbers =
      "#{next_index => 1, match_index => 0, query_index => 0, commit_index_sent => 0, status => ";
  std::vector<test::SameTerm> claims;
  const auto claim = [&](raft::PeerStatus status, const etf::PidView* by, const char* expected) {
    peer.status = status;
    claims.push_back(
        {written([&](etf::Writer& w) { write_peer(w, peer, by); }), numbers + expected + "}"});
  };
  claim(raft::PeerStatus::normal, nullptr, "normal");
  claim(raft::PeerStatus::suspended, nullptr, "suspended");
  claim(raft::PeerStatus::disconnected, nullptr, "disconnected");
  claim(raft::PeerStatus::snapshot_backoff, nullptr, "{snapshot_backoff, 2}");
  claim(raft::PeerStatus::sending_snapshot, nullptr, "{sending_snapshot, undefined, 2}");
  const std::string pid_term = written([&](etf::Writer& w) { w.pid(sender); });
  claim(raft::PeerStatus::sending_snapshot, &sender,
        ("{sending_snapshot, " + test::as_expression(pid_term) + ", 2}").c_str());
  peer.config = {raft::VoterStatus{Membership::voter, {}, {}}, 0};
  claim(raft::PeerStatus::normal, nullptr,
        "normal, machine_version => 0, voter_status => #{membership => voter}");
  test::expect_same_in_beam(claims);
}

TEST(JoinData, EveryForm) {
  const struct {
    const char* text;
    raft::VoterStatus status;
  } cases[] = {
      {"#{id => {kv, 'n1@host'}}", {}},
      {"#{id => {kv, 'n1@host'}, membership => promotable, uid => <<\"u\">>}",
       {Membership::promotable, "u", {}}},
      {"#{id => {kv, 'n1@host'}, uid => <<\"ignored\">>, voter_status => #{membership => voter}}",
       {Membership::voter, {}, {}}},
      {"#{id => {kv, 'n1@host'}, target => 5, cluster_name => x, 1 => 2}",
       {{}, {}, raft::Index(5)}},
  };
  for (const auto& [text, status] : cases) {
    const std::string encoded = term(text);
    etf::Cursor cursor(encoded);
    const auto join = read_join_data(cursor);
    ASSERT_TRUE(join.has_value()) << text;
    EXPECT_EQ(join->id, id("kv")) << text;
    EXPECT_EQ(join->voter_status, status) << text;
  }
  for (const char* text : {"#{}", "#{id => kv}", "#{membership => voter}", "[]", "{kv, 'n1@host'}",
                           "#{id => {kv, 'n1@host'}, voter_status => voter}"}) {
    const std::string encoded = term(text);
    etf::Cursor cursor(encoded);
    EXPECT_FALSE(read_join_data(cursor).has_value()) << text;
    EXPECT_FALSE(cursor.ok()) << text;
  }
}

TEST(SnapshotMeta, BothWays) {
  const std::string text =
      "#{index => 70000, term => 3, cluster => #{{a, 'n1@host'} => #{}, {b, 'n1@host'} => "
      "#{voter_status => #{membership => voter}}}, machine_version => 1}";
  const std::string encoded = term(text);
  etf::Cursor cursor(encoded);
  const auto meta = read_snapshot_meta(cursor);
  ASSERT_TRUE(meta.has_value());
  EXPECT_EQ(meta->index, raft::Index(70000));
  EXPECT_EQ(meta->term, raft::Term(3));
  EXPECT_EQ(meta->machine_version, 1u);
  EXPECT_EQ(meta->cluster.size(), 2u);
  test::expect_same_in_beam(
      {{written([&](etf::Writer& w) { write_snapshot_meta(w, *meta); }), text}});
}

TEST(SnapshotMeta, OldAndBadForms) {
  const std::string old = term("#{index => 1, term => 2, cluster => [{a, 'n1@host'}], extra => x}");
  etf::Cursor cursor(old);
  const auto meta = read_snapshot_meta(cursor);
  ASSERT_TRUE(meta.has_value());
  EXPECT_EQ(meta->machine_version, 0u);
  EXPECT_TRUE(meta->cluster.contains(id("a")));
  for (const char* text : {"#{}", "#{index => 1, term => 2}", "#{index => 1, cluster => []}",
                           "#{term => 1, cluster => []}", "#{index => a, term => 2, cluster => []}",
                           "#{index => 1, term => 2, cluster => x}",
                           "#{index => 1, term => 2, cluster => [], machine_version => x}", "[]"}) {
    const std::string encoded = term(text);
    etf::Cursor bad(encoded);
    EXPECT_FALSE(read_snapshot_meta(bad).has_value()) << text;
    EXPECT_FALSE(bad.ok()) << text;
  }
}

}  // namespace
}  // namespace rakv::wire
