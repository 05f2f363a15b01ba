// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace rakv::simulation {

/// A copy of the term in which `replace` may put others in the place of any part, the outermost
/// one first. Both are encoded.
std::string rewrite_term(
    std::string_view term,
    const std::function<std::optional<std::string>(std::string_view part)>& replace);

/// A copy in which an element of a list that is equal to the one before is left out.
std::string without_repeats(std::string_view term);

}  // namespace rakv::simulation
