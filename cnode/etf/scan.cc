// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/scan.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace rakv::etf::scan {

namespace {

bool has(std::string_view input, std::size_t position, std::size_t count) {
  return count <= input.size() - position;
}

/// Position after `position`'s `count` bytes, or false.
bool take(std::string_view input, std::size_t& position, std::size_t count,
          std::string_view& bytes) {
  if (!has(input, position, count)) return false;
  bytes = input.substr(position, count);
  position += count;
  return true;
}

bool take32(std::string_view input, std::size_t& position, std::uint32_t& value) {
  if (!has(input, position, 4)) return false;
  value = load32(input.data() + position);
  position += 4;
  return true;
}

bool take8(std::string_view input, std::size_t& position, std::uint8_t& value) {
  if (!has(input, position, 1)) return false;
  value = byte_at(input, position++);
  return true;
}

void set_magnitude(std::string_view magnitude, Integer& integer) {
  while (!magnitude.empty() && magnitude.back() == 0) magnitude.remove_suffix(1);
  if (magnitude.size() > 8) {
    integer.big = magnitude;
    integer.small = 0;
    return;
  }
  integer.big = {};
  std::uint64_t value = 0;
  std::memcpy(&value, magnitude.data(), magnitude.size());
  integer.small = value;
  if (value == 0) integer.negative = false;
}

/// FLOAT_EXT: 31 bytes of text, padded with zero bytes.
bool read_text_float(std::string_view input, std::size_t& position, double& value) {
  std::string_view text;
  if (!take(input, position, 31, text)) return false;
  text = text.substr(0, text.find('\0'));
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

bool read_pid(std::string_view input, std::size_t position, bool legacy, AtomBytes& node,
              Item& item) {
  if (!read_atom(input, position, node)) return false;
  const std::size_t size = legacy ? 9 : 12;
  if (!has(input, position, size)) return false;
  const char* p = input.data() + position;
  item.id = load32(p);
  item.serial = load32(p + 4);
  item.creation = legacy ? byte_at(input, position + 8) : load32(p + 8);
  item.end = position + size;
  return true;
}

bool read_port(std::string_view input, std::size_t position, std::uint8_t tag, Item& item) {
  if (!read_atom(input, position, item.atom)) return false;
  const std::size_t id_size = tag == kV4Port ? 8 : 4;
  const std::size_t creation_size = tag == kPort ? 1 : 4;
  if (!has(input, position, id_size + creation_size)) return false;
  const char* p = input.data() + position;
  item.id = id_size == 8 ? load64(p) : load32(p);
  item.creation = creation_size == 1 ? byte_at(input, position + id_size) : load32(p + id_size);
  item.end = position + id_size + creation_size;
  return true;
}

bool read_reference(std::string_view input, std::size_t position, std::uint8_t tag, Item& item) {
  std::size_t count = 1;
  if (tag != kReference) {
    if (!has(input, position, 2)) return false;
    count = load16(input.data() + position);
    position += 2;
    if (count == 0 || count > kMaxReferenceWords) return false;
  }
  if (!read_atom(input, position, item.atom)) return false;
  const std::size_t creation_size = tag == kNewerReference ? 4 : 1;
  if (!has(input, position, creation_size + 4 * count)) return false;
  // The oldest form has its only word before the creation; the others have the creation first.
  const std::size_t creation_at = tag == kReference ? position + 4 : position;
  const std::size_t words_at = tag == kReference ? position : position + creation_size;
  item.creation =
      creation_size == 1 ? byte_at(input, creation_at) : load32(input.data() + creation_at);
  item.words = {};
  item.words.count = static_cast<std::uint8_t>(count);
  for (std::size_t i = 0; i < count; ++i)
    item.words.word[i] = load32(input.data() + words_at + 4 * i);
  item.end = position + creation_size + 4 * count;
  return true;
}

bool read_export(std::string_view input, std::size_t position, Item& item) {
  if (!read_atom(input, position, item.atom) || !read_atom(input, position, item.function))
    return false;
  Integer arity;
  if (!read_integer(input, position, arity) || !arity.is_byte()) return false;
  item.arity = static_cast<std::uint8_t>(arity.small);
  item.end = position;
  return true;
}

bool read_fun(std::string_view input, std::size_t position, Item& item) {
  std::uint32_t size = 0;
  const std::size_t size_at = position;
  FunHead& fun = item.fun;
  if (!take32(input, position, size) || !has(input, size_at, size)) return false;
  fun.end = size_at + size;
  if (!take8(input, position, fun.arity) || !take(input, position, 16, fun.uniq) ||
      !take32(input, position, fun.index) || !take32(input, position, item.count) ||
      !read_atom(input, position, item.atom) || !read_integer(input, position, fun.old_index) ||
      !read_integer(input, position, fun.old_uniq) || !has(input, position, 1)) {
    return false;
  }
  std::int64_t ignored = 0;
  if (!fun.old_index.to_i64(ignored) || !fun.old_uniq.to_i64(ignored)) return false;
  const std::uint8_t tag = byte_at(input, position);
  if (tag != kNewPid && tag != kPid) return false;
  if (!read_pid(input, position + 1, tag == kPid, item.pid_node, item)) return false;
  return item.end <= fun.end && item.count <= fun.end - item.end;
}

/// Native record: fields:32, flags:8, module, name, field names, then the values.
bool read_record(std::string_view input, std::size_t position, Item& item) {
  if (!take32(input, position, item.count) || !take8(input, position, item.arity)) return false;
  if (!read_atom(input, position, item.atom) || !read_atom(input, position, item.function))
    return false;
  const std::size_t names_at = position;
  // Each field takes a name (at least 2 bytes) and a value (at least 1).
  if (item.count > (input.size() - position) / 3) return false;
  for (std::uint32_t i = 0; i < item.count; ++i) {
    AtomBytes name;
    if (!read_atom(input, position, name)) return false;
  }
  item.bytes = input.substr(names_at, position - names_at);
  item.end = position;
  return item.count <= input.size() - position;
}

bool read_bits(std::string_view input, std::size_t position, Item& item) {
  std::uint32_t size = 0;
  std::uint8_t last_bits = 0;
  if (!take32(input, position, size) || !take8(input, position, last_bits)) return false;
  if (last_bits > 8 || (last_bits == 0) != (size == 0)) return false;
  if (!take(input, position, size, item.bytes)) return false;
  item.last_bits = size == 0 ? 8 : last_bits;
  item.end = position;
  return true;
}

}  // namespace

bool read_integer(std::string_view input, std::size_t& position, Integer& integer) {
  if (!has(input, position, 1)) return false;
  std::size_t at = position + 1;
  integer.big = {};
  integer.negative = false;
  switch (byte_at(input, position)) {
    case kSmallInteger: {
      if (!has(input, at, 1)) return false;
      integer.small = byte_at(input, at);
      position = at + 1;
      return true;
    }
    case kInteger: {
      std::uint32_t raw = 0;
      if (!take32(input, at, raw)) return false;
      const auto value = static_cast<std::int32_t>(raw);
      integer.negative = value < 0;
      integer.small = value < 0 ? -static_cast<std::uint64_t>(static_cast<std::int64_t>(value))
                                : static_cast<std::uint64_t>(value);
      position = at;
      return true;
    }
    case kSmallBig:
    case kLargeBig: {
      std::uint32_t size = 0;
      if (byte_at(input, position) == kSmallBig) {
        std::uint8_t small_size = 0;
        if (!take8(input, at, small_size)) return false;
        size = small_size;
      } else if (!take32(input, at, size)) {
        return false;
      }
      std::uint8_t sign = 0;
      std::string_view magnitude;
      if (!take8(input, at, sign) || !take(input, at, size, magnitude)) return false;
      integer.negative = sign != 0;
      set_magnitude(magnitude, integer);
      position = at;
      return true;
    }
    default:
      return false;
  }
}

bool Integer::to_i64(std::int64_t& value) const {
  if (!big.empty()) return false;
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (negative) {
    if (small > kMax + 1) return false;
    value = static_cast<std::int64_t>(-small);
    return true;
  }
  if (small > kMax) return false;
  value = static_cast<std::int64_t>(small);
  return true;
}

bool is_ascii(std::string_view bytes) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080u;
  const char* at = bytes.data();
  const std::size_t size = bytes.size();
  // Names are short: two loads that overlap see all of one without a loop over bytes.
  if (size >= 8) {
    std::uint64_t seen = load64_little(at + size - 8);
    for (std::size_t i = 0; i + 8 < size; i += 8) seen |= load64_little(at + i);
    return (seen & kHighBits) == 0;
  }
  if (size >= 4) {
    const std::uint64_t seen = load32_little(at) | load32_little(at + size - 4);
    return (seen & kHighBits) == 0;
  }
  std::uint8_t seen = 0;
  for (std::size_t i = 0; i < size; ++i) seen |= byte_at(bytes, i);
  return (seen & 0x80) == 0;
}

