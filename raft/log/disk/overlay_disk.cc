// SPDX-License-Identifier: Apache-2.0
#include "raft/log/disk/overlay_disk.h"

#include <algorithm>
#include <cstring>

namespace rakv::raftlog {
namespace {

Error missing(const char* what, const std::string& path) {
  return make_error(ErrorCode::not_found, path + ": can't " + what + ": No such file or directory");
}

class NoLock final : public FileLock {};

}  // namespace

class OverlayDisk::MemoryFile final : public File {
 public:
  explicit MemoryFile(std::shared_ptr<std::string> bytes) : bytes_(std::move(bytes)) {}

  Result<void> pwritev(std::uint64_t offset, std::span<const IoSlice> slices) override {
    for (const IoSlice& slice : slices) {
      if (bytes_->size() < offset + slice.size) bytes_->resize(offset + slice.size);
      if (slice.size != 0) std::memcpy(bytes_->data() + offset, slice.data, slice.size);
      offset += slice.size;
    }
    return {};
  }
  Result<std::size_t> pread(std::uint64_t offset, void* into, std::size_t size) const override {
    if (offset >= bytes_->size()) return std::size_t{0};
    const std::size_t got = std::min<std::uint64_t>(size, bytes_->size() - offset);
    std::memcpy(into, bytes_->data() + offset, got);
    return got;
  }
  Result<void> fdatasync() override { return {}; }
  Result<std::uint64_t> size() const override { return std::uint64_t{bytes_->size()}; }
  Result<void> reserve(std::uint64_t, std::uint64_t) override { return {}; }

