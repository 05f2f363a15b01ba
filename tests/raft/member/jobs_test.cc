// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <optional>

#include "cnode/etf/cursor.h"
#include "cnode/etf/version.h"
#include "raft/wire/ids.h"
#include "shell.h"

// Jobs that outlive the member that began them, because the server is started again inside its
// process: snapshots that are being written or taken in.

namespace rakv::member::testing {
namespace {

class JobsOutlive : public ::testing::TestWithParam<bool> {
 protected:
  void restart(Shell& shell) {
    if (GetParam()) return shell.kill();
    shell.stop();
    shell.start();
  }
};
INSTANTIATE_TEST_SUITE_P(Restart, JobsOutlive, ::testing::Bool(),
                         [](const auto& how) { return how.param ? "Kill" : "StopStart"; });

void take_snapshot(Shell& shell) {
  shell.ask([](etf::Writer& writer) { writer.tuple(2).atom("aux_command").atom("snapshot"); });
}

TEST_P(JobsOutlive, WhileItsSnapshotIsWrittenAndALaggingPeerIsServed) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "one"), user(2, 1, "two"), user(3, 1, "three")}, 0, 0, 3);
  shell.run();
  ASSERT_EQ(shell.history(), "1:one 2:two 3:three");
  shell.hold.background = true;
  take_snapshot(shell);
  ASSERT_TRUE(shell.log().snapshot_in_progress());
  restart(shell);
  shell.hold.background = false;
  shell.run();
  ASSERT_TRUE(shell.log().snapshot().has_value());
  ASSERT_NE(shell.member(), nullptr);
  EXPECT_EQ(shell.member()->core().log().snapshot().index.value(),
            shell.log().snapshot()->meta.index);
  EXPECT_EQ(shell.history(), "1:one 2:two 3:three");

  b.votes_for_kv();
  shell.member()->trigger_election();
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::leader);
  c.refuses(2, 1, 0, 0);  // it has nothing
  shell.run();
  ASSERT_FALSE(c.calls().empty());
  EXPECT_NE(c.calls().back().find("install_snapshot_rpc"), std::string::npos) << c.calls().back();
}

/// What a leader sends of a snapshot at index 3 whose entry 2 is live.
struct Incoming {
  raftlog::StoredSnapshotMeta meta;
  std::string file;
  std::vector<raft::Entry> live;

  Incoming() {
    HistoryMachine machine;
    for (std::uint64_t index = 1; index <= 3; ++index) {
      CommandMeta command;
      command.index = index;
      machine.apply(command, etf::Writer().binary(index == 2 ? "live" : "gone").view(), nullptr);
    }
    meta.index = 3;
    meta.term = 1;
    etf::Writer cluster;
    cluster.version();
    raft::Cluster members;
    for (const char* name : {"kv", "b", "c"})
      members.emplace(raft::ServerId{name, "a@127.0.0.1"}, raft::PeerConfig{});
    wire::write_snapshot_cluster(cluster, members);
    meta.cluster = cluster.take();
    etf::Writer state;
    state.version();
    machine.write_state(state);
    file = raftlog::encode_snapshot_file(meta, state.view());
    live = {user(2, 1, "live")};
  }

  void send(Shell& shell, Peer& leader, std::uint64_t term) const {
    const std::string head = raftlog::encode_snapshot_meta(meta);
    leader.sends_snapshot(term, head, 0, raft::ChunkFlag::init, {}, {});
    shell.run();
    leader.sends_snapshot(term, head, 0, raft::ChunkFlag::pre, live, {});
    shell.run();
    leader.sends_snapshot(term, head, 1, raft::ChunkFlag::last, {}, file);
    shell.run();
  }
};

/// The next leader, of term 2, has another log than kv from 2 on; kv takes it and goes on with it.
void goes_on_with_the_next_leader(Shell& shell, Peer& next) {
  next.leads(2, {user(2, 2, "y"), user(3, 2, "y")}, 1, 1, 0);
  shell.run_without_disk();
  shell.hold = {};
  shell.run();
  ASSERT_NE(shell.member(), nullptr);
  const auto& shape = shell.member()->core().log();
  EXPECT_EQ(shape.last().index.value(), shell.log().last().index);
  EXPECT_EQ(shape.last_written().index.value(), shell.log().last_written().index);
  EXPECT_EQ(shape.snapshot().index.value(),
            shell.log().snapshot() ? shell.log().snapshot()->meta.index : 0);
  const std::uint64_t last = shell.log().last().index;
  const std::uint64_t last_term = shell.log().last().term;
  next.leads(3, {user(last + 1, 3, "z")}, last, last_term, last + 1);
  shell.run();
  EXPECT_EQ(next.acknowledged(), last + 1);
  EXPECT_NE(shell.history().find(":z"), std::string::npos) << shell.history();
  shell.crash();
  EXPECT_EQ(shell.log().last().index, last + 1);
}

