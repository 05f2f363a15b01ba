// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/writer.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "cnode/base/check.h"
#include "cnode/etf/scan.h"

namespace rakv::etf {

namespace {

constexpr std::size_t kMax32 = std::numeric_limits<std::uint32_t>::max();

void put8(std::string& out, unsigned value) { out.push_back(static_cast<char>(value)); }

void put_tag16(std::string& out, unsigned tag, std::uint16_t value) {
  const char bytes[3] = {static_cast<char>(tag), static_cast<char>(value >> 8),
                         static_cast<char>(value)};
  out.append(bytes, sizeof bytes);
}

void put32(std::string& out, std::uint32_t value) {
  const std::uint32_t swapped = __builtin_bswap32(value);
  out.append(reinterpret_cast<const char*>(&swapped), 4);
}

void put64(std::string& out, std::uint64_t value) {
  const std::uint64_t swapped = __builtin_bswap64(value);
  out.append(reinterpret_cast<const char*>(&swapped), 8);
}

void put_tag32(std::string& out, unsigned tag, std::uint32_t value) {
  char bytes[5] = {static_cast<char>(tag)};
  const std::uint32_t swapped = __builtin_bswap32(value);
  std::memcpy(bytes + 1, &swapped, 4);
  out.append(bytes, sizeof bytes);
}

void put_tag_size(std::string& out, unsigned tag, std::size_t size) {
  RAKV_CHECK(size <= kMax32);
  put_tag32(out, tag, static_cast<std::uint32_t>(size));
}

/// Magnitudes of up to 8 bytes.
void put_small_big(std::string& out, bool negative, std::uint64_t magnitude) {
  char bytes[11] = {static_cast<char>(scan::kSmallBig), 0, static_cast<char>(negative ? 1 : 0)};
  std::size_t size = 0;
  for (; magnitude != 0; magnitude >>= 8) bytes[3 + size++] = static_cast<char>(magnitude);
  bytes[1] = static_cast<char>(size);
  out.append(bytes, 3 + size);
}

}  // namespace

bool is_valid_atom(std::string_view name) {
  return name.size() <= kMaxAtomBytes && scan::valid_utf8(name, kMaxAtomCharacters);
}

Writer& Writer::version() {
  put8(*out_, kVersionMagic);
  return *this;
}

Writer& Writer::tuple(std::size_t arity) {
  if (arity < 256) {
    const char bytes[2] = {static_cast<char>(scan::kSmallTuple), static_cast<char>(arity)};
    out_->append(bytes, 2);
  } else {
    put_tag_size(*out_, scan::kLargeTuple, arity);
  }
  return *this;
}

Writer& Writer::list(std::size_t count) {
  if (count > 0) put_tag_size(*out_, scan::kList, count);
  return *this;
}

Writer& Writer::nil() {
  put8(*out_, scan::kNil);
  return *this;
}

Writer& Writer::map(std::size_t pairs) {
  put_tag_size(*out_, scan::kMap, pairs);
  return *this;
}

Writer& Writer::atom(std::string_view name) {
  RAKV_CHECK_MSG(is_valid_atom(name), "an atom must be UTF-8 of at most 255 characters");
  if (name.size() < 256) {
    const char head[2] = {static_cast<char>(scan::kSmallAtomUtf8), static_cast<char>(name.size())};
    out_->append(head, 2);
  } else {
    put_tag16(*out_, scan::kAtomUtf8, static_cast<std::uint16_t>(name.size()));
  }
  out_->append(name);
  return *this;
}

Writer& Writer::integer(std::int64_t value) {
  if (value >= 0) return u64(static_cast<std::uint64_t>(value));
  if (value >= std::numeric_limits<std::int32_t>::min()) {
    put_tag32(*out_, scan::kInteger, static_cast<std::uint32_t>(value));
  } else {
    put_small_big(*out_, true, -static_cast<std::uint64_t>(value));
  }
  return *this;
}

Writer& Writer::u64(std::uint64_t value) {
  if (value < 256) {
    const char bytes[2] = {static_cast<char>(scan::kSmallInteger), static_cast<char>(value)};
    out_->append(bytes, 2);
  } else if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
    put_tag32(*out_, scan::kInteger, static_cast<std::uint32_t>(value));
  } else {
    put_small_big(*out_, false, value);
  }
  return *this;
}

