// SPDX-License-Identifier: Apache-2.0
#include "tests/support/memory_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/support/file_bytes.h"

namespace rakv::raftlog {
namespace {

constexpr std::size_t kSectorSize = 512;

/// Copies the sector that begins at `at` as far as both files have it.
void copy_sector(const FileBytes& from, std::size_t at, FileBytes& to) {
  if (at >= std::min(from.size(), to.size())) return;
  char sector[kSectorSize];
  const std::size_t size = std::min({kSectorSize, from.size() - at, to.size() - at});
  from.read(at, sector, size);
  to.write(at, {sector, size});
}

/// What a random crash leaves of a file: its length is somewhere between the durable and the
/// present one, and each sector has its durable or its present bytes.
FileBytes torn(const FileBytes& durable, const FileBytes& live, std::mt19937_64& random) {
  const std::size_t low = std::min(durable.size(), live.size());
  const std::size_t high = std::max(durable.size(), live.size());
  FileBytes left;
  left.resize(low + random() % (high - low + 1));
  for (std::size_t at = 0; at < left.size(); at += kSectorSize) {
    copy_sector(random() % 2 == 0 ? durable : live, at, left);
  }
  return left;
}

bool same(const FileBytes& left, const FileBytes& right, std::size_t at, std::size_t size) {
  char here[kSectorSize];
  char there[kSectorSize];
  left.read(at, here, size);
  right.read(at, there, size);
  return std::memcmp(here, there, size) == 0;
}

Error missing(const std::string& path) {
  return make_error(ErrorCode::not_found, path + ": no such file or directory");
}

}  // namespace

struct MemoryDisk::Node {
  bool is_directory = false;
  FileBytes bytes;
  FileBytes durable_bytes;
  std::set<std::size_t> given_up;  // sectors that no sync writes until they are written again

  /// What a sync would make durable.
  FileBytes syncable() const {
    static constexpr char kZeros[kSectorSize] = {};
    FileBytes all = bytes;
    for (const std::size_t sector : given_up) {
      const std::size_t begin = sector * kSectorSize;
      if (begin >= all.size()) continue;
      all.write(begin, {kZeros, std::min(kSectorSize, all.size() - begin)});
      copy_sector(durable_bytes, begin, all);
    }
    return all;
  }
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> durable_entries;
};

class MemoryDisk::OpenFile final : public File {
 public:
  OpenFile(NodePtr node, std::uint64_t reserve_at_most)
      : node_(std::move(node)), reserve_at_most_(reserve_at_most) {}
  Result<void> pwritev(std::uint64_t offset, std::span<const IoSlice> slices) override {
    for (const auto& slice : slices) {
      node_->bytes.write(offset, {static_cast<const char*>(slice.data), slice.size});
      if (!node_->given_up.empty() && slice.size != 0) {
        node_->given_up.erase(node_->given_up.lower_bound(offset / kSectorSize),
                              node_->given_up.upper_bound((offset + slice.size - 1) / kSectorSize));
      }
      offset += slice.size;
    }
    return {};
  }
  Result<std::size_t> pread(std::uint64_t offset, void* into, std::size_t size) const override {
    if (offset >= node_->bytes.size()) return std::size_t{0};
    const std::size_t got = std::min<std::size_t>(size, node_->bytes.size() - offset);
    node_->bytes.read(offset, static_cast<char*>(into), got);
    return got;
  }
  Result<void> fdatasync() override {
    node_->durable_bytes = node_->given_up.empty() ? node_->bytes : node_->syncable();
    return {};
  }
  Result<std::uint64_t> size() const override { return std::uint64_t{node_->bytes.size()}; }
  Result<void> reserve(std::uint64_t offset, std::uint64_t size) override {
    const std::uint64_t end = offset + std::min(size, reserve_at_most_);
    if (reserve_at_most_ != 0 && node_->bytes.size() < end) node_->bytes.resize(end);
    return {};
  }

 private:
  NodePtr node_;
  std::uint64_t reserve_at_most_;
};

class MemoryDisk::HeldLock final : public FileLock {
 public:
  HeldLock(std::shared_ptr<std::set<std::string>> held, std::string path)
      : held_(std::move(held)), path_(std::move(path)) {}
  ~HeldLock() override { held_->erase(path_); }

