// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <deque>
#include <functional>

// One turn of the event loop: what is done about one thing that happened (bytes that came, a
// completion of the disk). Work that should happen once for all of it waits for the turn's end,
// without a trip through the io_context's queue, each of which costs a system call.

namespace rakv {

/// The turns of one io_context. Single-threaded: used on the io_context's thread only.
class Turn : public boost::asio::execution_context::service {
 public:
  using key_type = Turn;
  static boost::asio::execution_context::id id;

  /// The one Turn of `io`.
  static Turn& of(boost::asio::io_context& io);

  explicit Turn(boost::asio::execution_context& io);

  /// Whether a Scope is open: handlers that open none are no turns.
  bool open() const { return depth_ > 0; }

  /// Runs `work` at the end of the turn, after what was given before; from the io_context when no
  /// turn is open. Work may give more work.
  void at_end(std::function<void()> work);
  /// The same, but after all work: for what sends the turn's results.
  void after_work(std::function<void()> output);

  /// A turn; inside another one it is part of that.
  class Scope {
   public:
    explicit Scope(Turn& turn) : turn_(turn) { ++turn_.depth_; }
    ~Scope() {
      if (turn_.depth_ == 1) turn_.run_queued();
      --turn_.depth_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Turn& turn_;
  };

 private:
  void shutdown() override;
  void run_queued();
  void post(std::function<void()> work);

  boost::asio::io_context& io_;
  std::size_t depth_ = 0;
  std::deque<std::function<void()>> work_;
  std::deque<std::function<void()>> output_;
};

}  // namespace rakv
