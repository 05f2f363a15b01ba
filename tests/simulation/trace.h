// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/simulation/schedule.h"

namespace rakv::simulation {

/// All that happened, a line each: two runs of one seed have the same text. Bytes on the wire are
/// there by their number and a checksum.
class Trace {
 public:
  explicit Trace(const Schedule& schedule) : schedule_(schedule) {}
  void line(std::string_view text) {
    text_ += std::to_string(schedule_.now().count());
    text_ += ' ';
    text_ += text;
    text_ += '\n';
  }
  const std::string& text() const { return text_; }

 private:
  const Schedule& schedule_;
  std::string text_;
};

/// FNV-1a.
inline std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t sum = 14695981039346656037U;
  for (const char byte : bytes) sum = (sum ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  return sum;
}

}  // namespace rakv::simulation
