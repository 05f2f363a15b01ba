// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <optional>
#include <vector>

#include "raft/member/overview.h"
#include "shell.h"

// A member that is started again inside its process: what was in memory only, and stores that hang
// with events that wait for them.

namespace rakv::member::testing {
namespace {

std::string vote_text(const Peer::Vote& vote) {
  if (!*vote) return "none";
  return (*vote)->granted ? "granted" : "refused";
}

// --- what is in memory is not on disk

class RestartHow : public ::testing::TestWithParam<bool> {
 protected:
  void restart(Shell& shell) {
    if (GetParam()) return shell.kill();
    shell.stop();
    shell.start();
  }
};
INSTANTIATE_TEST_SUITE_P(Restart, RestartHow, ::testing::Bool(),
                         [](const auto& how) { return how.param ? "Kill" : "StopStart"; });

TEST_P(RestartHow, EntriesThatTheWalStillHasAreNotAcknowledged) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "one")});
  shell.run();
  ASSERT_EQ(b.acknowledged(), 1U);

  shell.hold.wal = true;
  b.leads(1, {user(2, 1, "two"), user(3, 1, "three")}, 1, 1);
  shell.run();
  restart(shell);
  ASSERT_NE(shell.member(), nullptr);
  EXPECT_EQ(shell.member()->core().log().last().index, raft::Index{3});
  EXPECT_EQ(shell.member()->core().log().last_written().index, raft::Index{1});
  b.leads(1, {}, 3, 1);
  shell.run();
  EXPECT_EQ(b.acknowledged(), 1U);

  shell.hold.wal = false;
  shell.run();
  EXPECT_EQ(b.acknowledged(), 3U);
}

TEST_P(RestartHow, AVoteThatIsStillBeingStoredIsNotAnsweredUpon) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "one")});
  shell.run();

  shell.hold.worker = true;
  const Peer::Vote first = c.asks_for_vote(5, 1, 1);
  shell.run();
  EXPECT_EQ(vote_text(first), "none");
  restart(shell);
  const Peer::Vote again = c.asks_for_vote(5, 1, 1);
  b.leads(5, {}, 1, 1);
  shell.run();
  EXPECT_EQ(vote_text(again), "none");
  for (const raft::AppendEntriesReply& reply : b.replies()) EXPECT_LT(reply.term, raft::Term{5});

  shell.hold.worker = false;
  shell.run();
  const Peer::Vote later = c.asks_for_vote(5, 1, 1);
  shell.run();
  EXPECT_EQ(vote_text(later), "granted");
  shell.crash();
  EXPECT_EQ(shell.member()->core().current_term(), raft::Term{5});
  EXPECT_EQ(shell.member()->core().voted_for(), shell.id("c"));
}

TEST_P(RestartHow, OnlyWhatWasAppliedIsAppliedAgain) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "one"), user(2, 1, "two"), user(3, 1, "three")}, 0, 0, 1);
  shell.run();
  EXPECT_EQ(shell.history(), "1:one");
  restart(shell);
  EXPECT_EQ(shell.history(), "1:one") << "nobody said that the others are committed";
}

TEST_P(RestartHow, WhatIsAppliedAndNotDurableCountsForNoStart) {
  Shell shell;
  {
    Peer b(shell, "b");
    b.leads(1, {user(1, 1, "one")}, 0, 0, 1);
    shell.run();
    shell.hold.wal = true;
    b.leads(1, {user(2, 1, "two")}, 1, 1, 2);
    shell.run();
    EXPECT_EQ(shell.history(), "1:one 2:two");
    restart(shell);
    EXPECT_EQ(shell.log().meta().last_applied, 1U);
    shell.log_system().flush_metadata([](const Result<void>&) {});
    shell.run();
  }
  shell.crash();
  EXPECT_FALSE(shell.log().amnesia());
  EXPECT_EQ(shell.history(), "1:one");
}

