// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "cnode/base/check.h"
#include "cnode/base/result.h"

namespace rakv {

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw std::runtime_error(error.message);
}

void check_failed(const char* expression, const char* file, int line, std::string_view note) {
  std::fprintf(stderr, "%s:%d: check failed: %s %.*s\n", file, line, expression,
               static_cast<int>(note.size()), note.data());
  std::fflush(stderr);
  std::abort();
}

}  // namespace rakv
