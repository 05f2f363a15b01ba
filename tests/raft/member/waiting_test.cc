// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "shell.h"

// What waits in a member, for a leader, the disk, an index or its receiver, has a bound in bytes.

namespace rakv::member::testing {
namespace {

constexpr std::size_t kLarge = 100'000;

int refused(const std::vector<Shell::Answer>& answers) {
  int count = 0;
  for (const Shell::Answer& answer : answers)
    count += answer->value_or("") == "{error,system_limit}";
  return count;
}

TEST(Waiting, CommandsForALeaderThatIsNotThere) {
  Shell shell;
  const std::string text(kLarge, 'x');
  std::vector<Shell::Answer> answers;
  for (int i = 0; i < 100; ++i) {
    answers.push_back(shell.put("kv", text));
    shell.run();
  }
  // One server leaves half of the share to the others.
  const ByteAccount& waiting = shell.memory().waiting;
  EXPECT_GT(waiting.used(), waiting.limit() / 2 - 2 * kLarge);
  EXPECT_LE(waiting.used(), waiting.limit() / 2);
  EXPECT_GT(refused(answers), 50);
  EXPECT_EQ(refused({answers.front()}), 0);
  Peer b(shell, "b");
  b.leads(1, {});
  shell.run();
  EXPECT_EQ(answers.front()->value_or(""), "{redirect,{b,'a@127.0.0.1'}}");
  EXPECT_EQ(waiting.used(), 0U);
}

TEST(Waiting, OneLargerThanTheShareMayWait) {
  Shell shell;
  const Shell::Answer large = shell.put("kv", std::string(10 << 20, 'x'));
  shell.run();
  EXPECT_EQ(large->value_or(""), "");
  EXPECT_GT(shell.memory().waiting.used(), 10U << 20);
  const Shell::Answer other = shell.put("kv", "x");
  shell.run();
  EXPECT_EQ(other->value_or(""), "{error,system_limit}");
  Peer b(shell, "b");
  b.leads(1, {});
  shell.run();
  EXPECT_EQ(large->value_or(""), "{redirect,{b,'a@127.0.0.1'}}");
}

TEST(Waiting, QueriesAndReadsForALeaderThatIsNotThere) {
  Shell shell;
  std::vector<Shell::Answer> answers;
  answers.reserve(100);
  for (int i = 0; i < 100; ++i) {
    answers.push_back(shell.call([&](etf::Writer& writer) {
      writer.tuple(2).atom("leader_call").tuple(2);
      writer.atom(i % 2 == 0 ? "consistent_query" : "state_query").binary(std::string(kLarge, 'x'));
    }));
  }
  shell.run();
  EXPECT_LE(shell.memory().waiting.used(), shell.memory().waiting.limit());
  EXPECT_GT(refused(answers), 50);
}

TEST(Waiting, LocalQueriesForAnIndexThatDoesNotCome) {
  Shell shell;
  std::vector<Shell::Answer> answers;
  answers.reserve(100);
  for (int i = 0; i < 100; ++i) {
    answers.push_back(shell.call([&](etf::Writer& writer) {
      writer.tuple(3).atom("local_query").binary(std::string(kLarge, 'x')).map(1);
      writer.atom("condition").tuple(2).atom("applied").tuple(2).integer(1000).integer(1);
    }));
  }
  shell.run();
  // One server leaves half of the share to the others.
  const ByteAccount& waiting = shell.memory().waiting;
  EXPECT_GT(waiting.used(), waiting.limit() / 2 - 2 * kLarge);
  EXPECT_LE(waiting.used(), waiting.limit() / 2);
  EXPECT_GT(refused(answers), 50);
}

TEST(Waiting, ConsistentQueriesOfALeaderWithoutFollowers) {
  Shell shell;
  Peer b(shell, "b");
  b.votes_for_kv();
  shell.member()->trigger_election();
  shell.run();
  b.acknowledges(1, 1);
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::leader);
  std::vector<Shell::Answer> answers;
  answers.reserve(100);
  for (int i = 0; i < 100; ++i) {
    answers.push_back(shell.call([&](etf::Writer& writer) {
      writer.tuple(2).atom("leader_call").tuple(2).atom("consistent_query");
      writer.binary(std::string(kLarge, 'x'));
    }));
  }
  shell.run();
  EXPECT_LE(shell.memory().queries.used(), shell.memory().queries.limit());
  EXPECT_GT(refused(answers), 50);
  EXPECT_EQ(shell.memory().waiting.used(), 0U);
}

TEST(Waiting, MessagesOfMembersAndCallsWhileAVoteIsBeingStored) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "one")});
  shell.run();
  shell.hold.worker = true;
  c.asks_for_vote(5, 1, 1);
  shell.run();
  const std::string text(kLarge, 'x');
  std::vector<Shell::Answer> answers;
  for (std::uint64_t i = 0; i < 100; ++i) {
    b.leads(5, {user(2 + i, 5, text)}, 1 + i, i == 0 ? 1 : 5);
    answers.push_back(shell.put("kv", text));
    shell.run();
  }
  const ByteAccount& messages = shell.memory().member_messages;
  EXPECT_GT(messages.used(), messages.limit() - 2 * kLarge);
  EXPECT_LE(messages.used(), messages.limit());
  EXPECT_LE(shell.memory().waiting.used(), shell.memory().waiting.limit());
  EXPECT_GT(refused(answers), 50);
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(messages.used(), 0U);
  EXPECT_EQ(shell.memory().waiting.used(), 0U);
  EXPECT_GE(shell.log().last().index, 2U) << "what waited is done";
}

