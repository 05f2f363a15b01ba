// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Big-endian numbers in byte strings, for the fixed layouts of handshake, epmd and frames.

namespace rakv {

/// Appends the low `width` bytes of `value`, most significant first.
inline void put_number(std::string& out, std::uint64_t value, std::size_t width) {
  for (std::size_t i = width; i > 0; --i) out += static_cast<char>(value >> (8 * (i - 1)) & 0xff);
}

/// Writes the low `width` bytes of `value` to `out`, most significant first.
inline void store_number(char* out, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) {
    out[i] = static_cast<char>(value >> (8 * (width - 1 - i)) & 0xff);
  }
}

/// The number in the first `width` bytes of `bytes`, which must be there.
inline std::uint64_t load_number(std::string_view bytes, std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

/// Takes fields off the front of `rest`; after the first field that is not there, ok is false and
/// all give 0.
struct FieldReader {
  std::string_view rest;
  bool ok = true;

  std::uint64_t number(std::size_t width) {
    const std::string_view field = text(width);
    return ok ? load_number(field, width) : 0;
  }
  std::string_view text(std::size_t length) {
    if (!ok || rest.size() < length) {
      ok = false;
      return {};
    }
    const std::string_view field = rest.substr(0, length);
    rest.remove_prefix(length);
    return field;
  }
};

}  // namespace rakv
