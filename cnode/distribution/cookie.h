// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "cnode/base/result.h"

// The secret that nodes of a cluster share, found where `erl` finds it (OTP: auth.erl).

namespace rakv::distribution {

/// Where a user's cookie file may lie. An empty path means that the place is not known.
struct CookiePlaces {
  std::filesystem::path home;  ///< $HOME: the file is home/.erlang.cookie
  std::filesystem::path
      config_home;  ///< $XDG_CONFIG_HOME, else home/.config: config_home/erlang/.erlang.cookie

  /// The places of the user who runs this process.
  static CookiePlaces from_environment();
};

/// Reads the cookie from the first file that exists, home first. Errors: `not_found` (no file),
/// `refused` (not a regular file, or others can read it), `malformed` (empty, or characters outside
/// 0x20..0x7e before the line's end), `io`.
Result<std::string> read_cookie(const CookiePlaces& places);

/// As read_cookie; when there is no file, makes home/.erlang.cookie as erl does: 20 upper-case
/// letters, mode 0400. Two processes that create it at once end up with the same cookie.
Result<std::string> read_or_create_cookie(const CookiePlaces& places);

/// The cookie in this file, under the same conditions.
Result<std::string> read_cookie_file(const std::filesystem::path& path);

/// The first line of what `descriptor` (standard input) gives, without its end; what follows it
/// stays unread. Errors: `malformed` (empty, far too long), `unavailable` (the line has not ended
/// at `deadline`), `io`.
Result<std::string> read_cookie_line(int descriptor,
                                     std::chrono::steady_clock::time_point deadline);

/// The cookie in the text of a cookie file: everything up to the first newline or carriage return,
/// after which only newlines, carriage returns and blanks may follow.
Result<std::string> parse_cookie(std::string_view file_text);

}  // namespace rakv::distribution
