// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rakv::raftlog {

/// The name of a WAL or segment file: NNNNNNNNNNNNNNNN + suffix, e.g. ".wal".
std::string numbered_name(std::uint64_t number, std::string_view suffix);
/// The number of such a name, or nothing. Also 8-digit names of old ra.
std::optional<std::uint64_t> number_of_name(std::string_view name, std::string_view suffix);

}  // namespace rakv::raftlog
