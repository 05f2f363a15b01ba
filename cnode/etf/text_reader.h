// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/etf/scan.h"

// Inside the etf module: the lower half of the reader of Erlang text, what erl_scan does for a
// BEAM: characters, white space, quoted texts, strings in triple quotes, sigils.

namespace rakv::etf::text {

/// Whether it is a Unicode character (a scalar value).
constexpr bool is_scalar(std::uint32_t c) { return c <= 0x10ffff && (c < 0xd800 || c > 0xdfff); }

/// What a sigil stands for.
struct Sigil {
  std::vector<std::uint32_t> characters;
  bool is_binary = false;  ///< their UTF-8 as a binary (~"...", ~b, ~B), else a string (~s, ~S)
};

/// Goes forward through a text. A function that gives false has set the error; nothing is to be
/// read after that.
class Reader {
 protected:
  explicit Reader(std::string_view input) : input_(input) {}

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
  /// After white space.
  bool expect(std::string_view text) {
    if (!space()) return false;
    return accept(text) || fail("expected " + std::string(text));
  }

  /// Sets the error: `message` with line and column.
  bool fail(std::string message, ErrorCode code = ErrorCode::invalid_argument) {
    return fail_at(position_, std::move(message), code);
  }
  bool fail_at(std::size_t where, std::string message,
               ErrorCode code = ErrorCode::invalid_argument);

  /// The next character, which is consumed.
  bool character(std::uint32_t& c);
  /// Skips white space and comments.
  bool space();

  static bool is_digit(int c) { return c >= '0' && c <= '9'; }
  /// Of a digit in some base up to 36; 99 when it is none.
  static int digit_value(int c);

  // Quoted texts.

  /// After a backslash.
  bool escape(std::uint32_t& c);
  /// From one quote to the next.
  bool quoted(char quote, std::vector<std::uint32_t>& characters);
  /// One string or several, which are joined; white space must be between them.
  bool strings(std::vector<std::uint32_t>& characters);
  /// ~ with b, B, s, S or nothing after it, then a string, or a text between ( ), [ ], { }, < > or
  /// two of / | ' ` #. B, S and triple quotes without b or s take backslashes as they are.
  bool sigil(Sigil& sigil);

  std::string_view input_;
  std::size_t position_ = 0;
  Error error_{ErrorCode::invalid_argument, {}};

 private:
  bool hex_escape(std::size_t start, std::uint32_t& c);
  /// After what opens a text, up to what closes it, which is consumed.
  bool text_until(std::size_t start, char close, bool verbatim,
                  std::vector<std::uint32_t>& characters);
  /// From three or more quotes to as many, which stand alone before what follows on their line;
  /// their indentation is that of every line.
  bool triple_quoted(bool verbatim, std::vector<std::uint32_t>& characters);
  /// `content` stood at `start`; its escapes are read.
  bool unescape(std::string_view content, std::size_t start,
                std::vector<std::uint32_t>& characters);
};

}  // namespace rakv::etf::text
