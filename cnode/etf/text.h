// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cnode/base/result.h"
#include "cnode/etf/limits.h"

namespace rakv::etf {

/// Reads one term written as Erlang text (UTF-8), as `file:consult/1` accepts it: atoms, integers
/// (`16#ff`, `1_000`),
/// `$a`, floats, strings (adjacent ones are joined; in triple quotes, too), sigils (`~"text"`,
/// `~s(text)`), binaries and bitstrings (`<<"é"/utf8, 5:3>>`), tuples, lists, maps (of a key that
/// is there twice the last value counts), `fun M:F/A`; comments; a final dot may be missing.
/// Returns the term in canonical form, without version byte. Not read: pids and the like, terms in
/// parentheses, floats in other bases than 10. Errors: invalid_argument with line and column;
/// limit_exceeded (depth beyond kMaxTextDepth, size).
Result<std::string> parse_text(std::string_view text, const Limits& limits = {});

/// As parse_text for a text that may go on: reads one term, which must end with a dot, and sets
/// `consumed` to the bytes read (dot included).
Result<std::string> parse_text_prefix(std::string_view text, std::size_t& consumed,
                                      const Limits& limits = {});

/// How print_text writes.
struct TextOptions {
  /// Lists of printable characters as "text" and binaries of printable UTF-8 as <<"text"/utf8>>
  /// (`~tp`); without, as lists of integers (`~tw`).
  bool strings = true;
};

/// The term as one line of Erlang text. parse_text reads it back to an equal term, except pids,
/// ports, references, closures and native records, which are printed as <a@b.1.2> (node, number,
/// serial), #Port<a@b.1>, #Ref<a@b.3.2.1> (highest word first), #Fun<module.index.uniq> and
/// #Record<module:name{...}>. Map keys are printed in Erlang's order of keys; integers of more than
/// 4096 bytes in base 16. `term` has no version byte. Bytes that are not a term give
/// `#Malformed<...>`, and what is longer than Limits::max_output_bytes ends with "...": this is for
/// logs and the command line.
std::string print_text(std::string_view term, const TextOptions& options = {},
                       const Limits& limits = {});

/// Of a longer term print_brief says only how long it is.
inline constexpr std::size_t kMaxBriefBytes = 1024;

/// For logs and reasons, whoever sent the term: as print_text, but `#Term<5000000 bytes>` for one
/// that is longer than kMaxBriefBytes. A long text takes seconds and memory to make, and nobody
/// reads it.
std::string print_brief(std::string_view term);

}  // namespace rakv::etf
