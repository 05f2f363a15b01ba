// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cnode/base/result.h"
#include "cnode/etf/limits.h"

namespace rakv::etf {

/// `erlang:phash2(Term)`: 0 to 2^27-1, the same in OTP 25 to 29. `term` has no version byte and
/// need not be canonical. Errors: malformed, limit_exceeded; unsupported for native records (their
/// hash needs the VM's definition).
Result<std::uint32_t> phash2(std::string_view term, const Limits& limits = {});

/// `erlang:phash2(Term, Range)`: 0 to range-1; `range` is 1 to 2^32.
Result<std::uint32_t> phash2(std::string_view term, std::uint64_t range, const Limits& limits = {});

/// phash2 of the binary with these contents.
std::uint32_t phash2_binary(std::string_view bytes);

/// `erlang:external_size(Term)` as OTP 26 and later compute it: the size of `term_to_binary(Term)`,
/// with the version byte. `term` has no version byte and need not be canonical. (OTP 25 counts
/// atoms without characters above 255 one byte longer.) Errors: malformed, limit_exceeded.
Result<std::size_t> external_size(std::string_view term, const Limits& limits = {});

/// external_size of the binary with `size` bytes.
constexpr std::size_t external_size_binary(std::size_t size) { return 1 + 5 + size; }

}  // namespace rakv::etf
