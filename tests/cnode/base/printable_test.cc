// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/printable.h"

#include <gtest/gtest.h>

namespace rakv {
namespace {

TEST(Printable, EscapesWhatActsOnATerminalOrMakesLines) {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"plain 'text' \\ of \"people\"", "plain 'text' \\ of \"people\""},
      {"héé日本😀", "héé日本😀"},
      {"two\nlines\r\n", "two\\nlines\\r\\n"},
      {"\ta", "\\ta"},
      {"\x1b[2J\x1b]0;title\x07", "\\x1B[2J\\x1B]0;title\\x07"},
      {"nul\0end"s, "nul\\x00end"},
      {"\x7f", "\\x7F"},
      {"\xc2\x9b"
       "31m",
       "\\x{9B}31m"},  // CSI as one C1 character
      {"\x9b"
       "31m",
       "\\x9B31m"},  // and as a byte that is no UTF-8
      {"a\xe2\x80\xae"
       "b",
       "a\\x{202E}b"},  // text from right to left
      {"\xe2\x80\xa8\xe2\x81\xa6", "\\x{2028}\\x{2066}"},
      {"\xef\xbb\xbf", "\\x{FEFF}"},
      {"\xff\xfe", "\\xFF\\xFE"},
      {"\xc0\x80", "\\xC0\\x80"},  // overlong
      {"\xe0\x80\x8a", "\\xE0\\x80\\x8A"},
      {"\xf0\x80\x80\x8a", "\\xF0\\x80\\x80\\x8A"},
      {"\xed\xa0\x80", "\\xED\\xA0\\x80"},  // a surrogate
      {"\xf4\x90\x80\x80", "\\xF4\\x90\\x80\\x80"},
      {"cut \xe6\x97", "cut \\xE6\\x97"},
      {"\xc2", "\\xC2"},
      {"\xc2\xa0", "\xc2\xa0"},
  };
  for (const auto& [text, shown] : cases) EXPECT_EQ(printable(text), shown);
}

TEST(Printable, EveryByteAndEveryPairGivesOneLineOfUtf8WithoutControlCharacters) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text{static_cast<char>(first), static_cast<char>(second)};
      const std::string shown = printable(text);
      EXPECT_EQ(printable(shown), shown) << first << " " << second;
      for (const char c : shown) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
  }
}

TEST(Printable, IsBounded) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdef", 5), "abcde...");
  EXPECT_EQ(printable("abc\n\n", 6), "abc\\n...");
  EXPECT_EQ(printable("ab日", 4), "ab...");
}

}  // namespace
}  // namespace rakv
