// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

// What commands print with --json. Names and texts come from peers, disks and command lines: any
// bytes.

namespace rakv::kv {

/// The text as a JSON string. Bytes that are not UTF-8 become U+FFFD, each.
boost::json::string json_string(std::string_view text);

/// The value on one line, with its end. What acts on a terminal, or can't be seen on one, is
/// escaped, as can_be_shown() has it (printable.h).
std::string json_line(const boost::json::value& value);

}  // namespace rakv::kv
