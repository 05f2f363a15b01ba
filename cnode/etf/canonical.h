// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cnode/base/result.h"
#include "cnode/etf/limits.h"

namespace rakv::etf {

/// Rewrites a valid term (without version byte, or with it; compressed or not) into the one byte
/// form of its value: two terms are exactly equal (`=:=`, as OTP 27 and later define it: 1 =/= 1.0,
/// 0.0 =/= -0.0) if and only if their canonical bytes are equal. The result has no version byte.
/// Integers and atoms take their smallest form, lists of bytes the STRING form where it exists,
/// bits that do not count are 0, map keys are sorted in Erlang's order of keys, pids, references,
/// ports take their current tags. Closures and native records keep their fields, with their inner
/// terms canonical.
///
/// Two exceptions: closures that differ only in the process that made them are `=:=` to the BEAM,
/// not here; and references get at least three words (missing ones are 0, as the BEAM takes them).
///
/// Idempotent. Errors: malformed (not one whole term, or a map with the same key twice),
/// limit_exceeded (depth, or output larger than Limits::max_output_bytes, also while unpacking).
Result<std::string> canonicalize(std::string_view term, const Limits& limits = {});

/// True for the common terms that can be seen to be canonical at a glance: binary, small integer,
/// small UTF-8 atom,
/// [] and float. False says nothing.
bool is_plainly_canonical(std::string_view term);

/// Appends the canonical form to `out`; on an error `out` keeps its old content.
Result<void> canonicalize_to(std::string_view term, std::string& out, const Limits& limits = {});

}  // namespace rakv::etf
