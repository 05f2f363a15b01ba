// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// The bytes of a WAL file: what the writer and the recovery share. Layout as ra_log_wal.erl's:
//
//   file    "RAWA" 1 record*
//   record  T:1 K:1 ref:22 [uid_len:16 uid]  adler32:32 len:32 index:64 term:64 data
//
// T is never set by us. K = 1 says that the ref was defined earlier in this file. Adler-32 covers
// index, term and data.
//
// A batch mark is a record of the reserved UId, always with its UId inline, index = batch sequence,
// term 0, and as data
// `{Kind, <<Sequence:64, FirstOffset:64, Crc32c:32, FileSize:64, QuietParts:32, QuietSet:64,
// Pad/binary, Salt:64>>}` with Kind `start` (first record of the file), `batch` (end of each batch)
// or `final` (end of a file that was closed in order). Crc32c covers every byte from FirstOffset up
// to the mark, then sequence, offset and salt. The salt is random per file and has no zero byte, so
// that no value that a client stores can pass for a mark. Files of earlier versions have marks
// without FileSize, the quiet parts and the pad.
//
// What the marks prove. A batch is begun only when the one before it was synced: a mark of a later
// batch, or a final mark, says that this one was acknowledged, and whatever is wrong in it is
// damage. Nothing follows the last batch. If it is not whole, either its write was cut off
// (then it was never acknowledged), or it was whole and is damaged (then it may have been). A write
// that was cut off leaves whole sectors unwritten: zeros, as the room was before. So a part of the
// batch (what of a sector lies in it) that is all zeros and was not when it was written proves the
// former, and without such a part it is the latter. Which parts are zeros by what clients store is
// what the mark says: a part with at most one byte that is not zero is a quiet one (one flipped
// byte may make it zeros); QuietParts counts them, QuietSet is the exclusive or of mix_part() of
// their numbers. If the mark itself was cut off or is damaged, the records tell: each that does not
// fit its checksum must have a part of zeros, and each header that stands in a part with content
// must make sense. The pad is there so that no batch and no mark ends within the first or last 8
// bytes of a sector: so no part at either end of a batch is a quiet one.
//
// FileSize: so long was the file at least when this mark was synced. Of a file that is shorter, and
// has a later mark, something was cut off.

namespace rakv::raftlog {

inline constexpr std::string_view kWalMagic{"RAWA\x01", 5};
inline constexpr std::uint32_t kWalMaxRef = (1U << 22) - 1;
/// Record bytes after the uid and before the data.
inline constexpr std::size_t kWalFixedSize = 4 + 4 + 8 + 8;
/// A mark without its pad.
inline constexpr std::size_t kWalMarkSize = 3 + 2 + 9 + kWalFixedSize + 63;
/// A mark of earlier versions.
inline constexpr std::size_t kWalOldMarkSize = 3 + 2 + 9 + kWalFixedSize + 43;
inline constexpr std::size_t kWalMaxPad = 16;
/// What a disk writes wholly or not at all.
inline constexpr std::size_t kWalSectorSize = 512;

enum class MarkKind { start, batch, final };

struct WalMark {
  MarkKind kind = MarkKind::batch;
  std::uint64_t sequence = 0;
  std::uint64_t first_offset = 0;
  std::uint32_t crc = 0;
  std::uint64_t salt = 0;
  /// False in files of earlier versions, which have nothing of the following.
  bool extended = true;
  std::uint64_t file_size = 0;
  std::uint32_t quiet_parts = 0;
  std::uint64_t quiet_set = 0;
};

/// Spreads the number of a part (its offset in the file / kWalSectorSize) over 64 bits.
std::uint64_t mix_part(std::uint64_t number);

/// Finds the quiet parts of a batch whose bytes are given piece by piece.
class QuietParts {
 public:
  /// The batch begins at `offset` of the file.
  explicit QuietParts(std::uint64_t offset) : at_(offset) {}
  void add(std::string_view bytes);
  /// One past the last byte.
  void finish() { end_part(); }
  std::uint32_t count() const { return count_; }
  std::uint64_t set() const { return set_; }

 private:
  void end_part();
  std::uint64_t at_;
  bool any_ = false;       // bytes of the present part
  unsigned not_zero_ = 0;  // of them; counted up to 2
  std::uint32_t count_ = 0;
  std::uint64_t set_ = 0;
};

/// Completes the checksum of a batch: `crc` over its bytes, then the mark's own numbers.
std::uint32_t finish_mark_crc(std::uint32_t crc, std::uint64_t sequence, std::uint64_t first_offset,
                              std::uint64_t salt);
/// Appends the record of a mark that is to stand at `offset` of the file: kWalMarkSize bytes and
/// the pad, kWalMaxPad at most.
void append_mark(std::string& out, const WalMark& mark, std::uint64_t offset);
/// The size of such a mark.
std::size_t mark_size(std::uint64_t offset);
/// A salt without zero bytes.
std::uint64_t make_salt_of(std::uint64_t random);
/// Appends a record's header. `uid` empty: the ref was defined before (K = 1).
void append_record_header(std::string& out, std::uint32_t ref, std::string_view uid,
                          std::uint64_t index, std::uint64_t term, std::string_view data);

/// A record's header fields as they stand in the bytes.
struct WalRecordView {
  bool truncate = false;
  bool known_ref = false;
  std::uint32_t ref = 0;
  std::string_view uid;
  std::uint32_t adler = 0;
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  std::string_view data;
  std::size_t header_size = 0;
  std::size_t size = 0;  ///< of the whole record
  bool checksum_fits = false;
  bool checksum_ok = false;  ///< fits, or is 0 (ra: not checked)
};
/// The header of a record: `size` is what the whole record would have, `data` and checksums are not
/// looked at. Nothing when the bytes end within it.
std::optional<WalRecordView> view_header(std::string_view bytes, std::size_t offset);
/// The record at `offset`, or nothing when the bytes end before it does.
std::optional<WalRecordView> view_record(std::string_view bytes, std::size_t offset);
/// The mark in a record of the reserved UId; nothing when it is none.
std::optional<WalMark> mark_of(const WalRecordView& record);

}  // namespace rakv::raftlog
