// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/printable.h"

#include <cstdint>
#include <cstdio>

namespace rakv {
namespace {

/// Length of the UTF-8 character at the beginning of `text`, whose value goes to `c`; 0 when there
/// is none (overlong forms and surrogates are none).
std::size_t utf8_character(std::string_view text, std::uint32_t& c) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    c = first;
    return 1;
  }
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  c = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    c = c << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (length == 3 && c < 0x800) || (length == 4 && c < 0x10000);
  return overlong || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : length;
}

std::string escaped(const char* format, std::uint32_t value) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string shown(std::string_view character, std::uint32_t c) {
  if (can_be_shown(c)) return std::string(character);
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  return escaped(c < 0x80 ? "\\x%02X" : "\\x{%X}", c);
}

}  // namespace

bool can_be_shown(std::uint32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
  return c != 0x200e && c != 0x200f && !(c >= 0x2028 && c <= 0x202e) &&
         !(c >= 0x2066 && c <= 0x2069) && c != 0xfeff;
}

std::string printable(std::string_view text, std::size_t max_bytes) {
  std::string out;
  out.reserve(text.size() < max_bytes ? text.size() : max_bytes);
  while (!text.empty()) {
    std::uint32_t c = 0;
    const std::size_t length = utf8_character(text, c);
    const std::string next = length == 0 ? escaped("\\x%02X", static_cast<unsigned char>(text[0]))
                                         : shown(text.substr(0, length), c);
    if (out.size() + next.size() > max_bytes) return out + "...";
    out += next;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace rakv
