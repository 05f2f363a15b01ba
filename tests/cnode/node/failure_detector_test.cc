// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/failure_detector.h"

#include <gtest/gtest.h>

namespace rakv::node {
namespace {

using std::chrono::milliseconds;

class FailureDetectorTest : public ::testing::Test {
 protected:
  void beats(int count, milliseconds gap) {
    for (int i = 0; i < count; ++i) {
      now_ += gap;
      detector_.beat("a@h", now_);
    }
  }

  FailureDetector detector_;
  Clock::time_point now_{std::chrono::seconds(1000)};
};

TEST_F(FailureDetectorTest, UnknownNodeIsDown) {
  EXPECT_EQ(detector_.status("x@h"), NodeStatus::down);
}

TEST_F(FailureDetectorTest, FirstSightIsUp) {
  beats(1, milliseconds(100));
  EXPECT_EQ(detector_.poll(now_), (std::vector<NodeStatusChange>{{"a@h", NodeStatus::up}}));
  EXPECT_TRUE(detector_.poll(now_).empty());
}

TEST_F(FailureDetectorTest, SilenceLongerThanTheLearnedRhythmIsDownAndABeatIsUpAgain) {
  beats(50, milliseconds(100));
  detector_.poll(now_);
  EXPECT_TRUE(detector_.poll(now_ + milliseconds(149)).empty());
  EXPECT_EQ(detector_.poll(now_ + milliseconds(151)),
            (std::vector<NodeStatusChange>{{"a@h", NodeStatus::down}}));
  EXPECT_EQ(detector_.status("a@h"), NodeStatus::down);
  now_ += milliseconds(200);
  detector_.beat("a@h", now_);
  EXPECT_EQ(detector_.poll(now_), (std::vector<NodeStatusChange>{{"a@h", NodeStatus::up}}));
}

TEST_F(FailureDetectorTest, OldSamplesLeaveTheRing) {
  beats(1000, milliseconds(1000));
  beats(1001, milliseconds(100));
  EXPECT_DOUBLE_EQ(detector_.failure_probability("a@h", now_ + milliseconds(200)), 1.0);
}

TEST_F(FailureDetectorTest, LostConnectionIsReportedOnce) {
  beats(10, milliseconds(100));
  detector_.poll(now_);
  detector_.forget("a@h");
  EXPECT_EQ(detector_.poll(now_), (std::vector<NodeStatusChange>{{"a@h", NodeStatus::down}}));
  EXPECT_TRUE(detector_.poll(now_).empty());
}

}  // namespace
}  // namespace rakv::node
