#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <vector>

#include "cnode/etf/canonical.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/text.h"
#include "cnode/etf/text_syntax.h"
#include "cnode/etf/writer.h"

namespace rakv::etf {

namespace {

/// An integer of any size: magnitude little endian, without zero bytes at the end.
struct Number {
  bool negative = false;
  std::string magnitude;
};

/// Bits, most significant first.
class BitBuffer {
 public:
  /// The `count` low bits of `value`, count <= 8.
  void add(unsigned value, unsigned count) {
    value &= (1u << count) - 1;
    if (used_ == 8) {
      if (count == 0) return;
      bytes_.push_back(0);
      used_ = 0;
    }
    const unsigned room = 8 - used_;
    if (count <= room) {
      bytes_.back() =
          static_cast<char>(static_cast<unsigned char>(bytes_.back()) | (value << (room - count)));
      used_ += count;
      return;
    }
    const unsigned later = count - room;
    bytes_.back() = static_cast<char>(static_cast<unsigned char>(bytes_.back()) | (value >> later));
    used_ = 8;
    add(value, later);
  }
  void add_bytes(std::string_view bytes) {
    if (used_ == 8) {
      bytes_.append(bytes);
      return;
    }
    for (const char c : bytes) add(static_cast<unsigned char>(c), 8);
  }
  std::size_t size_bytes() const { return bytes_.size(); }
  BitsView view() const { return {bytes_, static_cast<std::uint8_t>(used_)}; }

 private:
  std::string bytes_;
  unsigned used_ = 8;  ///< bits of the last byte; 8 too when there is none
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

class Parser {
 public:
  Parser(std::string_view input, const Limits& limits) : input_(input), limits_(limits) {}

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
  // Characters.

  int peek(std::size_t ahead = 0) const {
    return position_ + ahead < input_.size() ? scan::byte_at(input_, position_ + ahead) : -1;
  }
  bool looking_at(std::string_view text) const {
    return input_.substr(position_).starts_with(text);
  }
  bool accept(std::string_view text) {
    if (!looking_at(text)) return false;
    position_ += text.size();
    return true;
  }
  bool expect(std::string_view text) {
    if (!space()) return false;
    return accept(text) || fail("expected " + std::string(text));
  }

  bool fail(std::string message, ErrorCode code = ErrorCode::invalid_argument) {
    return fail_at(position_, std::move(message), code);
  }
  bool fail_at(std::size_t where, std::string message,
               ErrorCode code = ErrorCode::invalid_argument) {
    std::size_t line = 1;
    std::size_t column = 1;
    where = std::min(where, input_.size());
    for (std::size_t i = 0; i < where; ++i) {
      if (input_[i] == '\n') {
        ++line;
        column = 1;
      } else if ((scan::byte_at(input_, i) & 0xc0) != 0x80) {
        ++column;
      }
    }
    if (where == input_.size()) message += ", but the text ends";
    error_ = make_error(code, "line " + std::to_string(line) + ", column " +
                                  std::to_string(column) + ": " + std::move(message));
    return false;
  }

  /// The next character, which is consumed.
  bool character(std::uint32_t& c) {
    if (position_ >= input_.size()) return fail("expected another character");
    return scan::next_utf8(input_, position_, c) ||
           fail("this text is not UTF-8; save it as UTF-8");
  }

  /// Skips white space and comments.
  bool space() {
    while (position_ < input_.size()) {
      const std::size_t before = position_;
      std::uint32_t c = 0;
      if (!character(c)) return false;
      if (c == '%') {
        const std::size_t end = input_.find('\n', position_);
        position_ = end == std::string_view::npos ? input_.size() : end;
      } else if (c > 32 && (c < 0x80 || c > 0xa0)) {
        position_ = before;
        break;
      }
    }
    return true;
  }

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

