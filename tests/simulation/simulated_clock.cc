// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulated_clock.h"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace rakv::simulation {
namespace {

/// 2026-01-01, where every simulation begins.
constexpr std::chrono::seconds kBeginning{1767225600};

}  // namespace

class SimulatedClock::ScheduledAlarm final : public Clock::Alarm {
 public:
  ScheduledAlarm(SimulatedClock& clock, boost::asio::io_context& io)
      : clock_(clock), io_(io), number_(++clock.alarms_made_) {
    clock_.alarms_[number_] = this;
  }
  /// Whoever waits is gone with its timer, perhaps with the whole node.
  ~ScheduledAlarm() override {
    drop();
    clock_.alarms_.erase(number_);
  }

  /// The handler, which is not called any more.
  Handler drop() {
    if (event_) clock_.schedule_.cancel(*std::exchange(event_, std::nullopt));
    return std::exchange(handler_, nullptr);
  }

  void wait(time_point at, Handler handler) override {
    cancel();
    handler_ = std::move(handler);
    event_ = clock_.schedule_.at(clock_.scheduled(at), [this, turn = clock_.turn_] {
      event_.reset();
      answer({});
      turn();
    });
  }

  void cancel() override {
    if (!event_) return;
    clock_.schedule_.cancel(*std::exchange(event_, std::nullopt));
    answer(boost::asio::error::operation_aborted);
  }

 private:
  void answer(boost::system::error_code error) {
    boost::asio::post(io_, [handler = std::exchange(handler_, nullptr), error] { handler(error); });
  }

  SimulatedClock& clock_;
  boost::asio::io_context& io_;
  std::uint64_t number_;
  Handler handler_;
  std::optional<Schedule::Key> event_;
};

void SimulatedClock::end() {
  // A handler may own the timer that waits for it.
  std::vector<Handler> handlers;
  for (const auto& [number, alarm] : alarms_) handlers.push_back(alarm->drop());
}

Clock::WallTime SimulatedClock::wall_now() const {
  return WallTime(kBeginning + std::chrono::duration_cast<WallTime::duration>(
                                   now().time_since_epoch() + jumped_));
}

Nanoseconds SimulatedClock::scheduled(time_point at) const {
  // One more, so that the clock does not show a moment less when the alarm rings.
  return scaled(at.time_since_epoch() - offset_, 1 / rate_) + Nanoseconds(1);
}

std::unique_ptr<Clock::Alarm> SimulatedClock::make_alarm(boost::asio::io_context& io) {
  return std::make_unique<ScheduledAlarm>(*this, io);
}

}  // namespace rakv::simulation
