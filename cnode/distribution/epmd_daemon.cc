// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/epmd_daemon.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace rakv::distribution::epmd {

namespace {

void add_if_executable(const std::filesystem::path& path, std::vector<std::string>& out) {
  std::error_code ignored;
  const bool usable =
      std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
  if (usable && std::find(out.begin(), out.end(), path.string()) == out.end()) {
    out.push_back(path.string());
  }
}

/// Runs `program`; standard streams lead nowhere and nothing else is inherited, so that a daemon
/// that outlives us holds none of our sockets and files.
Result<pid_t> run_detached(const std::string& program, std::uint16_t port) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  std::string arguments[] = {program, "-daemon", "-port", std::to_string(port)};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                  arguments[3].data(), nullptr};
  pid_t child = -1;
  const int error = ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return make_error(ErrorCode::unavailable,
                      "cannot run " + program + ": " + std::strerror(error));
  }
  return child;
}

}  // namespace

std::vector<std::string> daemon_candidates(const Options& options) {
  std::vector<std::string> found;
  if (!options.daemon_path.empty()) add_if_executable(options.daemon_path, found);
  if (const char* path = std::getenv("PATH"); path != nullptr) {
    std::string_view rest(path);
    while (!rest.empty()) {
      const std::string_view folder = rest.substr(0, rest.find(':'));
      rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
      if (!folder.empty()) add_if_executable(std::filesystem::path(folder) / "epmd", found);
    }
  }
  if (const char* bindir = std::getenv("BINDIR"); bindir != nullptr && *bindir != '\0') {
    add_if_executable(std::filesystem::path(bindir) / "epmd", found);
  }
  std::vector<std::filesystem::path> releases;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/erlang", error)) {
    if (entry.path().filename().string().starts_with("erts-")) releases.push_back(entry.path());
  }
  std::sort(releases.rbegin(), releases.rend());
  for (const auto& release : releases) add_if_executable(release / "bin" / "epmd", found);
  return found;
}

Result<pid_t> start_daemon(const Options& options) {
  const std::vector<std::string> candidates = daemon_candidates(options);
  if (candidates.empty()) {
    return make_error(ErrorCode::unavailable,
                      "no epmd program found in PATH, $BINDIR or /usr/lib/erlang/erts-*/bin");
  }
  Result<pid_t> child = make_error(ErrorCode::unavailable, "");
  for (const std::string& program : candidates) {
    child = run_detached(program, options.port);
    if (child) return child;
  }
  return child;
}

}  // namespace rakv::distribution::epmd