  bool map(Writer& out, std::uint32_t depth) {
    std::string pairs;
    std::size_t count = 0;
    Writer writer(pairs);
    std::unordered_set<std::string> keys;
    if (!space()) return false;
    if (!looking_at("}")) {
      do {
        if (!space()) return false;
        const std::size_t where = position_;
        const std::size_t key_at = pairs.size();
        if (!term(writer, depth + 1)) return false;
        auto key = canonicalize(std::string_view(pairs).substr(key_at), limits_);
        if (!key) return fail_at(where, key.error().message, key.error().code);
        if (!keys.insert(std::move(*key)).second)
          return fail_at(where, "this key is in the map already");
        if (!expect("=>") || !term(writer, depth + 1) || !space()) return false;
        ++count;
      } while (accept(","));
    }
    if (!expect("}")) return false;
    out.map(count).raw(pairs);
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

  static bool is_digit(int c) { return c >= '0' && c <= '9'; }
  static bool is_scalar(std::uint32_t c) { return c <= 0x10ffff && (c < 0xd800 || c > 0xdfff); }
  static int digit_value(int c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
    return 99;
  }

  /// Behind a backslash.
  bool escape(std::uint32_t& c) {
    const std::size_t start = position_ - 1;
    if (!character(c)) return false;
    switch (c) {
      case 'b':
        c = 8;
        return true;
      case 'd':
        c = 127;
        return true;
      case 'e':
        c = 27;
        return true;
      case 'f':
        c = 12;
        return true;
      case 'n':
        c = 10;
        return true;
      case 'r':
        c = 13;
        return true;
      case 's':
        c = 32;
        return true;
      case 't':
        c = 9;
        return true;
      case 'v':
        c = 11;
        return true;
      case '^':
        if (!character(c)) return false;
        if (c == '?') {
          c = 127;
          return true;
        }
        if (c < '@' || c > 'z')
          return fail_at(start, "a control character is written \\^A to \\^Z");
        c &= 31;
        return true;
      case 'x':
        return hex_escape(start, c);
      default:
        break;
    }
    if (c >= '0' && c <= '7') {
      c -= '0';
      for (int i = 0; i < 2 && peek() >= '0' && peek() <= '7'; ++i) {
        c = c * 8 + static_cast<std::uint32_t>(input_[position_++] - '0');
      }
    }
    return true;
  }

  bool hex_escape(std::size_t start, std::uint32_t& c) {
    const bool braces = accept("{");
    const std::size_t most = braces ? 6 : 2;
    std::size_t digits = 0;
    for (c = 0; digits < most && digit_value(peek()) < 16; ++digits) {
      c = c * 16 + static_cast<std::uint32_t>(digit_value(peek()));
      ++position_;
    }
    if (digits == 0 || (!braces && digits != 2) || (braces && !accept("}"))) {
      return fail_at(start, "write \\xHH or \\x{H...} with hexadecimal digits");
    }
    return is_scalar(c) || fail_at(start, "this is no Unicode character");
  }

  /// From one quote to the next.
  bool quoted(char quote, std::vector<std::uint32_t>& characters) {
    const std::size_t start = position_++;
    for (;;) {
      if (position_ >= input_.size()) {
        return fail_at(start,
                       std::string("the quote ") + quote + " that is opened here is never closed");
      }
      std::uint32_t c = 0;
      if (!character(c)) return false;
      if (c == static_cast<unsigned char>(quote)) return true;
      if (c == '\\' && !escape(c)) return false;
      characters.push_back(c);
    }
  }

  /// One string or several, which are joined.
  bool strings(std::vector<std::uint32_t>& characters) {
    do {
      if (looking_at("\"\"\"")) {
        return fail(
            "strings in triple quotes are not supported; write a string in single double quotes");
      }
      if (!quoted('"', characters) || !space()) return false;
    } while (peek() == '"');
    return true;
  }

  bool string(Writer& out) {
    std::vector<std::uint32_t> characters;
    if (!strings(characters)) return false;
    out.list(characters.size());
    for (const std::uint32_t c : characters) out.u64(c);
    out.nil();
    return true;
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

  std::string_view input_;
  Limits limits_;
  std::size_t position_ = 0;
  Error error_{ErrorCode::invalid_argument, {}};
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
