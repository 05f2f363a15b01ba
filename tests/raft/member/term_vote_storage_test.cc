// SPDX-License-Identifier: Apache-2.0
#include "raft/member/term_vote_storage.h"

#include "parts.h"
#include "tests/support/manual_clock.h"

// All else waits until term and vote are on the disk, however long that takes.

namespace rakv::member::testing {
namespace {

using namespace std::chrono_literals;

class TermVoteStorageTest : public ::testing::Test {
 protected:
  TermVoteStorageTest() { Clock::set(io_, clock_); }
  std::unique_ptr<TermVoteStorage> make() {
    return std::make_unique<TermVoteStorage>(
        io_, TermVoteStorage::Seams{
                 counters_, log_id_,
                 [this](const raft::effect::PersistTermVote& effect, raftlog::DoneCallback done) {
                   asked_.push_back(std::to_string(effect.term.value()) + " " +
                                    (effect.voted_for ? to_string(*effect.voted_for) : "nobody"));
                   done_ = std::move(done);
                 },
                 [this] { ++waiting_; }, [this] { --waiting_; }});
  }
  void succeed() { std::exchange(done_, nullptr)({}); }
  void fail() {
    std::exchange(done_, nullptr)(make_error(ErrorCode::io, "no space left on device"));
  }

  ManualClock clock_;
  boost::asio::io_context io_;
  Counters counters_;
  std::string log_id_ = "kv";
  std::vector<std::string> asked_;
  raftlog::DoneCallback done_;
  int waiting_ = 0;
};

using Asked = std::vector<std::string>;

TEST_F(TermVoteStorageTest, AllElseWaitsUntilBothAreStored) {
  const auto storage = make();
  storage->carry_out({raft::Term{5}, kOther});
  EXPECT_EQ(asked_, Asked{"5 {kv,b@host}"});
  EXPECT_EQ(waiting_, 1);
  EXPECT_EQ(counters_.get(Counter::term_and_voted_for_updates), 1);
  succeed();
  EXPECT_EQ(waiting_, 0);
  EXPECT_FALSE(storage->fails());
  storage->carry_out({raft::Term{6}, std::nullopt});
  EXPECT_EQ(asked_.back(), "6 nobody");
  EXPECT_EQ(waiting_, 1);
}

TEST_F(TermVoteStorageTest, WhatFailsIsTriedAgainAndAllElseStillWaits) {
  const auto storage = make();
  storage->carry_out({raft::Term{5}, kOther});
  for (std::size_t attempts = 1; attempts < 4; ++attempts) {
    fail();
    EXPECT_TRUE(storage->fails());
    EXPECT_EQ(waiting_, 1);
    clock_.pass(999ms);
    EXPECT_EQ(asked_.size(), attempts) << "not at once";
    clock_.pass(1ms);
    EXPECT_EQ(asked_.size(), attempts + 1);
    EXPECT_EQ(asked_.back(), "5 {kv,b@host}");
  }
  EXPECT_TRUE(storage->fails()) << "until one has succeeded";
  succeed();
  EXPECT_FALSE(storage->fails());
  EXPECT_EQ(waiting_, 0);
  clock_.pass(1h);
  EXPECT_EQ(asked_.size(), 4U);
  EXPECT_EQ(counters_.get(Counter::term_and_voted_for_updates), 1) << "one, tried four times";
}

TEST_F(TermVoteStorageTest, OneThatWasStoppedDoesNotTryAgain) {
  const auto storage = make();
  storage->carry_out({raft::Term{5}, kOther});
  fail();
  storage->stop();
  clock_.pass(1h);
  EXPECT_EQ(asked_.size(), 1U);
}

TEST_F(TermVoteStorageTest, OneThatWasStoppedHearsNothingMore) {
  const auto storage = make();
  storage->carry_out({raft::Term{5}, kOther});
  storage->stop();
  succeed();
  EXPECT_EQ(waiting_, 1);
}

TEST_F(TermVoteStorageTest, TheDiskMayBeSlowerThanItsMember) {
  auto storage = make();
  storage->carry_out({raft::Term{5}, kOther});
  storage.reset();
  succeed();
  EXPECT_EQ(waiting_, 1);
}

}  // namespace
}  // namespace rakv::member::testing
