// SPDX-License-Identifier: Apache-2.0
#include "kv/program/cookie_option.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "cnode/distribution/cookie.h"
#include "cnode/etf/scan.h"

namespace rakv::kv {
namespace {

constexpr std::string_view kOption = "--cookie";
constexpr std::size_t kStars = 3;  // says nothing of the cookie's length

void wipe(char* value) {
  const std::size_t length = std::strlen(value);
  // The compiler must not leave it out: nobody here reads it again.
  auto* bytes = static_cast<volatile char*>(value);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = i < kStars ? '*' : '\0';
}

}  // namespace

void wipe_cookies(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (argument == kOption && i + 1 < argc) {
      wipe(argv[++i]);
    } else if (argument.starts_with(kOption) && argument.substr(kOption.size()).starts_with('=')) {
      wipe(argv[i] + kOption.size() + 1);
    }
  }
}

Result<std::string> cookie_bytes(std::string_view text) {
  constexpr std::size_t kMaxCharacters = 255;
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    std::uint32_t c = 0;
    const std::size_t before = at;
    if (!etf::scan::next_utf8(text, at, c)) {
      at = before + 1;
      c = static_cast<unsigned char>(text[before]);
    }
    if (c > 0xff) {
      return make_error(ErrorCode::invalid_argument,
                        "must be a cookie of Latin-1 characters, as erl takes it");
    }
    bytes += static_cast<char>(c);
  }
  if (!bytes.empty() && bytes.size() <= kMaxCharacters) return bytes;
  return make_error(ErrorCode::invalid_argument,
                    "must be a cookie that is not empty and has at "
                    "most 255 characters");
}

Result<std::string> find_cookie(const CookieSource& source,
                                std::chrono::steady_clock::time_point deadline) {
  if (!source.text.empty()) return cookie_bytes(source.text);
  const distribution::CookiePlaces places = distribution::CookiePlaces::from_environment();
  Result<std::string> text = source.file == "-"
                                 ? distribution::read_cookie_line(STDIN_FILENO, deadline)
                             : !source.file.empty() ? distribution::read_cookie_file(source.file)
                             : source.may_create    ? distribution::read_or_create_cookie(places)
                                                    : distribution::read_cookie(places);
  if (!text) return text;
  Result<std::string> cookie = cookie_bytes(*text);
  if (cookie) return cookie;
  return make_error(cookie.error().code, "the cookie file " + cookie.error().message);
}

}  // namespace rakv::kv
