// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cnode/base/result.h"
#include "cnode/etf/limits.h"

// Compressed terms: 131, 80, size of the term:32, zlib data (`term_to_binary(Term, [compressed])`).

namespace rakv::etf {

/// Takes an encoded term (without version byte) and gives it in the external format with version
/// byte: compressed at `level` (0 to 9; 0 does not compress), or plain when compressing does not
/// make it smaller, as the BEAM does. Errors: invalid_argument (level), limit_exceeded (a term of
/// 2^32 bytes).
Result<std::string> compress(std::string_view term, int level = 6);

/// Takes the external format (with version byte), compressed or not, and gives the term's bytes
/// without version byte; they are not validated. Errors: malformed; limit_exceeded when the stated
/// size is above Limits::max_output_bytes, before anything is allocated.
Result<std::string> uncompress(std::string_view external, const Limits& limits = {});

/// Whether `external` begins with 131, 80.
bool is_compressed(std::string_view external);

}  // namespace rakv::etf
