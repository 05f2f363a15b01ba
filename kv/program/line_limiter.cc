// SPDX-License-Identifier: Apache-2.0
#include "kv/program/line_limiter.h"

#include <algorithm>

namespace rakv::kv {

void LineLimiter::line(const std::string& text, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - counted_).count();
  allowed_ = std::min(kBurst, allowed_ + std::max(0.0, seconds) * kPerSecond);
  counted_ = now;
  if (allowed_ < 1) {
    ++left_out_;
    return;
  }
  allowed_ -= 1;
  if (left_out_ > 0) {
    write_(std::to_string(left_out_) +
           " lines about peers were left out: too many came within a short time");
    left_out_ = 0;
  }
  write_(text);
}

}  // namespace rakv::kv
