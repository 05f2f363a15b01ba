#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/disk.h"
#include "raft/log/types.h"

// Segment files (ra_log_segment.erl, "RASG"): an index region of fixed records and the entries'
// bytes behind it. We write version 2, whole files at a time, never to a file again; versions 1 and
// 2 are read.

namespace rakv::log {

struct SegmentOptions {
  std::uint32_t max_entries = 4096;
  std::uint64_t max_size_bytes = 64'000'000;  ///< of entries' bytes; one entry may overshoot
};

/// Where an entry is in a segment.
struct SegmentSlot {
  Index index;
  Term term;
  std::uint64_t offset;
  std::uint32_t size;
  std::uint32_t crc;
};

/// An open segment: its index in memory, entries read on demand. read() may be called from any
/// thread.
class Segment {
 public:
  /// Reads header and index region. Index records going backwards void what is above (as ra reads
  /// them).
  static Result<std::shared_ptr<const Segment>> open(Disk& disk, const std::string& path,
                                                     std::uint64_t number);
  /// Writes entries (ascending indexes) to PATH via PATH.tmp, synced and renamed; the directory is
  /// left to be synced by the caller. Gives the opened segment.
  static Result<std::shared_ptr<const Segment>> create(Disk& disk, const std::string& path,
                                                       std::uint64_t number,
                                                       const std::vector<Entry>& entries,
                                                       const SegmentOptions& options);

  std::uint64_t number() const { return number_; }
  const std::string& path() const { return path_; }
  /// Ascending by index, each once.
  const std::vector<SegmentSlot>& slots() const { return slots_; }
  const SegmentSlot* find(Index index) const;
  /// The entry's bytes, CRC checked: corrupt when it does not fit.
  Result<Entry> read(const SegmentSlot& slot) const;

 private:
  Segment() = default;
  std::string path_;
  std::uint64_t number_ = 0;
  std::unique_ptr<File> file_;
  std::vector<SegmentSlot> slots_;
};

}  // namespace rakv::log