bool next_utf8(std::string_view text, std::size_t& position, std::uint32_t& code_point) {
  const std::uint8_t lead = byte_at(text, position);
  if (lead < 0x80) {
    code_point = lead;
    ++position;
    return true;
  }
  std::size_t length = 0;
  if ((lead & 0xe0) == 0xc0) {
    length = 2;
    code_point = lead & 0x1f;
  } else if ((lead & 0xf0) == 0xe0) {
    length = 3;
    code_point = lead & 0x0f;
  } else if ((lead & 0xf8) == 0xf0) {
    length = 4;
    code_point = lead & 0x07;
  } else {
    return false;
  }
  if (!has(text, position, length)) return false;
  for (std::size_t i = 1; i < length; ++i) {
    const std::uint8_t next = byte_at(text, position + i);
    if ((next & 0xc0) != 0x80) return false;
    code_point = (code_point << 6) | (next & 0x3f);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code_point < kSmallest[length] || code_point > 0x10ffff) return false;
  if (code_point >= 0xd800 && code_point <= 0xdfff) return false;
  position += length;
  return true;
}

bool valid_utf8(std::string_view bytes, std::size_t max_characters) {
  if (is_ascii(bytes)) return bytes.size() <= max_characters;
  std::size_t characters = 0;
  for (std::size_t position = 0; position < bytes.size();) {
    std::uint32_t code_point = 0;
    if (!next_utf8(bytes, position, code_point) || ++characters > max_characters) return false;
  }
  return true;
}

