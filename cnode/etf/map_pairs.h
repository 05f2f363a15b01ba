// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "cnode/etf/cursor.h"

// Maps whose unknown pairs do not matter.

namespace rakv::etf {

/// Reads a map and calls `visit(key, value)` for each pair whose key is an atom; `value` is the
/// encoded value. Other pairs are skipped. False, with the cursor failed, when there is no valid
/// map.
template <class Visit>
bool for_each_atom_pair(Cursor& cursor, Visit visit) {
  const std::optional<std::uint32_t> count = cursor.map();
  if (!count) return false;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> key = cursor.skip();
    const std::optional<std::string_view> value = cursor.skip();
    if (!key || !value) return false;
    Cursor key_cursor(*key);
    if (key_cursor.kind() != TermKind::atom) continue;
    visit(*key_cursor.atom(), *value);
  }
  return true;
}

}  // namespace rakv::etf
