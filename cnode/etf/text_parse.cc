// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cnode/etf/bit_buffer.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/text.h"
#include "cnode/etf/text_reader.h"
#include "cnode/etf/text_syntax.h"
#include "cnode/etf/writer.h"

namespace rakv::etf {

namespace {

/// An integer of any size: magnitude little endian, without zero bytes at the end.
struct Number {
  bool negative = false;
  std::string magnitude;
};

/// The type of a segment of a binary: <<Value:Size/Type-Sign-Endian-unit:U>>.
struct Segment {
  enum class Type : std::uint8_t { integer, floating, binary, bits, utf8, utf16, utf32 };
  Type type = Type::integer;
  bool little = false;
  std::optional<std::uint64_t> size;
  std::optional<std::uint64_t> unit;
};

/// The value of a segment.
struct SegmentValue {
  enum class Kind : std::uint8_t { number, floating, text, bits };
  Kind kind = Kind::number;
  Number number;
  double floating = 0;
  std::vector<std::uint32_t> text;
  BitBuffer bits;
};

class Parser : text::Reader {
 public:
  Parser(std::string_view input, const Limits& limits) : Reader(input), limits_(limits) {}

  Result<std::string> run(bool prefix, std::size_t* consumed) {
    std::string encoded;
    Writer writer(encoded);
    if (!term(writer, 0)) return error_;
    if (!space()) return error_;
    const bool dot = peek() == '.';
    if (dot) ++position_;
    if (prefix) {
      if (!dot) {
        fail("expected a dot after the term");
        return error_;
      }
      *consumed = position_;
    } else {
      if (!space()) return error_;
      if (position_ < input_.size()) {
        fail(dot ? "unexpected text after the dot" : "unexpected text after the term");
        return error_;
      }
    }
    return canonicalize(encoded, limits_);
  }

 private:
  // Terms.

  bool term(Writer& out, std::uint32_t depth) {
    if (depth > std::min(limits_.max_depth, kMaxTextDepth)) {
      return fail("the text nests too deep", ErrorCode::limit_exceeded);
    }
    if (out.size() > limits_.max_output_bytes) {
      return fail("the term is larger than " + std::to_string(limits_.max_output_bytes) + " bytes",
                  ErrorCode::limit_exceeded);
    }
    if (!space()) return false;
    const int c = peek();
    if (c < 0) return fail("expected a term");
    if (accept("{")) return tuple(out, depth);
    if (accept("[")) return list(out, depth);
    if (accept("#{")) return map(out, depth);
    if (looking_at("<<")) {
      BitBuffer bits;
      if (!binary(bits, depth)) return false;
      out.bits(bits.view());
      return true;
    }
    if (c == '"') return string(out);
    if (c == '~') return sigil_term(out);
    if (c == '\'') return quoted_atom(out);
    if (c == '$' || c == '-' || c == '+' || is_digit(c)) return number(out);
    if (c == '<') return fail("a pid can not be read from text");
    if (c == '#') return fail("references, ports, closures and records can not be read from text");
    return word(out);
  }

  bool tuple(Writer& out, std::uint32_t depth) {
    std::string elements;
    std::size_t count = 0;
    Writer writer(elements);
    if (!elements_until("}", writer, count, depth)) return false;
    if (!expect("}")) return false;
    out.tuple(count).raw(elements);
    return true;
  }

  bool list(Writer& out, std::uint32_t depth) {
    std::string elements;
    std::size_t count = 0;
    Writer writer(elements);
    if (!elements_until("]", writer, count, depth)) return false;
    if (count > 0 && accept("|")) {
      if (!term(writer, depth + 1)) return false;
    } else {
      writer.nil();
    }
    if (!expect("]")) return false;
    out.list(count).raw(elements);
    return true;
  }

  /// Terms with commas between them, up to (not including) what closes them.
  bool elements_until(std::string_view close, Writer& out, std::size_t& count,
                      std::uint32_t depth) {
    if (!space()) return false;
    if (looking_at(close)) return true;
    do {
      if (!term(out, depth + 1)) return false;
      ++count;
      if (!space()) return false;
    } while (accept(","));
    return true;
  }

