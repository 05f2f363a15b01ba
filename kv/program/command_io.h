// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "cnode/base/result.h"

// What a command reads, writes and says at its end.

namespace rakv::kv {

/// How the program ends. The README has the words for users.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,      ///< nothing was changed
  kUsage = 2,       ///< unusable arguments
  kNotFound = 3,    ///< no such key
  kUnknown = 4,     ///< put and delete: sent, but no usable answer came
  kNotWritten = 5,  ///< done, but the result could not be written
  kNo = 6,          ///< the answer is no
};

/// What the time of a command is measured by: a command runs in real time.
using CommandClock = std::chrono::steady_clock;

/// How a command of a cluster's client ends after an error of this kind.
ExitCode exit_code_of(ErrorCode code);

/// `rakv: error: LINE` on standard error.
void print_error(std::string_view line);

/// All that a file has, up to 256 MiB; `-` is standard input. Errors: io; unavailable: it has not
/// ended at the deadline, as a pipe may; limit_exceeded.
Result<std::string> read_value(const std::string& path, CommandClock::time_point deadline);

/// Writes a result to this file, to standard output without one. `done` is what has happened all
/// the same, should it be impossible to write. kDone or kNotWritten.
int write_output(const std::string& path, std::string_view bytes, const std::string& done);

}  // namespace rakv::kv
