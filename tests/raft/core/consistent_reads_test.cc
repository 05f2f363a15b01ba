// SPDX-License-Identifier: Apache-2.0
#include "raft/core/consistent_reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rakv::raft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ConsistentReadsTest, AReadWaitsForItsRoundAndForItsCommitIndex) {
  ConsistentReads reads;
  reads.begin(CallToken(1), QueryIndex(5), Index(10));
  EXPECT_THAT(reads.take_confirmed(QueryIndex(4), Index(10)), IsEmpty());
  EXPECT_THAT(reads.take_confirmed(QueryIndex(5), Index(9)), IsEmpty());
  EXPECT_EQ(reads.waiting(), 1u);
  EXPECT_THAT(reads.take_confirmed(QueryIndex(5), Index(10)), ElementsAre(CallToken(1)));
  EXPECT_EQ(reads.waiting(), 0u);
}

TEST(ConsistentReadsTest, ALaterRoundConfirmsTheReadsBeforeItInTheirOrder) {
  ConsistentReads reads;
  reads.begin(CallToken(3), QueryIndex(1), Index(4));
  reads.begin(CallToken(1), QueryIndex(2), Index(4));
  reads.begin(CallToken(2), QueryIndex(3), Index(4));
  EXPECT_THAT(reads.take_confirmed(QueryIndex(2), Index(8)),
              ElementsAre(CallToken(3), CallToken(1)));
  EXPECT_THAT(reads.take_confirmed(QueryIndex(3), Index(8)), ElementsAre(CallToken(2)));
}

TEST(ConsistentReadsTest, ParkedReadsAreConfirmedByNoRound) {
  ConsistentReads reads;
  reads.park(CallToken(1));
  EXPECT_THAT(reads.take_confirmed(QueryIndex(9), Index(9)), IsEmpty());
  EXPECT_EQ(reads.parked(), 1u);
  EXPECT_THAT(reads.take_parked(), ElementsAre(CallToken(1)));
  EXPECT_EQ(reads.parked(), 0u);
}

TEST(ConsistentReadsTest, TheNextLeaderGetsTheParkedOnesFirst) {
  ConsistentReads reads;
  reads.begin(CallToken(1), QueryIndex(1), Index(1));
  reads.park(CallToken(2));
  EXPECT_THAT(reads.take_all(), ElementsAre(CallToken(2), CallToken(1)));
  EXPECT_THAT(reads.take_all(), IsEmpty());
}

}  // namespace
}  // namespace rakv::raft
