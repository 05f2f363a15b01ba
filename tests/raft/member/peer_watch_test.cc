// SPDX-License-Identifier: Apache-2.0
#include "raft/member/peer_watch.h"

#include "parts.h"

// Which connections a member keeps, and when its leader is down.

namespace rakv::member::testing {
namespace {

using Given = std::vector<std::string>;

class PeerWatchTest : public ::testing::Test {
 protected:
  PeerWatch make() {
    return PeerWatch({[this](const std::string& node) { done_.push_back("keep " + node); },
                      [this](const std::string& node) { done_.push_back("release " + node); },
                      [this](const raft::ServerId& server) {
                        done_.push_back("monitor " + to_string(server));
                        return reference(++monitors_);
                      },
                      [this](const etf::Reference&) { done_.emplace_back("demonitor"); }},
                     "a@host");
  }
  static etf::Reference reference(std::uint32_t number) {
    etf::Reference made;
    made.node = "a@host";
    made.words.word[0] = number;
    made.words.count = 1;
    return made;
  }
  static raft::Cluster cluster(const std::vector<raft::ServerId>& members) {
    raft::Cluster made;
    for (const raft::ServerId& member : members) made[member];
    return made;
  }
  Given take() { return std::exchange(done_, {}); }

  std::vector<std::string> done_;
  std::uint32_t monitors_ = 0;
};

TEST_F(PeerWatchTest, KeepsTheConnectionsToTheOthersNodes) {
  {
    PeerWatch watch = make();
    watch.set_cluster(cluster({kSelf, kOther, {"kv", "c@host"}, {"kv2", "b@host"}}));
    EXPECT_EQ(take(), (Given{"keep b@host", "keep c@host"}));
    EXPECT_TRUE(watch.has_member_on("b@host"));
    EXPECT_FALSE(watch.has_member_on("a@host"));
    watch.set_cluster(cluster({kSelf, {"kv", "c@host"}, {"kv", "d@host"}}));
    EXPECT_EQ(take(), (Given{"keep d@host", "release b@host"}));
    EXPECT_FALSE(watch.has_member_on("b@host"));
  }
  EXPECT_EQ(take(), (Given{"release c@host", "release d@host"}));
}

TEST_F(PeerWatchTest, TheLeaderIsDownOnce) {
  PeerWatch watch = make();
  watch.monitor_leader(kOther);
  EXPECT_EQ(take(), Given{"monitor {kv,b@host}"});
  EXPECT_FALSE(watch.on_down(reference(99), term("noproc")).has_value()) << "not this monitor";
  const auto down = watch.on_down(reference(1), term("noproc"));
  ASSERT_TRUE(down.has_value());
  EXPECT_EQ(down->leader, kOther);
  EXPECT_EQ(down->reason, raft::event::DownReason::other);
  EXPECT_FALSE(watch.on_down(reference(1), term("noproc")).has_value());
  watch.demonitor_leader();
  EXPECT_EQ(take(), Given{}) << "there is none any more";
}

TEST_F(PeerWatchTest, EachLeaderIsMonitoredAnewAndSoIsOneWhoseMonitorIsGone) {
  PeerWatch watch = make();
  watch.monitor_leader(kOther);
  ASSERT_TRUE(watch.on_down(reference(1), term("noconnection")).has_value());
  watch.monitor_leader(kOther);
  watch.demonitor_leader();
  watch.monitor_leader({"kv", "c@host"});
  EXPECT_EQ(take(), (Given{"monitor {kv,b@host}", "monitor {kv,b@host}", "demonitor",
                           "monitor {kv,c@host}"}));
  EXPECT_FALSE(watch.on_down(reference(2), term("noproc")).has_value()) << "of the former leader";
  EXPECT_EQ(watch.on_down(reference(3), term("noproc"))->leader, (raft::ServerId{"kv", "c@host"}));
}

TEST_F(PeerWatchTest, AConnectionThatIsLostIsNotADeath) {
  PeerWatch watch = make();
  watch.monitor_leader(kOther);
  EXPECT_EQ(watch.on_down(reference(1), term("noconnection"))->reason,
            raft::event::DownReason::noconnection);
}

TEST_F(PeerWatchTest, ALeaderThatIsNotMonitoredAnyMoreIsNotReported) {
  PeerWatch watch = make();
  watch.monitor_leader(kOther);
  watch.demonitor_leader();
  EXPECT_EQ(take(), (Given{"monitor {kv,b@host}", "demonitor"}));
  EXPECT_FALSE(watch.on_down(reference(1), term("noproc")).has_value());
}

}  // namespace
}  // namespace rakv::member::testing
