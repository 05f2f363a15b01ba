// SPDX-License-Identifier: Apache-2.0
#include "raft/member/voter_identities.h"

#include "cnode/etf/text.h"
#include "raft/log/directory/server_marks.h"
#include "raft/wire/ids.h"
#include "shell.h"

// Which servers a member takes for the voters of its cluster, in a whole member. The other voters
// are servers of the same node, so that ra_directory:uid_of/2 answers with their UIds.

namespace rakv::member::testing {
namespace {

constexpr char kServerDirectory[] = "/data/a@127.0.0.1/kvAAAAAAAAAA";

Shell::Options cluster(std::vector<std::string> members, std::uint64_t tick_ms) {
  Shell::Options options;
  options.members = std::move(members);
  options.tick_ms = tick_ms;
  return options;
}

std::string known_voters(Shell& shell) {
  const auto bytes = raftlog::read_known_voters(shell.disk(), kServerDirectory);
  return !bytes || bytes->empty() ? "" : etf::print_text(*bytes);
}

/// What kv remembers of a time when each of these had another UId.
void remember_others(Shell& shell, const std::vector<std::string>& voters) {
  etf::Writer writer;
  writer.map(voters.size());
  for (const std::string& voter : voters) {
    wire::write_server_id(writer, shell.id(voter));
    writer.binary("OLDAAAAAAAAA");
  }
  ASSERT_TRUE(raftlog::write_known_voters(shell.disk(), kServerDirectory, writer.take()));
}

TEST(VoterIdentities, AreRememberedWhileThereIsALeader) {
  Shell shell(cluster({"kv", "b", "c"}, 20));
  shell.add_server("c");
  shell.run();
  EXPECT_EQ(known_voters(shell), "") << "without a leader nobody knows who is who";
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "x")});
  shell.run_until([&] { return !known_voters(shell).empty(); }, "c's UId is stored");
  EXPECT_EQ(known_voters(shell), "#{{c,'a@127.0.0.1'} => <<\"cAAAAAAAAAA\">>}");
}

TEST(VoterIdentities, ThatCouldNotBeStoredAreStoredLater) {
  Shell shell(cluster({"kv", "b", "c"}, 20));
  shell.add_server("c");
  int failures = 0;
  shell.faults().set_rule(
      [&](raftlog::DiskOperation, const std::string& path) -> std::optional<Error> {
        if (path.find("known_voters") == std::string::npos || failures >= 3) return {};
        ++failures;
        return make_error(ErrorCode::io, path + ": Input/output error");
      });
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "x")});
  shell.run_until([&] { return !known_voters(shell).empty(); }, "c's UId is stored");
  EXPECT_EQ(failures, 3);
}

TEST(VoterIdentities, AMajorityOfStrangersKeepsTheMemberOut) {
  // Of kv, b, c, d and e, the last three are there under other UIds than kv remembers.
  Shell shell(cluster({"kv", "b", "c", "d", "e"}, 100'000'000));
  for (const char* name : {"c", "d", "e"}) shell.add_server(name);
  ASSERT_TRUE(shell.member()->voters().takes_part());
  remember_others(shell, {"c", "d", "e"});
  shell.crash();
  ASSERT_EQ(shell.member()->voters().standing(), VoterIdentities::Standing::stays_out)
      << shell.member()->voters().why();
  Peer b(shell, "b");
  const Peer::Vote vote = b.asks_for_vote(9, 100, 9);
  shell.call([](etf::Writer& writer) { writer.atom("trigger_election"); });
  shell.run();
  EXPECT_FALSE(*vote && (*vote)->granted);
  EXPECT_EQ(b.calls(), std::vector<std::string>()) << "it asks for no votes";
  EXPECT_NE(shell.member()->voters().why().find("(now cAAAAAAAAAA, was OLDAAAAAAAAA)"),
            std::string::npos)
      << shell.member()->voters().why();
}

TEST(VoterIdentities, FewerStrangersThanAMajorityDoNot) {
  Shell shell(cluster({"kv", "b", "c", "d", "e"}, 100'000'000));
  for (const char* name : {"c", "d"}) shell.add_server(name);
  remember_others(shell, {"c", "d"});
  shell.crash();
  EXPECT_TRUE(shell.member()->voters().takes_part()) << shell.member()->voters().why();
}

TEST(VoterIdentities, ThatAreSilentMakeItWait) {
  Shell shell(cluster({"kv", "b", "c"}, 100'000'000));
  remember_others(shell, {"b", "c"});
  shell.crash();
  // Nobody has these names: whether the voters were replaced can't be told.
  EXPECT_EQ(shell.member()->voters().standing(), VoterIdentities::Standing::undecided);
  shell.call([](etf::Writer& writer) { writer.atom("trigger_election"); });
  shell.run();
  EXPECT_EQ(shell.member()->core().current_term(), raft::Term{0});
}

/// While kv was away, c, d and e left and were deleted. The leader b tells it so.
TEST(VoterIdentities, ALeaderThatIsRememberedIsFollowedByOneThatWaits) {
  Shell shell(cluster({"kv", "b", "c", "d", "e"}, 100'000'000));
  shell.add_server("b");
  etf::Writer known;
  known.map(4);
  for (const char* voter : {"b", "c", "d", "e"}) {
    wire::write_server_id(known, shell.id(voter));
    known.binary(std::string(voter) + "AAAAAAAAAA");
  }
  ASSERT_TRUE(raftlog::write_known_voters(shell.disk(), kServerDirectory, known.take()));
  shell.crash();
  ASSERT_EQ(shell.member()->voters().standing(), VoterIdentities::Standing::undecided);
  shell.servers().stop_server("b");
  shell.run();
  Peer b(shell, "b");
  Peer c(shell, "c");
  c.leads(3, {user(1, 3, "of a stranger")});
  shell.run();
  EXPECT_EQ(c.acknowledged(), 0U);
  b.leads(2, {user(1, 2, "x")});
  shell.run();
  EXPECT_EQ(b.acknowledged(), 1U);
  const Peer::Vote vote = b.asks_for_vote(9, 100, 9);
  shell.run();
  EXPECT_FALSE(*vote && (*vote)->granted) << "it does not vote before it knows the voters";
}

TEST(VoterIdentities, AreForgottenByAForcedChange) {
  Shell shell(cluster({"kv", "b", "c"}, 100'000'000));
  remember_others(shell, {"b", "c"});
  shell.crash();
  shell.call([](etf::Writer& writer) { writer.atom("force_member_change"); });
  shell.run();
  EXPECT_TRUE(shell.member()->voters().takes_part());
  EXPECT_EQ(known_voters(shell), "#{}");
}

}  // namespace
}  // namespace rakv::member::testing
