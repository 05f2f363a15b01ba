// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

// The version byte 131 in front of a term that stands alone, in a file or a payload. Inside
// messages, and inside other terms, there is none.

namespace rakv::etf {

inline constexpr char kVersionByte = '\x83';

/// The term after its version byte; one without is given as it is.
inline std::string_view without_version(std::string_view term) {
  return term.starts_with(kVersionByte) ? term.substr(1) : term;
}

/// The term with a version byte in front.
inline std::string with_version(std::string_view term) {
  std::string made;
  made.reserve(term.size() + 1);
  return made.append(1, kVersionByte).append(term);
}

}  // namespace rakv::etf
