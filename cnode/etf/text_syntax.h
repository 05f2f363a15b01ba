// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Inside the etf module: what reader and printer of Erlang text share.

namespace rakv::etf::text {

/// Whether an unquoted atom can begin with this character: a-z and the lower case letters of
/// Latin-1.
constexpr bool begins_atom(std::uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 0xdf && c <= 0xff && c != 0xf7);
}

/// Whether an unquoted atom can go on with this character.
constexpr bool continues_atom(std::uint32_t c) {
  return begins_atom(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '@' || (c >= 0xc0 && c <= 0xde && c != 0xd7);
}

/// Erlang's reserved words, which are atoms only in quotes.
bool is_reserved_word(std::string_view word);

/// Magnitudes of at most this many bytes are printed in base 10, larger ones in base 16: base 10
/// costs the square.
inline constexpr std::size_t kMaxDecimalBytes = 4096;
/// Integers of at most this many digits are read in bases other than 16.
inline constexpr std::size_t kMaxDecimalDigits = 10'000;

}  // namespace rakv::etf::text
