// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

// Numbers as people write them in options and configuration files. Nothing but the number may be
// there: no sign, no blanks, nothing after it.

namespace rakv::kv {

/// A whole number in base 10: "40123".
std::optional<std::uint64_t> whole_number(std::string_view text);

/// A finite decimal number that is not negative: "0.5", "5", "1e3"; not "nan", "inf" or "0x10".
std::optional<double> decimal_number(std::string_view text);

/// Bytes: "67108864", "64MB", "64 MiB", "2G". The units K, M, G, T are those of 1024, whether a B
/// or iB follows or not, and upper or lower case.
std::optional<std::uint64_t> size_in_bytes(std::string_view text);

}  // namespace rakv::kv
