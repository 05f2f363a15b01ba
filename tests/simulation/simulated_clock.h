// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "cnode/base/clock.h"
#include "tests/simulation/schedule.h"

namespace rakv::simulation {

/// One node's clock: it runs at a rate of its own from an offset of its own.
class SimulatedClock final : public Clock {
 public:
  /// `turn` runs the node's io_context after an alarm has rung. `rate`: its seconds in a second of
  /// the schedule.
  SimulatedClock(Schedule& schedule, double rate, Nanoseconds offset, std::function<void()> turn)
      : schedule_(schedule), rate_(rate), offset_(offset), turn_(std::move(turn)) {}

  time_point now() const override { return time_point(offset_ + scaled(schedule_.now(), rate_)); }
  /// From now on the wall clock shows so much more, as when somebody sets it; time goes on as ever.
  void jump(Nanoseconds time) { jumped_ += time; }
  /// Nothing rings any more; what was to be called is destroyed, as an io_context's end does it.
  void end();
  WallTime wall_now() const override;
  std::unique_ptr<Alarm> make_alarm(boost::asio::io_context& io) override;

 private:
  class ScheduledAlarm;
  static Nanoseconds scaled(Nanoseconds time, double rate) {
    return Nanoseconds(static_cast<std::int64_t>(static_cast<double>(time.count()) * rate));
  }
  /// When this clock will show `at`, by the schedule.
  Nanoseconds scheduled(time_point at) const;

  Schedule& schedule_;
  double rate_;
  Nanoseconds offset_;
  Nanoseconds jumped_{0};
  std::function<void()> turn_;
  std::map<std::uint64_t, ScheduledAlarm*> alarms_;  ///< by the order of their making
  std::uint64_t alarms_made_ = 0;
};

}  // namespace rakv::simulation
