// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace rakv::kv {

/// Bounds how many lines go to the log that strangers can cause: kBurst at once, then kPerSecond.
/// The next line that is let through again is preceded by one that says how many were left out.
class LineLimiter {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr double kBurst = 50;
  static constexpr double kPerSecond = 5;

  explicit LineLimiter(std::function<void(const std::string&)> write) : write_(std::move(write)) {}

  void line(const std::string& text, Clock::time_point now = Clock::now());

 private:
  std::function<void(const std::string&)> write_;
  double allowed_ = kBurst;
  Clock::time_point counted_{};  ///< when allowed_ was right
  std::uint64_t left_out_ = 0;
};

}  // namespace rakv::kv
