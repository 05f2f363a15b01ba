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

/// The encoded value of an atom key; nothing when the map does not have it, or `map` is none.
inline std::optional<std::string_view> map_value(std::string_view map, std::string_view key) {
  Cursor cursor(map);
  if (cursor.kind() != TermKind::map) return std::nullopt;
  const std::uint32_t count = cursor.map().value_or(0);
  for (std::uint32_t i = 0; i < count; ++i) {
    const bool found = cursor.is_atom(key);
    if (!found && !cursor.skip()) return std::nullopt;
    const std::optional<std::string_view> value = cursor.skip();
    if (found || !value) return value;
  }
  return std::nullopt;
}

/// The same where it is a non-negative integer below 2^64.
inline std::optional<std::uint64_t> map_u64(std::string_view map, std::string_view key) {
  const std::optional<std::string_view> value = map_value(map, key);
  return value ? Cursor(*value).u64() : std::nullopt;
}

}  // namespace rakv::etf
