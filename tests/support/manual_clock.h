// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "cnode/base/clock.h"

namespace rakv {

/// Time passes when a test says so, and handlers are called meanwhile.
class ManualClock final : public Clock {
 public:
  time_point now() const override { return now_; }
  WallTime wall_now() const override { return WallTime(std::chrono::seconds(5)); }
  std::unique_ptr<Alarm> make_alarm(boost::asio::io_context&) override {
    return std::make_unique<ManualAlarm>(*this);
  }

  /// What is due rings, earliest first.
  void pass(duration time) {
    const time_point until = now_ + time;
    for (;;) {
      const auto next = std::min_element(alarms_.begin(), alarms_.end(), earlier);
      if (next == alarms_.end() || !(*next)->handler || (*next)->at > until) break;
      now_ = std::max(now_, (*next)->at);
      std::exchange((*next)->handler, nullptr)({});
    }
    now_ = until;
  }
  /// How many waits are under way.
  std::size_t waiting() const {
    return static_cast<std::size_t>(
        std::count_if(alarms_.begin(), alarms_.end(),
                      [](const ManualAlarm* alarm) { return alarm->handler != nullptr; }));
  }

 private:
  struct ManualAlarm final : Alarm {
    explicit ManualAlarm(ManualClock& clock) : clock_(clock) { clock_.alarms_.push_back(this); }
    ~ManualAlarm() override { std::erase(clock_.alarms_, this); }
    ManualAlarm(const ManualAlarm&) = delete;
    ManualAlarm& operator=(const ManualAlarm&) = delete;
    void wait(time_point when, Handler then) override {
      at = when;
      handler = std::move(then);
    }
    void cancel() override {
      if (handler) std::exchange(handler, nullptr)(boost::asio::error::operation_aborted);
    }
    time_point at;
    Handler handler;

   private:
    ManualClock& clock_;
  };
  /// Those that nobody waits for are last.
  static bool earlier(const ManualAlarm* left, const ManualAlarm* right) {
    if (!left->handler || !right->handler) return left->handler != nullptr;
    return left->at < right->at;
  }

  time_point now_{std::chrono::seconds(100)};
  std::vector<ManualAlarm*> alarms_;
};

}  // namespace rakv
