// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

// Time as a node sees it. Whatever waits or measures asks the clock of its io_context, so that a
// whole node can run under virtual time: tests/simulation gives each node's io_context a clock of
// its own, whose rate and offset may differ from those of the others. Everybody else has the
// system's, and pays nothing for the choice.

namespace rakv {

/// The clock of one io_context. Single-threaded, as the io_context.
class Clock {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  using duration = std::chrono::steady_clock::duration;
  using WallTime = std::chrono::system_clock::time_point;
  using Handler = std::function<void(boost::system::error_code)>;

  /// One wait at a time.
  class Alarm {
   public:
    virtual ~Alarm() = default;
    /// `handler` is called from the io_context: without an error at `at`, or with
    /// operation_aborted after cancel(). It is dropped when the alarm ends, which never happens to
    /// one whose end somebody waits for.
    virtual void wait(time_point at, Handler handler) = 0;
    virtual void cancel() = 0;
  };

  virtual ~Clock() = default;
  /// Never goes back.
  virtual time_point now() const = 0;
  /// The calendar's time; may jump.
  virtual WallTime wall_now() const = 0;
  /// Null: a Timer waits with Asio's own.
  virtual std::unique_ptr<Alarm> make_alarm(boost::asio::io_context& io) = 0;

  /// The clock of `io`: the system's, unless another one was set.
  static Clock& of(boost::asio::io_context& io);
  /// Before anything asks for the clock of `io`. `clock` must outlive it.
  static void set(boost::asio::io_context& io, Clock& clock);
};

/// A timer with the calls of boost::asio::steady_timer, on the clock of its io_context.
class Timer {
 public:
  explicit Timer(boost::asio::io_context& io)
      : clock_(Clock::of(io)), asio_timer_(io), alarm_(clock_.make_alarm(io)) {}
  Timer(boost::asio::io_context& io, Clock::duration delay) : Timer(io) { expires_after(delay); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  Clock::time_point now() const { return clock_.now(); }
  Clock::time_point expiry() const { return alarm_ ? expiry_ : asio_timer_.expiry(); }
  /// Both end a wait under way with operation_aborted.
  void expires_after(Clock::duration delay) { expires_at(clock_.now() + delay); }
  void expires_at(Clock::time_point at) {
    if (!alarm_) {
      asio_timer_.expires_at(at);
      return;
    }
    alarm_->cancel();
    expiry_ = at;
  }
  /// `handler(error_code)`, from the io_context; not while another wait is under way.
  template <class HandlerType>
  void async_wait(HandlerType&& handler) {
    if (!alarm_) {
      asio_timer_.async_wait(std::forward<HandlerType>(handler));
      return;
    }
    alarm_->wait(expiry_, std::forward<HandlerType>(handler));
  }
  void cancel() {
    if (alarm_) {
      alarm_->cancel();
    } else {
      asio_timer_.cancel();
    }
  }

 private:
  Clock& clock_;
  boost::asio::steady_timer asio_timer_;
  std::unique_ptr<Clock::Alarm> alarm_;
  Clock::time_point expiry_{};
};

}  // namespace rakv
