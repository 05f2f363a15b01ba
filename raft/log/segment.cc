#include "raft/log/segment.h"

#include <algorithm>
#include <array>

#include "cnode/base/check.h"
#include "raft/log/big_endian.h"
#include "raft/log/checksum.h"

namespace rakv::log {
namespace {

constexpr std::size_t kHeaderSize = 8;

/// Sizes of the index record in both versions: index, term, offset (u64; u32 in version 1), size,
/// crc.
constexpr std::size_t record_size(std::uint16_t version) { return version == 1 ? 28 : 32; }

SegmentSlot read_slot(std::string_view bytes, std::size_t at, std::uint16_t version) {
  const std::size_t offset_size = version == 1 ? 4 : 8;
  SegmentSlot slot{};
  slot.index = get_big_endian<std::uint64_t>(bytes, at);
  slot.term = get_big_endian<std::uint64_t>(bytes, at + 8);
  slot.offset = version == 1 ? get_big_endian<std::uint32_t>(bytes, at + 16)
                             : get_big_endian<std::uint64_t>(bytes, at + 16);
  slot.size = get_big_endian<std::uint32_t>(bytes, at + 16 + offset_size);
  slot.crc = get_big_endian<std::uint32_t>(bytes, at + 20 + offset_size);
  return slot;
}

/// ra's index records have no checksum. Segments that we wrote end with one over header and index
/// region, "RKV1" crc32c:32. A BEAM that appends to the file writes over it.
constexpr std::string_view kSeal = "RKV1";

/// `head` may stop behind the last record that is used: the rest is zeros.
std::string seal_of(std::string_view head, std::size_t head_size) {
  std::string seal(kSeal);
  put_big_endian(seal, crc32c(crc32c(0, head), std::string(head_size - head.size(), '\0')));
  return seal;
}

/// False when the file ends with a seal that does not fit its head.
Result<bool> seal_fits(const File& file, std::string_view head) {
  const auto size = file.size();
  if (!size) return size.error();
  std::string seal(kSeal.size() + 4, '\0');
  if (*size < seal.size()) return true;
  const auto got = file.pread(*size - seal.size(), seal.data(), seal.size());
  if (!got) return got.error();
  return *got < seal.size() || !seal.starts_with(kSeal) || seal == seal_of(head, head.size());
}

/// An index record that goes back voids what is at and above it; a later one of the same index
/// replaces it.
void add_slot(std::vector<SegmentSlot>& slots, const SegmentSlot& slot) {
  while (!slots.empty() && slots.back().index >= slot.index) slots.pop_back();
  slots.push_back(slot);
}

}  // namespace

Result<std::shared_ptr<const Segment>> Segment::open(Disk& disk, const std::string& path,
                                                     std::uint64_t number) {
  auto file = disk.open_read(path);
  if (!file) return file.error();
  std::string header(kHeaderSize, '\0');
  const auto got = (*file)->pread(0, header.data(), header.size());
  if (!got) return got.error();
  if (*got < kHeaderSize || !header.starts_with("RASG")) {
    return make_error(ErrorCode::corrupt,
                      path + ": is not a segment (it does not begin with RASG)");
  }
  const auto version = get_big_endian<std::uint16_t>(header, 4);
  const auto max_count = get_big_endian<std::uint16_t>(header, 6);
  if (version != 1 && version != 2) {
    return make_error(ErrorCode::unsupported, path + ": is a segment of version " +
                                                  std::to_string(version) +
                                                  "; this program reads versions 1 and 2");
  }
  std::string region(record_size(version) * max_count, '\0');
  const auto region_size = (*file)->pread(kHeaderSize, region.data(), region.size());
  if (!region_size) return region_size.error();
  std::shared_ptr<Segment> segment(new Segment());
  for (std::size_t at = 0; at + record_size(version) <= *region_size; at += record_size(version)) {
    const SegmentSlot slot = read_slot(region, at, version);
    if (slot.offset == 0) break;  // unused from here on
    add_slot(segment->slots_, slot);
  }
  if (*region_size < region.size() && !segment->slots_.empty()) {
    return make_error(ErrorCode::corrupt, path + ": ends within its index");
  }
  const auto fits = seal_fits(**file, header + region);
  if (!fits) return fits.error();
  if (!*fits) {
    return make_error(ErrorCode::corrupt, path + ": the checksum of its index does not fit");
  }
  segment->path_ = path;
  segment->number_ = number;
  segment->file_ = std::move(*file);
  return std::shared_ptr<const Segment>(std::move(segment));
}

Result<std::shared_ptr<const Segment>> Segment::create(Disk& disk, const std::string& path,
                                                       std::uint64_t number,
                                                       const std::vector<Entry>& entries,
                                                       const SegmentOptions& options) {
  RAKV_CHECK(!entries.empty() && entries.size() <= options.max_entries);
  RAKV_CHECK(options.max_entries <= UINT16_MAX);
  std::shared_ptr<Segment> segment(new Segment());
  std::string head("RASG");
  put_big_endian(head, std::uint16_t{2});
  put_big_endian(head, static_cast<std::uint16_t>(options.max_entries));
  const std::uint64_t data_at = kHeaderSize + record_size(2) * options.max_entries;
  std::uint64_t offset = data_at;
  std::vector<IoSlice> data;
  for (const auto& entry : entries) {
    const std::string_view payload = entry.payload.view();
    RAKV_CHECK(segment->slots_.empty() || segment->slots_.back().index < entry.index);
    const SegmentSlot slot{entry.index, entry.term, offset,
                           static_cast<std::uint32_t>(payload.size()), crc32(0, payload)};
    put_big_endian(head, slot.index);
    put_big_endian(head, slot.term);
    put_big_endian(head, slot.offset);
    put_big_endian(head, slot.size);
    put_big_endian(head, slot.crc);
    segment->slots_.push_back(slot);
    if (!payload.empty()) data.push_back({payload.data(), payload.size()});
    offset += payload.size();
  }
  const std::string temporary = path + ".tmp";
  auto file = disk.create(temporary);
  if (!file) return file.error();
  if (auto done = (*file)->pwrite(0, head); !done) return done.error();
  const std::string seal = seal_of(head, data_at);
  data.push_back({seal.data(), seal.size()});
  if (auto done = (*file)->pwritev(data_at, data); !done) return done.error();
  if (auto done = (*file)->fdatasync(); !done) return done.error();
  if (auto done = disk.rename(temporary, path); !done) return done.error();
  segment->path_ = path;
  segment->number_ = number;
  segment->file_ = std::move(*file);
  return std::shared_ptr<const Segment>(std::move(segment));
}

const SegmentSlot* Segment::find(Index index) const {
  const auto found =
      std::lower_bound(slots_.begin(), slots_.end(), index,
                       [](const SegmentSlot& slot, Index wanted) { return slot.index < wanted; });
  return found != slots_.end() && found->index == index ? &*found : nullptr;
}

Result<Entry> Segment::read(const SegmentSlot& slot) const {
  Entry entry{slot.index, slot.term, SharedBytes::uninitialized(slot.size)};
  const auto got = file_->pread(slot.offset, entry.payload.mutable_data(), slot.size);
  if (!got) return got.error();
  if (*got < slot.size) {
    return make_error(ErrorCode::corrupt, path_ + ": entry " + std::to_string(slot.index) +
                                              " lies beyond the end of the file");
  }
  if (slot.crc != 0 && slot.crc != crc32(0, entry.payload.view())) {
    return make_error(ErrorCode::corrupt, path_ + ": the checksum of entry " +
                                              std::to_string(slot.index) + " does not fit");
  }
  return entry;
}

}  // namespace rakv::log
