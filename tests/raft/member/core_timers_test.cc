// SPDX-License-Identifier: Apache-2.0
#include "raft/member/core_timers.h"

#include "parts.h"
#include "tests/support/manual_clock.h"

// Which events the core's timers become, and when.

namespace rakv::member::testing {
namespace {

using namespace std::chrono_literals;
using Given = std::vector<std::string>;
using raft::effect::ElectionTimer;

std::string name_of(const raft::Event& event) {
  if (const auto* election = std::get_if<raft::event::ElectionTimeout>(&event))
    return "election " + std::to_string(election->number.value_or(0));
  if (std::holds_alternative<raft::event::ConditionTimeout>(event)) return "condition";
  if (std::holds_alternative<raft::event::ReceiveSnapshotTimeout>(event)) return "receive";
  if (const auto* retry = std::get_if<raft::event::SnapshotRetry>(&event))
    return "retry " + to_string(retry->peer);
  return "another event";
}

class CoreTimersTest : public ::testing::Test {
 protected:
  CoreTimersTest() { Clock::set(io_, clock_); }
  std::unique_ptr<CoreTimers> make(std::uint64_t broadcast_time_ms = 100) {
    return std::make_unique<CoreTimers>(
        io_,
        CoreTimers::Seams{[this] { return takes_part_; },
                          [this](const raft::Event& event) { events_.push_back(name_of(event)); }},
        broadcast_time_ms);
  }
  /// What came while so much time passed.
  Given after(Clock::duration time) {
    clock_.pass(time);
    return std::exchange(events_, {});
  }
  static raft::effect::SetElectionTimer election(ElectionTimer length, std::uint64_t number) {
    return {.length = length, .number = number};
  }

