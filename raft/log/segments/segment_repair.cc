// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/segment_repair.h"

#include <algorithm>

#include "cnode/base/check.h"
#include "raft/log/base/numbered_name.h"

namespace rakv::raftlog {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{1024} * 1024;

/// Copies a file and makes the copy's bytes durable.
Result<void> copy_file(Disk& disk, const std::string& from, const std::string& to) {
  const auto source = disk.open_read(from);
  if (!source) return source.error();
  const auto copy = disk.create(to);
  if (!copy) return copy.error();
  std::string piece(kCopyBytes, '\0');
  for (std::uint64_t at = 0;;) {
    const auto got = (*source)->pread(at, piece.data(), piece.size());
    if (!got) return got.error();
    if (*got == 0) break;
    if (auto done = (*copy)->pwrite(at, std::string_view(piece).substr(0, *got)); !done)
      return done;
    at += *got;
  }
  return (*copy)->fdatasync();
}

}  // namespace

Result<std::vector<SegmentSlot>> unreadable_slots(const Segment& segment) {
  std::vector<SegmentSlot> unreadable;
  for (const auto& slot : segment.slots()) {
    const auto entry = segment.read(slot);
    if (entry) continue;
    if (entry.error().code != ErrorCode::corrupt) return entry.error();
    unreadable.push_back(slot);
  }
  return unreadable;
}

Result<std::shared_ptr<const Segment>> replace_entries(
    Disk& disk, const std::string& directory, const SegmentDamage& damage,
    const std::map<Index, StoredEntry>& replacements, const std::shared_ptr<SegmentFiles>& files) {
  const Segment& segment = *damage.segment;
  if (auto done = copy_file(disk, segment.path(), segment.path() + ".bad"); !done) {
    return done.error();
  }
  const auto count = segment.slots().size() - damage.dropped.size();
  const std::string path = directory + "/" + numbered_name(segment.number(), ".compacting");
  auto writer = SegmentWriter::create(disk, path, static_cast<std::uint32_t>(count));
  if (!writer) return writer.error();
  const auto write_all = [&]() -> Result<void> {
    for (const auto& slot : segment.slots()) {
      if (damage.dropped.contains(slot.index)) continue;
      const auto replacement = replacements.find(slot.index);
      auto entry = replacement != replacements.end() ? Result<StoredEntry>(replacement->second)
                                                     : segment.read(slot);
      if (!entry) return entry.error();
      RAKV_CHECK_MSG(entry->term == slot.term, "a replacement is the same entry");
      if (auto done = (*writer)->append(*entry); !done) return done;
    }
    if (auto done = (*writer)->sync(); !done) return done;
    return disk.sync_directory(directory);
  };
  if (auto done = write_all(); !done) {
    static_cast<void>(disk.unlink(path));  // best effort: a start removes it too
    return done.error();
  }
  auto written =
      (*writer)->publish(segment.path(), segment.number(), files, std::span(&damage.segment, 1));
  if (!written) return written.error();
  if (auto done = disk.sync_directory(directory); !done) return done.error();
  return written;
}

}  // namespace rakv::raftlog
