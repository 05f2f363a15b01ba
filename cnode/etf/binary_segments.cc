// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/binary_segments.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cnode/etf/scan.h"

namespace rakv::etf::text {
namespace {

Result<void> add_integer(BitBuffer& bits, const BigInteger& number, const SegmentType& type,
                         std::size_t max_bytes) {
  const std::uint64_t count = type.size.value_or(8) * type.unit.value_or(1);
  if (count / 8 > max_bytes) {
    return make_error(ErrorCode::limit_exceeded, "this segment is too large");
  }
  // Two's complement, least significant byte first.
  std::string bytes = number.magnitude.substr(0, (count + 7) / 8);
  bytes.resize((count + 7) / 8, '\0');
  if (number.negative) {
    unsigned carry = 1;
    for (char& c : bytes) {
      carry += static_cast<unsigned char>(~static_cast<unsigned char>(c));
      c = static_cast<char>(carry);
      carry >>= 8;
    }
  }
  const auto rest = static_cast<unsigned>(count % 8);
  if (type.little) {
    bits.add_bytes(std::string_view(bytes).substr(0, count / 8));
    if (rest > 0) bits.add(static_cast<unsigned char>(bytes.back()), rest);
  } else {
    if (rest > 0) bits.add(static_cast<unsigned char>(bytes.back()), rest);
    std::reverse(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count / 8));
    bits.add_bytes(std::string_view(bytes).substr(0, count / 8));
  }
  return {};
}

Result<void> add_float(BitBuffer& bits, const SegmentValue& value, const SegmentType& type) {
  double number = value.floating;
  if (value.kind == SegmentValue::Kind::number) {
    // An integer becomes the float of its value; that of 16 digits and more is rounded once, by
    // from_chars.
    double scale = 1;
    number = 0;
    for (const char c : value.number.magnitude) {
      number += scale * static_cast<unsigned char>(c);
      scale *= 256;
    }
    if (value.number.magnitude.size() > 6)
      return make_error(ErrorCode::invalid_argument, "write this number as a float");
    if (value.number.negative) number = -number;
  } else if (value.kind != SegmentValue::Kind::floating) {
    return make_error(ErrorCode::invalid_argument, "only a number can be a float segment");
  }
  const std::uint64_t size = type.size.value_or(64) * type.unit.value_or(1);
  char bytes[8];
  if (size == 64) {
    std::uint64_t raw = 0;
    std::memcpy(&raw, &number, 8);
    raw = type.little ? raw : __builtin_bswap64(raw);
    std::memcpy(bytes, &raw, 8);
  } else if (size == 32) {
    const auto single = static_cast<float>(number);
    if (!std::isfinite(single))
      return make_error(ErrorCode::invalid_argument, "this float is too large for 32 bits");
    std::uint32_t raw = 0;
    std::memcpy(&raw, &single, 4);
    raw = type.little ? raw : __builtin_bswap32(raw);
    std::memcpy(bytes, &raw, 4);
  } else {
    return make_error(ErrorCode::invalid_argument, "a float segment has 32 or 64 bits");
  }
  bits.add_bytes(std::string_view(bytes, size / 8));
  return {};
}

Result<void> add_bits(BitBuffer& bits, const SegmentValue& value, const SegmentType& type) {
  if (value.kind != SegmentValue::Kind::bits) {
    return make_error(ErrorCode::invalid_argument, "only a binary can be a segment of this type");
  }
  const BitsView source = value.bits.view();
  const std::uint64_t have =
      source.bytes.empty() ? 0 : (source.bytes.size() - 1) * 8 + source.last_bits;
  const std::uint64_t unit = type.unit.value_or(type.type == SegmentType::Type::binary ? 8 : 1);
  std::uint64_t want = have;
  if (type.size) want = *type.size * unit;
  if (want > have || (!type.size && have % unit != 0)) {
    return make_error(ErrorCode::invalid_argument,
                      "the binary does not have the size that is asked for");
  }
  bits.add_bytes(source.bytes.substr(0, want / 8));
  if (want % 8 != 0) {
    const auto rest = static_cast<unsigned>(want % 8);
    bits.add(scan::byte_at(source.bytes, want / 8) >> (8 - rest), rest);
  }
  return {};
}

Result<void> add_character(BitBuffer& bits, const SegmentValue& value, const SegmentType& type) {
  std::uint32_t c = 0;
  if (value.kind == SegmentValue::Kind::number && value.number.magnitude.size() <= 4) {
    std::memcpy(&c, value.number.magnitude.data(), value.number.magnitude.size());
  } else {
    c = 0x110000;
  }
  if (value.number.negative || !is_scalar(c) || type.size || type.unit) {
    return make_error(ErrorCode::invalid_argument,
                      "a utf segment holds one Unicode character and has no size");
  }
  std::string bytes;
  const auto unit = [&](std::uint32_t word, int size) {
    for (int i = 0; i < size; ++i) {
      bytes.push_back(static_cast<char>(word >> (8 * (type.little ? i : size - 1 - i))));
    }
  };
  if (type.type == SegmentType::Type::utf8) {
    scan::append_utf8(bytes, c);
  } else if (type.type == SegmentType::Type::utf32) {
    unit(c, 4);
  } else if (c < 0x10000) {
    unit(c, 2);
  } else {
    unit(0xd800 + ((c - 0x10000) >> 10), 2);
    unit(0xdc00 + ((c - 0x10000) & 0x3ff), 2);
  }
  bits.add_bytes(bytes);
  return {};
}

}  // namespace

Result<void> add_segment(BitBuffer& bits, const SegmentValue& value, const SegmentType& type,
                         std::size_t max_bytes) {
  if (bits.size_bytes() > max_bytes) {
    return make_error(ErrorCode::limit_exceeded, "the binary is too large");
  }
  switch (type.type) {
    case SegmentType::Type::integer:
      if (value.kind != SegmentValue::Kind::number) {
        return make_error(ErrorCode::invalid_argument,
                          "this value needs a type, as in <<1.5/float>> or <<(binary)/binary>>");
      }
      return add_integer(bits, value.number, type, max_bytes);
    case SegmentType::Type::floating:
      return add_float(bits, value, type);
    case SegmentType::Type::binary:
    case SegmentType::Type::bits:
      return add_bits(bits, value, type);
    case SegmentType::Type::utf8:
    case SegmentType::Type::utf16:
    case SegmentType::Type::utf32:
      return add_character(bits, value, type);
  }
  return {};
}

}  // namespace rakv::etf::text
