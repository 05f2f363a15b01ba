// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rakv {

/// Whether a character does nothing to a terminal but stand there: no control character (C0, DEL,
/// C1), none that changes the direction of text or ends a line for some readers (U+200E, U+200F,
/// U+2028 to U+202E, U+2066 to U+2069), not U+FEFF.
bool can_be_shown(std::uint32_t character);

/// `text` as one line that can be shown on a terminal and in a log whoever made it: names, reasons
/// and terms of peers, contents of files, arguments. Characters that can't be shown and bytes
/// that are not UTF-8 become \n, \r, \t, \xHH (a byte) or \x{HHHH} (a character); all else stays,
/// backslashes too. What goes beyond `max_bytes` is left
/// out, and "..." says so.
std::string printable(std::string_view text, std::size_t max_bytes = std::size_t{16} * 1024);

}  // namespace rakv
