// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/cluster_replacement.h"

// Three whole nodes over a simulated network, memory disks and virtual time. RAKV_SEED=n runs
// another seed; RAKV_TRACE=file keeps what happened.

namespace rakv::simulation {
namespace {

using namespace std::chrono_literals;

std::uint64_t chosen_seed() {
  const char* given = std::getenv("RAKV_SEED");
  return given != nullptr ? std::stoull(given) : 1;
}

class SimulationTest : public testing::Test {
 protected:
  SimulationTest() { spdlog::set_level(spdlog::level::off); }
};

/// A cluster forms, takes writes, loses its leader, goes on, and gets it back; the trace of it all.
std::string lose_a_leader(std::uint64_t seed) {
  SimulatedCluster cluster(seed, {"a", "b", "c"});
  cluster.form();
  std::size_t acknowledged = 0;
  for (std::uint64_t i = 0; i < 50; ++i) acknowledged += cluster.put("key", i) ? 1 : 0;
  EXPECT_EQ(acknowledged, 50U);
  EXPECT_EQ(cluster.get("key"), "49");
  SimulatedNode* first = cluster.leader();
  first->kill(raftlog::CrashMode::lose_unsynced);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.leader() != nullptr; }, 10s));
  EXPECT_EQ(cluster.get("key"), "49");
  for (std::uint64_t i = 50; i < 60; ++i) EXPECT_TRUE(cluster.put("key", i));
  first->start();
  EXPECT_TRUE(cluster.run_until(
      [&] {
        const SimulatedNode* leader = cluster.leader();
        if (leader == nullptr || first->member() == nullptr) return false;
        return first->member()->last_applied() ==
               cluster.leader()->member()->core().log().last().index;
      },
      30s));
  EXPECT_EQ(cluster.get("key"), "59");
  return cluster.trace.text();
}

TEST_F(SimulationTest, AClusterFormsWritesLosesItsLeaderAndGoesOn) {
  const std::uint64_t seed = chosen_seed();
  const std::string trace = lose_a_leader(seed);
  std::cout << "seed " << seed << ": a trace of " << trace.size() << " bytes, checksum "
            << checksum(trace) << "\n";
}

TEST_F(SimulationTest, TheSameSeedGivesTheSameTraceByteForByte) {
  for (const std::uint64_t seed : {chosen_seed(), chosen_seed() + 1}) {
    const std::string trace = lose_a_leader(seed);
    EXPECT_TRUE(lose_a_leader(seed) == trace) << "seed " << seed;
  }
  EXPECT_FALSE(lose_a_leader(1) == lose_a_leader(2)) << "chance has no say";
}

/// A leader that nobody hears answers nothing; the others elect one of theirs, and it follows when
/// the links are whole again.
TEST_F(SimulationTest, ALeaderThatIsCutOffFollowsAfterwards) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  ASSERT_TRUE(cluster.put("key", 1));
  SimulatedNode* first = cluster.leader();
  std::string host;
  for (const std::string name : {"a", "b", "c"}) {
    if (&cluster.node(name) == first) host = name;
  }
  const std::vector<std::string> others = {"a", "b", "c", "client"};
  for (const std::string& other : others) {
    if (other != host) cluster.network.cut(host, other);
  }
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() != first; }, 5min));
  ASSERT_TRUE(cluster.run_until([&] { return cluster.put("key", 2); }, 5min));
  EXPECT_EQ(first->member()->core().role(), raft::Role::leader) << "it has heard of nothing";
  for (const std::string& other : others) cluster.network.mend(host, other);
  EXPECT_TRUE(cluster.run_until(
      [&] {
        return first->member()->core().role() == raft::Role::follower &&
               first->member()->last_applied() ==
                   cluster.leader()->member()->core().log().last().index;
      },
      5min));
  EXPECT_EQ(cluster.get("key"), "2");
}

