// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cnode/etf/binary_segments.h"
#include "cnode/etf/bit_buffer.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/text.h"
#include "cnode/etf/text_numbers.h"
#include "cnode/etf/text_reader.h"
#include "cnode/etf/text_syntax.h"
#include "cnode/etf/writer.h"

namespace rakv::etf {

namespace {

class Parser : text::NumberReader {
 public:
  Parser(std::string_view input, const Limits& limits) : NumberReader(input), limits_(limits) {}

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
      if (!text::is_scalar(c)) return fail_at(start, "an atom can not hold this character");
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

  /// After `fun`: Module:Function/Arity.
  bool fun(Writer& out) {
    out.append("\x71");
    if (!any_atom(out) || !expect(":") || !any_atom(out) || !expect("/") || !space()) return false;
    const std::size_t start = position_;
    text::BigInteger arity;
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

  bool number(Writer& out) {
    text::Numeral value;
    if (!signed_value(value)) return false;
    if (value.is_float) {
      out.floating(value.floating);
    } else {
      out.big(value.integer.negative, value.integer.magnitude);
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
    std::optional<std::vector<std::uint32_t>> characters;
    text::SegmentValue value;
    if (peek() == '"') {
      if (!strings(characters.emplace())) return false;
    } else if (peek() == '~') {
      text::Sigil read;
      if (!sigil(read)) return false;
      if (read.is_binary) {
        value.kind = text::SegmentValue::Kind::bits;
        value.bits.add_bytes(utf8_of(read.characters));
      } else {
        characters = std::move(read.characters);
      }
    } else if (looking_at("<<")) {
      value.kind = text::SegmentValue::Kind::bits;
      if (!binary(value.bits, depth + 1)) return false;
    } else if (!segment_number(value)) {
      return false;
    }
    text::SegmentType type;
    if (!segment_type(type)) return false;
    if (!characters) return add(bits, start, value, type);
    for (const std::uint32_t c : *characters) {
      text::SegmentValue one;
      one.number.magnitude.assign(reinterpret_cast<const char*>(&c), 4);
      if (!add(bits, start, one, type)) return false;
    }
    return true;
  }

  bool segment_number(text::SegmentValue& value) {
    text::Numeral read;
    if (!signed_value(read)) return false;
    if (read.is_float) value.kind = text::SegmentValue::Kind::floating;
    value.number = std::move(read.integer);
    value.floating = read.floating;
    return true;
  }

  /// `start` is where the segment begins.
  bool add(BitBuffer& bits, std::size_t start, const text::SegmentValue& value,
           const text::SegmentType& type) {
    const Result<void> added = text::add_segment(bits, value, type, limits_.max_output_bytes);
    return added.has_value() || fail_at(start, added.error().message, added.error().code);
  }

  bool segment_type(text::SegmentType& type) {
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
        type.type = text::SegmentType::Type::integer;
      } else if (name == "float") {
        type.type = text::SegmentType::Type::floating;
      } else if (name == "binary" || name == "bytes") {
        type.type = text::SegmentType::Type::binary;
      } else if (name == "bitstring" || name == "bits") {
        type.type = text::SegmentType::Type::bits;
      } else if (name == "utf8") {
        type.type = text::SegmentType::Type::utf8;
      } else if (name == "utf16") {
        type.type = text::SegmentType::Type::utf16;
      } else if (name == "utf32") {
        type.type = text::SegmentType::Type::utf32;
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
