// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/text_reader.h"

#include <algorithm>

namespace rakv::etf::text {

bool Reader::fail_at(std::size_t where, std::string message, ErrorCode code) {
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
  error_ = make_error(code, "line " + std::to_string(line) + ", column " + std::to_string(column) +
                                ": " + std::move(message));
  return false;
}

bool Reader::character(std::uint32_t& c) {
  if (position_ >= input_.size()) return fail("expected another character");
  return scan::next_utf8(input_, position_, c) || fail("this text is not UTF-8; save it as UTF-8");
}

bool Reader::space() {
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

int Reader::digit_value(int c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

bool Reader::escape(std::uint32_t& c) {
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
      if (c < '@' || c > 'z') return fail_at(start, "a control character is written \\^A to \\^Z");
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

bool Reader::hex_escape(std::size_t start, std::uint32_t& c) {
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

bool Reader::text_until(std::size_t start, char close, bool verbatim,
                        std::vector<std::uint32_t>& characters) {
  for (;;) {
    if (position_ >= input_.size()) {
      return fail_at(start,
                     "the text that is opened here is never closed with " + std::string(1, close));
    }
    std::uint32_t c = 0;
    if (!character(c)) return false;
    if (c == static_cast<unsigned char>(close)) return true;
    if (c == '\\' && !verbatim && !escape(c)) return false;
    characters.push_back(c);
  }
}

bool Reader::quoted(char quote, std::vector<std::uint32_t>& characters) {
  const std::size_t start = position_++;
  return text_until(start, quote, false, characters);
}

bool Reader::strings(std::vector<std::uint32_t>& characters) {
  for (;;) {
    const bool read =
        looking_at("\"\"\"") ? triple_quoted(true, characters) : quoted('"', characters);
    if (!read) return false;
    if (peek() == '"') return fail("strings that are joined have white space between them");
    if (!space()) return false;
    if (peek() != '"') return true;
  }
}

bool Reader::sigil(Sigil& sigil) {
  const std::size_t start = position_++;
  std::string prefix;
  while (digit_value(peek()) < 36 || peek() == '_') prefix.push_back(input_[position_++]);
  if (!prefix.empty() && prefix != "b" && prefix != "B" && prefix != "s" && prefix != "S")
    return fail_at(start, "a sigil begins with ~, ~b, ~B, ~s or ~S");
  sigil.is_binary = prefix != "s" && prefix != "S";
  const bool escapes = prefix == "b" || prefix == "s";
  bool read = false;
  if (looking_at("\"\"\"")) {
    read = triple_quoted(!escapes, sigil.characters);
  } else {
    constexpr std::string_view kOpen = "([{</|'\"`#";
    constexpr std::string_view kClose = ")]}>/|'\"`#";
    const std::size_t delimiter =
        peek() < 0 ? std::string_view::npos : kOpen.find(static_cast<char>(peek()));
    if (delimiter == std::string_view::npos)
      return fail("a sigil's text stands in quotes, ( ), [ ], { }, < > or two of / | ` #");
    ++position_;
    read = text_until(start, kClose[delimiter], !escapes && !prefix.empty(), sigil.characters);
  }
  if (!read) return false;
  const int next = peek();
  if (digit_value(next) < 36 || next == '_' || next == '@' || next >= 0x80)
    return fail("nothing may follow the text of a sigil");
  return true;
}

bool Reader::triple_quoted(bool verbatim, std::vector<std::uint32_t>& characters) {
  const std::size_t start = position_;
  const std::size_t quotes = std::min(input_.find_first_not_of('"', start), input_.size()) - start;
  const std::string close(quotes, '"');
  const auto not_closed = [&] {
    return fail_at(start,
                   "the text in triple quotes that is opened here is never closed, on a line "
                   "of its own");
  };
  constexpr std::string_view kBlanks = " \t\r";
  std::size_t line_end = input_.find('\n', start);
  if (input_.substr(start + quotes, line_end - start - quotes).find_first_not_of(kBlanks) !=
      std::string_view::npos)
    return fail_at(start + quotes, "the text begins on the line after its triple quotes");
  std::vector<std::string_view> lines;
  std::string_view indentation;
  for (;;) {
    if (line_end == std::string_view::npos) return not_closed();
    const std::size_t begin = line_end + 1;
    line_end = input_.find('\n', begin);
    const std::string_view line = input_.substr(begin, line_end - begin);
    const std::size_t first = std::min(line.find_first_not_of(" \t"), line.size());
    if (line.substr(first).starts_with(close)) {
      indentation = line.substr(0, first);
      position_ = begin + first + quotes;
      break;
    }
    lines.push_back(line);
  }
  std::string content;
  for (std::string_view line : lines) {
    if (line.data() != lines.front().data()) content.push_back('\n');
    if (line.starts_with(indentation)) {
      content += line.substr(indentation.size());
    } else if (!line.empty()) {
      return fail_at(static_cast<std::size_t>(line.data() - input_.data()),
                     "this line is not indented as the closing quotes are");
    }
  }
  if (!verbatim) return unescape(content, start, characters);
  for (std::size_t at = 0; at < content.size();) {
    std::uint32_t c = 0;
    if (!scan::next_utf8(content, at, c))
      return fail_at(start, "this text is not UTF-8; save it as UTF-8");
    characters.push_back(c);
  }
  return true;
}

bool Reader::unescape(std::string_view content, std::size_t start,
                      std::vector<std::uint32_t>& characters) {
  Reader inner(content);
  while (inner.position_ < content.size()) {
    std::uint32_t c = 0;
    if (!inner.character(c) || (c == '\\' && !inner.escape(c)))
      return fail_at(start, "in this text: " + inner.error_.message);
    characters.push_back(c);
  }
  return true;
}

}  // namespace rakv::etf::text
