// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "cnode/etf/cursor.h"

// Inside the wire room: walking over maps whose unknown pairs do not matter.

namespace rakv::wire {

/// What a BEAM peer could build and store must be read, however deep it nests: an entry that is not
/// understood here but is there would make replicas differ.
inline constexpr etf::Limits kAnyDepth{.max_depth = std::numeric_limits<std::uint32_t>::max()};

/// Reads a map and calls `visit(key, value)` for each pair whose key is an atom; `value` is the
/// encoded value. Other pairs are skipped. False, with the cursor failed, when there is no valid
/// map.
template <class Visit>
bool for_each_atom_pair(etf::Cursor& cursor, Visit visit) {
  const std::optional<std::uint32_t> count = cursor.map();
  if (!count) return false;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> key = cursor.skip();
    const std::optional<std::string_view> value = cursor.skip();
    if (!key || !value) return false;
    etf::Cursor key_cursor(*key);
    if (key_cursor.kind() != etf::TermKind::atom) continue;
    visit(*key_cursor.atom(), *value);
  }
  return true;
}

/// The encoded term as a non-negative integer below 2^64.
inline std::optional<std::uint64_t> to_u64(std::string_view term) {
  return etf::Cursor(term).u64();
}

}  // namespace rakv::wire
