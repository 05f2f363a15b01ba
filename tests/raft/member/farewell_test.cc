// SPDX-License-Identifier: Apache-2.0
#include "raft/member/farewell.h"

#include "parts.h"
#include "tests/support/manual_clock.h"

// How long a removed leader goes on, and what it still answers.

namespace rakv::member::testing {
namespace {

using namespace std::chrono_literals;
using raft::effect::StopReason;
using Given = std::vector<std::string>;

class FarewellTest : public ::testing::Test {
 protected:
  FarewellTest() { Clock::set(io_, clock_); }
  std::unique_ptr<Farewell> make() {
    return std::make_unique<Farewell>(
        io_, Farewell::Seams{
                 [] { return raft::Index{7}; }, [this] { return awaited_; },
                 [this](std::string_view from, const raft::ServerId& leader) {
                   done_.push_back(std::string(from) + " redirected to " + to_string(leader));
                 },
                 [this](std::string_view from, const wire::request::LocalQuery& asked) {
                   awaited_ = std::max(awaited_, asked.condition.index);
                   done_.push_back(std::string(from) + " answered");
                 },
                 [this](StopReason reason) {
                   done_.push_back(reason == StopReason::deleted ? "deleted" : "removed");
                 }});
  }
  void call(Farewell& farewell, std::string_view request) {
    const std::string encoded = term(request);
    farewell.handle_call("client", wire::unwrap_call(encoded));
  }
  Given take() { return std::exchange(done_, {}); }

  ManualClock clock_;
  boost::asio::io_context io_;
  raft::Index awaited_;
  Given done_;
};

TEST_F(FarewellTest, ADeletedMemberHasNone) {
  const auto farewell = make();
  farewell->carry_out({StopReason::deleted, kOther});
  EXPECT_EQ(take(), Given{"deleted"});
  EXPECT_FALSE(farewell->has_begun());
  clock_.pass(1h);
  EXPECT_EQ(take(), Given{});
}

TEST_F(FarewellTest, ItEndsByItself) {
  const auto farewell = make();
  EXPECT_FALSE(farewell->has_begun());
  farewell->carry_out({StopReason::removed, kOther});
  EXPECT_TRUE(farewell->has_begun());
  clock_.pass(99ms);
  EXPECT_EQ(take(), Given{});
  clock_.pass(1ms);
  EXPECT_EQ(take(), Given{"removed"});
}

TEST_F(FarewellTest, ItEndsWhenAQueryHasWaitedForTheRemoval) {
  const auto farewell = make();
  farewell->carry_out({StopReason::removed, kOther});
  call(*farewell, "{local_query,q,#{condition => {applied,{6,1}}}}");
  EXPECT_EQ(take(), Given{"client answered"});
  call(*farewell, "{local_query,q,#{condition => {applied,{7,1}}}}");
  EXPECT_EQ(take(), (Given{"client answered", "removed"}));
  clock_.pass(1h);
  EXPECT_EQ(take(), Given{}) << "once";
}

TEST_F(FarewellTest, ItEndsWhenAnOlderQueryIsAnsweredMeanwhile) {
  const auto farewell = make();
  farewell->carry_out({StopReason::removed, kOther});
  awaited_ = raft::Index{6};
  farewell->end_when_seen();
  EXPECT_EQ(take(), Given{});
  awaited_ = raft::Index{8};
  farewell->end_when_seen();
  EXPECT_EQ(take(), Given{"removed"});
}

TEST_F(FarewellTest, ItIsOverAtOnceForOneWhoKnowsAlready) {
  const auto farewell = make();
  awaited_ = raft::Index{7};
  farewell->end_when_seen();
  EXPECT_EQ(take(), Given{}) << "nothing has begun";
  farewell->carry_out({StopReason::removed, kOther});
  EXPECT_EQ(take(), Given{"removed"});
}

TEST_F(FarewellTest, CallsForALeaderGoToItsSuccessor) {
  const auto farewell = make();
  farewell->carry_out({StopReason::removed, kOther});
  call(*farewell, "{leader_call,{local_query,q,#{condition => {applied,{7,1}}}}}");
  EXPECT_EQ(take(), Given{"client redirected to {kv,b@host}"});
  const auto alone = make();
  alone->carry_out({StopReason::removed, std::nullopt});
  call(*alone, "{leader_call,{command,normal,{'$usr',x,after_log_append}}}");
  EXPECT_EQ(take(), Given{}) << "the caller sees the process end";
}

TEST_F(FarewellTest, OtherCallsAreNotAnswered) {
  const auto farewell = make();
  farewell->carry_out({StopReason::removed, kOther});
  call(*farewell, "ping");
  call(*farewell, "{read_entries,[1]}");
  EXPECT_EQ(take(), Given{});
}

TEST_F(FarewellTest, OneThatWasStoppedMeanwhileDoesNotEndAgain) {
  const auto farewell = make();
  farewell->carry_out({StopReason::removed, kOther});
  farewell->stop();
  clock_.pass(1h);
  EXPECT_EQ(take(), Given{});
}

}  // namespace
}  // namespace rakv::member::testing
