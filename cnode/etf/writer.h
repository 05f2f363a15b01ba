// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cnode/etf/cursor.h"
#include "cnode/etf/ids.h"

// Writing terms in the forms OTP 26 and later write: UTF-8 atoms, smallest integers, V4_PORT,
// NEWER_REFERENCE.

namespace rakv::etf {

/// Appends terms to a string: its own, or one that is borrowed and must outlive the writer.
///
/// Containers are written as a header followed by their elements; the writer does not count them.
/// Every call returns the writer, so that `writer.tuple(2).atom("ok").integer(1)` writes `{ok, 1}`.
/// Arguments that no term can have (an atom of more than 255 characters or not UTF-8, a NaN, 2^32
/// elements) are programmer faults and abort: check user input before (is_valid_atom).
class Writer {
 public:
  Writer() : out_(&own_) {}
  explicit Writer(std::string& out) : out_(&out) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// The version byte 131.
  Writer& version();

  Writer& tuple(std::size_t arity);
  /// A list's header; `count` elements and a tail must follow (nil() for a proper list). Count 0
  /// writes nothing, so that the nil() that follows is the whole empty list.
  Writer& list(std::size_t count);
  Writer& nil();
  /// A map's header; `pairs` times a key and a value must follow, with no key twice (that closes
  /// the connection).
  Writer& map(std::size_t pairs);

  /// An atom, named in UTF-8.
  Writer& atom(std::string_view name);
  Writer& boolean(bool value) { return atom(value ? "true" : "false"); }

  Writer& integer(std::int64_t value);
  Writer& u64(std::uint64_t value);
  /// An integer from its magnitude, least significant byte first; leading zero bytes (at the end)
  /// are dropped and small values take the small forms.
  Writer& big(bool negative, std::string_view magnitude_little_endian);
  Writer& floating(double value);

  Writer& binary(std::string_view bytes);
  /// A binary's header only; exactly `size` bytes must then be appended with append().
  Writer& binary_header(std::size_t size);
  /// A bitstring of whole bytes becomes a binary; bits that do not count are written as 0.
  Writer& bits(const BitsView& value);
  /// A list of the bytes, in the form the BEAM writes: [] when empty, STRING up to 65535 elements,
  /// else LIST.
  Writer& byte_list(std::string_view bytes);

  Writer& pid(const PidView& value);
  Writer& reference(const ReferenceView& value);
  Writer& port(const PortView& value);
  Writer& export_fun(std::string_view module, std::string_view function, std::uint8_t arity);

  /// Splices a term that is already encoded (without version byte).
  Writer& raw(std::string_view encoded_term);
  /// Appends bytes as they are.
  Writer& append(std::string_view bytes) { return raw(bytes); }

  std::string_view view() const { return *out_; }
  std::size_t size() const { return out_->size(); }
  /// Empties the string, keeping its memory.
  void clear() { out_->clear(); }
  /// Moves the string out; the writer is empty afterwards and can be used again.
  std::string take();

 private:
  std::string own_;
  std::string* out_;
};

/// Whether `name` is UTF-8 of at most 255 characters.
bool is_valid_atom(std::string_view name);

}  // namespace rakv::etf
