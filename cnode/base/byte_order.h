// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/endian/conversion.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Unsigned numbers in byte strings, most significant byte first: the order of everything that is
// sent or stored. How wide a number is its type says, or a width of 1 to 8 bytes.

namespace rakv {

/// Writes `value` to `out`, where there is room for it.
template <std::unsigned_integral T>
void store_number(char* out, T value) {
  boost::endian::endian_store<T, sizeof(T), boost::endian::order::big>(
      reinterpret_cast<unsigned char*>(out), value);
}
/// Appends `value`.
template <std::unsigned_integral T>
void put_number(std::string& out, T value) {
  char bytes[sizeof(T)];
  store_number(bytes, value);
  out.append(bytes, sizeof bytes);
}
/// The number at `at`; the caller has checked that its bytes are there.
template <std::unsigned_integral T>
T load_number(std::string_view bytes, std::size_t at = 0) {
  return boost::endian::endian_load<T, sizeof(T), boost::endian::order::big>(
      reinterpret_cast<const unsigned char*>(bytes.data() + at));
}

/// Appends the low `width` bytes of `value`.
inline void put_number(std::string& out, std::uint64_t value, std::size_t width) {
  char bytes[sizeof value];
  store_number(bytes, value);
  out.append(bytes + sizeof bytes - width, width);
}
/// Writes the low `width` bytes of `value` to `out`.
inline void store_number(char* out, std::uint64_t value, std::size_t width) {
  char bytes[sizeof value];
  store_number(bytes, value);
  std::char_traits<char>::copy(out, bytes + sizeof bytes - width, width);
}
/// The number in the first `width` bytes, which must be there.
inline std::uint64_t load_number(std::string_view bytes, std::size_t width) {
  char padded[sizeof(std::uint64_t)] = {};
  bytes.copy(padded + sizeof padded - width, width);
  return load_number<std::uint64_t>({padded, sizeof padded});
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
