// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/base/shared_bytes.h"

// The seam between the log and the operating system's files. Three makers: PosixDisk (real files),
// MemoryDisk (a tree in memory that knows which bytes and which directory entries are durable),
// FaultyDisk (wraps another disk: counts operations, stops at the n-th, injects errors). Paths are
// absolute or relative strings with '/' between parts.
//
// Errors: io for what the system reports (the message names operation, path and cause), no_space
// for ENOSPC/EDQUOT, not_found for ENOENT, already_exists for EEXIST, unavailable for a lock held
// by another process.

namespace rakv::raftlog {

/// One run of bytes in a gathered write.
struct IoSlice {
  const void* data;
  std::size_t size;
};

/// An open file. Closed by its destructor (which syncs nothing). One thread at a time, except
/// pread.
class File {
 public:
  virtual ~File() = default;
  /// Writes all slices back to back from `offset`; extends the file. All or an error (bytes may
  /// then be partly there).
  virtual Result<void> pwritev(std::uint64_t offset, std::span<const IoSlice> slices) = 0;
  Result<void> pwrite(std::uint64_t offset, std::string_view bytes) {
    const IoSlice one{bytes.data(), bytes.size()};
    return pwritev(offset, {&one, 1});
  }
  /// Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual Result<std::size_t> pread(std::uint64_t offset, void* into, std::size_t size) const = 0;
  /// Makes the file's bytes and length durable. After an error the file must not be synced again
  /// (the kernel has dropped the dirty pages): write everything anew to another file.
  virtual Result<void> fdatasync() = 0;
  virtual Result<std::uint64_t> size() const = 0;
  /// Makes room for these bytes, so that writing them needs no new blocks and no new length
  /// (fallocate): a file that ends before grows and reads as zeros there. Not supported = success.
  virtual Result<void> reserve(std::uint64_t offset, std::uint64_t size) = 0;
};

/// Holds an advisory lock on a file until destroyed.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

/// What list() tells of one directory entry. Symbolic links are reported as `other`.
struct DirectoryEntry {
  enum class Kind { file, directory, other };
  std::string name;
  Kind kind;
};

/// Room on the file system of a path, in bytes and in files (inodes).
struct DiskSpace {
  std::uint64_t free = UINT64_MAX;  ///< for this process
  std::uint64_t total = UINT64_MAX;
  std::uint64_t free_files = UINT64_MAX;  ///< UINT64_MAX also where files are not counted
};

/// A file system.
class Disk {
 public:
  virtual ~Disk() = default;
  /// Opens an existing file for reading.
  virtual Result<std::unique_ptr<File>> open_read(const std::string& path) = 0;
  /// Opens an existing file for reading and writing.
  virtual Result<std::unique_ptr<File>> open_write(const std::string& path) = 0;
  /// Creates a file, or empties an existing one, for reading and writing.
  virtual Result<std::unique_ptr<File>> create(const std::string& path) = 0;
  /// Replaces `to` atomically. Durable only after sync_directory of the parent.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> unlink(const std::string& path) = 0;
  /// Makes one directory; already_exists is an error.
  virtual Result<void> make_directory(const std::string& path) = 0;
  /// Removes an empty directory.
  virtual Result<void> remove_directory(const std::string& path) = 0;
  /// Entries in name order, without "." and "..".
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& path) = 0;
  /// Makes the entries of a directory durable.
  virtual Result<void> sync_directory(const std::string& path) = 0;
  /// Whether something of that name exists.
  virtual Result<bool> exists(const std::string& path) = 0;
  /// Takes an exclusive lock on `path` (made if missing); unavailable when another process has it.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
  /// How much room there is. Disks that are never full need not say.
  virtual Result<DiskSpace> space(const std::string&) { return DiskSpace{}; }
};

/// Real files. What it makes is for the user alone: directories 0700, files 0600.
std::unique_ptr<Disk> make_posix_disk();

// Helpers over any Disk.

/// The whole file. Bound: `max_size` (limit_exceeded beyond).
Result<std::string> read_file(Disk& disk, const std::string& path,
                              std::uint64_t max_size = std::uint64_t{1} << 32);
/// The same as shared bytes; the caller is their only owner.
Result<SharedBytes> read_shared(Disk& disk, const std::string& path);
/// Writes PATH.tmp, syncs it, renames it to PATH, syncs the parent directory: PATH has the old
/// bytes or the new ones. After an error before the rename PATH.tmp is gone again.
Result<void> replace_file(Disk& disk, const std::string& path, std::string_view bytes);
/// Removes a file, or a directory with everything in it. Missing = success. Does not sync the
/// parent.
Result<void> remove_tree(Disk& disk, const std::string& path);
/// Makes a directory durable with everything below it; symbolic links are left out.
Result<void> sync_tree(Disk& disk, const std::string& path);
/// Makes the directory unless it exists.
Result<void> ensure_directory(Disk& disk, const std::string& path);
/// The parent of a path ("." when it has none).
std::string parent_of(const std::string& path);

}  // namespace rakv::raftlog
