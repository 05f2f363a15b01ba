#pragma once

#include <string>
#include <string_view>

namespace rakv::kv {

/// A JSON string with this text (UTF-8), quotes included.
std::string json_text(std::string_view text);

}  // namespace rakv::kv
