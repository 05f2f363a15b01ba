// SPDX-License-Identifier: Apache-2.0
// Arbitrary text through the reader of Erlang terms; what it reads must be a canonical term that
// prints and comes back.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cnode/base/check.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rakv::etf;  // NOLINT(google-build-using-namespace)
  Limits limits;
  limits.max_depth = 200;
  limits.max_output_bytes = std::size_t{1} << 20;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t consumed = 0;
  if (parse_text_prefix(text, consumed, limits)) RAKV_CHECK(consumed > 0 && consumed <= size);
  const auto term = parse_text(text, limits);
  if (!term) {
    RAKV_CHECK(!term.error().message.empty());
    return 0;
  }
  RAKV_CHECK(canonicalize(*term, limits).value() == *term);
  for (const bool strings : {true, false}) {
    TextOptions options;
    options.strings = strings;
    const std::string printed = print_text(*term, options);
    const auto again = parse_text(printed, {});
    RAKV_CHECK(again && *again == *term);
  }
  return 0;
}
