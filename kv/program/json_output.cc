// SPDX-License-Identifier: Apache-2.0
#include "kv/program/json_output.h"

#include <fmt/format.h>

#include <boost/json/src.hpp>  // the library itself, in this source only
#include <cstdint>
#include <iterator>

#include "cnode/base/printable.h"
#include "cnode/etf/scan.h"

namespace rakv::kv {
namespace {

/// U+FFFD, which stands for bytes that are not UTF-8.
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

}  // namespace

boost::json::string json_string(std::string_view text) {
  boost::json::string made;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t begin = at;
    std::uint32_t character = 0;
    if (etf::scan::next_utf8(text, at, character)) {
      made.append(text.substr(begin, at - begin));
    } else {
      made.append(kReplacement);
      at = begin + 1;
    }
  }
  return made;
}

std::string json_line(const boost::json::value& value) {
  const std::string text = boost::json::serialize(value);
  std::string line;
  line.reserve(text.size() + 1);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    std::uint32_t character = 0;
    if (!etf::scan::next_utf8(text, at, character)) at = begin + 1;  // not of json_string()
    if (can_be_shown(character)) {
      line.append(text, begin, at - begin);
    } else {  // all of them have four digits
      fmt::format_to(std::back_inserter(line), "\\u{:04x}", character);
    }
  }
  return line += '\n';
}

}  // namespace rakv::kv
