// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cnode/etf/cursor.h"

// What the benchmarks' clients have in common.

namespace rakv::bench {

/// Ends the program with a line that says why, and which term came instead.
[[noreturn]] void give_up(const std::string& why, std::string_view term = {});

/// This host's short name.
std::string host_name();

/// Reads `{Tag, ...}` of that arity; what follows the tag comes next. False, and nothing read, for
/// anything else.
bool tagged(etf::Cursor& cursor, std::string_view tag, std::uint32_t arity);

}  // namespace rakv::bench