  /// Of a key that is there twice the last value counts, as for a BEAM.
  bool map(Writer& out, std::uint32_t depth) {
    std::vector<std::pair<std::string, std::string>> pairs;
    std::unordered_map<std::string, std::size_t> places;
    if (!space()) return false;
    if (!looking_at("}")) {
      do {
        if (!space()) return false;
        const std::size_t where = position_;
        std::string key;
        std::string value;
        Writer key_writer(key);
        Writer value_writer(value);
        if (!term(key_writer, depth + 1)) return false;
        auto canonical = canonicalize(key, limits_);
        if (!canonical) return fail_at(where, canonical.error().message, canonical.error().code);
        if (!expect("=>") || !term(value_writer, depth + 1) || !space()) return false;
        const auto [place, is_new] = places.emplace(std::move(*canonical), pairs.size());
        if (is_new) {
          pairs.emplace_back(std::move(key), std::move(value));
        } else {
          pairs[place->second].second = std::move(value);
        }
      } while (accept(","));
    }
    if (!expect("}")) return false;
    out.map(pairs.size());
    for (const auto& [key, value] : pairs) out.raw(key).raw(value);
    return true;
  }

  // Atoms and funs.

  bool word_text(std::string& name) {
    std::uint32_t c = 0;
    std::size_t before = position_;
    if (!character(c)) return false;
    if (!text::begins_atom(c)) {
      position_ = before;
      if (c == '_' || (c >= 'A' && c <= 'Z')) {
        return fail(
            "variables have no value here; write an atom in lower case or in single quotes");
      }
      return fail("expected a term");
    }
    const std::size_t start = before;
    do {
      before = position_;
      if (position_ >= input_.size()) break;
      if (!character(c)) return false;
    } while (text::continues_atom(c));
    position_ = before;
    name = input_.substr(start, position_ - start);
    return true;
  }

  bool word(Writer& out) {
    const std::size_t start = position_;
    std::string name;
    if (!word_text(name)) return false;
    if (name == "fun") return fun(out);
    if (text::is_reserved_word(name)) {
      return fail_at(start,
                     "'" + name + "' is a reserved word; put it in single quotes to mean the atom");
    }
    return write_atom(out, start, name);
  }

  bool write_atom(Writer& out, std::size_t start, std::string_view name) {
    if (!is_valid_atom(name)) return fail_at(start, "an atom has at most 255 characters");
    out.atom(name);
    return true;
  }

  bool quoted_atom(Writer& out) {
    const std::size_t start = position_;
    std::vector<std::uint32_t> characters;
    if (!quoted('\'', characters)) return false;
    std::string name;
    for (const std::uint32_t c : characters) {
      if (!is_scalar(c)) return fail_at(start, "an atom can not hold this character");
      scan::append_utf8(name, c);
    }
    return write_atom(out, start, name);
  }

  bool any_atom(Writer& out) {
    if (!space()) return false;
    if (peek() == '\'') return quoted_atom(out);
    const std::size_t start = position_;
    std::string name;
    return word_text(name) && write_atom(out, start, name);
  }

  /// Behind `fun`: Module:Function/Arity.
  bool fun(Writer& out) {
    out.append("\x71");
    if (!any_atom(out) || !expect(":") || !any_atom(out) || !expect("/") || !space()) return false;
    const std::size_t start = position_;
    Number arity;
    if (!is_digit(peek()) || !unsigned_integer(arity)) return fail("expected an arity, 0 to 255");
    if (arity.magnitude.size() > 1) return fail_at(start, "an arity is 0 to 255");
    out.big(false, arity.magnitude);
    return true;
  }

  // Strings.

  bool string(Writer& out) {
    std::vector<std::uint32_t> characters;
    if (!strings(characters)) return false;
    write_string(out, characters);
    return true;
  }

  static void write_string(Writer& out, const std::vector<std::uint32_t>& characters) {
    out.list(characters.size());
    for (const std::uint32_t c : characters) out.u64(c);
    out.nil();
  }

  bool sigil_term(Writer& out) {
    text::Sigil read;
    if (!sigil(read)) return false;
    if (read.is_binary) {
      out.binary(utf8_of(read.characters));
    } else {
      write_string(out, read.characters);
    }
    return true;
  }

  static std::string utf8_of(const std::vector<std::uint32_t>& characters) {
    std::string bytes;
    for (const std::uint32_t c : characters) scan::append_utf8(bytes, c);
    return bytes;
  }

  // Numbers.

