// SPDX-License-Identifier: Apache-2.0
#include "raft/core/quorum.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace rakv::raft {
namespace {

std::optional<std::uint64_t> agreed(std::initializer_list<std::uint64_t> numbers) {
  Quorum quorum;
  for (const std::uint64_t number : numbers) quorum.add(number);
  return quorum.take_agreed();
}

TEST(QuorumTest, AMajorityIsMoreThanHalf) {
  EXPECT_EQ(majority_of(1), 1u);
  EXPECT_EQ(majority_of(2), 2u);
  EXPECT_EQ(majority_of(3), 2u);
  EXPECT_EQ(majority_of(4), 3u);
  EXPECT_EQ(majority_of(5), 3u);
}

TEST(QuorumTest, AgreedIsWhatAMajorityHasReached) {
  EXPECT_EQ(agreed({7}), 7u);
  EXPECT_EQ(agreed({7, 4}), 4u) << "of two both are needed";
  EXPECT_EQ(agreed({1, 9, 5}), 5u);
  EXPECT_EQ(agreed({8, 1, 9, 5}), 5u) << "of four three are needed";
  EXPECT_EQ(agreed({0, 0, 3, 3, 3}), 3u);
  EXPECT_EQ(agreed({0, 0, 0, 3, 3}), 0u);
}

TEST(QuorumTest, WithoutVotersNothingIsAgreed) { EXPECT_EQ(agreed({}), std::nullopt); }

TEST(QuorumTest, NumbersCountOnce) {
  Quorum quorum;
  quorum.add(9);
  EXPECT_EQ(quorum.take_agreed(), 9u);
  quorum.add(2);
  EXPECT_EQ(quorum.take_agreed(), 2u);
  EXPECT_EQ(quorum.take_agreed(), std::nullopt);
}

}  // namespace
}  // namespace rakv::raft
