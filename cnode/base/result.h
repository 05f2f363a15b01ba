// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/system/result.hpp>
#include <string>
#include <utility>

// Errors as values. Every seam of the program that can fail on bad input, a peer, a disk or a user
// returns Result<T>; the message is written for the person who has to act on it.

namespace rakv {

/// What kind of failure an Error is; callers branch on this, people read `Error::message`.
enum class ErrorCode {
  invalid_argument,  ///< a user or caller gave something unusable
  malformed,         ///< bytes from a peer, a client or a file do not have the form they must have
  limit_exceeded,    ///< a named bound (size, depth, count) was passed
  not_found,         ///< the thing asked for does not exist
  already_exists,    ///< a name, directory or server is taken
  unavailable,       ///< a peer, epmd or a service can't be reached now; trying later may help
  refused,           ///< the other side said no (cookie, name, flags)
  timeout,           ///< no answer in time: the outcome is unknown
  io,                ///< the operating system reported an error on a file or socket
  no_space,          ///< the disk is full
  corrupt,           ///< stored bytes fail their checksum or contradict each other
  unsupported,       ///< a valid request for something this program does not do
};

/// An error value: a code to branch on and one line that says what happened and what to do next.
struct Error {
  ErrorCode code;
  std::string message;
};

/// Either a T or an Error.
template <class T>
using Result = boost::system::result<T, Error>;

/// Called by Boost when `.value()` is used on an error: a programmer's fault, so it throws.
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

/// Shorthand for `Error{code, message}`, convertible to any Result<T>.
inline Error make_error(ErrorCode code, std::string message) {
  return Error{code, std::move(message)};
}

}  // namespace rakv
