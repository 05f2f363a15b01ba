// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/clock.h"

#include <gtest/gtest.h>

#include <boost/asio/error.hpp>
#include <optional>

#include "cnode/base/randomness.h"
#include "tests/support/manual_clock.h"

namespace rakv {
namespace {

using namespace std::chrono_literals;
using boost::system::error_code;

TEST(TimerTest, WaitsOnTheClockThatItsIoContextWasGiven) {
  boost::asio::io_context io;
  ManualClock clock;
  Clock::set(io, clock);
  EXPECT_EQ(&Clock::of(io), &clock);
  Timer timer(io, 10s);
  EXPECT_EQ(timer.now(), Clock::time_point(100s));
  EXPECT_EQ(timer.expiry(), Clock::time_point(110s));
  std::optional<error_code> rang;
  timer.async_wait([&](error_code error) { rang = error; });
  clock.pass(9s);
  EXPECT_FALSE(rang);
  clock.pass(1s);
  EXPECT_EQ(rang, error_code());
}

TEST(TimerTest, ANewExpiryEndsTheWaitUnderWay) {
  boost::asio::io_context io;
  ManualClock clock;
  Clock::set(io, clock);
  for (const bool manual : {true, false}) {
    boost::asio::io_context real;
    Timer timer(manual ? io : real, 1h);
    std::optional<error_code> rang;
    timer.async_wait([&](error_code error) { rang = error; });
    timer.expires_after(2h);
    real.run();
    EXPECT_EQ(rang, error_code(boost::asio::error::operation_aborted)) << manual;
  }
}

TEST(TimerTest, HasTheSystemsClockByDefault) {
  boost::asio::io_context io;
  Timer timer(io, 0s);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_LE(before, timer.now());
  bool rang = false;
  timer.async_wait([&](error_code error) { rang = !error; });
  io.run();
  EXPECT_TRUE(rang);
}

TEST(RandomnessTest, IsThatOfItsIoContext) {
  class Constant final : public Randomness {
   public:
    result_type operator()() override { return 7; }
  } constant;
  boost::asio::io_context io;
  EXPECT_EQ(&Randomness::of(io), &Randomness::system());
  Randomness::set(io, constant);
  EXPECT_EQ(Randomness::of(io)(), 7U);
  EXPECT_NE(Randomness::system()(), Randomness::system()());
}

}  // namespace
}  // namespace rakv
