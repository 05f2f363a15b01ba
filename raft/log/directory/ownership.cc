// SPDX-License-Identifier: Apache-2.0
#include "raft/log/directory/ownership.h"

#include <charconv>

namespace rakv::raftlog {
namespace {

std::string beams_names(const std::string& directory) { return directory + "/names.dets"; }
std::string last_beam_wal(const std::string& directory) { return directory + "/rakv.beam_wal"; }
std::string our_names(const std::string& directory) { return directory + "/names.dets.rakv"; }

/// Size of a file; 0 when there is none.
Result<std::uint64_t> size_of(Disk& disk, const std::string& path) {
  const auto file = disk.open_read(path);
  if (file) return (*file)->size();
  if (file.error().code == ErrorCode::not_found) return std::uint64_t{0};
  return file.error();
}

}  // namespace

Result<RegisteredServers> read_registered(Disk& disk, const std::string& directory) {
  const auto beams = size_of(disk, beams_names(directory));
  if (!beams) return beams.error();
  const auto ours = disk.exists(our_names(directory));
  if (!ours) return ours.error();
  RegisteredServers found;
  if (*beams > 0) {
    found.owner = DirectoryOwner::beam;
  } else if (*ours) {
    found.owner = DirectoryOwner::rakv;
  } else {
    return found;
  }
  auto rows = read_names(
      disk, found.owner == DirectoryOwner::beam ? beams_names(directory) : our_names(directory));
  if (!rows) return rows.error();
  found.rows = std::move(*rows);
  return found;
}

Result<void> write_registered(Disk& disk, const std::string& directory,
                              const std::vector<NameRow>& rows) {
  return write_names(disk, our_names(directory), rows);
}

Result<void> take_ownership(Disk& disk, const std::string& directory,
                            const std::vector<NameRow>& rows) {
  if (auto done = write_registered(disk, directory, rows); !done) return done;
  return replace_file(disk, beams_names(directory), {});
}

Result<void> write_last_beam_wal(Disk& disk, const std::string& directory, std::uint64_t number) {
  const std::string path = last_beam_wal(directory);
  const auto there = disk.exists(path);
  if (!there) return there.error();
  if (number == 0 && !*there) return {};
  return replace_file(disk, path, std::to_string(number));
}

Result<std::uint64_t> read_last_beam_wal(Disk& disk, const std::string& directory) {
  constexpr std::uint64_t kMaxSize = 64;
  const auto text = read_file(disk, last_beam_wal(directory), kMaxSize);
  if (!text) {
    if (text.error().code == ErrorCode::not_found) return std::uint64_t{0};
    if (text.error().code == ErrorCode::limit_exceeded) return UINT64_MAX;
    return text.error();
  }
  std::uint64_t number = 0;
  const char* end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, number);
  return parsed.ec == std::errc{} && parsed.ptr == end ? number : UINT64_MAX;
}

Result<void> give_up_ownership(Disk& disk, const std::string& directory,
                               const std::vector<NameRow>& rows) {
  if (auto done = write_names(disk, beams_names(directory), rows, Seal::no); !done) return done;
  if (auto done = remove_tree(disk, our_names(directory)); !done) return done;
  return disk.sync_directory(directory);
}

}  // namespace rakv::raftlog
