// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace rakv::simulation {

using Nanoseconds = std::chrono::nanoseconds;

/// What will happen, in the order of virtual time; at the same moment in the order of asking. Time
/// goes on only from one event to the next.
class Schedule {
 public:
  /// Names an event that is still to come.
  using Key = std::pair<Nanoseconds, std::uint64_t>;

  /// Since the beginning of the simulation.
  Nanoseconds now() const { return now_; }
  Key at(Nanoseconds time, std::function<void()> event) {
    const Key key{std::max(time, now_), ++asked_};
    events_.emplace(key, std::move(event));
    return key;
  }
  Key after(Nanoseconds delay, std::function<void()> event) {
    return at(now_ + delay, std::move(event));
  }
  /// Nothing happens when it is over.
  void cancel(const Key& key) { events_.erase(key); }
  /// The next event; false when there is none at or before `end`, where time then stands.
  bool run_next(Nanoseconds end) {
    if (events_.empty() || events_.begin()->first.first > end) {
      now_ = std::max(now_, end);
      return false;
    }
    auto next = events_.extract(events_.begin());
    now_ = next.key().first;
    ++happened_;
    next.mapped()();
    return true;
  }
  std::uint64_t happened() const { return happened_; }

 private:
  std::map<Key, std::function<void()>> events_;
  Nanoseconds now_{0};
  std::uint64_t asked_ = 0;
  std::uint64_t happened_ = 0;
};

}  // namespace rakv::simulation