TEST_P(JobsOutlive, WhileASnapshotIsInstalled) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.leads(1, {user(1, 1, "x")});
  shell.run();
  const Incoming incoming;
  incoming.send(shell, b, 1);
  ASSERT_TRUE(shell.log().snapshot().has_value());  // as it goes undisturbed
  EXPECT_EQ(shell.history(), "1:gone 2:live 3:gone");

  // And once more, disturbed in each of its stages.
  for (int jobs = 0; jobs < 6; ++jobs) {
    Shell other;
    Peer leader(other, "b");
    Peer next(other, "c");
    leader.leads(1, {user(1, 1, "x")});
    other.run();
    const std::string head = raftlog::encode_snapshot_meta(incoming.meta);
    leader.sends_snapshot(1, head, 0, raft::ChunkFlag::init, {}, {});
    other.run();
    if (jobs >= 3) {
      leader.sends_snapshot(1, head, 0, raft::ChunkFlag::pre, incoming.live, {});
      other.run();
    }
    other.hold.background = jobs % 3 > 0;
    other.hold.wal = jobs % 3 == 2;
    if (jobs < 3) {
      leader.sends_snapshot(1, head, 0, raft::ChunkFlag::pre, incoming.live, {});
      other.run();
    }
    leader.sends_snapshot(1, head, 1, raft::ChunkFlag::last, {}, incoming.file);
    other.run();
    restart(other);
    goes_on_with_the_next_leader(other, next);
  }
}

/// With millions of keys it takes seconds, and other servers of the node have the same owner.
TEST(Jobs, TheStateOfASnapshotIsReadInTheBackground) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "x")});
  shell.run();
  const Incoming incoming;
  const int before = HistoryMachine::states_read;
  shell.hold.background = true;
  incoming.send(shell, b, 1);
  EXPECT_EQ(HistoryMachine::states_read, before);
  shell.hold.background = false;
  shell.run();
  EXPECT_EQ(HistoryMachine::states_read, before + 1);
  EXPECT_EQ(shell.history(), "1:gone 2:live 3:gone");
}

/// The newest one may be undone, and whoever starts with the snapshot counts votes by it.
TEST(Jobs, ASnapshotCarriesTheConfigurationAtItsIndex) {
  Shell shell;
  Peer b(shell, "b");
  b.votes_for_kv();
  shell.member()->trigger_election();
  shell.run();
  b.acknowledges(1, 1);
  shell.run();
  shell.call([&](etf::Writer& writer) {
    writer.tuple(2).atom("leader_call").tuple(3).atom("command").atom("normal");
    writer.tuple(3).atom("$ra_leave");
    wire::write_server_id(writer, shell.id("c"));
    writer.atom("noreply");
  });
  shell.run();
  ASSERT_EQ(shell.member()->core().cluster().size(), 2U);
  ASSERT_EQ(shell.member()->last_applied(), raft::Index{1});
  take_snapshot(shell);
  ASSERT_TRUE(shell.log().snapshot().has_value());
  EXPECT_EQ(shell.log().snapshot()->meta.index, 1U);
  etf::Cursor cursor(etf::without_version(shell.log().snapshot()->meta.cluster));
  const std::optional<raft::Cluster> cluster = wire::read_cluster(cursor);
  ASSERT_TRUE(cluster);
  EXPECT_EQ(cluster->size(), 3U);
}

TEST(Jobs, ASnapshotOfAnotherPlaceIsNotInstalled) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "x")}, 0, 0, 1);
  shell.run();
  Incoming incoming;
  incoming.meta.index = 4;  // the file is of 3
  incoming.send(shell, b, 1);
  EXPECT_FALSE(shell.log().snapshot().has_value());
  EXPECT_EQ(shell.history(), "1:x");
}

TEST(Jobs, ATransferThatBeginsAnewKeepsNothingOfTheLast) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "x")});
  shell.run();
  const Incoming incoming;
  const std::string head = raftlog::encode_snapshot_meta(incoming.meta);
  b.sends_snapshot(1, head, 0, raft::ChunkFlag::init, {}, {});
  shell.run();
  b.sends_snapshot(1, head, 1, raft::ChunkFlag::next, {}, "some bytes");
  shell.run();
  incoming.send(shell, b, 1);
  EXPECT_EQ(shell.history(), "1:gone 2:live 3:gone");
}

/// The server is started again after each of the jobs that an installation consists of.
TEST_P(JobsOutlive, BetweenTheStepsOfAnInstallation) {
  bool worked = true;
  for (int jobs = 0; worked && !HasFailure(); ++jobs) {
    SCOPED_TRACE(jobs);
    Shell shell;
    Peer leader(shell, "b");
    Peer next(shell, "c");
    leader.leads(1, {user(1, 1, "x")});
    shell.run();
    shell.hold.background = true;
    Incoming().send(shell, leader, 1);
    for (int job = 0; job < jobs; ++job) {
      worked = shell.run_one_of_background();
      shell.run();
    }
    restart(shell);
    goes_on_with_the_next_leader(shell, next);
  }
}

}  // namespace
}  // namespace rakv::member::testing
