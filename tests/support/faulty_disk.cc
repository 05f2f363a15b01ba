// SPDX-License-Identifier: Apache-2.0
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {

class FaultyDisk::OpenFile final : public File {
 public:
  OpenFile(FaultyDisk& disk, std::string path, std::unique_ptr<File> below)
      : disk_(disk), path_(std::move(path)), below_(std::move(below)) {}

  Result<void> pwritev(std::uint64_t offset, std::span<const IoSlice> slices) override {
    const bool was_stopped = disk_.stopped();
    if (auto error = disk_.check(DiskOperation::write, path_, true)) {
      // The operation at which the machine stops gets half way.
      if (!was_stopped && disk_.stopped()) write_half(offset, slices);
      return *error;
    }
    return below_->pwritev(offset, slices);
  }
  Result<std::size_t> pread(std::uint64_t offset, void* into, std::size_t size) const override {
    if (auto error = disk_.check(DiskOperation::read, path_, false)) return *error;
    return below_->pread(offset, into, size);
  }
  Result<void> fdatasync() override {
    if (auto error = disk_.check(DiskOperation::sync, path_, true)) return *error;
    return below_->fdatasync();
  }
  Result<std::uint64_t> size() const override { return below_->size(); }
  Result<void> reserve(std::uint64_t offset, std::uint64_t size) override {
    if (auto error = disk_.check(DiskOperation::reserve, path_, true)) return *error;
    return below_->reserve(offset, size);
  }

 private:
  void write_half(std::uint64_t offset, std::span<const IoSlice> slices) {
    std::string bytes;
    for (const auto& slice : slices) bytes.append(static_cast<const char*>(slice.data), slice.size);
    bytes.resize(bytes.size() / 2);
    static_cast<void>(below_->pwrite(offset, bytes));
  }

  FaultyDisk& disk_;
  std::string path_;
  std::unique_ptr<File> below_;
};

std::optional<Error> FaultyDisk::check(DiskOperation operation, const std::string& path,
                                       bool changes) {
  ++calls_;
  if (stopped()) return make_error(ErrorCode::io, path + ": the machine is off");
  if (changes && ++count_ >= stop_at_) {
    return make_error(ErrorCode::io, path + ": the machine went off");
  }
  return rule_ ? rule_(operation, path) : std::nullopt;
}

Result<std::unique_ptr<File>> FaultyDisk::open_read(const std::string& path) {
  if (auto error = check(DiskOperation::open, path, false)) return *error;
  auto below = below_.open_read(path);
  if (!below) return below.error();
  return std::unique_ptr<File>(std::make_unique<OpenFile>(*this, path, std::move(*below)));
}

Result<std::unique_ptr<File>> FaultyDisk::open_write(const std::string& path) {
  if (auto error = check(DiskOperation::open, path, false)) return *error;
  auto below = below_.open_write(path);
  if (!below) return below.error();
  return std::unique_ptr<File>(std::make_unique<OpenFile>(*this, path, std::move(*below)));
}

Result<std::unique_ptr<File>> FaultyDisk::create(const std::string& path) {
  if (auto error = check(DiskOperation::create, path, true)) return *error;
  auto below = below_.create(path);
  if (!below) return below.error();
  return std::unique_ptr<File>(std::make_unique<OpenFile>(*this, path, std::move(*below)));
}

Result<void> FaultyDisk::rename(const std::string& from, const std::string& to) {
  if (auto error = check(DiskOperation::rename, to, true)) return *error;
  return below_.rename(from, to);
}

Result<void> FaultyDisk::unlink(const std::string& path) {
  if (auto error = check(DiskOperation::unlink, path, true)) return *error;
  return below_.unlink(path);
}

Result<void> FaultyDisk::make_directory(const std::string& path) {
  if (auto error = check(DiskOperation::make_directory, path, true)) return *error;
  return below_.make_directory(path);
}

Result<void> FaultyDisk::remove_directory(const std::string& path) {
  if (auto error = check(DiskOperation::remove_directory, path, true)) return *error;
  return below_.remove_directory(path);
}

Result<std::vector<DirectoryEntry>> FaultyDisk::list(const std::string& path) {
  if (auto error = check(DiskOperation::list, path, false)) return *error;
  return below_.list(path);
}

Result<void> FaultyDisk::sync_directory(const std::string& path) {
  if (auto error = check(DiskOperation::sync_directory, path, true)) return *error;
  return below_.sync_directory(path);
}

Result<bool> FaultyDisk::exists(const std::string& path) {
  if (auto error = check(DiskOperation::list, path, false)) return *error;
  return below_.exists(path);
}

Result<std::unique_ptr<FileLock>> FaultyDisk::lock(const std::string& path) {
  if (auto error = check(DiskOperation::lock, path, false)) return *error;
  return below_.lock(path);
}

Result<DiskSpace> FaultyDisk::space(const std::string& path) {
  return space_ ? Result<DiskSpace>(*space_) : below_.space(path);
}

}  // namespace rakv::raftlog
