// SPDX-License-Identifier: Apache-2.0
#include "raft/member/held_reads.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace rakv::member {
namespace {

using raft::Index;
using std::chrono::milliseconds;

class HeldReadsTest : public ::testing::Test {
 protected:
  std::function<void(bool)> note(int which) {
    return [this, which](bool reached) { ends_.emplace_back(which, reached); };
  }
  boost::asio::io_context io_;
  std::vector<std::pair<int, bool>> ends_;
};

TEST_F(HeldReadsTest, EndWhenTheMachineHasReachedTheirIndex) {
  HeldReads held(io_);
  held.hold(Index{7}, milliseconds{10'000}, note(1));
  held.hold(Index{5}, milliseconds{10'000}, note(2));
  held.hold(Index{6}, milliseconds{10'000}, note(3));
  held.reached(Index{4});
  EXPECT_TRUE(ends_.empty());
  held.reached(Index{6});
  EXPECT_EQ(ends_, (std::vector<std::pair<int, bool>>{{2, true}, {3, true}}));
  held.reached(Index{9});
  EXPECT_EQ(ends_.size(), 3U);
  EXPECT_EQ(held.size(), 0U);
  io_.run();  // no timer is left
}

TEST_F(HeldReadsTest, EndWhenTheirTimeIsOver) {
  HeldReads held(io_);
  held.hold(Index{7}, milliseconds{1}, note(1));
  held.hold(Index{8}, milliseconds{0}, note(2));
  io_.run();
  using Ends = std::vector<std::pair<int, bool>>;
  // Both at once, in the order of their coming, where the loop is late.
  EXPECT_TRUE((ends_ == Ends{{2, false}, {1, false}}) || (ends_ == Ends{{1, false}, {2, false}}));
}

TEST_F(HeldReadsTest, AreNotMoreThanTheirBound) {
  HeldReads held(io_);
  for (std::size_t i = 0; i < HeldReads::kMax; ++i)
    held.hold(Index{7}, milliseconds{10'000}, note(0));
  EXPECT_TRUE(ends_.empty());
  held.hold(Index{7}, milliseconds{10'000}, note(1));
  EXPECT_EQ(ends_, (std::vector<std::pair<int, bool>>{{1, false}}));
}

TEST_F(HeldReadsTest, GoWithTheirOwner) {
  {
    HeldReads held(io_);
    held.hold(Index{7}, milliseconds{1}, note(1));
  }
  io_.run();
  EXPECT_TRUE(ends_.empty());
}

}  // namespace
}  // namespace rakv::member
