// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/turn.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <string>

namespace rakv {
namespace {

TEST(TurnTest, WorkThenOutputAtTheEnd) {
  boost::asio::io_context io;
  Turn& turn = Turn::of(io);
  EXPECT_EQ(&turn, &Turn::of(io));
  std::string order;
  {
    const Turn::Scope outer(turn);
    turn.after_work([&] { order += "o"; });
    turn.at_end([&] {
      order += "1";
      turn.at_end([&] { order += "3"; });
    });
    turn.at_end([&] { order += "2"; });
    {
      const Turn::Scope inner(turn);
      order += "b";
    }
    EXPECT_EQ(order, "b") << "an inner scope ends no turn";
  }
  EXPECT_EQ(order, "b123o");
  EXPECT_EQ(io.poll(), 0u) << "nothing went through the io_context";
}

TEST(TurnTest, OutputThatGivesWork) {
  boost::asio::io_context io;
  Turn& turn = Turn::of(io);
  std::string order;
  {
    const Turn::Scope scope(turn);
    turn.after_work([&] {
      order += "a";
      turn.at_end([&] { order += "b"; });
    });
    turn.after_work([&] { order += "c"; });
  }
  EXPECT_EQ(order, "abc");
}

TEST(TurnTest, WithoutATurnItComesFromTheIoContext) {
  boost::asio::io_context io;
  Turn& turn = Turn::of(io);
  std::string order;
  turn.at_end([&] {
    order += "1";
    EXPECT_TRUE(turn.open());
    turn.after_work([&] { order += "3"; });
    order += "2";
  });
  EXPECT_EQ(order, "");
  EXPECT_EQ(io.poll(), 1u);
  EXPECT_EQ(order, "123");
  EXPECT_FALSE(turn.open());
}

TEST(TurnTest, EndlessWorkLetsOthersRun) {
  boost::asio::io_context io;
  Turn& turn = Turn::of(io);
  std::size_t count = 0;
  bool other = false;
  std::function<void()> again = [&] {
    ++count;
    if (!other) turn.at_end(again);
  };
  boost::asio::post(io, [&] {
    const Turn::Scope scope(turn);
    turn.at_end(again);
  });
  boost::asio::post(io, [&] { other = true; });
  io.run();
  EXPECT_TRUE(other);
  EXPECT_GT(count, 1u);
  EXPECT_LT(count, 1000u);
}

}  // namespace
}  // namespace rakv