  ManualClock clock_;
  boost::asio::io_context io_;
  bool takes_part_ = true;
  Given events_;
};

TEST_F(CoreTimersTest, AnElectionTimerEndsOnceWithinItsRange) {
  const auto timers = make();
  for (std::uint64_t number = 1; number <= 50; ++number) {
    timers->carry_out(election(ElectionTimer::long_, number));
    EXPECT_EQ(after(1000ms), Given{});
    EXPECT_EQ(after(1000ms), Given{"election " + std::to_string(number)});
    EXPECT_EQ(after(1h), Given{});
  }
}

TEST_F(CoreTimersTest, ItsLengthIsDrawn) {
  const auto timers = make();
  bool early = false;
  bool late = false;
  for (int i = 0; i < 100 && !(early && late); ++i) {
    timers->carry_out(election(ElectionTimer::long_, 1));
    (after(1500ms).empty() ? late : early) = true;
    after(1h);
  }
  EXPECT_TRUE(early && late);
}

TEST_F(CoreTimersTest, ItsRangeIsThatOfTheBroadcastTime) {
  const auto timers = make(10);
  timers->carry_out(election(ElectionTimer::in_turn, 1));
  EXPECT_EQ(after(10ms), Given{});
  EXPECT_EQ(after(10ms), Given{"election 1"});
}

TEST_F(CoreTimersTest, AnElectionTimerReplacesTheOneBefore) {
  const auto timers = make();
  timers->carry_out(election(ElectionTimer::in_turn, 1));
  timers->carry_out(election(ElectionTimer::long_, 2));
  EXPECT_EQ(after(1h), Given{"election 2"});
  timers->carry_out(election(ElectionTimer::long_, 3));
  timers->carry_out(raft::effect::CancelElectionTimer{});
  EXPECT_EQ(after(1h), Given{});
}

TEST_F(CoreTimersTest, AnElectionTimerRestsWhileTheMemberDoesNotTakePart) {
  const auto timers = make();
  takes_part_ = false;
  timers->carry_out(election(ElectionTimer::in_turn, 1));
  timers->carry_out(election(ElectionTimer::in_turn, 2));
  EXPECT_EQ(after(1h), Given{});
  timers->standing_changed();
  EXPECT_EQ(after(1h), Given{}) << "it still does not";
  takes_part_ = true;
  EXPECT_EQ(after(1h), Given{}) << "nobody has said so";
  timers->standing_changed();
  EXPECT_EQ(after(100ms), Given{}) << "its time begins now";
  EXPECT_EQ(after(100ms), Given{"election 2"});
  timers->standing_changed();
  EXPECT_EQ(after(1h), Given{}) << "it was set already";
}

TEST_F(CoreTimersTest, ATimerThatIsCancelledWhileItRestsIsNotSet) {
  const auto timers = make();
  takes_part_ = false;
  timers->carry_out(election(ElectionTimer::in_turn, 1));
  timers->carry_out(raft::effect::CancelElectionTimer{});
  takes_part_ = true;
  timers->standing_changed();
  EXPECT_EQ(after(1h), Given{});
}

TEST_F(CoreTimersTest, TheOthersGoOnWhileTheMemberDoesNotTakePart) {
  const auto timers = make();
  takes_part_ = false;
  timers->carry_out(raft::effect::SetConditionTimer{30});
  timers->carry_out(raft::effect::SetReceiveSnapshotTimer{20});
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{kOther, 10});
  EXPECT_EQ(after(9ms), Given{});
  EXPECT_EQ(after(21ms), (Given{"retry {kv,b@host}", "receive", "condition"}));
}

TEST_F(CoreTimersTest, EachIsCancelledByItself) {
  const auto timers = make();
  const auto set_all = [&] {
    timers->carry_out(election(ElectionTimer::really_short, 1));
    timers->carry_out(raft::effect::SetConditionTimer{200});
    timers->carry_out(raft::effect::SetReceiveSnapshotTimer{300});
    timers->carry_out(raft::effect::SetSnapshotRetryTimer{kOther, 400});
  };
  set_all();
  timers->carry_out(raft::effect::CancelElectionTimer{});
  EXPECT_EQ(after(1h), (Given{"condition", "receive", "retry {kv,b@host}"}));
  set_all();
  timers->carry_out(raft::effect::CancelConditionTimer{});
  EXPECT_EQ(after(1h), (Given{"election 1", "receive", "retry {kv,b@host}"}));
  set_all();
  timers->carry_out(raft::effect::CancelReceiveSnapshotTimer{});
  EXPECT_EQ(after(1h), (Given{"election 1", "condition", "retry {kv,b@host}"}));
  set_all();
  timers->carry_out(raft::effect::CancelSnapshotRetryTimer{kOther});
  EXPECT_EQ(after(1h), (Given{"election 1", "condition", "receive"}));
}

TEST_F(CoreTimersTest, EachPeerHasARetryOfItsOwn) {
  const auto timers = make();
  const raft::ServerId third("kv", "c@host");
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{kOther, 20});
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{third, 10});
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{kOther, 30});
  EXPECT_EQ(after(1h), (Given{"retry {kv,c@host}", "retry {kv,b@host}"}));
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{kOther, 10});
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{third, 10});
  timers->carry_out(raft::effect::CancelSnapshotRetryTimer{third});
  EXPECT_EQ(after(1h), Given{"retry {kv,b@host}"});
}

TEST_F(CoreTimersTest, NoneEndsAfterTheMemberHas) {
  const auto timers = make();
  timers->carry_out(election(ElectionTimer::long_, 1));
  timers->carry_out(raft::effect::SetConditionTimer{10});
  timers->carry_out(raft::effect::SetReceiveSnapshotTimer{10});
  timers->carry_out(raft::effect::SetSnapshotRetryTimer{kOther, 10});
  EXPECT_EQ(clock_.waiting(), 4U);
  timers->stop();
  EXPECT_EQ(clock_.waiting(), 0U);
  EXPECT_EQ(after(1h), Given{});
}

}  // namespace
}  // namespace rakv::member::testing
