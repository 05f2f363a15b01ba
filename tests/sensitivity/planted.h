// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string_view>

// What the patches below tests/sensitivity/bugs ask. No source of the product includes this:
// scripts/sensitivity.sh puts it into those of its copy that a patch has changed.

namespace rakv {

/// Whether the bug of that name is to be there: RAKV_PLANTED_BUG names it, one for a process. The
/// environment is read once.
inline bool planted(std::string_view name) {
  static const char* const chosen = std::getenv("RAKV_PLANTED_BUG");
  return chosen != nullptr && name == chosen;
}

}  // namespace rakv