/// What waits for a caller takes memory, whether the caller is still there or not.
TEST_F(SimulationTest, AReadByRpcThatNobodyCanAnswerEndsLongBeforeItsHour) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  ASSERT_TRUE(cluster.put("key", 1));
  SimulatedNode* leader = cluster.leader();
  for (const std::string name : {"a", "b", "c"}) {
    if (&cluster.node(name) != leader) cluster.node(name).kill(raftlog::CrashMode::keep_everything);
  }
  etf::Writer arguments;
  arguments.list(3).tuple(2).atom("kv").atom(leader->name()).binary("key").integer(3'600'000).nil();
  std::string answer;
  cluster.client().node().apply(
      leader->name(), "ra_kv", "get", arguments.view(), 1h,
      [&](const node::ApplyResult& result) { answer = etf::print_text(result.term); });
  cluster.client().turn();
  EXPECT_TRUE(cluster.run_until([&] { return !answer.empty(); }, 90s));
  EXPECT_EQ(answer, "{timeout,{kv," + leader->name() + "}}");
}

/// As after SIGSTOP: its connections stay, but it says nothing. The others elect one of theirs, and
/// it follows when it goes on.
TEST_F(SimulationTest, ALeaderThatIsFrozenFollowsAfterwards) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  ASSERT_TRUE(cluster.put("key", 1));
  SimulatedNode* first = cluster.leader();
  first->runtime().freeze();
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() != first; }, 5min));
  ASSERT_TRUE(cluster.run_until([&] { return cluster.put("key", 2); }, 5min));
  EXPECT_EQ(first->member()->core().role(), raft::Role::leader) << "it has heard of nothing";
  first->runtime().thaw();
  EXPECT_TRUE(cluster.run_until(
      [&] { return first->member()->core().role() == raft::Role::follower; }, 5min));
  EXPECT_EQ(cluster.get("key"), "2");
}

/// Nothing tells its peers: their connections stay until they send something after its return.
TEST_F(SimulationTest, ALeaderThatLosesPowerIsReplacedThoughItsConnectionsStay) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  ASSERT_TRUE(cluster.put("key", 1));
  cluster.run_for(20s);  // until each knows the rhythm of the others' beats
  SimulatedNode* const first = cluster.leader();
  const std::size_t before = cluster.trace.text().size();
  first->runtime().lose_power();
  first->kill(raftlog::CrashMode::lose_unsynced);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() != nullptr; }, 10s));
  EXPECT_EQ(cluster.trace.text().find(" ends at ", before), std::string::npos)
      << "somebody was told";
  ASSERT_TRUE(cluster.run_until([&] { return cluster.put("key", 2); }, 5min));
  first->start();
  EXPECT_TRUE(cluster.run_until(
      [&] {
        return first->member() != nullptr &&
               first->member()->last_applied() ==
                   cluster.leader()->member()->core().log().last().index;
      },
      30s));
  EXPECT_NE(cluster.trace.text().find(" ends at ", before), std::string::npos);
  EXPECT_EQ(cluster.get("key"), "2");
}

/// Half-open connections with each node in the names of all others, while one has to come back.
TEST_F(SimulationTest, StrangersThatClaimNamesKeepNobodyApart) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  ASSERT_TRUE(cluster.put("key", 1));
  SimulatedNode& c = cluster.node("c");
  c.kill(raftlog::CrashMode::lose_unsynced);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.put("key", 2); }, 5min));
  const auto claim_all = [&] {
    for (const std::string to : {"a", "b", "c"}) {
      for (const std::string claimed : {"a", "b", "c"}) {
        if (claimed != to) cluster.network.claim(to, claimed + "@" + claimed, 2s);
      }
    }
  };
  for (int i = 0; i < 30; ++i) cluster.schedule.after(i * 1s, claim_all);
  c.start();
  EXPECT_TRUE(cluster.run_until(
      [&] {
        return c.member() != nullptr && cluster.leader() != nullptr &&
               c.member()->last_applied() == cluster.leader()->member()->core().log().last().index;
      },
      20s));
  EXPECT_NE(cluster.trace.text().find("stranger says to c that it is a@a"), std::string::npos);
}

