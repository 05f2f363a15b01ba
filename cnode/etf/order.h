// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <string_view>

#include "cnode/base/result.h"
#include "cnode/etf/limits.h"

namespace rakv::etf {

/// Erlang's order of terms (`<`, `==`): number < atom < reference < fun < port < pid < tuple < map
/// < [] < list < bitstring; integers and floats by value, as OTP compares them; maps by size, then
/// keys in the order of keys (every integer before every float), then values. `equivalent` is `==`:
/// 1 and 1.0 are equivalent. Native records are ordered by their bytes, which is a fixed order
/// but not OTP's. Both are terms without version byte. Error: malformed, limit_exceeded.
Result<std::weak_ordering> compare(std::string_view left, std::string_view right,
                                   const Limits& limits = {});

/// As compare, for two terms that canonicalize() has written: no error, no copy.
std::weak_ordering compare_canonical(std::string_view left, std::string_view right);

/// The order of map keys: as compare_canonical, but integers come before floats and -0.0 before
/// 0.0, so that only equal bytes are equivalent. Both must be canonical.
std::strong_ordering compare_keys(std::string_view left, std::string_view right);

/// `=:=` (OTP 27 and later). Error: malformed, limit_exceeded.
Result<bool> equal_exact(std::string_view left, std::string_view right, const Limits& limits = {});

}  // namespace rakv::etf
