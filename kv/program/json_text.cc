// SPDX-License-Identifier: Apache-2.0
#include "kv/program/json_text.h"

#include <cstdint>
#include <cstdio>

#include "cnode/base/printable.h"
#include "cnode/etf/scan.h"

namespace rakv::kv {
namespace {

/// U+FFFD, which stands for bytes that are not UTF-8.
constexpr std::uint32_t kReplacement = 0xfffd;

}  // namespace

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    std::uint32_t c = 0;
    const std::size_t before = at;
    if (!etf::scan::next_utf8(text, at, c)) {
      at = before + 1;
      c = kReplacement;
    }
    if (!can_be_shown(c)) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    etf::scan::append_utf8(out, c);
  }
  return out + '"';
}

}  // namespace rakv::kv
