// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <cmath>

#include "cnode/base/check.h"
#include "cnode/base/printable.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/text.h"
#include "cnode/etf/text_syntax.h"

namespace rakv::etf {

namespace text {

bool is_reserved_word(std::string_view word) {
  // `maybe` and `else` are reserved in newer releases only; quoting them is right in all.
  static constexpr std::array<std::string_view, 29> kWords = {
      "after", "and",   "andalso", "band",   "begin",   "bnot", "bor", "bsl",  "bsr", "bxor",
      "case",  "catch", "cond",    "div",    "else",    "end",  "fun", "if",   "let", "maybe",
      "not",   "of",    "or",      "orelse", "receive", "rem",  "try", "when", "xor"};
  for (const std::string_view reserved : kWords) {
    if (word == reserved) return true;
  }
  return false;
}

}  // namespace text

namespace {

using scan::Integer;
using scan::Item;

/// What Erlang calls printable in its default (Latin-1) range.
bool is_printable(std::uint32_t c) {
  return (c >= 32 && c <= 126) || (c >= 160 && c <= 0xd7ff) || (c >= 0xe000 && c < 0xfffe) ||
         (c >= 0x10000 && c <= 0x10ffff) || (c >= 8 && c <= 13) || c == 27;
}

void append_hex(std::string& out, std::uint32_t value) {
  char digits[8] = {};
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value, 16);
  RAKV_CHECK(error == std::errc());
  for (const char* p = digits; p != end; ++p) {
    out.push_back(*p >= 'a' ? static_cast<char>(*p - 'a' + 'A') : *p);
  }
}

/// One character between quotes of kind `quote`.
void append_escaped(std::string& out, std::uint32_t c, char quote) {
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\v':
      out += "\\v";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case 27:
      out += "\\e";
      return;
    case 127:
      out += "\\d";
      return;
    default:
      break;
  }
  if (c == static_cast<unsigned char>(quote) || c == '\\') {
    out.push_back('\\');
    out.push_back(static_cast<char>(c));
  } else if (is_printable(c) && can_be_shown(c)) {
    scan::append_utf8(out, c);
  } else if (c < 256) {
    out.push_back('\\');
    for (int shift = 6; shift >= 0; shift -= 3)
      out.push_back(static_cast<char>('0' + ((c >> shift) & 7)));
  } else {
    out += "\\x{";
    append_hex(out, c);
    out += "}";
  }
}

void append_atom(std::string& out, std::string_view name) {
  bool plain = !name.empty() && !text::is_reserved_word(name);
  for (std::size_t at = 0; plain && at < name.size();) {
    const bool first = at == 0;
    std::uint32_t c = 0;
    RAKV_CHECK(scan::next_utf8(name, at, c));
    plain = first ? text::begins_atom(c) : text::continues_atom(c);
  }
  if (plain) {
    out += name;
    return;
  }
  out.push_back('\'');
  for (std::size_t at = 0; at < name.size();) {
    std::uint32_t c = 0;
    RAKV_CHECK(scan::next_utf8(name, at, c));
    append_escaped(out, c, '\'');
  }
  out.push_back('\'');
}

/// Base 10 by repeated division.
void append_decimal(std::string& out, std::string_view magnitude) {
  constexpr std::uint64_t kChunk = 1'000'000'000;
  std::vector<std::uint32_t> limbs((magnitude.size() + 3) / 4);
  std::memcpy(limbs.data(), magnitude.data(), magnitude.size());
  std::vector<std::uint32_t> chunks;
  while (!limbs.empty()) {
    std::uint64_t left = 0;
    for (std::size_t i = limbs.size(); i-- > 0;) {
      left = (left << 32) | limbs[i];
      limbs[i] = static_cast<std::uint32_t>(left / kChunk);
      left %= kChunk;
    }
    chunks.push_back(static_cast<std::uint32_t>(left));
    while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
  }
  out += std::to_string(chunks.back());
  for (std::size_t i = chunks.size() - 1; i-- > 0;) {
    const std::string digits = std::to_string(chunks[i]);
    out.append(9 - digits.size(), '0');
    out += digits;
  }
}

