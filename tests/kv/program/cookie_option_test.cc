// SPDX-License-Identifier: Apache-2.0
#include "kv/program/cookie_option.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace rakv::kv {
namespace {

/// The arguments after wipe_cookies, with what is after the end of a shortened one.
std::vector<std::string> wiped(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  std::vector<std::size_t> sizes;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  wipe_cookies(static_cast<int>(argv.size()), argv.data());
  for (std::size_t i = 0; i < arguments.size(); ++i) EXPECT_EQ(arguments[i].size(), sizes[i]);
  for (std::string& argument : arguments) {
    while (argument.ends_with('\0')) argument.pop_back();
  }
  return arguments;
}

using Words = std::vector<std::string>;

TEST(WipeCookies, LeavesNothingOfACookieNorItsLength) {
  EXPECT_EQ(wiped({"rakv", "start", "--cookie", "VERYSECRET", "--sname", "n"}),
            (Words{"rakv", "start", "--cookie", "***", "--sname", "n"}));
  EXPECT_EQ(wiped({"rakv", "get", "--cookie=VERYSECRET", "k"}),
            (Words{"rakv", "get", "--cookie=***", "k"}));
  EXPECT_EQ(wiped({"rakv", "--cookie", "a", "--cookie=b", "--cookie", "--cookie", "--cookie"}),
            (Words{"rakv", "--cookie", "*", "--cookie=*", "--cookie", "***", "--cookie"}));
}

TEST(WipeCookies, LeavesOtherArgumentsAlone) {
  const Words others{"rakv",      "get", "--cookie-file", "f", "--cookie-file=f",
                     "--cookies", "x",   "cookie"};
  EXPECT_EQ(wiped(others), others);
  EXPECT_EQ(wiped({}), Words{});
}

TEST(CookieBytes, AreThoseOfAnErlangAtom) {
  EXPECT_EQ(*cookie_bytes("a#b,[c]\"1' "), "a#b,[c]\"1' ");
  EXPECT_EQ(*cookie_bytes("\xc3\xa9"), "\xe9");
  EXPECT_EQ(*cookie_bytes("\xe9"), "\xe9");
  EXPECT_EQ(*cookie_bytes(std::string(255, 'x')), std::string(255, 'x'));
  for (const std::string& text : Words{"", std::string(256, 'x'), "\xe6\x97\xa5"})
    EXPECT_FALSE(cookie_bytes(text).has_value()) << text;
}

/// Runs find_cookie with `text` on standard input; gives what is left there.
std::string from_input(const std::string& text, const std::string& expected) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  EXPECT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(ends[1]);
  const int kept = ::dup(STDIN_FILENO);
  ::dup2(ends[0], STDIN_FILENO);
  const Result<std::string> cookie = find_cookie(
      {.text = "", .file = "-"}, std::chrono::steady_clock::now() + std::chrono::seconds(30));
  EXPECT_EQ(cookie ? *cookie : cookie.error().message, expected);
  char rest[100];
  const ssize_t count = ::read(STDIN_FILENO, rest, sizeof rest);
  ::dup2(kept, STDIN_FILENO);
  ::close(kept);
  ::close(ends[0]);
  return {rest, static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
}

TEST(CookieOfStandardInput, IsItsFirstLineAndTheRestIsLeft) {
  EXPECT_EQ(from_input("a #1\xc3\xa9\r\nvalue\n", "a #1\xe9"), "value\n");
  EXPECT_EQ(from_input("no_end", "no_end"), "");
  EXPECT_EQ(from_input("", "the cookie on standard input is empty"), "");
  EXPECT_EQ(from_input("\nx", "the cookie on standard input is empty"), "x");
}

TEST(CookieOfStandardInput, IsNotWaitedForForEver) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int kept = ::dup(STDIN_FILENO);
  ::dup2(ends[0], STDIN_FILENO);
  const Result<std::string> cookie =
      find_cookie({.text = "", .file = "-"}, std::chrono::steady_clock::now());
  ::dup2(kept, STDIN_FILENO);
  for (const int end : {kept, ends[0], ends[1]}) ::close(end);
  ASSERT_FALSE(cookie.has_value());
  EXPECT_EQ(cookie.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace rakv::kv
