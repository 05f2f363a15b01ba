// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// Assertions that stay on in release builds. They guard states that no input can bring about; input
// that is merely bad is an error value instead (result.h).

namespace rakv {

/// Prints expression, place and note to standard error and aborts.
[[noreturn]] void check_failed(const char* expression, const char* file, int line,
                               std::string_view note);

}  // namespace rakv

/// Aborts with the expression and the place when `condition` is false.
#define RAKV_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::rakv::check_failed(#condition, __FILE__, __LINE__, {}))

/// As RAKV_CHECK, with a note (anything convertible to std::string_view) that is made only on
/// failure.
#define RAKV_CHECK_MSG(condition, note) \
  ((condition) ? static_cast<void>(0)   \
               : ::rakv::check_failed(#condition, __FILE__, __LINE__, (note)))
