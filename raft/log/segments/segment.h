// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"

// Segment files (ra_log_segment.erl, "RASG"): an index region of fixed records and the entries'
// bytes after it. We write version 2, whole files at a time, never to a file again; versions 1 and
// 2 are read.

namespace rakv::raftlog {

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

class Segment;

/// Which files the segments of all members of a system are read from. Any thread may use it.
///
/// It holds open the files that were read last, at most `max_open`, and knows which segments have
/// been merged into another one: whoever still has those reads their entries there.
class SegmentFiles {
 public:
  static constexpr std::size_t kMaxOpen = 256;
  explicit SegmentFiles(Disk& disk, std::size_t max_open = kMaxOpen)
      : disk_(disk), max_open_(max_open) {}
  std::size_t open_count() const;

  /// The segment's file has been opened.
  void add(const Segment& segment, std::shared_ptr<const File> file);
  /// The segment is destroyed.
  void remove(const Segment& segment);
  /// Where the segment's entries are: in a file, or in the segment that has replaced it.
  struct Source {
    std::shared_ptr<const File> file;
    std::shared_ptr<const Segment> successor;
  };
  /// Opens the file if it is not open.
  Result<Source> source_of(const Segment& segment);
  /// Renames `temporary`, open as `file`, to the segment's path. From then on the `replaced` ones
  /// are read there. After an error all is as it was, and the segment must be given up.
  Result<void> publish(const std::string& temporary, std::shared_ptr<const File> file,
                       const std::shared_ptr<const Segment>& segment,
                       std::span<const std::shared_ptr<const Segment>> replaced);

 private:
  struct OpenFile {
    const Segment* segment;
    std::shared_ptr<const File> file;
  };
  // The lock is held by the caller of these two.
  void close_oldest(std::size_t count);
  void put(const Segment& segment, std::shared_ptr<const File> file);

  Disk& disk_;
  std::size_t max_open_;
  mutable std::mutex mutex_;  // guards what is below
  std::list<OpenFile> open_;  // the one used last is first
  std::unordered_map<const Segment*, std::list<OpenFile>::iterator> places_;
  std::unordered_map<const Segment*, std::shared_ptr<const File>> unnamed_;  // during publish()
  std::unordered_map<const Segment*, std::shared_ptr<const Segment>> successors_;
};

/// A segment: its index in memory, entries read on demand. read() may be called from any thread.
class Segment {
 public:
  /// For open() and SegmentWriter. `sealed`: written by us, so a checksum of 0 is one like any
  /// other. Its file is made known to `files` afterwards.
  Segment(std::string path, std::uint64_t number, std::vector<SegmentSlot> slots, bool sealed,
          std::shared_ptr<SegmentFiles> files);
  /// Reads header and index region. Index records going backwards void what is above (as ra reads
  /// them).
  static Result<std::shared_ptr<const Segment>> open(Disk& disk, const std::string& path,
                                                     std::uint64_t number,
                                                     std::shared_ptr<SegmentFiles> files = nullptr);
  /// Writes entries (ascending indexes) to PATH via PATH.tmp, synced and renamed; the directory is
  /// left to be synced by the caller. Gives the opened segment.
  static Result<std::shared_ptr<const Segment>> create(
      Disk& disk, const std::string& path, std::uint64_t number,
      const std::vector<StoredEntry>& entries, const SegmentOptions& options,
      std::shared_ptr<SegmentFiles> files = nullptr);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  std::uint64_t number() const { return number_; }
  const std::string& path() const { return path_; }
  /// Ascending by index, each once.
  const std::vector<SegmentSlot>& slots() const { return slots_; }
  const SegmentSlot* find(Index index) const;
  /// From the first to the last index; the segment may have gaps. Nothing when it has no entry.
  std::optional<IndexRange> range() const;
  /// Sum of the entries' sizes.
  std::uint64_t bytes() const { return bytes_; }
  /// The entry's bytes, CRC checked: corrupt when it does not fit. Of a segment that was merged
  /// into another one meanwhile, the entry is read there; not_found when it was not needed any
  /// more.
  Result<StoredEntry> read(const SegmentSlot& slot) const;

 private:
  std::string path_;
  std::uint64_t number_;
  std::vector<SegmentSlot> slots_;
  std::uint64_t bytes_ = 0;
  bool sealed_;
  std::shared_ptr<SegmentFiles> files_;
};

/// Writes one segment file entry by entry, so that a merge of segments is never whole in memory.
class SegmentWriter {
 public:
  /// Creates `path`, or empties it, for at most `max_count` entries (up to 65,535).
  static Result<std::unique_ptr<SegmentWriter>> create(Disk& disk, std::string path,
                                                       std::uint32_t max_count);
  /// Indexes must ascend.
  Result<void> append(const StoredEntry& entry);
  /// Writes what is buffered and the index, and makes the file's content durable.
  Result<void> sync();
  /// After sync(): renames the file to `path`, as segment `number`. From then on `replaced`
  /// segments read their entries here, whoever still holds them. The directory is left to be
  /// synced by the caller.
  Result<std::shared_ptr<const Segment>> publish(
      const std::string& path, std::uint64_t number, std::shared_ptr<SegmentFiles> files,
      std::span<const std::shared_ptr<const Segment>> replaced = {});

 private:
  SegmentWriter(Disk& disk, std::string path, std::uint32_t max_count);
  Result<void> write_buffer();

  Disk& disk_;
  std::string path_;
  std::uint32_t max_count_;
  std::unique_ptr<File> file_;
  std::vector<SegmentSlot> slots_;
  std::string buffer_;            // after what is in the file
  std::uint64_t file_end_ = 0;    // where the buffer will go
  std::uint64_t data_begin_ = 0;  // after the index region
};

}  // namespace rakv::raftlog
