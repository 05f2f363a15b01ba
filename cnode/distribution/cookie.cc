// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/cookie.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "cnode/base/check.h"

namespace rakv::distribution {

namespace {

constexpr std::size_t kCreatedCookieLetters = 20;
/// A cookie file is a line; whatever is longer is some other file.
constexpr std::size_t kMaxCookieFileBytes = std::size_t{64} * 1024;

std::string system_words(int error) { return std::strerror(error); }

/// "cannot read the cookie file PATH: ", and why by errno.
Error cannot(const char* what, const std::filesystem::path& path, ErrorCode code = ErrorCode::io) {
  const int reason = errno;
  return make_error(code, fmt::format("cannot {} the cookie file {}: {}", what, path.string(),
                                      system_words(reason)));
}

/// Closes a descriptor at the end of a scope.
struct Descriptor {
  int number;
  explicit Descriptor(int opened) : number(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

Result<std::string> read_file(int descriptor, const std::filesystem::path& path) {
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t count = ::read(descriptor, piece, sizeof piece);
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return cannot("read", path);
    }
    text.append(piece, static_cast<std::size_t>(count));
    if (text.size() > kMaxCookieFileBytes) {
      return make_error(ErrorCode::malformed, "the cookie file " + path.string() +
                                                  " is far too long: it must hold one line");
    }
  }
}

/// Letters A to Z, evenly distributed.
std::string random_letters(std::size_t count) {
  std::string letters;
  while (letters.size() < count) {
    unsigned char random = 0;
    RAKV_CHECK(RAND_bytes(&random, 1) == 1);
    if (random < 26 * 9) letters += static_cast<char>('A' + random % 26);
  }
  return letters;
}

Result<void> write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return cannot("write", path, errno == ENOSPC ? ErrorCode::no_space : ErrorCode::io);
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

/// Makes the file whole under another name and links it into place, so that nobody ever reads half
/// a cookie, and the first of several creators wins.
Result<void> create_cookie_file(const std::filesystem::path& path) {
  std::string temporary = path.string() + ".XXXXXX";
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (file.number < 0) {
    const Error error = cannot("create", path);
    return make_error(error.code, error.message + "; name another with --cookie-file");
  }
  Result<void> written = write_all(file.number, random_letters(kCreatedCookieLetters), path);
  if (written && ::fchmod(file.number, 0400) != 0) {
    written = cannot("protect", path);
  }
  if (written && ::link(temporary.c_str(), path.c_str()) != 0 && errno != EEXIST) {
    written = cannot("create", path);
  }
  ::unlink(temporary.c_str());
  return written;
}

}  // namespace

CookiePlaces CookiePlaces::from_environment() {
  CookiePlaces places;
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') places.home = home;
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config != '\0') {
    places.config_home = config;
  } else if (!places.home.empty()) {
    places.config_home = places.home / ".config";
  }
  return places;
}

Result<std::string> parse_cookie(std::string_view file_text) {
  std::size_t end = 0;
  while (end < file_text.size() && file_text[end] >= 0x20 && file_text[end] <= 0x7e) ++end;
  const std::string_view cookie = file_text.substr(0, end);
  for (const char after : file_text.substr(end)) {
    if (after != '\n' && after != '\r' && after != ' ') {
      return make_error(ErrorCode::malformed,
                        "holds characters that a cookie cannot have: it must be one line of ASCII");
    }
  }
  if (cookie.empty()) return make_error(ErrorCode::malformed, "is empty");
  return std::string(cookie);
}

Result<std::string> read_cookie_file(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return make_error(ErrorCode::not_found, "no cookie file at " + path.string());
    }
    return cannot("open", path, errno == EACCES ? ErrorCode::refused : ErrorCode::io);
  }
  struct stat about {};
  if (::fstat(file.number, &about) != 0) {
    return cannot("look at", path);
  }
  if (!S_ISREG(about.st_mode)) {
    return make_error(ErrorCode::refused,
                      "the cookie file " + path.string() + " is not a regular file");
  }
  if ((about.st_mode & 077) != 0) {
    return make_error(ErrorCode::refused,
                      "the cookie file " + path.string() +
                          " must be accessible by its owner only: run chmod 400 on it");
  }
  Result<std::string> text = read_file(file.number, path);
  if (!text) return text;
  Result<std::string> cookie = parse_cookie(*text);
  if (!cookie) {
    return make_error(cookie.error().code,
                      fmt::format("the cookie file {} {}", path.string(), cookie.error().message));
  }
  return cookie;
}

Result<std::string> read_cookie_line(int descriptor,
                                     std::chrono::steady_clock::time_point deadline) {
  std::string line;
  for (char next = 0;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ready{descriptor, POLLIN, 0};
    const int polled = left.count() <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left.count()));
    if (polled == 0) {
      return make_error(ErrorCode::unavailable,
                        "no cookie came on standard input in time: it must be the first line");
    }
    // Byte by byte, because the rest is for others.
    const ssize_t count = polled < 0 ? -1 : ::read(descriptor, &next, 1);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) {
      return make_error(ErrorCode::io,
                        "cannot read the cookie from standard input: " + system_words(errno));
    }
    if (count == 0 || next == '\n') break;
    line += next;
    if (line.size() > kMaxCookieFileBytes) {
      return make_error(ErrorCode::malformed,
                        "the cookie on standard input is far too long: it must be the first line");
    }
  }
  while (line.ends_with('\r')) line.pop_back();
  if (!line.empty()) return line;
  return make_error(ErrorCode::malformed, "the cookie on standard input is empty");
}

Result<std::string> read_cookie(const CookiePlaces& places) {
  std::string looked_at;
  const auto try_file = [&looked_at](const std::filesystem::path& path) {
    looked_at += (looked_at.empty() ? "" : " and ") + path.string();
    return read_cookie_file(path);
  };
  if (!places.home.empty()) {
    Result<std::string> cookie = try_file(places.home / ".erlang.cookie");
    if (cookie || cookie.error().code != ErrorCode::not_found) return cookie;
  }
  if (!places.config_home.empty()) {
    Result<std::string> cookie = try_file(places.config_home / "erlang" / ".erlang.cookie");
    if (cookie || cookie.error().code != ErrorCode::not_found) return cookie;
  }
  if (looked_at.empty()) {
    return make_error(ErrorCode::not_found,
                      "cannot look for a cookie file: neither HOME nor XDG_CONFIG_HOME is set");
  }
  return make_error(ErrorCode::not_found, "no cookie file: looked at " + looked_at);
}

Result<std::string> read_or_create_cookie(const CookiePlaces& places) {
  Result<std::string> cookie = read_cookie(places);
  if (cookie || cookie.error().code != ErrorCode::not_found || places.home.empty()) return cookie;
  const Result<void> created = create_cookie_file(places.home / ".erlang.cookie");
  if (!created) return created.error();
  return read_cookie(places);
}

}  // namespace rakv::distribution
