// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "cnode/base/clock.h"
#include "raft/core/types.h"

namespace rakv::member {

/// Reads of entries that the machine has not reached yet: a client got the index from a member that
/// had, or from this one before it was started again. They wait until the machine has, or their
/// time is over.
class HeldReads {
 public:
  using Milliseconds = std::chrono::milliseconds;
  /// Reads that wait at once; a further one ends at once.
  static constexpr std::size_t kMax = 10'000;
  /// None waits longer, whatever its caller says.
  static constexpr Milliseconds kLongest{30'000};

  explicit HeldReads(boost::asio::io_context& io) : timer_(io) {}
  ~HeldReads() { *alive_ = false; }
  HeldReads(const HeldReads&) = delete;
  HeldReads& operator=(const HeldReads&) = delete;

  /// Calls `done` once: with true when reached() says the index, with false when the time is over.
  void hold(raft::Index index, Milliseconds time, std::function<void(bool)> done);
  /// The machine has applied this entry.
  void reached(raft::Index index) {
    if (!held_.empty() && lowest_ <= index) release_up_to(index);
  }
  std::size_t size() const { return held_.size(); }

 private:
  struct Held {
    raft::Index index;
    Clock::time_point deadline;
    std::function<void(bool)> done;
  };
  void release_up_to(raft::Index index);
  void arm();
  void expire();
  void note_lowest();

  std::vector<Held> held_;
  raft::Index lowest_;
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
