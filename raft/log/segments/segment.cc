// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/segment.h"

#include <algorithm>
#include <utility>

#include "cnode/base/byte_order.h"
#include "cnode/base/check.h"
#include "raft/log/base/checksum.h"

namespace rakv::raftlog {
namespace {

constexpr std::size_t kHeaderSize = 8;
/// A SegmentWriter gathers payloads up to this size; larger ones are written from where they are.
constexpr std::size_t kWriteBufferBytes = std::size_t{1024} * 1024;

/// Entries up to this size are read without asking for the file's size first.
constexpr std::uint32_t kCheckedBelow = 64 * 1024;

/// Sizes of the index record in both versions: index, term, offset (u64; u32 in version 1), size,
/// crc.
constexpr std::size_t record_size(std::uint16_t version) { return version == 1 ? 28 : 32; }

SegmentSlot read_slot(std::string_view bytes, std::size_t at, std::uint16_t version) {
  const std::size_t offset_size = version == 1 ? 4 : 8;
  SegmentSlot slot{};
  slot.index = load_number<std::uint64_t>(bytes, at);
  slot.term = load_number<std::uint64_t>(bytes, at + 8);
  slot.offset = version == 1 ? load_number<std::uint32_t>(bytes, at + 16)
                             : load_number<std::uint64_t>(bytes, at + 16);
  slot.size = load_number<std::uint32_t>(bytes, at + 16 + offset_size);
  slot.crc = load_number<std::uint32_t>(bytes, at + 20 + offset_size);
  return slot;
}

/// ra's index records have no checksum. Segments that we wrote end with one over header and index
/// region, "RKV1" crc32c:32. A BEAM that appends to the file writes over it.
constexpr std::string_view kSegmentSeal = "RKV1";

/// `head` may stop after the last record that is used: the rest is zeros.
std::string seal_of(std::string_view head, std::size_t head_size) {
  std::string seal(kSegmentSeal);
  put_number(seal, crc32c(crc32c(0, head), std::string(head_size - head.size(), '\0')));
  return seal;
}

/// Whether the file ends with a seal; nothing when that does not fit its head.
Result<std::optional<bool>> read_seal(const File& file, std::string_view head) {
  const auto size = file.size();
  if (!size) return size.error();
  std::string seal(kSegmentSeal.size() + 4, '\0');
  if (*size < seal.size()) return std::optional(false);
  const auto got = file.pread(*size - seal.size(), seal.data(), seal.size());
  if (!got) return got.error();
  if (*got < seal.size() || !seal.starts_with(kSegmentSeal)) return std::optional(false);
  return seal == seal_of(head, head.size()) ? std::optional(true) : std::optional<bool>();
}

/// An index record that goes back voids what is at and above it; a later one of the same index
/// replaces it.
void add_slot(std::vector<SegmentSlot>& slots, const SegmentSlot& slot) {
  while (!slots.empty() && slots.back().index >= slot.index) slots.pop_back();
  slots.push_back(slot);
}

}  // namespace

// ---- open files

std::size_t SegmentFiles::open_count() const {
  std::lock_guard lock(mutex_);
  return open_.size();
}

void SegmentFiles::add(const Segment& segment, std::shared_ptr<const File> file) {
  std::lock_guard lock(mutex_);
  put(segment, std::move(file));
}

void SegmentFiles::put(const Segment& segment, std::shared_ptr<const File> file) {
  open_.push_front({&segment, std::move(file)});
  places_[&segment] = open_.begin();
  if (open_.size() > max_open_) close_oldest(1);
}

/// A reader that uses one right now keeps it open until it is done.
void SegmentFiles::close_oldest(std::size_t count) {
  for (; count > 0 && !open_.empty(); --count) {
    places_.erase(open_.back().segment);
    open_.pop_back();
  }
}

void SegmentFiles::remove(const Segment& segment) {
  std::shared_ptr<const Segment> successor;  // may end here, and must not under the lock
  std::lock_guard lock(mutex_);
  if (auto replaced = successors_.extract(&segment)) successor = std::move(replaced.mapped());
  const auto found = places_.find(&segment);
  if (found == places_.end()) return;
  open_.erase(found->second);
  places_.erase(found);
}

/// A file that is not open is opened under the lock: its name may be given to a merged segment, and
/// publish() says so under the lock before it does that.
Result<SegmentFiles::Source> SegmentFiles::source_of(const Segment& segment) {
  std::lock_guard lock(mutex_);
  if (const auto found = unnamed_.find(&segment); found != unnamed_.end()) {
    return Source{found->second, nullptr};
  }
  if (const auto found = places_.find(&segment); found != places_.end()) {
    open_.splice(open_.begin(), open_, found->second);
    return Source{found->second->file, nullptr};
  }
  if (const auto found = successors_.find(&segment); found != successors_.end()) {
    return Source{nullptr, found->second};
  }
  auto file = disk_.open_read(segment.path());
  if (!file && file.error().code == ErrorCode::io && !open_.empty()) {
    // There may be no descriptor left: those that were not used for the longest time give way.
    close_oldest((open_.size() + 1) / 2);
    file = disk_.open_read(segment.path());
  }
  if (!file) return file.error();
  std::shared_ptr<const File> shared = std::move(*file);
  put(segment, shared);
  return Source{std::move(shared), nullptr};
}

Result<void> SegmentFiles::publish(const std::string& temporary, std::shared_ptr<const File> file,
                                   const std::shared_ptr<const Segment>& segment,
                                   std::span<const std::shared_ptr<const Segment>> replaced) {
  {
    std::lock_guard lock(mutex_);
    unnamed_[segment.get()] = std::move(file);
    for (const auto& old : replaced) successors_[old.get()] = segment;
  }
  auto renamed = disk_.rename(temporary, segment->path());
  std::lock_guard lock(mutex_);
  put(*segment, std::move(unnamed_.extract(segment.get()).mapped()));
  if (!renamed) {
    for (const auto& old : replaced) successors_.erase(old.get());
  }
  return renamed;
}

// ---- reading

Result<std::shared_ptr<const Segment>> Segment::open(Disk& disk, const std::string& path,
                                                     std::uint64_t number,
                                                     std::shared_ptr<SegmentFiles> files) {
  auto file = disk.open_read(path);
  if (!file) return file.error();
  std::string header(kHeaderSize, '\0');
  const auto got = (*file)->pread(0, header.data(), header.size());
  if (!got) return got.error();
  if (*got < kHeaderSize || !header.starts_with("RASG")) {
    return make_error(ErrorCode::corrupt,
                      path + ": is not a segment (it does not begin with RASG)");
  }
  const auto version = load_number<std::uint16_t>(header, 4);
  const auto max_count = load_number<std::uint16_t>(header, 6);
  if (version != 1 && version != 2) {
    return make_error(ErrorCode::unsupported, path + ": is a segment of version " +
                                                  std::to_string(version) +
                                                  "; this program reads versions 1 and 2");
  }
  std::string region(record_size(version) * max_count, '\0');
  const auto region_size = (*file)->pread(kHeaderSize, region.data(), region.size());
  if (!region_size) return region_size.error();
  std::vector<SegmentSlot> slots;
  for (std::size_t at = 0; at + record_size(version) <= *region_size; at += record_size(version)) {
    const SegmentSlot slot = read_slot(region, at, version);
    if (slot.offset == 0) break;  // unused from here on
    add_slot(slots, slot);
  }
  if (*region_size < region.size() && !slots.empty()) {
    return make_error(ErrorCode::corrupt, path + ": ends within its index");
  }
  const auto sealed = read_seal(**file, header + region);
  if (!sealed) return sealed.error();
  if (!*sealed) {
    return make_error(ErrorCode::corrupt, path + ": the checksum of its index does not fit");
  }
  if (!files) files = std::make_shared<SegmentFiles>(disk, 1);
  const auto segment =
      std::make_shared<const Segment>(path, number, std::move(slots), **sealed, files);
  files->add(*segment, std::move(*file));
  return segment;
}

Segment::Segment(std::string path, std::uint64_t number, std::vector<SegmentSlot> slots,
                 bool sealed, std::shared_ptr<SegmentFiles> files)
    : path_(std::move(path)),
      number_(number),
      slots_(std::move(slots)),
      sealed_(sealed),
      files_(std::move(files)) {
  slots_.shrink_to_fit();
  for (const auto& slot : slots_) bytes_ += slot.size;
}

Segment::~Segment() { files_->remove(*this); }

std::optional<IndexRange> Segment::range() const {
  if (slots_.empty()) return std::nullopt;
  return IndexRange{slots_.front().index, slots_.back().index};
}

const SegmentSlot* Segment::find(Index index) const {
  const auto found =
      std::lower_bound(slots_.begin(), slots_.end(), index,
                       [](const SegmentSlot& slot, Index wanted) { return slot.index < wanted; });
  return found != slots_.end() && found->index == index ? &*found : nullptr;
}

Result<StoredEntry> Segment::read(const SegmentSlot& slot) const {
  const auto from = files_->source_of(*this);
  if (!from) return from.error();
  if (from->successor) {
    if (const SegmentSlot* moved = from->successor->find(slot.index)) {
      return from->successor->read(*moved);
    }
    return make_error(ErrorCode::not_found, path_ + ": entry " + std::to_string(slot.index) +
                                                " is not needed any more and was removed");
  }
  const auto beyond_end = [&] {
    return make_error(ErrorCode::corrupt, path_ + ": entry " + std::to_string(slot.index) +
                                              " lies beyond the end of the file");
  };
  if (slot.size > kCheckedBelow) {  // a damaged size must not ask for gigabytes
    const auto size = from->file->size();
    if (!size) return size.error();
    if (slot.offset > *size || slot.size > *size - slot.offset) return beyond_end();
  }
  StoredEntry entry{slot.index, slot.term, SharedBytes::uninitialized(slot.size)};
  const auto got = from->file->pread(slot.offset, entry.payload.mutable_data(), slot.size);
  if (!got) return got.error();
  if (*got < slot.size) return beyond_end();
  if ((slot.crc != 0 || sealed_) && slot.crc != crc32(0, entry.payload.view())) {
    return make_error(ErrorCode::corrupt, path_ + ": the checksum of entry " +
                                              std::to_string(slot.index) + " does not fit");
  }
  return entry;
}

// ---- writing

Result<std::shared_ptr<const Segment>> Segment::create(Disk& disk, const std::string& path,
                                                       std::uint64_t number,
                                                       const std::vector<StoredEntry>& entries,
                                                       const SegmentOptions& options,
                                                       std::shared_ptr<SegmentFiles> files) {
  RAKV_CHECK(!entries.empty() && entries.size() <= options.max_entries);
  const std::string temporary = path + ".tmp";
  const auto write = [&]() -> Result<std::shared_ptr<const Segment>> {
    auto writer = SegmentWriter::create(disk, temporary, options.max_entries);
    if (!writer) return writer.error();
    for (const auto& entry : entries) {
      if (auto done = (*writer)->append(entry); !done) return done.error();
    }
    if (auto done = (*writer)->sync(); !done) return done.error();
    return (*writer)->publish(path, number, std::move(files));
  };
  auto segment = write();
  // On a full disk it takes up room that others need.
  if (!segment) static_cast<void>(disk.unlink(temporary));
  return segment;
}

SegmentWriter::SegmentWriter(Disk& disk, std::string path, std::uint32_t max_count)
    : disk_(disk),
      path_(std::move(path)),
      max_count_(max_count),
      file_end_(kHeaderSize + record_size(2) * max_count),
      data_begin_(file_end_) {}

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::create(Disk& disk, std::string path,
                                                             std::uint32_t max_count) {
  RAKV_CHECK(max_count <= UINT16_MAX);
  std::unique_ptr<SegmentWriter> writer(new SegmentWriter(disk, std::move(path), max_count));
  auto file = disk.create(writer->path_);
  if (!file) return file.error();
  writer->file_ = std::move(*file);
  return writer;
}

Result<void> SegmentWriter::append(const StoredEntry& entry) {
  RAKV_CHECK(slots_.size() < max_count_);
  RAKV_CHECK(slots_.empty() || slots_.back().index < entry.index);
  const std::string_view payload = entry.payload.view();
  if (buffer_.size() + payload.size() > kWriteBufferBytes) {
    if (auto done = write_buffer(); !done) return done;
  }
  slots_.push_back({entry.index, entry.term, file_end_ + buffer_.size(),
                    static_cast<std::uint32_t>(payload.size()), crc32(0, payload)});
  if (payload.size() <= kWriteBufferBytes) {
    buffer_ += payload;
    return {};
  }
  auto done = file_->pwrite(file_end_, payload);
  file_end_ += payload.size();
  return done;
}

Result<void> SegmentWriter::write_buffer() {
  if (buffer_.empty()) return {};
  auto done = file_->pwrite(file_end_, buffer_);
  file_end_ += buffer_.size();
  buffer_.clear();
  return done;
}

Result<void> SegmentWriter::sync() {
  std::string head("RASG");
  put_number(head, std::uint16_t{2});
  put_number(head, static_cast<std::uint16_t>(max_count_));
  for (const auto& slot : slots_) {
    put_number(head, slot.index);
    put_number(head, slot.term);
    put_number(head, slot.offset);
    put_number(head, slot.size);
    put_number(head, slot.crc);
  }
  buffer_ += seal_of(head, data_begin_);
  if (auto done = write_buffer(); !done) return done;
  if (auto done = file_->pwrite(0, head); !done) return done;
  return file_->fdatasync();
}

Result<std::shared_ptr<const Segment>> SegmentWriter::publish(
    const std::string& path, std::uint64_t number, std::shared_ptr<SegmentFiles> files,
    std::span<const std::shared_ptr<const Segment>> replaced) {
  if (!files) files = std::make_shared<SegmentFiles>(disk_, 1);
  const auto segment =
      std::make_shared<const Segment>(path, number, std::move(slots_), true, files);
  auto renamed = files->publish(path_, std::move(file_), segment, replaced);
  if (!renamed) return renamed.error();
  return segment;
}

}  // namespace rakv::raftlog
