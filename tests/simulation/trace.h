// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "tests/simulation/schedule.h"

namespace rakv::simulation {

/// FNV-1a, going on from `sum`.
inline std::uint64_t checksum(std::string_view bytes, std::uint64_t sum = 14695981039346656037U) {
  for (const char byte : bytes) sum = (sum ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  return sum;
}

/// All that happened, a line each: two runs of one seed have the same text. Bytes on the wire are
/// there by their number and a checksum.
class Trace {
 public:
  explicit Trace(const Schedule& schedule) : schedule_(schedule) {}
  void line(std::string_view text) {
    line_ = std::to_string(schedule_.now().count());
    line_ += ' ';
    line_ += text;
    line_ += '\n';
    sum_ = checksum(line_, sum_);
    if (sink_) {
      sink_(line_);
    } else {
      text_ += line_;
    }
  }
  /// Lines go there instead of being kept.
  void send_to(std::function<void(const std::string& line)> sink) { sink_ = std::move(sink); }
  const std::string& text() const { return text_; }
  /// Of all lines.
  std::uint64_t sum() const { return sum_; }

 private:
  const Schedule& schedule_;
  std::function<void(const std::string& line)> sink_;
  std::string line_;
  std::string text_;
  std::uint64_t sum_ = checksum("");
};

}  // namespace rakv::simulation