/// Else it may vote for another one in the same term.
TEST_P(RestartHow, AVoteThatWasGivenIsKept) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  const Peer::Vote given = c.asks_for_vote(5);
  shell.run();
  EXPECT_EQ(vote_text(given), "granted");
  restart(shell);
  const Peer::Vote second = b.asks_for_vote(5);
  shell.run();
  EXPECT_EQ(vote_text(second), "refused");
}

// --- stores that hang, with events that wait

TEST(HangingVote, LastAppliedIsNotNotedForWhatIsAboutToBeOverwritten) {
  Shell shell;
  auto b = std::make_unique<Peer>(shell, "b");
  auto c = std::make_unique<Peer>(shell, "c");
  b->leads(1, {user(1, 1, "one"), user(2, 1, "old"), user(3, 1, "old")});
  shell.run();
  ASSERT_EQ(b->acknowledged(), 3U);

  // The next leader overwrites 2 and 3 and says that they are committed; the store of its term
  // hangs, and the server is stopped.
  shell.hold.worker = true;
  c->leads(2, {user(2, 2, "new"), user(3, 2, "new")}, 1, 1, 3);
  shell.run();
  shell.stop();
  shell.hold.worker = false;
  shell.run();
  EXPECT_LE(shell.log().meta().last_applied, 1U);
  shell.start();
  EXPECT_EQ(shell.history(), "");
  c->leads(2, {user(2, 2, "new"), user(3, 2, "new")}, 1, 1, 3);
  shell.run();
  EXPECT_EQ(shell.history(), "1:one 2:new 3:new");
}

TEST(HangingVote, ATickNotesNothingThatTheMachineHasNotReached) {
  Shell::Options options;
  options.tick_ms = 1;
  Shell shell(options);
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "one"), user(2, 1, "old")});
  shell.run();
  shell.hold.worker = true;
  c.leads(2, {user(2, 2, "new")}, 1, 1, 2);
  shell.run();
  std::size_t turns = 0;
  shell.run_until([&] { return ++turns > 20; }, "some ticks");
  EXPECT_EQ(shell.log().meta().last_applied, 0U);
  shell.hold.worker = false;
  shell.run_until([&] { return shell.log().meta().last_applied == 2; }, "it is noted in the end");
}

TEST(HangingVote, OneIsLeaderOnceItsNoopIsInTheLog) {
  Shell::Options options;
  options.members = {"kv"};
  Shell shell(options);
  const auto ping = [&] { return shell.ask([](etf::Writer& writer) { writer.atom("ping"); }); };
  shell.hold.worker = true;
  shell.member()->trigger_election();
  shell.run();
  EXPECT_EQ(shell.log().last().index, 0U);
  EXPECT_NE(ping(), "{pong,leader}");
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(shell.log().last().index, 1U);
  EXPECT_EQ(ping(), "{pong,leader}");
}

TEST(HangingVote, LocalQueriesAnswerFromWhatTheMachineHasApplied) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "one")});
  shell.run();
  b.leads(1, {}, 1, 1, 1);
  shell.run();
  ASSERT_EQ(shell.history(), "1:one");
  shell.hold.worker = true;
  c.leads(2, {user(2, 2, "two")}, 1, 1, 2);
  shell.run();
  EXPECT_EQ(shell.history(), "1:one");
  EXPECT_TRUE(shell.local_query().starts_with("{ok,{{1,")) << shell.local_query();
  const auto state_query = [&](const char* what) {
    return shell.ask([&](etf::Writer& writer) { writer.tuple(2).atom("state_query").atom(what); });
  };
  EXPECT_TRUE(state_query("last_applied").starts_with("{ok,1,")) << state_query("last_applied");
  EXPECT_NE(state_query("overview").find("last_applied => 1"), std::string::npos);
  refresh_counters(*shell.member());
  EXPECT_EQ(shell.member()->counters().get(Counter::last_applied), 1);
  // Term 1 is what the log has at 1, and the condition is met; 2 has to wait.
  EXPECT_NE(shell.local_query(raft::IndexTerm{raft::Index{1}, raft::Term{1}}), "");
  const auto waiting = shell.call([&](etf::Writer& writer) {
    writer.tuple(3).atom("local_query").tuple(3).atom("ra_lib").atom("id").nil().map(1);
    writer.atom("condition").tuple(2).atom("applied").tuple(2).u64(2).u64(2);
  });
  shell.run();
  EXPECT_EQ(waiting->value_or(""), "");
  shell.hold.worker = false;
  shell.run();
  EXPECT_TRUE(waiting->value_or("").starts_with("{ok,{{2,2},#{1 => <<\"one\">>,2 => <<\"two\">>}"))
      << waiting->value_or("");
}

