// SPDX-License-Identifier: Apache-2.0
#include "kv/program/directory_users.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>

namespace rakv::kv {
namespace {

namespace fs = std::filesystem;

/// A file that is only read, by a backup say, does no harm.
bool is_open_for_writing(const fs::path& process, const std::string& descriptor) {
  std::ifstream info(process / "fdinfo" / descriptor);
  for (std::string word; info >> word;) {
    if (word != "flags:") continue;
    int flags = 0;
    info >> std::oct >> flags;
    return (flags & O_ACCMODE) != O_RDONLY;
  }
  return false;  // closed meanwhile
}

bool writes_below(const fs::path& process, const std::string& prefix) {
  std::error_code error;
  for (fs::directory_iterator file(process / "fd", error), end; !error && file != end;
       file.increment(error)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(file->path(), gone).string();
    if (!gone && target.compare(0, prefix.size(), prefix) == 0 &&
        is_open_for_writing(process, file->path().filename().string())) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<std::string> find_writer(const std::string& directory) {
  std::error_code error;
  const fs::path real = fs::canonical(directory, error);
  if (error) return std::nullopt;
  const std::string prefix = real.string() + "/";
  const std::string own = std::to_string(::getpid());
  for (fs::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    const std::string id = process->path().filename().string();
    const bool is_process =
        std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (!is_process || id == own || !writes_below(process->path(), prefix)) continue;
    std::string name = "unknown";
    std::getline(std::ifstream(process->path() / "comm"), name);
    return fmt::format("process {} ({})", id, name);
  }
  return std::nullopt;
}

}  // namespace rakv::kv