  /// A run of digits with single underscores between them, appended without these.
  bool digits(int base, std::string& text) {
    const std::size_t before = text.size();
    for (;;) {
      while (digit_value(peek()) < base) text.push_back(input_[position_++]);
      if (peek() != '_' || text.size() == before || digit_value(peek(1)) >= base) break;
      ++position_;
    }
    return text.size() > before || fail("expected a digit");
  }

  bool to_number(std::string_view text, int base, std::size_t where, Number& number) {
    if (base == 16) {
      number.magnitude.clear();
      for (std::size_t end = text.size(); end > 0;) {
        const int low = digit_value(text[--end]);
        const int high = end > 0 ? digit_value(text[--end]) : 0;
        number.magnitude.push_back(static_cast<char>(high * 16 + low));
      }
    } else {
      if (text.size() > text::kMaxDecimalDigits) {
        return fail_at(where,
                       "an integer of more than " + std::to_string(text::kMaxDecimalDigits) +
                           " digits must be written in base 16",
                       ErrorCode::limit_exceeded);
      }
      std::vector<std::uint32_t> limbs;
      for (const char c : text) {
        std::uint64_t carry = static_cast<std::uint64_t>(digit_value(c));
        for (std::uint32_t& limb : limbs) {
          carry += std::uint64_t{limb} * static_cast<std::uint64_t>(base);
          limb = static_cast<std::uint32_t>(carry);
          carry >>= 32;
        }
        if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
      }
      number.magnitude.assign(reinterpret_cast<const char*>(limbs.data()), limbs.size() * 4);
    }
    while (!number.magnitude.empty() && number.magnitude.back() == 0) number.magnitude.pop_back();
    return true;
  }

  /// Digits, or Base#Digits.
  bool unsigned_integer(Number& number) {
    const std::size_t start = position_;
    std::string text;
    if (!digits(10, text)) return false;
    if (peek() != '#' || looking_at("#{")) return to_number(text, 10, start, number);
    const int base = text.size() > 2 ? 0 : std::atoi(text.c_str());
    if (base < 2 || base > 36) return fail_at(start, "a base is 2 to 36");
    ++position_;
    text.clear();
    return digits(base, text) && to_number(text, base, start, number);
  }

  /// Behind a sign: an integer, a character or a float.
  bool number_value(SegmentValue& value) {
    const std::size_t start = position_;
    value.kind = SegmentValue::Kind::number;
    if (accept("$")) {
      std::uint32_t c = 0;
      if (!character(c)) return false;
      if (c == '\\' && !escape(c)) return false;
      value.number.magnitude.assign(reinterpret_cast<const char*>(&c), 4);
      return true;
    }
    if (!is_digit(peek())) return fail("expected a number");
    std::string text;
    if (!digits(10, text)) return false;
    if (peek() != '.' || !is_digit(peek(1))) {
      position_ = start;
      return unsigned_integer(value.number);
    }
    ++position_;
    text.push_back('.');
    if (!digits(10, text)) return false;
    if ((peek() == 'e' || peek() == 'E') &&
        (is_digit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && is_digit(peek(2))))) {
      text.push_back('e');
      ++position_;
      if (peek() == '-') text.push_back('-');
      if (!is_digit(peek())) ++position_;
      if (!digits(10, text)) return false;
    }
    value.kind = SegmentValue::Kind::floating;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value.floating);
    if (read.ec == std::errc::result_out_of_range && is_tiny(text)) {
      value.floating = 0;
      return true;
    }
    if (read.ec != std::errc() || !std::isfinite(value.floating)) {
      return fail_at(start, "this float is too large; the largest is about 1.8e308");
    }
    return true;
  }

  /// Whether a float that is out of range is so for being next to 0.
  static bool is_tiny(const std::string& text) {
    if (text.find("e-") != std::string::npos) return true;
    return text.find('e') == std::string::npos &&
           text.find_first_not_of("0") != std::string::npos &&
           text[text.find_first_not_of("0")] == '.';
  }

  bool signed_value(SegmentValue& value) {
    const bool negative = peek() == '-';
    if (negative || peek() == '+') {
      ++position_;
      if (!space()) return false;
    }
    if (!number_value(value)) return false;
    value.number.negative = negative;
    if (negative) value.floating = -value.floating;
    return true;
  }

