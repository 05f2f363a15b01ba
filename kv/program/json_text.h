// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace rakv::kv {

/// A JSON string with this text, quotes included. Bytes that are not UTF-8 become U+FFFD;
/// characters that act on a terminal (as in cnode/base/printable.h) are escaped, so that it can be
/// shown.
std::string json_text(std::string_view text);

}  // namespace rakv::kv
