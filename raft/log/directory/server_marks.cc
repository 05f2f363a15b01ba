// SPDX-License-Identifier: Apache-2.0
#include "raft/log/directory/server_marks.h"

#include <charconv>

#include "raft/log/base/checksum.h"

// The files are one line of text, `CRC32 WORD REST`, the checksum being that of what follows it.

namespace rakv::raftlog {
namespace {

constexpr std::string_view kAmnesia = "/amnesia";
constexpr std::string_view kInstalling = "/installing";
constexpr std::string_view kKnownVoters = "/known_voters";
constexpr std::string_view kTermLost = "term_lost ";
constexpr std::string_view kTermKnown = "term_known ";
constexpr std::string_view kLogEnd = "log_end ";
constexpr std::uint64_t kMaxSize = 65'536;

struct Line {
  std::optional<std::string> text;  // without its checksum; nothing when that does not fit
};

Result<std::optional<Line>> read_line(Disk& disk, const std::string& path) {
  const auto bytes = read_file(disk, path, kMaxSize);
  if (!bytes) {
    if (bytes.error().code == ErrorCode::not_found) return std::optional<Line>();
    if (bytes.error().code == ErrorCode::limit_exceeded) return std::optional<Line>(Line{});
    return bytes.error();
  }
  const auto space = bytes->find(' ');
  if (space == std::string::npos) return std::optional<Line>(Line{});
  std::string text = bytes->substr(space + 1);
  if (bytes->substr(0, space) != std::to_string(crc32(0, text))) return std::optional<Line>(Line{});
  return std::optional<Line>(Line{std::move(text)});
}

Result<void> write_line(Disk& disk, const std::string& path, const std::string& text) {
  return replace_file(disk, path, std::to_string(crc32(0, text)) + " " + text);
}

Result<void> remove_line(Disk& disk, const std::string& path) {
  auto done = disk.unlink(path);
  if (!done && done.error().code != ErrorCode::not_found) return done;
  return disk.sync_directory(parent_of(path));
}

std::string path_of(const std::string& server_directory, std::string_view name) {
  return server_directory + std::string(name);
}

}  // namespace

Result<std::optional<AmnesiaMark>> read_amnesia(Disk& disk, const std::string& server_directory) {
  const std::string path = path_of(server_directory, kAmnesia);
  const auto line = read_line(disk, path);
  if (!line) return line.error();
  if (!*line) return std::optional<AmnesiaMark>();
  const std::string& text = (*line)->text.value_or("");
  for (const bool term_lost : {true, false}) {
    const std::string_view word = term_lost ? kTermLost : kTermKnown;
    if (text.starts_with(word))
      return std::optional<AmnesiaMark>(AmnesiaMark{text.substr(word.size()), term_lost});
  }
  return std::optional<AmnesiaMark>(AmnesiaMark{path + " is damaged", true});
}

Result<void> write_amnesia(Disk& disk, const std::string& server_directory,
                           const AmnesiaMark& amnesia) {
  const std::string word(amnesia.term_lost ? kTermLost : kTermKnown);
  return write_line(disk, path_of(server_directory, kAmnesia),
                    word + amnesia.reason.substr(0, kMaxSize / 2));
}

Result<void> remove_amnesia(Disk& disk, const std::string& server_directory) {
  return remove_line(disk, path_of(server_directory, kAmnesia));
}

Result<std::optional<Index>> read_install_mark(Disk& disk, const std::string& server_directory) {
  const std::string path = path_of(server_directory, kInstalling);
  const auto line = read_line(disk, path);
  if (!line) return line.error();
  if (!*line) return std::optional<Index>();
  const std::string text = (*line)->text.value_or("");
  Index index = 0;
  if (text.starts_with(kLogEnd)) {
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + kLogEnd.size(), end, index);
    if (parsed.ec == std::errc{} && parsed.ptr == end) return std::optional<Index>(index);
  }
  return make_error(ErrorCode::corrupt, path + ": is damaged");
}

Result<void> write_install_mark(Disk& disk, const std::string& server_directory,
                                Index own_log_end) {
  return write_line(disk, path_of(server_directory, kInstalling),
                    std::string(kLogEnd) + std::to_string(own_log_end));
}

Result<void> remove_install_mark(Disk& disk, const std::string& server_directory) {
  return remove_line(disk, path_of(server_directory, kInstalling));
}

Result<std::string> read_known_voters(Disk& disk, const std::string& server_directory) {
  auto line = read_line(disk, path_of(server_directory, kKnownVoters));
  if (!line) return line.error();
  return *line ? (*line)->text.value_or("") : std::string();
}

Result<void> write_known_voters(Disk& disk, const std::string& server_directory,
                                const std::string& bytes) {
  return write_line(disk, path_of(server_directory, kKnownVoters), bytes);
}

Result<void> remove_known_voters(Disk& disk, const std::string& server_directory) {
  return remove_line(disk, path_of(server_directory, kKnownVoters));
}

}  // namespace rakv::raftlog