  bool number(Writer& out) {
    SegmentValue value;
    if (!signed_value(value)) return false;
    if (value.kind == SegmentValue::Kind::floating) {
      out.floating(value.floating);
    } else {
      out.big(value.number.negative, value.number.magnitude);
    }
    return true;
  }

  // Binaries.

  bool binary(BitBuffer& bits, std::uint32_t depth) {
    if (depth > std::min(limits_.max_depth, kMaxTextDepth)) {
      return fail("the text nests too deep", ErrorCode::limit_exceeded);
    }
    position_ += 2;
    if (!space()) return false;
    if (accept(">>")) return true;
    do {
      if (!segment(bits, depth) || !space()) return false;
    } while (accept(","));
    return expect(">>");
  }

  bool segment(BitBuffer& bits, std::uint32_t depth) {
    if (!space()) return false;
    const std::size_t start = position_;
    SegmentValue value;
    if (peek() == '"') {
      value.kind = SegmentValue::Kind::text;
      if (!strings(value.text)) return false;
    } else if (peek() == '~') {
      text::Sigil read;
      if (!sigil(read)) return false;
      value.kind = read.is_binary ? SegmentValue::Kind::bits : SegmentValue::Kind::text;
      value.bits.add_bytes(read.is_binary ? utf8_of(read.characters) : std::string());
      value.text = std::move(read.characters);
    } else if (looking_at("<<")) {
      value.kind = SegmentValue::Kind::bits;
      if (!binary(value.bits, depth + 1)) return false;
    } else if (!signed_value(value)) {
      return false;
    }
    Segment type;
    if (!segment_type(type)) return false;
    if (value.kind != SegmentValue::Kind::text) return add_segment(bits, start, value, type);
    for (const std::uint32_t c : value.text) {
      SegmentValue one;
      one.number.magnitude.assign(reinterpret_cast<const char*>(&c), 4);
      if (!add_segment(bits, start, one, type)) return false;
    }
    return true;
  }

  bool segment_type(Segment& type) {
    if (!space()) return false;
    if (accept(":")) {
      if (!space()) return false;
      std::uint64_t size = 0;
      if (!small_integer(size)) return false;
      type.size = size;
      if (!space()) return false;
    }
    if (!accept("/")) return true;
    do {
      if (!space()) return false;
      const std::size_t start = position_;
      std::string name;
      if (!word_text(name)) return false;
      if (name == "integer") {
        type.type = Segment::Type::integer;
      } else if (name == "float") {
        type.type = Segment::Type::floating;
      } else if (name == "binary" || name == "bytes") {
        type.type = Segment::Type::binary;
      } else if (name == "bitstring" || name == "bits") {
        type.type = Segment::Type::bits;
      } else if (name == "utf8") {
        type.type = Segment::Type::utf8;
      } else if (name == "utf16") {
        type.type = Segment::Type::utf16;
      } else if (name == "utf32") {
        type.type = Segment::Type::utf32;
      } else if (name == "little" || name == "native") {
        type.little = true;
      } else if (name == "unit") {
        std::uint64_t unit = 0;
        if (!expect(":") || !space() || !small_integer(unit)) return false;
        if (unit < 1 || unit > 256) return fail_at(start, "a unit is 1 to 256");
        type.unit = unit;
      } else if (name != "big" && name != "signed" && name != "unsigned") {
        return fail_at(start, "'" + name + "' is no type of a binary's segment");
      }
      if (!space()) return false;
    } while (accept("-"));
    return true;
  }

  bool small_integer(std::uint64_t& value) {
    const std::size_t start = position_;
    Number number;
    if (!unsigned_integer(number)) return false;
    if (number.magnitude.size() > 5) return fail_at(start, "this size is too large");
    value = 0;
    std::memcpy(&value, number.magnitude.data(), number.magnitude.size());
    return true;
  }

  bool add_segment(BitBuffer& bits, std::size_t start, const SegmentValue& value,
                   const Segment& type) {
    if (bits.size_bytes() > limits_.max_output_bytes) {
      return fail_at(start, "the binary is too large", ErrorCode::limit_exceeded);
    }
    switch (type.type) {
      case Segment::Type::integer:
        if (value.kind != SegmentValue::Kind::number) {
          return fail_at(start,
                         "this value needs a type, as in <<1.5/float>> or <<(binary)/binary>>");
        }
        return add_integer(bits, start, value.number, type);
      case Segment::Type::floating:
        return add_float(bits, start, value, type);
      case Segment::Type::binary:
      case Segment::Type::bits:
        return add_bits(bits, start, value, type);
      case Segment::Type::utf8:
      case Segment::Type::utf16:
      case Segment::Type::utf32:
        return add_character(bits, start, value, type);
    }
    return false;
  }

