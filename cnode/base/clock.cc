// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/clock.h"

namespace rakv {
namespace {

class SystemClock final : public Clock {
 public:
  time_point now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall_now() const override { return std::chrono::system_clock::now(); }
  std::unique_ptr<Alarm> make_alarm(boost::asio::io_context&) override { return nullptr; }
};

/// What an io_context knows of its clock.
class ClockService final : public boost::asio::execution_context::service {
 public:
  using key_type = ClockService;
  static boost::asio::execution_context::id id;

  explicit ClockService(boost::asio::execution_context& io) : service(io) {}
  void shutdown() override {}

  SystemClock system;
  Clock* clock = &system;
};

boost::asio::execution_context::id ClockService::id;

}  // namespace

Clock& Clock::of(boost::asio::io_context& io) {
  return *boost::asio::use_service<ClockService>(io).clock;
}

void Clock::set(boost::asio::io_context& io, Clock& clock) {
  boost::asio::use_service<ClockService>(io).clock = &clock;
}

}  // namespace rakv