void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | (c >> 6));
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3f));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

void append_latin1(std::string& out, std::string_view latin1) {
  for (const char c : latin1) append_utf8(out, static_cast<unsigned char>(c));
}

bool read_atom(std::string_view input, std::size_t& position, AtomBytes& atom) {
  if (!has(input, position, 2)) return false;
  const std::uint8_t tag = byte_at(input, position);
  std::size_t at = position + 2;
  std::size_t size = byte_at(input, position + 1);
  if (tag == kAtomUtf8 || tag == kAtom) {
    if (!has(input, position, 3)) return false;
    size = load16(input.data() + position + 1);
    at = position + 3;
  } else if (tag != kSmallAtomUtf8 && tag != kSmallAtom) {
    return false;
  }
  if (!has(input, at, size)) return false;
  atom.bytes = input.substr(at, size);
  if (tag == kSmallAtomUtf8 || tag == kAtomUtf8) {
    atom.latin1 = false;
    if (size > kMaxAtomBytes || !valid_utf8(atom.bytes, kMaxAtomCharacters)) return false;
  } else {
    if (size > kMaxAtomCharacters) return false;
    atom.latin1 = !is_ascii(atom.bytes);
  }
  position = at + size;
  return true;
}

bool read_head(std::string_view input, std::size_t position, Item& item) {
  if (position >= input.size()) return false;
  const std::uint8_t tag = byte_at(input, position);
  std::size_t at = position + 1;
  switch (tag) {
    case kSmallInteger:
    case kInteger:
    case kSmallBig:
    case kLargeBig:
      item.kind = TermKind::integer;
      item.end = position;
      return read_integer(input, item.end, item.integer);
    case kNewFloat: {
      item.kind = TermKind::floating;
      if (!has(input, at, 8)) return false;
      const std::uint64_t raw = load64(input.data() + at);
      std::memcpy(&item.floating, &raw, 8);
      item.end = at + 8;
      return std::isfinite(item.floating);
    }
    case kFloat:
      item.kind = TermKind::floating;
      item.end = at;
      return read_text_float(input, item.end, item.floating);
    case kAtom:
    case kSmallAtom:
    case kAtomUtf8:
    case kSmallAtomUtf8:
      item.kind = TermKind::atom;
      item.end = position;
      return read_atom(input, item.end, item.atom);
    case kSmallTuple: {
      item.kind = TermKind::tuple;
      std::uint8_t arity = 0;
      if (!take8(input, at, arity)) return false;
      item.count = arity;
      item.end = at;
      return item.count <= input.size() - at;
    }
    case kLargeTuple:
      item.kind = TermKind::tuple;
      if (!take32(input, at, item.count)) return false;
      item.end = at;
      return item.count <= input.size() - at;
    case kNil:
      item.kind = TermKind::nil;
      item.end = at;
      return true;
    case kString: {
      item.kind = TermKind::string;
      if (!has(input, at, 2)) return false;
      const std::size_t size = load16(input.data() + at);
      item.end = at + 2;
      return take(input, item.end, size, item.bytes);
    }
    case kList:
      item.kind = TermKind::list;
      if (!take32(input, at, item.count)) return false;
      item.end = at;
      return item.count < input.size() - at;  // the elements and a tail
    case kBinary: {
      item.kind = TermKind::binary;
      std::uint32_t size = 0;
      if (!take32(input, at, size) || !take(input, at, size, item.bytes)) return false;
      item.last_bits = 8;
      item.end = at;
      return true;
    }
    case kBitBinary:
      item.kind = TermKind::bitstring;
      return read_bits(input, at, item);
    case kMap:
      item.kind = TermKind::map;
      if (!take32(input, at, item.count)) return false;
      item.end = at;
      return item.count <= (input.size() - at) / 2;
    case kNewPid:
    case kPid:
      item.kind = TermKind::pid;
      return read_pid(input, at, tag == kPid, item.atom, item);
    case kV4Port:
    case kNewPort:
    case kPort:
      item.kind = TermKind::port;
      return read_port(input, at, tag, item);
    case kNewerReference:
    case kNewReference:
    case kReference:
      item.kind = TermKind::reference;
      return read_reference(input, at, tag, item);
    case kExport:
      item.kind = TermKind::export_fun;
      return read_export(input, at, item);
    case kNewFun:
      item.kind = TermKind::fun;
      return read_fun(input, at, item);
    case kRecord:
      item.kind = TermKind::record;
      return read_record(input, at, item);
    default:
      return false;
  }
}

}  // namespace rakv::etf::scan