  bool add_integer(BitBuffer& bits, std::size_t start, const Number& number, const Segment& type) {
    const std::uint64_t count = type.size.value_or(8) * type.unit.value_or(1);
    if (count / 8 > limits_.max_output_bytes) {
      return fail_at(start, "this segment is too large", ErrorCode::limit_exceeded);
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
    return true;
  }

  bool add_float(BitBuffer& bits, std::size_t start, const SegmentValue& value,
                 const Segment& type) {
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
      if (value.number.magnitude.size() > 6) return fail_at(start, "write this number as a float");
      if (value.number.negative) number = -number;
    } else if (value.kind != SegmentValue::Kind::floating) {
      return fail_at(start, "only a number can be a float segment");
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
      if (!std::isfinite(single)) return fail_at(start, "this float is too large for 32 bits");
      std::uint32_t raw = 0;
      std::memcpy(&raw, &single, 4);
      raw = type.little ? raw : __builtin_bswap32(raw);
      std::memcpy(bytes, &raw, 4);
    } else {
      return fail_at(start, "a float segment has 32 or 64 bits");
    }
    bits.add_bytes(std::string_view(bytes, size / 8));
    return true;
  }

  bool add_bits(BitBuffer& bits, std::size_t start, const SegmentValue& value,
                const Segment& type) {
    if (value.kind != SegmentValue::Kind::bits) {
      return fail_at(start, "only a binary can be a segment of this type");
    }
    const BitsView source = value.bits.view();
    const std::uint64_t have =
        source.bytes.empty() ? 0 : (source.bytes.size() - 1) * 8 + source.last_bits;
    const std::uint64_t unit = type.unit.value_or(type.type == Segment::Type::binary ? 8 : 1);
    std::uint64_t want = have;
    if (type.size) want = *type.size * unit;
    if (want > have || (!type.size && have % unit != 0)) {
      return fail_at(start, "the binary does not have the size that is asked for");
    }
    bits.add_bytes(source.bytes.substr(0, want / 8));
    if (want % 8 != 0) {
      const auto rest = static_cast<unsigned>(want % 8);
      bits.add(scan::byte_at(source.bytes, want / 8) >> (8 - rest), rest);
    }
    return true;
  }

  bool add_character(BitBuffer& bits, std::size_t start, const SegmentValue& value,
                     const Segment& type) {
    std::uint32_t c = 0;
    if (value.kind == SegmentValue::Kind::number && value.number.magnitude.size() <= 4) {
      std::memcpy(&c, value.number.magnitude.data(), value.number.magnitude.size());
    } else {
      c = 0x110000;
    }
    if (value.number.negative || !is_scalar(c) || type.size || type.unit) {
      return fail_at(start, "a utf segment holds one Unicode character and has no size");
    }
    std::string bytes;
    const auto unit = [&](std::uint32_t word, int size) {
      for (int i = 0; i < size; ++i) {
        bytes.push_back(static_cast<char>(word >> (8 * (type.little ? i : size - 1 - i))));
      }
    };
    if (type.type == Segment::Type::utf8) {
      scan::append_utf8(bytes, c);
    } else if (type.type == Segment::Type::utf32) {
      unit(c, 4);
    } else if (c < 0x10000) {
      unit(c, 2);
    } else {
      unit(0xd800 + ((c - 0x10000) >> 10), 2);
      unit(0xdc00 + ((c - 0x10000) & 0x3ff), 2);
    }
    bits.add_bytes(bytes);
    return true;
  }

  Limits limits_;
};

}  // namespace

Result<std::string> parse_text(std::string_view text, const Limits& limits) {
  return Parser(text, limits).run(false, nullptr);
}

Result<std::string> parse_text_prefix(std::string_view text, std::size_t& consumed,
                                      const Limits& limits) {
  return Parser(text, limits).run(true, &consumed);
}

}  // namespace rakv::etf
