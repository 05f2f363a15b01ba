// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "cnode/etf/text.h"

namespace rakv {

/// The canonical form of the Erlang term with this text.
inline std::string term(std::string_view text) {
  const Result<std::string> encoded = etf::parse_text(text);
  EXPECT_TRUE(encoded.has_value()) << text << ": " << (encoded ? "" : encoded.error().message);
  return encoded ? *encoded : std::string();
}

}  // namespace rakv
