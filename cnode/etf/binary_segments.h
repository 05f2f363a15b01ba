// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "cnode/base/result.h"
#include "cnode/etf/bit_buffer.h"
#include "cnode/etf/text_numbers.h"

// Inside the etf module: what the segments of <<...>> put into a binary.

namespace rakv::etf::text {

/// The type of a segment of a binary: <<Value:Size/Type-Sign-Endian-unit:U>>.
struct SegmentType {
  enum class Type : std::uint8_t { integer, floating, binary, bits, utf8, utf16, utf32 };
  Type type = Type::integer;
  bool little = false;
  std::optional<std::uint64_t> size;
  std::optional<std::uint64_t> unit;
};

/// The value of a segment. That of a text is one of its characters.
struct SegmentValue {
  enum class Kind : std::uint8_t { number, floating, bits };
  Kind kind = Kind::number;
  BigInteger number;
  double floating = 0;
  BitBuffer bits;
};

/// Appends `value` as a segment of this type, as a BEAM does. Errors: invalid_argument (they do not
/// fit together), limit_exceeded (more than `max_bytes`).
Result<void> add_segment(BitBuffer& bits, const SegmentValue& value, const SegmentType& type,
                         std::size_t max_bytes);

}  // namespace rakv::etf::text