 private:
  std::shared_ptr<std::string> bytes_;
};

OverlayDisk::Target OverlayDisk::resolve(const std::string& path) const {
  // The nearest thing at or above the path that has been changed here decides.
  for (std::string at = path;; at = parent_of(at)) {
    const auto found = nodes_.find(at);
    if (found != nodes_.end()) {
      const Node& node = found->second;
      const bool itself = at == path;
      if (node.kind == Node::Kind::moved) return {nullptr, node.from + path.substr(at.size())};
      if (node.kind == Node::Kind::gone || !itself) return {};
      return {&node, {}};
    }
    if (at == "/" || at == ".") return {nullptr, path};
  }
}

void OverlayDisk::note(const std::string& change) { changes_.push_back(change); }

/// Drops what was made below `path`, and `path` itself.
void OverlayDisk::forget(const std::string& path) {
  nodes_.erase(path);
  const std::string prefix = path + "/";
  for (auto at = nodes_.lower_bound(prefix);
       at != nodes_.end() && at->first.compare(0, prefix.size(), prefix) == 0;) {
    at = nodes_.erase(at);
  }
}

Result<std::unique_ptr<File>> OverlayDisk::open_read(const std::string& path) {
  const Target target = resolve(path);
  if (target.node != nullptr && target.node->kind == Node::Kind::file) {
    return std::unique_ptr<File>(std::make_unique<MemoryFile>(target.node->bytes));
  }
  if (target.below.empty()) return missing("open", path);
  return below_.open_read(target.below);
}

/// A file below is taken into memory: what is written to it must not reach it.
Result<std::unique_ptr<File>> OverlayDisk::open_write(const std::string& path) {
  const Target target = resolve(path);
  if (target.node == nullptr && !target.below.empty()) {
    auto bytes = read_file(below_, target.below);
    if (!bytes) return bytes.error();
    nodes_[path] = {Node::Kind::file, std::make_shared<std::string>(std::move(*bytes)), {}};
  }
  return open_read(path);
}

Result<std::unique_ptr<File>> OverlayDisk::create(const std::string& path) {
  if (const auto parent = list(parent_of(path)); !parent) return parent.error();
  if (list(path)) return make_error(ErrorCode::io, path + ": can't create: Is a directory");
  nodes_[path] = {Node::Kind::file, std::make_shared<std::string>(), {}};
  return open_read(path);
}

Result<void> OverlayDisk::rename(const std::string& from, const std::string& to) {
  const auto there = exists(from);
  if (!there) return there.error();
  if (!*there) return missing("rename", from);
  const Target target = resolve(from);
  const auto replaces = exists(to);
  if (!replaces) return replaces.error();
  Node moved =
      target.node != nullptr ? *target.node : Node{Node::Kind::moved, nullptr, target.below};
  if (target.node == nullptr) {
    note("rename " + from + " to " + to);
  } else if (*replaces && resolve(to).node == nullptr) {
    note("replace " + to);
  }
  std::map<std::string, Node> children;
  const std::string prefix = from + "/";
  for (auto at = nodes_.lower_bound(prefix);
       at != nodes_.end() && at->first.compare(0, prefix.size(), prefix) == 0; ++at) {
    children[to + at->first.substr(from.size())] = at->second;
  }
  forget(from);
  forget(to);
  nodes_[from] = {};
  nodes_[to] = std::move(moved);
  nodes_.merge(children);
  return {};
}

Result<void> OverlayDisk::unlink(const std::string& path) {
  const auto there = exists(path);
  if (!there) return there.error();
  if (!*there) return missing("remove", path);
  if (resolve(path).node == nullptr) note("remove " + path);
  forget(path);
  nodes_[path] = {};
  return {};
}

Result<void> OverlayDisk::make_directory(const std::string& path) {
  if (const auto parent = list(parent_of(path)); !parent) return parent.error();
  const auto there = exists(path);
  if (!there) return there.error();
  if (*there) {
    return make_error(ErrorCode::already_exists, path + ": can't make directory: File exists");
  }
  nodes_[path] = {Node::Kind::directory, nullptr, {}};
  return {};
}

Result<void> OverlayDisk::remove_directory(const std::string& path) {
  const auto entries = list(path);
  if (!entries) return entries.error();
  if (!entries->empty()) {
    return make_error(ErrorCode::io, path + ": can't remove directory: Directory not empty");
  }
  return unlink(path);
}

Result<std::vector<DirectoryEntry>> OverlayDisk::list(const std::string& path) {
  const Target target = resolve(path);
  if (target.node == nullptr && target.below.empty()) return missing("read directory", path);
  if (target.node != nullptr && target.node->kind != Node::Kind::directory) {
    return make_error(ErrorCode::io, path + ": can't read directory: Not a directory");
  }
  std::map<std::string, DirectoryEntry::Kind> entries;
  if (!target.below.empty()) {
    const auto below = below_.list(target.below);
    if (!below) return below.error();
    for (const auto& entry : *below) entries[entry.name] = entry.kind;
  }
  const std::string prefix = path == "/" ? path : path + "/";
  for (auto at = nodes_.lower_bound(prefix);
       at != nodes_.end() && at->first.compare(0, prefix.size(), prefix) == 0; ++at) {
    const std::string name = at->first.substr(prefix.size());
    if (name.find('/') != std::string::npos) continue;
    switch (at->second.kind) {
      case Node::Kind::gone:
        entries.erase(name);
        break;
      case Node::Kind::file:
        entries[name] = DirectoryEntry::Kind::file;
        break;
      case Node::Kind::directory:
        entries[name] = DirectoryEntry::Kind::directory;
        break;
      case Node::Kind::moved: {
        const auto kind = kind_below(at->second.from);
        if (!kind) return kind.error();
        entries[name] = *kind;
        break;
      }
    }
  }
  std::vector<DirectoryEntry> listed;
  listed.reserve(entries.size());
  for (const auto& [name, kind] : entries) listed.push_back({name, kind});
  return listed;
}

Result<DirectoryEntry::Kind> OverlayDisk::kind_below(const std::string& below) {
  const auto entries = below_.list(parent_of(below));
  if (!entries) return entries.error();
  const std::string name = below.substr(below.rfind('/') + 1);
  for (const auto& entry : *entries) {
    if (entry.name == name) return entry.kind;
  }
  return missing("stat", below);
}

Result<void> OverlayDisk::sync_directory(const std::string& path) {
  const auto there = exists(path);
  if (!there) return there.error();
  return *there ? Result<void>{} : missing("sync directory", path);
}

Result<bool> OverlayDisk::exists(const std::string& path) {
  const Target target = resolve(path);
  if (target.node != nullptr) return true;
  return target.below.empty() ? Result<bool>(false) : below_.exists(target.below);
}

Result<std::unique_ptr<FileLock>> OverlayDisk::lock(const std::string& path) {
  const auto there = below_.exists(path);
  if (!there) return there.error();
  if (*there) return below_.lock(path);
  return std::unique_ptr<FileLock>(std::make_unique<NoLock>());
}

}  // namespace rakv::raftlog
