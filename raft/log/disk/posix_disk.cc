// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <utility>

#include "raft/log/disk/disk.h"

namespace rakv::raftlog {
namespace {

/// What clients store is nobody's business but the node's user's, whatever the umask. Files and
/// directories that are there already keep their modes.
constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;

Error system_error(const char* what, const std::string& path, int number) {
  ErrorCode code = ErrorCode::io;
  if (number == ENOSPC || number == EDQUOT) code = ErrorCode::no_space;
  if (number == ENOENT) code = ErrorCode::not_found;
  if (number == EEXIST) code = ErrorCode::already_exists;
  return make_error(code, path + ": can't " + what + ": " + std::strerror(number));
}

/// Closes a descriptor when it goes.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

class PosixFile final : public File {
 public:
  PosixFile(Descriptor descriptor, std::string path)
      : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

  Result<void> pwritev(std::uint64_t offset, std::span<const IoSlice> slices) override {
    std::array<iovec, IOV_MAX> vectors;
    std::size_t next = 0;     // first slice not wholly written
    std::size_t skipped = 0;  // bytes of it already written
    while (next < slices.size()) {
      std::size_t count = 0;
      for (std::size_t i = next; i < slices.size() && count < vectors.size(); ++i, ++count) {
        const std::size_t skip = i == next ? skipped : 0;
        // iovec has no const form; the kernel only reads.
        vectors[count].iov_base =
            const_cast<char*>(static_cast<const char*>(slices[i].data)) + skip;
        vectors[count].iov_len = slices[i].size - skip;
      }
      const ssize_t written = ::pwritev(descriptor_.get(), vectors.data(), static_cast<int>(count),
                                        static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) continue;
        return system_error("write", path_, errno);
      }
      offset += static_cast<std::uint64_t>(written);
      std::size_t rest = static_cast<std::size_t>(written);
      std::size_t used = 0;
      while (used < count && rest >= vectors[used].iov_len) rest -= vectors[used++].iov_len;
      if (used == 0) {
        if (rest == 0) return system_error("write", path_, EIO);  // no progress
        skipped += rest;
      } else {
        next += used;
        skipped = rest;
      }
    }
    return {};
  }

  Result<std::size_t> pread(std::uint64_t offset, void* into, std::size_t size) const override {
    std::size_t have = 0;
    while (have < size) {
      const ssize_t got = ::pread(descriptor_.get(), static_cast<char*>(into) + have, size - have,
                                  static_cast<off_t>(offset + have));
      if (got < 0) {
        if (errno == EINTR) continue;
        return system_error("read", path_, errno);
      }
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    return have;
  }

  Result<void> fdatasync() override {
    if (::fdatasync(descriptor_.get()) != 0) return system_error("sync", path_, errno);
    return {};
  }

  Result<std::uint64_t> size() const override {
    struct stat status {};
    if (::fstat(descriptor_.get(), &status) != 0) return system_error("stat", path_, errno);
    return static_cast<std::uint64_t>(status.st_size);
  }

  Result<void> reserve(std::uint64_t offset, std::uint64_t size) override {
    if (::fallocate(descriptor_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(size)) ==
            0 ||
        errno == EOPNOTSUPP || errno == ENOSYS) {
      return {};
    }
    return system_error("reserve space", path_, errno);
  }

 private:
  Descriptor descriptor_;
  std::string path_;
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

 private:
  Descriptor descriptor_;  // closing it gives the lock back
};

class PosixDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open_read(const std::string& path) override {
    return open_file("open", path, O_RDONLY);
  }
  Result<std::unique_ptr<File>> open_write(const std::string& path) override {
    return open_file("open", path, O_RDWR);
  }
  Result<std::unique_ptr<File>> create(const std::string& path) override {
    return open_file("create", path, O_RDWR | O_CREAT | O_TRUNC);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return system_error("rename", from, errno);
    return {};
  }
  Result<void> unlink(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return system_error("remove", path, errno);
    return {};
  }
  Result<void> make_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), kDirectoryMode) != 0)
      return system_error("make directory", path, errno);
    return {};
  }
  Result<void> remove_directory(const std::string& path) override {
    if (::rmdir(path.c_str()) != 0) return system_error("remove directory", path, errno);
    return {};
  }

  Result<std::vector<DirectoryEntry>> list(const std::string& path) override {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return system_error("read directory", path, errno);
    std::vector<DirectoryEntry> entries;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") entries.push_back({name, kind_of(path, *entry)});
      errno = 0;
    }
    const int number = errno;
    ::closedir(directory);
    if (number != 0) return system_error("read directory", path, number);
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return entries;
  }

  Result<void> sync_directory(const std::string& path) override {
    const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor.get() < 0 && errno == EACCES) {  // may be entered and not read: all is synced
      ::sync();
      return {};
    }
    if (descriptor.get() < 0) return system_error("open directory", path, errno);
    if (::fsync(descriptor.get()) != 0) return system_error("sync directory", path, errno);
    return {};
  }

  Result<bool> exists(const std::string& path) override {
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return system_error("stat", path, errno);
  }

  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    Descriptor descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode));
    if (descriptor.get() < 0) return system_error("open lock file", path, errno);
    if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        return make_error(ErrorCode::unavailable, path + ": is locked by another process");
      }
      return system_error("lock", path, errno);
    }
    return std::unique_ptr<FileLock>(std::make_unique<PosixLock>(std::move(descriptor)));
  }

  Result<DiskSpace> space(const std::string& path) override {
    struct statvfs status {};
    if (::statvfs(path.c_str(), &status) != 0) return system_error("stat file system", path, errno);
    return DiskSpace{std::uint64_t{status.f_bavail} * status.f_frsize,
                     std::uint64_t{status.f_blocks} * status.f_frsize,
                     status.f_files == 0 ? UINT64_MAX : std::uint64_t{status.f_favail}};
  }

 private:
  static Result<std::unique_ptr<File>> open_file(const char* what, const std::string& path,
                                                 int flags) {
    Descriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC, kFileMode));
    if (descriptor.get() < 0) return system_error(what, path, errno);
    return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(descriptor), path));
  }

  static DirectoryEntry::Kind kind_of(const std::string& directory, const dirent& entry) {
    unsigned char type = entry.d_type;
    if (type == DT_UNKNOWN) {  // some file systems don't say
      struct stat status {};
      if (::lstat((directory + "/" + entry.d_name).c_str(), &status) == 0) {
        type = S_ISREG(status.st_mode) ? DT_REG : S_ISDIR(status.st_mode) ? DT_DIR : DT_LNK;
      }
    }
    if (type == DT_REG) return DirectoryEntry::Kind::file;
    return type == DT_DIR ? DirectoryEntry::Kind::directory : DirectoryEntry::Kind::other;
  }
};

}  // namespace

std::unique_ptr<Disk> make_posix_disk() { return std::make_unique<PosixDisk>(); }

}  // namespace rakv::raftlog