TEST(HangingVote, AnEntryIsReadOnceTheMachineHasAppliedIt) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "one"), user(2, 1, "old")});
  shell.run();
  shell.hold.worker = true;
  c.leads(2, {user(2, 2, "new")}, 1, 1, 2);
  shell.run();
  std::optional<std::uint64_t> term;
  shell.member()->read_entry(2, std::chrono::seconds(10),
                             [&](const Result<std::vector<raftlog::StoredEntry>>& entries) {
                               term = entries ? entries->front().term : 0;
                             });
  shell.run();
  EXPECT_FALSE(term) << "it is to be overwritten, and the store of the new term hangs";
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(term, 2U);
}

// --- one sender's messages keep their order

TEST(Order, WhatFollowsACommandSeesIt) {
  Shell::Options options;
  options.members = {"kv"};
  Shell shell(options);
  shell.member()->trigger_election();
  shell.run();
  ASSERT_EQ(shell.log().last().index, 1U);
  // Both arrive in one turn of the event loop, as two frames of one read do.
  Shell::Answer overview;
  boost::asio::post(shell.io(), [&] {
    shell.put("kv", "one");
    overview = shell.call(
        [](etf::Writer& writer) { writer.tuple(2).atom("state_query").atom("overview"); });
  });
  shell.run();
  EXPECT_NE(overview->value_or("").find("last_index => 2"), std::string::npos)
      << overview->value_or("");
}

// --- every call is answered

/// Flips every second byte of every segment below `directory`; gives how many there were.
int damage_segments(raftlog::MemoryDisk& disk, const std::string& directory) {
  int damaged = 0;
  for (const raftlog::DirectoryEntry& entry : disk.list(directory).value()) {
    const std::string path = directory + "/" + entry.name;
    if (entry.kind == raftlog::DirectoryEntry::Kind::directory)
      damaged += damage_segments(disk, path);
    if (!entry.name.ends_with(".segment")) continue;
    const std::unique_ptr<raftlog::File> file = disk.open_write(path).value();
    std::string bytes(file->size().value(), '\0');
    EXPECT_EQ(file->pread(0, bytes.data(), bytes.size()).value(), bytes.size());
    for (std::size_t i = 1; i < bytes.size(); i += 2) bytes[i] = static_cast<char>(~bytes[i]);
    const raftlog::IoSlice slice{bytes.data(), bytes.size()};
    EXPECT_TRUE(file->pwritev(0, {&slice, 1}));
    ++damaged;
  }
  return damaged;
}

TEST(Unreadable, EntriesThatCannotBeReadAreAnErrorInWords) {
  Shell::Options options;
  options.members = {"kv"};
  Shell shell(options);
  shell.member()->trigger_election();
  shell.run();
  shell.put("kv", "live one");
  shell.run();
  shell.log_system().roll_over_wal();
  shell.run();
  ASSERT_GT(damage_segments(shell.disk(), ""), 0);
  const std::string answer = shell.ask([](etf::Writer& writer) {
    writer.tuple(2).atom("local_call").tuple(2).atom("read_entries").list(1).u64(2).nil();
  });
  EXPECT_TRUE(answer.starts_with("{error,{not_readable,")) << answer;
}

}  // namespace
}  // namespace rakv::member::testing
