// SPDX-License-Identifier: Apache-2.0
#include "raft/log/disk/disk.h"

namespace rakv::raftlog {

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::string> read_file(Disk& disk, const std::string& path, std::uint64_t max_size) {
  auto file = disk.open_read(path);
  if (!file) return file.error();
  const auto size = (*file)->size();
  if (!size) return size.error();
  if (*size > max_size) {
    return make_error(ErrorCode::limit_exceeded, path + ": is " + std::to_string(*size) +
                                                     " bytes long, more than the " +
                                                     std::to_string(max_size) + " it may have");
  }
  std::string bytes(*size, '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const auto got = (*file)->pread(have, bytes.data() + have, bytes.size() - have);
    if (!got) return got.error();
    if (*got == 0) break;
    have += *got;
  }
  bytes.resize(have);
  return bytes;
}

Result<SharedBytes> read_shared(Disk& disk, const std::string& path) {
  const auto file = disk.open_read(path);
  if (!file) return file.error();
  const auto size = (*file)->size();
  if (!size) return size.error();
  SharedBytes bytes = SharedBytes::uninitialized(*size);
  const auto got = (*file)->pread(0, bytes.mutable_data(), *size);
  if (!got) return got.error();
  bytes.narrow(0, *got);
  return bytes;
}

Result<void> replace_file(Disk& disk, const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  Result<void> done;
  if (auto file = disk.create(temporary); file) {
    done = (*file)->pwrite(0, bytes);
    if (done) done = (*file)->fdatasync();
  } else {
    done = file.error();
  }
  if (done) done = disk.rename(temporary, path);
  if (!done) {  // on a full disk it takes up room that others need
    static_cast<void>(disk.unlink(temporary));
    return done;
  }
  return disk.sync_directory(parent_of(path));
}

Result<void> remove_tree(Disk& disk, const std::string& path) {
  const auto entries = disk.list(path);
  if (!entries) {  // not a directory, or not there
    const auto there = disk.exists(path);
    if (!there) return there.error();
    if (!*there) return {};
    return disk.unlink(path);
  }
  for (const auto& entry : *entries) {
    const std::string child = path + "/" + entry.name;
    auto done = entry.kind == DirectoryEntry::Kind::directory ? remove_tree(disk, child)
                                                              : disk.unlink(child);
    if (!done) return done;
  }
  return disk.remove_directory(path);
}

Result<void> sync_tree(Disk& disk, const std::string& path) {
  const auto entries = disk.list(path);
  if (!entries) return entries.error();
  for (const auto& entry : *entries) {
    const std::string child = path + "/" + entry.name;
    Result<void> done;
    if (entry.kind == DirectoryEntry::Kind::directory) {
      done = sync_tree(disk, child);
    } else if (entry.kind == DirectoryEntry::Kind::file) {
      auto file = disk.open_read(child);
      if (!file) return file.error();
      done = (*file)->fdatasync();
    }
    if (!done) return done;
  }
  return disk.sync_directory(path);
}

Result<void> ensure_directory(Disk& disk, const std::string& path) {
  auto made = disk.make_directory(path);
  if (!made && made.error().code == ErrorCode::already_exists) return {};
  return made;
}

}  // namespace rakv::raftlog
