// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cnode/etf/cursor.h"

namespace rakv::etf {

/// Bits, most significant first.
class BitBuffer {
 public:
  /// The `count` low bits of `value`, count <= 8.
  void add(unsigned value, unsigned count) {
    value &= (1u << count) - 1;
    if (used_ == 8) {
      if (count == 0) return;
      bytes_.push_back(0);
      used_ = 0;
    }
    const unsigned room = 8 - used_;
    if (count <= room) {
      bytes_.back() =
          static_cast<char>(static_cast<unsigned char>(bytes_.back()) | (value << (room - count)));
      used_ += count;
      return;
    }
    const unsigned later = count - room;
    bytes_.back() = static_cast<char>(static_cast<unsigned char>(bytes_.back()) | (value >> later));
    used_ = 8;
    add(value, later);
  }
  void add_bytes(std::string_view bytes) {
    if (used_ == 8) {
      bytes_.append(bytes);
      return;
    }
    for (const char c : bytes) add(static_cast<unsigned char>(c), 8);
  }
  std::size_t size_bytes() const { return bytes_.size(); }
  BitsView view() const { return {bytes_, static_cast<std::uint8_t>(used_)}; }

 private:
  std::string bytes_;
  unsigned used_ = 8;  ///< bits of the last byte; 8 too when there is none
};

}  // namespace rakv::etf
