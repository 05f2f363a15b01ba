// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rakv {

/// Appends an unsigned integer, most significant byte first.
template <std::unsigned_integral T>
void put_big_endian(std::string& out, T value) {
  for (std::size_t shift = sizeof(T) * 8; shift > 0;) {
    shift -= 8;
    out.push_back(static_cast<char>(value >> shift));
  }
}

/// Writes an unsigned integer over the bytes at `at`, which must exist.
template <std::unsigned_integral T>
void set_big_endian(std::string& out, std::size_t at, T value) {
  for (std::size_t i = sizeof(T); i > 0; --i) {
    out[at + i - 1] = static_cast<char>(value);
    value = static_cast<T>(sizeof(T) > 1 ? value >> 8 : 0);
  }
}

/// Reads an unsigned integer at `at`; the caller has checked that the bytes are there.
template <std::unsigned_integral T>
T get_big_endian(std::string_view bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>((sizeof(T) > 1 ? value << 8 : 0) |
                           static_cast<unsigned char>(bytes[at + i]));
  }
  return value;
}

}  // namespace rakv
