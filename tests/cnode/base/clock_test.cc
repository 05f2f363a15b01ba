// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/clock.h"

#include <gtest/gtest.h>

#include <boost/asio/error.hpp>
#include <optional>
#include <utility>

#include "cnode/base/randomness.h"

namespace rakv {
namespace {

using namespace std::chrono_literals;
using boost::system::error_code;

/// Rings by hand.
class HandClock final : public Clock {
 public:
  time_point now() const override { return now_; }
  WallTime wall_now() const override { return WallTime(5s); }
  std::unique_ptr<Alarm> make_alarm(boost::asio::io_context&) override {
    return std::make_unique<HandAlarm>(*this);
  }
  void pass(duration time) {
    now_ += time;
    if (waiting_ && waiting_->first <= now_) std::exchange(waiting_, std::nullopt)->second({});
  }

 private:
  struct HandAlarm final : Alarm {
    explicit HandAlarm(HandClock& clock) : clock_(clock) {}
    void wait(time_point at, Handler handler) override { clock_.waiting_ = {at, handler}; }
    void cancel() override {
      if (!clock_.waiting_) return;
      std::exchange(clock_.waiting_, std::nullopt)->second(boost::asio::error::operation_aborted);
    }
    HandClock& clock_;
  };
  time_point now_{100s};
  std::optional<std::pair<time_point, Handler>> waiting_;
};

TEST(TimerTest, WaitsOnTheClockThatItsIoContextWasGiven) {
  boost::asio::io_context io;
  HandClock clock;
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
  HandClock clock;
  Clock::set(io, clock);
  for (const bool on_hand : {true, false}) {
    boost::asio::io_context real;
    Timer timer(on_hand ? io : real, 1h);
    std::optional<error_code> rang;
    timer.async_wait([&](error_code error) { rang = error; });
    timer.expires_after(2h);
    real.run();
    EXPECT_EQ(rang, error_code(boost::asio::error::operation_aborted)) << on_hand;
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