Writer& Writer::big(bool negative, std::string_view magnitude) {
  while (!magnitude.empty() && magnitude.back() == 0) magnitude.remove_suffix(1);
  if (magnitude.size() <= 8) {
    std::uint64_t value = 0;
    if (!magnitude.empty()) std::memcpy(&value, magnitude.data(), magnitude.size());
    if (!negative) return u64(value);
    if (value <= std::uint64_t{1} << 63) return integer(static_cast<std::int64_t>(-value));
    put_small_big(*out_, true, value);
    return *this;
  }
  if (magnitude.size() < 256) {
    put8(*out_, scan::kSmallBig);
    put8(*out_, static_cast<unsigned>(magnitude.size()));
  } else {
    put_tag_size(*out_, scan::kLargeBig, magnitude.size());
  }
  put8(*out_, negative ? 1 : 0);
  out_->append(magnitude);
  return *this;
}

Writer& Writer::floating(double value) {
  RAKV_CHECK_MSG(std::isfinite(value), "Erlang has no NaN and no infinity");
  std::uint64_t raw = 0;
  std::memcpy(&raw, &value, 8);
  put8(*out_, scan::kNewFloat);
  put64(*out_, raw);
  return *this;
}

Writer& Writer::binary(std::string_view bytes) {
  put_tag_size(*out_, scan::kBinary, bytes.size());
  out_->append(bytes);
  return *this;
}

Writer& Writer::binary_header(std::size_t size) {
  put_tag_size(*out_, scan::kBinary, size);
  return *this;
}

Writer& Writer::bits(const BitsView& value) {
  if (value.bytes.empty() || value.last_bits == 8) return binary(value.bytes);
  RAKV_CHECK(value.last_bits >= 1 && value.last_bits <= 8);
  put_tag_size(*out_, scan::kBitBinary, value.bytes.size());
  put8(*out_, value.last_bits);
  out_->append(value.bytes);
  const unsigned mask = 0xffu << (8 - value.last_bits);
  out_->back() = static_cast<char>(static_cast<unsigned char>(out_->back()) & mask);
  return *this;
}

Writer& Writer::byte_list(std::string_view bytes) {
  if (bytes.empty()) return nil();
  if (bytes.size() <= 0xffff) {
    put_tag16(*out_, scan::kString, static_cast<std::uint16_t>(bytes.size()));
    out_->append(bytes);
    return *this;
  }
  list(bytes.size());
  for (const char c : bytes) u64(static_cast<unsigned char>(c));
  return nil();
}

Writer& Writer::pid(const PidView& value) {
  put8(*out_, scan::kNewPid);
  atom(value.node);
  put32(*out_, value.id);
  put32(*out_, value.serial);
  put32(*out_, value.creation);
  return *this;
}

Writer& Writer::reference(const ReferenceView& value) {
  RAKV_CHECK(value.words.count >= 1 && value.words.count <= kMaxReferenceWords);
  put_tag16(*out_, scan::kNewerReference, value.words.count);
  atom(value.node);
  put32(*out_, value.creation);
  for (std::size_t i = 0; i < value.words.count; ++i) put32(*out_, value.words.word[i]);
  return *this;
}

Writer& Writer::port(const PortView& value) {
  put8(*out_, scan::kV4Port);
  atom(value.node);
  put64(*out_, value.id);
  put32(*out_, value.creation);
  return *this;
}

Writer& Writer::export_fun(std::string_view module, std::string_view function, std::uint8_t arity) {
  put8(*out_, scan::kExport);
  return atom(module).atom(function).u64(arity);
}

Writer& Writer::raw(std::string_view encoded_term) {
  out_->append(encoded_term);
  return *this;
}

std::string Writer::take() {
  std::string taken = std::move(*out_);
  out_->clear();
  return taken;
}

}  // namespace rakv::etf
