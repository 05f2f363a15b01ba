// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "cnode/base/result.h"

// The cluster's secret, as the command line and the configuration file give it.

namespace rakv::kv {

/// Takes the values of `--cookie` out of a command line, in place, so that nobody can read them in
/// /proc/PID/cmdline any more: stars are there instead. To be called first of all, when the
/// arguments have been copied.
void wipe_cookies(int argc, char** argv);

/// The bytes that the handshake hashes for a cookie that is given as text: those of an Erlang atom
/// of this text, one for each character, as `erl -setcookie` makes it. Error invalid_argument:
/// empty, more than 255 characters, or a character beyond Latin-1. Bytes that are no UTF-8 stand
/// for themselves.
Result<std::string> cookie_bytes(std::string_view text);

/// Where the cookie comes from.
struct CookieSource {
  std::string text;         ///< the cookie itself; empty: look into the file
  std::string file;         ///< `-` is standard input; empty: the user's Erlang cookie file
  bool may_create = false;  ///< makes the user's Erlang cookie file when there is none, as erl does
};

/// The cookie's bytes. `deadline` bounds how long standard input is waited for.
Result<std::string> find_cookie(const CookieSource& source,
                                std::chrono::steady_clock::time_point deadline);

}  // namespace rakv::kv
