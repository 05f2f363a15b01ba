// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

// Bytes of terms for several tests of this room.

namespace rakv::etf {

using namespace std::string_literals;

/// A 32-bit number, most significant byte first.
inline std::string be32(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

inline std::string be16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

/// SMALL_ATOM_UTF8.
inline std::string small_atom(std::string_view name) {
  return std::string("w") + static_cast<char>(name.size()) + std::string(name);
}

/// A closure with these encoded free variables.
inline std::string closure(std::uint32_t free_count, const std::string& free) {
  const std::string body = "\x02"s + std::string(16, '\x55') + be32(7) + be32(free_count) +
                           small_atom("mod") + "a\x07"s + "b" + be32(0x01020304) + "X" +
                           small_atom("a@b") + be32(80) + be32(0) + be32(3) + free;
  return "p" + be32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}

/// One valid sample of every tag that is read, and containers of them.
inline std::vector<std::string> tag_samples() {
  const std::string node = small_atom("a@b");
  return {
      "a\x05"s,                                                      // SMALL_INTEGER
      "b" + be32(0x80000000u),                                       // INTEGER
      "n\x06\x01"s + "\x01\x02\x03\x04\x05\x06",                     // SMALL_BIG
      "n\x00\x00"s,                                                  // SMALL_BIG of no bytes
      "o" + be32(300) + "\x01"s + std::string(300, '\x7f'),          // LARGE_BIG
      "F\x3f\xf8\x00\x00\x00\x00\x00\x00"s,                          // NEW_FLOAT 1.5
      "c" + "1.50000000000000000000e+00"s + std::string(5, '\0'),    // FLOAT
      small_atom("hello"),                                           // SMALL_ATOM_UTF8
      "v" + be16(4) + "\xe6\x97\xa5!"s,                              // ATOM_UTF8
      "s\x01\xe5"s,                                                  // SMALL_ATOM, Latin-1
      "d" + be16(2) + "ok",                                          // ATOM
      "h\x02"s + "a\x01"s + "j",                                     // SMALL_TUPLE
      "i" + be32(1) + "j",                                           // LARGE_TUPLE
      "j",                                                           // NIL
      "k" + be16(3) + "abc",                                         // STRING
      "l" + be32(2) + "a\x01"s + small_atom("x") + "j",              // LIST
      "l" + be32(1) + "a\x01"s + "a\x02"s,                           // LIST, improper
      "m" + be32(3) + "xyz",                                         // BINARY
      "M" + be32(2) + "\x03"s + "\x01\xa0"s,                         // BIT_BINARY
      "t" + be32(2) + "a\x02"s + "j" + "a\x01"s + "j",               // MAP
      "X" + node + be32(1) + be32(2) + be32(3),                      // NEW_PID
      "g" + node + be32(1) + be32(2) + "\x03"s,                      // PID
      "x" + node + be32(1) + be32(2) + be32(3),                      // V4_PORT
      "Y" + node + be32(1) + be32(3),                                // NEW_PORT
      "f" + node + be32(1) + "\x03"s,                                // PORT
      "Z" + be16(3) + node + be32(3) + be32(1) + be32(2) + be32(3),  // NEWER_REFERENCE
      "Z" + be16(5) + node + be32(3) + be32(1) + be32(2) + be32(3) + be32(4) + be32(5),
      "r" + be16(2) + node + "\x03"s + be32(1) + be32(2),        // NEW_REFERENCE
      "e" + node + be32(1) + "\x03"s,                            // REFERENCE
      "q" + small_atom("lists") + small_atom("map") + "a\x02"s,  // EXPORT
      closure(0, ""),                                            // NEW_FUN
      closure(2, "a\x01"s + "m" + be32(1) + "x"),
      "C" + be32(1) + "\x00"s + small_atom("mod") + small_atom("rec") + small_atom("field") +
          "a\x01"s,  // RECORD
      "h\x03"s + "t" + be32(1) + "l" + be32(1) + "j" + "j" + "h\x01"s + "k" + be16(1) + "x" + "M" +
          be32(1) + "\x01"s + "\x80"s + "l" + be32(1) + "j" + "l" + be32(1) + "j" + "j",
  };
}

}  // namespace rakv::etf