 private:
  std::shared_ptr<std::set<std::string>> held_;
  std::string path_;
};

MemoryDisk::MemoryDisk() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
MemoryDisk::~MemoryDisk() = default;

Result<MemoryDisk::Place> MemoryDisk::find(const std::string& path) const {
  Place place{nullptr, "", root_};
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (!place.node || !place.node->is_directory) return missing(path);
    place.parent = place.node;
    place.name = part;
    const auto found = place.parent->entries.find(part);
    place.node = found == place.parent->entries.end() ? nullptr : found->second;
  }
  return place;
}

Result<MemoryDisk::NodePtr> MemoryDisk::find_file(const std::string& path) const {
  auto place = find(path);
  if (!place) return place.error();
  if (!place->node) return missing(path);
  if (place->node->is_directory) return make_error(ErrorCode::io, path + ": is a directory");
  return place->node;
}

Result<MemoryDisk::NodePtr> MemoryDisk::find_directory(const std::string& path) const {
  auto place = find(path);
  if (!place) return place.error();
  if (!place->node) return missing(path);
  if (!place->node->is_directory) return make_error(ErrorCode::io, path + ": is not a directory");
  return place->node;
}

Result<std::unique_ptr<File>> MemoryDisk::open_read(const std::string& path) {
  auto node = find_file(path);
  if (!node) return node.error();
  return std::unique_ptr<File>(std::make_unique<OpenFile>(*node, reserve_at_most_));
}

Result<std::unique_ptr<File>> MemoryDisk::open_write(const std::string& path) {
  return open_read(path);
}

Result<std::unique_ptr<File>> MemoryDisk::create(const std::string& path) {
  auto place = find(path);
  if (!place) return place.error();
  if (!place->parent) return make_error(ErrorCode::io, path + ": is a directory");
  if (!place->node) {
    place->node = std::make_shared<Node>();
    place->parent->entries[place->name] = place->node;
  }
  if (place->node->is_directory) return make_error(ErrorCode::io, path + ": is a directory");
  place->node->bytes.resize(0);
  place->node->given_up.clear();
  return std::unique_ptr<File>(std::make_unique<OpenFile>(place->node, reserve_at_most_));
}

Result<void> MemoryDisk::rename(const std::string& from, const std::string& to) {
  auto source = find(from);
  if (!source) return source.error();
  if (!source->node || !source->parent) return missing(from);
  auto target = find(to);
  if (!target) return target.error();
  if (!target->parent) return make_error(ErrorCode::io, to + ": is the root");
  source->parent->entries.erase(source->name);
  target->parent->entries[target->name] = source->node;
  return {};
}

Result<void> MemoryDisk::unlink(const std::string& path) {
  auto place = find(path);
  if (!place) return place.error();
  if (!place->node || !place->parent) return missing(path);
  if (place->node->is_directory) return make_error(ErrorCode::io, path + ": is a directory");
  place->parent->entries.erase(place->name);
  return {};
}

Result<void> MemoryDisk::make_directory(const std::string& path) {
  auto place = find(path);
  if (!place) return place.error();
  if (place->node) return make_error(ErrorCode::already_exists, path + ": exists already");
  auto made = std::make_shared<Node>();
  made->is_directory = true;
  place->parent->entries[place->name] = std::move(made);
  return {};
}

Result<void> MemoryDisk::remove_directory(const std::string& path) {
  auto node = find_directory(path);
  if (!node) return node.error();
  if (!(*node)->entries.empty()) return make_error(ErrorCode::io, path + ": is not empty");
  auto place = find(path);
  if (!place->parent) return make_error(ErrorCode::io, path + ": is the root");
  place->parent->entries.erase(place->name);
  return {};
}

Result<std::vector<DirectoryEntry>> MemoryDisk::list(const std::string& path) {
  auto node = find_directory(path);
  if (!node) return node.error();
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, child] : (*node)->entries) {
    entries.push_back(
        {name, child->is_directory ? DirectoryEntry::Kind::directory : DirectoryEntry::Kind::file});
  }
  return entries;
}

Result<void> MemoryDisk::sync_directory(const std::string& path) {
  auto node = find_directory(path);
  if (!node) return node.error();
  (*node)->durable_entries = (*node)->entries;
  return {};
}

Result<bool> MemoryDisk::exists(const std::string& path) {
  auto place = find(path);
  if (!place) return false;
  return place->node != nullptr;
}

