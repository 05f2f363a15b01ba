// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <optional>
#include <string>
#include <string_view>

#include "cnode/base/result.h"
#include "cnode/etf/ids.h"
#include "cnode/etf/limits.h"

// Reading Erlang's external term format (erts "External Term Format") straight from bytes, without
// building a tree.

namespace rakv::etf {

/// What the next term is.
enum class TermKind : std::uint8_t {
  invalid,  ///< end of input, unknown tag, or a failed cursor
  integer,
  floating,
  atom,
  reference,
  fun,         ///< a closure: can be carried and echoed, not called
  export_fun,  ///< fun M:F/A
  port,
  pid,
  tuple,
  map,
  nil,     ///< []
  list,    ///< a list with a header and a tail (tag 108)
  string,  ///< a list of bytes in its short form (tag 107): semantically a list, never text
  binary,
  bitstring,  ///< length not a multiple of 8, or written with the bitstring tag
  record,     ///< a native record of OTP 29
};

/// A word for messages: "integer", "atom", ...
std::string_view kind_name(TermKind kind);

/// A bitstring: all its bytes, and how many bits of the last byte count (1 to 8; 8 also when there
/// are no bytes).
struct BitsView {
  std::string_view bytes;
  std::uint8_t last_bits = 8;
};

/// fun M:F/A.
struct ExportView {
  std::string_view module;
  std::string_view function;
  std::uint8_t arity = 0;
};

/// A pull reader over the bytes of one or more terms.
///
/// It never reads past the end, never throws and allocates nothing (two exceptions: a Latin-1 atom
/// with bytes >= 128 is converted into the cursor's own memory; skip() beyond 64 levels of nesting
/// uses the heap).
///
/// Failure is sticky. A typed read that finds another kind of term, a truncated or a malformed one
/// returns nullopt/false, leaves offset() at the term it could not read and marks the cursor
/// failed; every later read then fails too. So a caller may read a whole record and check ok()
/// once. Use kind() or is_atom() to look without failing; a copy of a cursor is cheap and
/// independent, for looking further ahead.
///
/// Views that are returned live as long as the input bytes; names of Latin-1 atoms as long as the
/// cursor.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes, const Limits& limits = {})
      : input_(bytes), limits_(limits) {}

  /// False after the first failed read.
  bool ok() const { return ok_; }
  /// Position in the input: of the next term, or of the one that failed.
  std::size_t offset() const { return position_; }
  /// The unread bytes (also after a failure).
  std::string_view rest() const { return input_.substr(position_); }
  /// All bytes are read and no read failed. The last check of a message: `cursor.at_end()`.
  bool at_end() const { return ok_ && position_ == input_.size(); }
  /// Marks the cursor failed; for callers that find a value of the right kind but out of their
  /// range. Returns false.
  bool fail() {
    ok_ = false;
    return false;
  }
  /// Error{malformed} naming the offset, the kind found there and what was expected.
  Error error(std::string_view expected) const;

  /// The kind of the next term, from its tag alone. Never fails the cursor. A binary written with
  /// the bitstring tag is reported as `bitstring`; binary() and bits() read both.
  TermKind kind() const;

  /// Reads the version byte 131.
  bool version();

  /// Reads a tuple's header and gives its arity; the elements follow.
  std::optional<std::uint32_t> tuple();
  /// Reads a tuple's header of exactly `arity` elements.
  bool tuple(std::uint32_t arity);
  /// Reads a list's header and gives the number of elements. The caller reads the elements and then
  /// the tail: with list_end(count) for a proper list. [] gives 0 and has no tail (list_end(0)
  /// reads nothing). Fails on the STRING form, whose elements are not terms: look at kind() and use
  /// string() for it.
  std::optional<std::uint32_t> list();
  /// Reads the tail [] of a proper list whose header gave `count`; nothing when count is 0.
  bool list_end(std::uint32_t count) { return count == 0 ? ok_ : nil(); }
  /// Reads [].
  bool nil();
  /// Reads the STRING form and gives the elements as bytes. [] is accepted too (no bytes).
  std::optional<std::string_view> string();
  /// Reads a map's header and gives the number of pairs; key, value, key, value... follow.
  std::optional<std::uint32_t> map();

  /// Reads an atom and gives its name in UTF-8.
  std::optional<std::string_view> atom();
  /// If the next term is the atom `name` (UTF-8), consumes it and returns true; else leaves all as
  /// it was.
  bool is_atom(std::string_view name);
  /// Reads `true` or `false`.
  std::optional<bool> boolean();

  /// Reads a non-negative integer below 2^64, in any encoding (also non-minimal big ones).
  std::optional<std::uint64_t> u64();
  /// As u64, below 2^32.
  std::optional<std::uint32_t> u32();
  /// Reads an integer from -2^63 to 2^63-1, in any encoding.
  std::optional<std::int64_t> i64();
  /// Reads a float (not an integer); always finite.
  std::optional<double> floating();

  /// Reads a binary (or a bitstring of whole bytes) and gives its bytes.
  std::optional<std::string_view> binary();
  /// Reads a binary or bitstring. Bits of the last byte that do not count may have any value.
  std::optional<BitsView> bits();
  /// Reads iodata-like text as it comes from the BEAM: a binary, or a list of bytes (STRING form,
  /// or []), as bytes. A list in its long form is not accepted.
  std::optional<std::string_view> bytes();

  std::optional<PidView> pid_view();
  std::optional<ReferenceView> reference_view();
  std::optional<PortView> port_view();
  std::optional<Pid> pid();
  std::optional<Reference> reference();
  std::optional<Port> port();
  std::optional<ExportView> export_fun();

  /// Validates the next term wholly, as the BEAM would on receiving it (atoms are UTF-8 of at most
  /// 255 characters, floats finite, reference words 1 to 5, closure sizes right, counts possible,
  /// depth within the limit), and gives its bytes. Iterative. Not checked: duplicate keys of maps
  /// (canonicalize does).
  std::optional<std::string_view> skip();

 private:
  std::string_view name_of(std::string_view bytes, bool latin1);

  std::string_view input_;
  std::size_t position_ = 0;
  Limits limits_;
  bool ok_ = true;
  std::forward_list<std::string> latin1_names_;
};

/// Validates that `bytes` hold exactly one term (no version byte, nothing after it).
Result<void> validate(std::string_view bytes, const Limits& limits = {});

}  // namespace rakv::etf