/// A node that is away while the second cluster is deleted and made anew comes back with a server
/// of before, which is replaced; nothing of before is left.
TEST_F(SimulationTest, AClusterIsReplacedWhileANodeIsAway) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.add_cluster("other", {"a", "b", "c"});
  cluster.form();
  std::string made;
  std::string wrong;
  ClusterReplacement replacement(
      cluster, "other",
      {[] { return true; }, [&](const std::string& mark) { made = mark; },
       [&](const std::string& what) { wrong = what; }});
  SimulatedNode& c = cluster.node("c");
  c.kill(raftlog::CrashMode::lose_unsynced);
  cluster.run_for(5s);
  const auto done = [&](const std::function<bool()>& condition) {
    return cluster.run_until(
        [&] {
          replacement.look();
          return condition();
        },
        60s);
  };
  EXPECT_FALSE(replacement.at_rest()) << "a node is away";
  c.start();
  ASSERT_TRUE(done([&] { return replacement.at_rest(); }));
  replacement.begin();
  replacement.look();
  c.kill(raftlog::CrashMode::lose_unsynced);
  ASSERT_TRUE(done([&] { return !made.empty(); }));
  EXPECT_NE(made, ClusterReplacement::first_mark("other"));
  c.start();
  ASSERT_TRUE(done([&] { return c.serves(); }));
  EXPECT_EQ(c.uid_of("other"), "UIDcotherAAAAA") << "the old one is back";
  ASSERT_TRUE(done([&] { return replacement.at_rest(); }));
  EXPECT_EQ(c.uid_of("other"), "UIDc" + made);
  EXPECT_EQ(wrong, "");
}

/// The way to the leader carries nothing, the way back does: it sends, and hears no answer.
TEST_F(SimulationTest, ALeaderThatHearsNobodyAnswersNobody) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  ASSERT_TRUE(cluster.put("key", 1));
  const std::string host = cluster.leader()->host();
  for (const std::string other : {"a", "b", "c"}) {
    if (other != host) cluster.network.cut_one_way(other, host);
  }
  EXPECT_FALSE(cluster.put("key", 2)) << "no majority can have acknowledged it";
  for (const std::string other : {"a", "b", "c"}) cluster.network.mend(other, host);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.put("key", 3); }, 5min));
  EXPECT_EQ(cluster.get("key"), "3");
}

TEST_F(SimulationTest, ConnectionsThatEndAreMadeAnew) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  const std::vector<std::string> hosts = {"a", "b", "c", "client"};
  for (std::uint64_t value = 1; value <= 5; ++value) {
    for (const std::string& one : hosts) {
      for (const std::string& other : hosts) {
        if (one < other) cluster.network.reset(one, other);
      }
    }
    ASSERT_TRUE(cluster.run_until([&] { return cluster.put("key", value); }, 1min)) << value;
  }
  EXPECT_EQ(cluster.get("key"), "5");
}

/// Killed after each so many events of its start and of its work, whatever it was doing then.
TEST_F(SimulationTest, AProcessMayEndAtAnyMoment) {
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  std::uint64_t value = 0;
  for (std::uint64_t events = 0; events < 250; events += 3) {
    SimulatedNode& node = cluster.node(std::string(1, static_cast<char>('a' + events % 3)));
    node.kill(events % 2 == 0 ? raftlog::CrashMode::lose_unsynced : raftlog::CrashMode::random);
    node.start();
    const std::uint64_t end = cluster.schedule.happened() + events;
    cluster.run_until([&] { return cluster.schedule.happened() >= end; }, 10s);
    node.kill(raftlog::CrashMode::keep_everything);
    node.start();
    ASSERT_TRUE(cluster.run_until([&] { return node.serves(); }, 10s)) << events;
    ASSERT_TRUE(cluster.put("key", ++value)) << events;
  }
  EXPECT_EQ(cluster.get("key"), std::to_string(value));
}

TEST_F(SimulationTest, AnHourOfVirtualTime) {
  const auto began = std::chrono::steady_clock::now();
  SimulatedCluster cluster(chosen_seed(), {"a", "b", "c"});
  cluster.form();
  for (std::uint64_t minute = 0; minute < 60; ++minute) {
    ASSERT_TRUE(cluster.put("minute", minute));
    cluster.run_for(1min);
  }
  EXPECT_EQ(cluster.get("minute"), "59");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << "an hour of three nodes: " << cluster.schedule.happened() << " events in "
            << took.count() << " s\n";
}

}  // namespace
}  // namespace rakv::simulation