Result<std::unique_ptr<FileLock>> MemoryDisk::lock(const std::string& path) {
  auto place = find(path);
  if (!place) return place.error();
  if (!place->parent) return make_error(ErrorCode::io, path + ": is a directory");
  if (!locked_->insert(path).second) {
    return make_error(ErrorCode::unavailable, path + ": is locked by another process");
  }
  if (!place->node) place->parent->entries[place->name] = std::make_shared<Node>();
  return std::unique_ptr<FileLock>(std::make_unique<HeldLock>(locked_, path));
}

std::unique_ptr<MemoryDisk> MemoryDisk::clone() const {
  std::map<const Node*, NodePtr> made;  // a node that both trees name stays one node
  const std::function<NodePtr(const NodePtr&)> copy = [&](const NodePtr& node) {
    NodePtr& twin = made[node.get()];
    if (twin) return twin;
    twin = std::make_shared<Node>();
    NodePtr filled = twin;
    filled->is_directory = node->is_directory;
    filled->bytes = node->bytes;
    filled->durable_bytes = node->durable_bytes;
    filled->given_up = node->given_up;
    for (const auto& [name, child] : node->entries) filled->entries[name] = copy(child);
    for (const auto& [name, child] : node->durable_entries) {
      filled->durable_entries[name] = copy(child);
    }
    return filled;
  };
  auto disk = std::make_unique<MemoryDisk>();
  disk->root_ = copy(root_);
  disk->reserve_at_most_ = reserve_at_most_;
  return disk;
}

void MemoryDisk::visit_durable(
    const std::function<void(const std::string& path, const std::string& bytes)>& visit) const {
  visit_durable_node(*root_, "", visit);
}

void MemoryDisk::visit_durable_node(
    const Node& node, const std::string& path,
    const std::function<void(const std::string& path, const std::string& bytes)>& visit) {
  if (!node.is_directory) return visit(path, node.durable_bytes.text());
  const std::string directory = path + "/";
  for (const auto& [name, child] : node.durable_entries)
    visit_durable_node(*child, directory + name, visit);
}

void MemoryDisk::give_up_unsynced(const std::string& path) {
  const auto node = find_file(path);
  if (!node) return;
  Node& file = **node;
  for (std::size_t begin = 0; begin < file.bytes.size(); begin += kSectorSize) {
    const std::size_t size = std::min(kSectorSize, file.bytes.size() - begin);
    if (begin + size > file.durable_bytes.size() ||
        !same(file.bytes, file.durable_bytes, begin, size))
      file.given_up.insert(begin / kSectorSize);
  }
}

void MemoryDisk::flip(const std::string& path, std::size_t at, char bits) {
  const auto node = find_file(path);
  if (!node) return;
  for (FileBytes* bytes : {&(*node)->bytes, &(*node)->durable_bytes}) {
    if (at >= bytes->size()) continue;
    char byte = 0;
    bytes->read(at, &byte, 1);
    byte = static_cast<char>(byte ^ bits);
    bytes->write(at, {&byte, 1});
  }
}

void MemoryDisk::crash(CrashMode mode, std::uint64_t seed) {
  locked_ = std::make_shared<std::set<std::string>>();
  if (mode == CrashMode::keep_everything) return;
  std::mt19937_64 random(seed);
  crash_node(*root_, mode, random);
}

void MemoryDisk::crash_node(Node& node, CrashMode mode, std::mt19937_64& random) {
  if (!node.is_directory) {
    node.bytes = mode == CrashMode::random ? torn(node.durable_bytes, node.syncable(), random)
                                           : node.durable_bytes;
    node.durable_bytes = node.bytes;
    node.given_up.clear();
    return;
  }
  auto left = node.durable_entries;
  if (mode == CrashMode::random) {
    std::set<std::string> names;
    for (const auto& [name, child] : node.entries) names.insert(name);
    for (const auto& [name, child] : node.durable_entries) names.insert(name);
    for (const auto& name : names) {
      if (random() % 2 == 0) continue;
      const auto live = node.entries.find(name);
      if (live == node.entries.end()) {
        left.erase(name);
      } else {
        left[name] = live->second;
      }
    }
  }
  node.entries = left;
  node.durable_entries = std::move(left);
  for (const auto& [name, child] : node.entries) crash_node(*child, mode, random);
}

}  // namespace rakv::raftlog
