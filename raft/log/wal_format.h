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
// `{Kind, <<Sequence:64, FirstOffset:64, Crc32c:32, Salt:64>>}` with Kind `start` (first record of
// the file), `batch` (end of each batch) or `final` (end of a file that was closed in order).
// Crc32c covers every byte from FirstOffset up to the mark, then sequence, offset and salt. The
// salt is random per file, so that no value that a client stores can pass for a mark. Marks have
// one size.

namespace rakv::log {

inline constexpr std::string_view kWalMagic{"RAWA\x01", 5};
inline constexpr std::uint32_t kWalMaxRef = (1U << 22) - 1;
/// Record bytes after the uid and before the data.
inline constexpr std::size_t kWalFixedSize = 4 + 4 + 8 + 8;
inline constexpr std::size_t kWalMarkSize = 3 + 2 + 9 + kWalFixedSize + 43;

enum class MarkKind { start, batch, final };

struct WalMark {
  MarkKind kind = MarkKind::batch;
  std::uint64_t sequence = 0;
  std::uint64_t first_offset = 0;
  std::uint32_t crc = 0;
  std::uint64_t salt = 0;
};

/// Completes the checksum of a batch: `crc` over its bytes, then the mark's own numbers.
std::uint32_t finish_mark_crc(std::uint32_t crc, std::uint64_t sequence, std::uint64_t first_offset,
                              std::uint64_t salt);
/// Appends the record of a mark (kWalMarkSize bytes).
void append_mark(std::string& out, const WalMark& mark);
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
  std::size_t size = 0;      ///< of the whole record
  bool checksum_ok = false;  ///< fits, or is 0 (not checked)
};
/// The record at `offset`, or nothing when the bytes end before it does.
std::optional<WalRecordView> view_record(std::string_view bytes, std::size_t offset);
/// The mark in a record of the reserved UId; nothing when it is none.
std::optional<WalMark> mark_of(const WalRecordView& record);

}  // namespace rakv::log
