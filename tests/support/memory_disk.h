// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "raft/log/disk/disk.h"

// Disks for tests and the simulator: no thread safety, everything on one thread.

namespace rakv::raftlog {

/// What a crash leaves of writes that were not synced.
enum class CrashMode {
  lose_unsynced,    ///< only synced bytes and synced directory entries are left
  keep_everything,  ///< the process was killed, the machine was not: all writes are there
  random,  ///< each unsynced 512-byte sector and each unsynced directory change is there or not, by
           ///< chance
};

/// A file system in memory that keeps, beside its current state, what would survive a power cut.
class MemoryDisk final : public Disk {
 public:
  MemoryDisk();
  ~MemoryDisk() override;

  /// The same tree with the same durable state, without locks; what is open on this one stays with
  /// this one.
  std::unique_ptr<MemoryDisk> clone() const;
  /// Forgets what `mode` says; open files and locks made before must not be used any more.
  void crash(CrashMode mode, std::uint64_t seed = 0);

  /// What the kernel does when it can't write a file's pages: what is not durable of it stays as it
  /// is in the page cache, and later syncs leave it out and succeed, until it is written again.
  void give_up_unsynced(const std::string& path);

  /// Flips bits of a byte that is durable, in what is read and in what a power cut would leave.
  void flip(const std::string& path, std::size_t at, char bits);

  /// Every file that a power cut would leave, with the bytes that it would have.
  void visit_durable(
      const std::function<void(const std::string& path, const std::string& bytes)>& visit) const;

  /// File::reserve lengthens a file by so many bytes at most; 0, as at first: it is not supported.
  void reserve_at_most(std::uint64_t bytes) { reserve_at_most_ = bytes; }

  Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  Result<std::unique_ptr<File>> open_write(const std::string& path) override;
  Result<std::unique_ptr<File>> create(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> unlink(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<void> remove_directory(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;

 private:
  struct Node;
  using NodePtr =
      std::shared_ptr<Node>;  // a node may be named by the live and by the durable tree at once
  class OpenFile;
  class HeldLock;
  struct Place {
    NodePtr parent;
    std::string name;
    NodePtr node;  // empty when nothing has that name
  };

  Result<Place> find(const std::string& path) const;
  Result<NodePtr> find_file(const std::string& path) const;
  Result<NodePtr> find_directory(const std::string& path) const;
  void crash_node(Node& node, CrashMode mode, std::mt19937_64& random);
  static void visit_durable_node(
      const Node& node, const std::string& path,
      const std::function<void(const std::string& path, const std::string& bytes)>& visit);

  NodePtr root_;
  std::uint64_t reserve_at_most_ = 0;
  std::shared_ptr<std::set<std::string>> locked_ = std::make_shared<std::set<std::string>>();
};

/// Kinds of operation that FaultyDisk counts and can make fail.
enum class DiskOperation {
  open,
  create,
  write,
  read,
  sync,
  reserve,
  rename,
  unlink,
  make_directory,
  remove_directory,
  list,
  sync_directory,
  lock
};

/// Wraps a disk. Every operation that changes something is counted; from the n-th on all fail ("the
/// machine is off"), and a rule can make chosen operations fail with EIO or ENOSPC.
class FaultyDisk final : public Disk {
 public:
  explicit FaultyDisk(Disk& below) : below_(below) {}

  /// The operation with this number (counted from 1 over changing operations) and all after it
  /// fail.
  void stop_at(std::uint64_t operation) { stop_at_ = operation; }
  bool stopped() const { return count_ >= stop_at_; }
  /// Changing operations so far.
  std::uint64_t operations() const { return count_; }
  /// All operations so far, those that only read among them.
  std::uint64_t calls() const { return calls_; }
  /// Asked before each operation; an error given back is the operation's outcome.
  using Rule = std::function<std::optional<Error>(DiskOperation, const std::string& path)>;
  void set_rule(Rule rule) { rule_ = std::move(rule); }

  Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  Result<std::unique_ptr<File>> open_write(const std::string& path) override;
  Result<std::unique_ptr<File>> create(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> unlink(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<void> remove_directory(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;
  /// What set_space() said; else as the disk below.
  Result<DiskSpace> space(const std::string& path) override;
  void set_space(DiskSpace space) { space_ = space; }

 private:
  class OpenFile;
  std::optional<Error> check(DiskOperation operation, const std::string& path, bool changes);

  Disk& below_;
  std::uint64_t count_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t stop_at_ = UINT64_MAX;
  Rule rule_;
  std::optional<DiskSpace> space_;
};

}  // namespace rakv::raftlog