void append_integer(std::string& out, const Integer& value) {
  if (value.negative) out.push_back('-');
  if (value.big.empty()) {
    out += std::to_string(value.small);
  } else if (value.big.size() <= text::kMaxDecimalBytes) {
    append_decimal(out, value.big);
  } else {
    static constexpr char kDigits[] = "0123456789abcdef";
    out += "16#";
    for (std::size_t i = value.big.size(); i-- > 0;) {
      const std::uint8_t byte = scan::byte_at(value.big, i);
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
}

/// The shortest digits that read back as the same float, placed as Erlang does: with an exponent
/// when that is shorter, and always from 2^53 on, where digits before the point are no longer all
/// significant.
void append_float(std::string& out, double value) {
  if (std::signbit(value)) out.push_back('-');
  value = std::fabs(value);
  if (value == 0) {
    out += "0.0";
    return;
  }
  char buffer[40];
  const auto made =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  RAKV_CHECK(made.ec == std::errc());
  const std::string_view scientific(buffer, static_cast<std::size_t>(made.ptr - buffer));
  const std::size_t e = scientific.find('e');
  std::string digits;
  for (const char c : scientific.substr(0, e)) {
    if (c != '.') digits.push_back(c);
  }
  int exponent = 0;
  const char* exponent_at = buffer + e + (buffer[e + 1] == '+' ? 2 : 1);
  RAKV_CHECK(std::from_chars(exponent_at, made.ptr, exponent).ec == std::errc());
  const int length = static_cast<int>(digits.size());
  const int place = exponent + 1;  // digits before the point
  const std::string exponent_text = std::to_string(exponent);
  const int exponent_cost = static_cast<int>(exponent_text.size()) + 1 + (length == 1 ? 2 : 1);
  const auto with_exponent = [&] {
    out.push_back(digits[0]);
    out.push_back('.');
    out += length == 1 ? "0" : digits.substr(1);
    out += "e" + exponent_text;
  };
  if (place <= 0) {
    if (place == 0 || 2 - place <= exponent_cost) {
      out += "0.";
      out.append(static_cast<std::size_t>(-place), '0');
      out += digits;
    } else {
      with_exponent();
    }
  } else if (place >= length) {
    if (place - length + 2 <= exponent_cost && value < 9007199254740992.0) {
      out += digits;
      out.append(static_cast<std::size_t>(place - length), '0');
      out += ".0";
    } else {
      with_exponent();
    }
  } else {
    out.append(digits, 0, static_cast<std::size_t>(place));
    out.push_back('.');
    out.append(digits, static_cast<std::size_t>(place), std::string::npos);
  }
}

bool all_printable_latin1(std::string_view bytes) {
  for (const char c : bytes) {
    if (!is_printable(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

/// Valid UTF-8 of printable characters.
bool all_printable_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint32_t c = 0;
    if (!scan::next_utf8(bytes, at, c) || !is_printable(c)) return false;
  }
  return true;
}

void append_bits(std::string& out, std::string_view bytes, std::uint8_t last_bits, bool strings) {
  out += "<<";
  if (strings && last_bits == 8 && !bytes.empty() && all_printable_utf8(bytes)) {
    out.push_back('"');
    for (std::size_t at = 0; at < bytes.size();) {
      std::uint32_t c = 0;
      RAKV_CHECK(scan::next_utf8(bytes, at, c));
      append_escaped(out, c, '"');
    }
    out.push_back('"');
    if (!scan::is_ascii(bytes)) out += "/utf8";
  } else {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (i > 0) out.push_back(',');
      const bool partial = i + 1 == bytes.size() && last_bits != 8;
      const unsigned byte = scan::byte_at(bytes, i);
      out += std::to_string(partial ? byte >> (8 - last_bits) : byte);
      if (partial) out += ":" + std::to_string(last_bits);
    }
  }
  out += ">>";
}

/// One open container.
struct PrintFrame {
  enum class Kind : std::uint8_t { sequence, list, tail, map };
  Kind kind = Kind::sequence;
  bool first = true;
  std::uint64_t remaining = 0;
  std::string_view close;
};

/// Prints a canonical term.
class Printer {
 public:
  Printer(std::string_view term, const TextOptions& options, const Limits& limits)
      : input_(term), options_(options), limits_(limits) {}

  std::string run() {
    do {
      RAKV_CHECK(scan::read_head(input_, position_, item_));
      position_ = item_.end;
      print_head();
      if (out_.size() > limits_.max_output_bytes) {
        out_.resize(limits_.max_output_bytes);
        return out_ + "...";
      }
      advance();
    } while (!done_);
    return std::move(out_);
  }

 private:
  void push(PrintFrame::Kind kind, std::uint64_t remaining, std::string_view close) {
    PrintFrame frame;
    frame.kind = kind;
    frame.remaining = remaining;
    frame.close = close;
    stack_.push(frame);
  }

  void print_head() {
    switch (item_.kind) {
      case TermKind::integer:
        return append_integer(out_, item_.integer);
      case TermKind::floating:
        return append_float(out_, item_.floating);
      case TermKind::atom:
        return append_atom(out_, item_.atom.bytes);
      case TermKind::nil:
        out_ += "[]";
        return;
      case TermKind::string:
        return print_string();
      case TermKind::binary:
      case TermKind::bitstring:
        return append_bits(out_, item_.bytes, item_.last_bits, options_.strings);
      case TermKind::tuple:
        out_.push_back('{');
        return push(PrintFrame::Kind::sequence, item_.count, "}");
      case TermKind::list:
        out_.push_back('[');
        return push(PrintFrame::Kind::list, item_.count, "]");
      case TermKind::map:
        out_ += "#{";
        return push(PrintFrame::Kind::map, std::uint64_t{item_.count} * 2, "}");
      case TermKind::export_fun:
        out_ += "fun ";
        append_atom(out_, item_.atom.bytes);
        out_.push_back(':');
        append_atom(out_, item_.function.bytes);
        out_ += "/" + std::to_string(item_.arity);
        return;
      case TermKind::fun:
        // The free variables are not shown.
        out_ += "#Fun<";
        append_atom(out_, item_.atom.bytes);
        out_ += "." + std::to_string(item_.fun.index) + ".";
        append_integer(out_, item_.fun.old_uniq);
        out_.push_back('>');
        position_ = item_.fun.end;
        return;
      case TermKind::record:
        out_ += "#Record<";
        append_atom(out_, item_.atom.bytes);
        out_.push_back(':');
        append_atom(out_, item_.function.bytes);
        out_.push_back('{');
        return push(PrintFrame::Kind::sequence, item_.count, "}>");
      case TermKind::pid:
      case TermKind::port:
      case TermKind::reference:
        return print_identifier();
      case TermKind::invalid:
        return;
    }
  }

  void print_string() {
    if (options_.strings && all_printable_latin1(item_.bytes)) {
      out_.push_back('"');
      for (const char c : item_.bytes) append_escaped(out_, static_cast<unsigned char>(c), '"');
      out_.push_back('"');
      return;
    }
    char separator = '[';
    for (const char c : item_.bytes) {
      out_.push_back(separator);
      out_ += std::to_string(static_cast<unsigned char>(c));
      separator = ',';
    }
    out_.push_back(']');
  }

  void print_identifier() {
    out_ += item_.kind == TermKind::pid ? "<" : (item_.kind == TermKind::port ? "#Port<" : "#Ref<");
    append_atom(out_, item_.atom.bytes);
    if (item_.kind == TermKind::reference) {
      for (std::size_t i = item_.words.count; i-- > 0;) {
        out_ += "." + std::to_string(item_.words.word[i]);
      }
    } else {
      out_ += "." + std::to_string(item_.id);
      if (item_.kind == TermKind::pid) out_ += "." + std::to_string(item_.serial);
    }
    out_.push_back('>');
  }

  void advance() {
    for (;;) {
      if (stack_.empty()) {
        done_ = true;
        return;
      }
      PrintFrame& frame = stack_.top();
      if (frame.remaining > 0) {
        if (!frame.first) {
          out_ += frame.kind == PrintFrame::Kind::map && frame.remaining % 2 == 1 ? " => " : ",";
        }
        frame.first = false;
        --frame.remaining;
        return;
      }
      if (frame.kind == PrintFrame::Kind::list) {
        if (scan::byte_at(input_, position_) == scan::kNil) {
          ++position_;
        } else {
          out_.push_back('|');
          frame.kind = PrintFrame::Kind::tail;
          return;
        }
      }
      out_ += frame.close;
      stack_.pop();
    }
  }

  std::string_view input_;
  TextOptions options_;
  Limits limits_;
  std::size_t position_ = 0;
  bool done_ = false;
  std::string out_;
  Item item_;
  scan::SmallStack<PrintFrame, 16> stack_;
};

}  // namespace

std::string print_text(std::string_view term, const TextOptions& options, const Limits& limits) {
  const auto canonical = canonicalize(term, limits);
  if (!canonical) return "#Malformed<" + canonical.error().message + ">";
  return Printer(*canonical, options, limits).run();
}

std::string print_brief(std::string_view term) {
  if (term.size() > kMaxBriefBytes) return "#Term<" + std::to_string(term.size()) + " bytes>";
  return print_text(term);
}

}  // namespace rakv::etf
