// SPDX-License-Identifier: Apache-2.0
#include "kv/program/command_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cnode/base/printable.h"

namespace rakv::kv {
namespace {

constexpr std::size_t kMaxValueBytes = std::size_t{256} << 20;

Error cannot_read_value(const std::string& path) {
  return make_error(
      ErrorCode::io,
      fmt::format("can't read {} ({}): give a file that can be read, or - for standard input",
                  path == "-" ? "standard input" : path, std::strerror(errno)));
}

/// Reads all that `file` has, until `deadline`.
Result<std::string> read_all(int file, const std::string& path, CommandClock::time_point deadline) {
  std::string bytes;
  std::string part(std::size_t{1} << 20, '\0');
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - CommandClock::now())
            .count();
    pollfd ready{file, POLLIN, 0};
    const int polled = left <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left));
    if (polled == 0) {
      return make_error(ErrorCode::unavailable,
                        fmt::format("the value did not end in time: {} bytes were read, nothing "
                                    "was sent; give more --timeout",
                                    bytes.size()));
    }
    const ssize_t count = polled < 0 ? -1 : ::read(file, part.data(), part.size());
    if (count == 0) return bytes;
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return cannot_read_value(path);
    }
    bytes.append(part, 0, static_cast<std::size_t>(count));
    if (bytes.size() > kMaxValueBytes) {
      return make_error(ErrorCode::limit_exceeded,
                        path + " has more than 256 MiB: store a smaller value");
    }
  }
}

}  // namespace

ExitCode exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return kUsage;
    case ErrorCode::not_found:
      return kNotFound;
    case ErrorCode::timeout:
      return kUnknown;
    default:
      return kFailed;
  }
}

void print_error(std::string_view line) {
  std::fprintf(stderr, "rakv: error: %s\n", printable(line).c_str());
}

Result<std::string> read_value(const std::string& path, CommandClock::time_point deadline) {
  if (path == "-") return read_all(STDIN_FILENO, path, deadline);
  // A pipe's other end may never come; poll() waits for it.
  const int file = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return cannot_read_value(path);
  Result<std::string> bytes = read_all(file, path, deadline);
  ::close(file);
  return bytes;
}

int write_output(const std::string& path, std::string_view bytes, const std::string& done) {
  std::FILE* file = path.empty() ? stdout : std::fopen(path.c_str(), "wb");
  bool written =
      file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  written = file != nullptr && std::fflush(file) == 0 && written;
  const int reason = errno;
  if (file != nullptr && file != stdout) written = std::fclose(file) == 0 && written;
  if (written) return kDone;
  print_error(fmt::format("{}, but can't write {} ({}): let it go to a place that can be written",
                          done, path.empty() ? "standard output" : path, std::strerror(reason)));
  return kNotWritten;
}

}  // namespace rakv::kv