TEST(Waiting, NotificationsForOneThatIsAway) {
  Shell::Options options;
  options.members = {"kv"};
  Shell shell(options);
  shell.member()->trigger_election();
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::leader);
  const etf::Pid away("away@127.0.0.1", 7, 0, 4711);
  std::vector<Shell::Answer> answers;
  for (int i = 0; i < 50; ++i) {
    shell.node().send_to_name(shell.member()->pid().view(), shell.node().name(), "kv",
                              [&](distribution::OutMessage& out) {
                                etf::Writer writer(out.text);
                                writer.tuple(2).atom("$gen_cast").tuple(3).atom("command");
                                writer.atom("normal").tuple(3).atom("$usr").binary("x");
                                writer.tuple(3).atom("notify").big(false,
                                                                   std::string(kLarge, '\1'));
                                writer.pid(away);
                              });
    shell.run();
  }
  const ByteAccount& notifications = shell.memory().notifications;
  EXPECT_GT(notifications.used(), notifications.limit() - 2 * kLarge);
  EXPECT_LE(notifications.used(), notifications.limit());
}

TEST(Waiting, ChunksOfASnapshotAreCountedUntilItIsInstalledOrDropped) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {});
  shell.run();
  const std::string head = snapshot_head(10, 1);
  b.sends_snapshot(1, head, 0, raft::ChunkFlag::init, {}, {});
  shell.run();
  for (std::uint64_t number = 1; number <= 5; ++number) {
    b.sends_snapshot(1, head, number, raft::ChunkFlag::next, {}, std::string(kLarge, 'x'));
    shell.run();
  }
  EXPECT_GE(shell.memory().snapshots.used(), 5 * kLarge);
  Peer c(shell, "c");
  c.leads(2, {});
  shell.run();
  EXPECT_EQ(shell.memory().snapshots.used(), 0U);
}

/// What other servers of the node write holds back the answers to a snapshot's pieces. When it is
/// on disk they go on, also if this server itself has written nothing.
TEST(Waiting, AnswersToPiecesOfASnapshotGoOnWhenOthersHaveWritten) {
  Shell::Options options;
  options.tick_ms = 500;
  options.log.memory_budget_bytes = raftlog::MemoryBudget::kSmallestBytes;
  Shell shell(options);
  shell.add_server("other");
  Peer b(shell, "b");
  b.leads(1, {});
  shell.run();
  shell.hold.wal = true;
  for (int i = 0; i < 8; ++i) shell.put("other", std::string(1 << 20, 'x'));
  shell.run();
  const std::string head = snapshot_head(10, 1);
  const Shell::Answer answer = b.sends_snapshot(1, head, 0, raft::ChunkFlag::init, {}, {});
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::receive_snapshot);
  EXPECT_EQ(answer->value_or(""), "");
  shell.hold.wal = false;
  shell.run_until([&] { return answer->has_value(); }, "the answer");
}

/// A follower takes no entries that would have to wait for the disk beyond its share. When the disk
/// has caught up it asks for them again, and does not wait until the leader finds out.
TEST(Waiting, EntriesThatHadNoRoomAreAskedForAgain) {
  Shell::Options options;
  options.tick_ms = 500;
  options.log.memory_budget_bytes = raftlog::MemoryBudget::kSmallestBytes;
  Shell shell(options);
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "one")});
  shell.run();
  ASSERT_EQ(b.acknowledged(), 1U);
  shell.hold.wal = true;
  b.leads(1, {user(2, 1, std::string(13 << 20, 'x'))}, 1, 1);
  b.leads(1, {user(3, 1, "three")}, 2, 1);  // no room
  b.leads(1, {}, 3, 1);                     // shows the gap
  shell.run();
  ASSERT_FALSE(b.replies().empty());
  ASSERT_FALSE(b.replies().back().success);
  b.leads(1, {user(3, 1, "three")}, 2, 1);  // still no room
  shell.run();
  const std::size_t before = b.replies().size();
  shell.hold.wal = false;
  shell.run();
  b.leads(1, {}, 3, 1);  // the leader's tick
  shell.run_until([&] { return b.replies().size() > before; }, "that it asks again");
  EXPECT_FALSE(b.replies().back().success);
  EXPECT_EQ(b.replies().back().next_index, raft::Index{3});
  b.leads(1, {user(3, 1, "three")}, 2, 1);
  shell.run();
  EXPECT_EQ(b.acknowledged(), 3U);
}

/// The disk of a leader hangs. What others have is committed without it, until no more may wait
/// here: then somebody else should lead.
TEST(Waiting, ALeaderWhoseDiskHangsHandsOver) {
  Shell::Options options;
  options.log.memory_budget_bytes = raftlog::MemoryBudget::kSmallestBytes;
  Shell shell(options);
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.votes_for_kv();
  shell.member()->trigger_election();
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::leader);
  shell.hold.wal = true;
  const Shell::Answer large = shell.put("kv", std::string(13 << 20, 'x'));
  shell.run();
  for (Peer* peer : {&b, &c}) peer->acknowledges(1, 2);
  shell.run();
  EXPECT_TRUE(large->value_or("").starts_with("{wrap_reply,"));
  const Shell::Answer refused = shell.put("kv", "y");
  shell.run();
  EXPECT_EQ(refused->value_or(""), "{error,wal_down}");
  EXPECT_EQ(shell.member()->core().role(), raft::Role::leader);
  shell.run_until([&] { return shell.member()->core().role() == raft::Role::await_condition; },
                  "it asks another one to lead");
  shell.hold.wal = false;
  shell.run_until([&] { return shell.member()->core().role() == raft::Role::leader; },
                  "it leads on, since nobody has taken over");
  const Shell::Answer taken = shell.put("kv", "z");
  shell.run();
  EXPECT_EQ(shell.log().last().index, 3U);
}

}  // namespace
}  // namespace rakv::member::testing
