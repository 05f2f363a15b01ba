// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/log/disk/disk.h"

namespace rakv::raftlog {

/// Shows what changes would make of a disk, and leaves the disk as it is: changes made through it
/// are seen through it only, and gone with it. What is written is kept in memory. One thread.
///
/// The offline tools run the very code that a start runs, over this, and report what it did.
class OverlayDisk final : public Disk {
 public:
  /// `below` is only read, and locked where the lock's file is there already.
  explicit OverlayDisk(Disk& below) : below_(below) {}

  /// What would have happened to things that are on the disk below, in order and in words: "remove
  /// PATH", "rename PATH to PATH", "replace PATH". What was only made here is left out.
  const std::vector<std::string>& changes() const { return changes_; }

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
  class MemoryFile;
  /// What a path has become here.
  struct Node {
    enum class Kind { gone, file, directory, moved } kind = Kind::gone;
    std::shared_ptr<std::string> bytes;  ///< of a file
    std::string from;                    ///< path below of what was moved here
  };
  /// Where a path leads: to a node made here, or to a path below.
  struct Target {
    const Node* node = nullptr;  ///< a file or a directory made here
    std::string below;           ///< empty when nothing below stands for the path
  };

  Target resolve(const std::string& path) const;
  Result<DirectoryEntry::Kind> kind_below(const std::string& below);
  void forget(const std::string& path);
  void note(const std::string& change);

  Disk& below_;
  std::map<std::string, Node> nodes_;
  std::vector<std::string> changes_;
};

}  // namespace rakv::raftlog
