// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/log/wal/wal_format.h"
#include "raft/log/wal/wal_recovery.h"

namespace rakv::raftlog {

/// Reads one WAL file's bytes and says what is wrong in them. wal_format.h has what marks prove.
class WalParser {
 public:
  /// `path` is for messages. Of records only those of `only_uid` are given, if it is not empty. All
  /// three must outlive the parser.
  WalParser(const std::string& path, const std::string& bytes, WalOrigin origin,
            std::string_view only_uid = {})
      : path_(path), bytes_(bytes), origin_(origin), only_uid_(only_uid) {}

  Result<std::vector<WalRecord>> parse(std::string* notice);

  /// What was good when parse() gave an error.
  std::vector<WalRecord> take_records() { return std::move(records_); }
  std::uint64_t good_bytes() const { return good_; }
  /// Where the bytes begin of which nothing that follows proves that they were synced: the last
  /// batch, or all of a file without marks. good_bytes() if there are none.
  std::uint64_t unproven_from() const { return unproven_from_; }
  /// The final mark that would end the file after good_bytes(); empty for a file without marks.
  std::string closing_mark() const;

 private:
  /// A header as far as it can be believed.
  enum class Header { believable, cut_off, wrong };

  std::string_view bytes() const { return bytes_; }
  std::optional<std::size_t> find_mark(std::size_t from, bool salted) const;
  bool mark_fits(const WalMark& mark, std::size_t at) const;
  Result<std::vector<WalRecord>> parse_marked(const WalRecordView& first, const WalMark& start,
                                              std::string* notice);
  std::optional<Error> check_tail(std::size_t bad, bool finished);
  bool cut_off_before(const WalMark& mark, std::size_t mark_at) const;
  bool cut_off_without_mark();
  std::optional<bool> cut_off_in_mark(std::size_t at) const;
  Header check_header(std::size_t at) const;
  bool has_unwritten_part(std::size_t from, std::size_t to) const;
  Result<std::vector<WalRecord>> parse_unmarked(std::string* notice);
  void note_tail(std::size_t at, std::string* notice) const;
  bool add(const WalRecordView& record, std::size_t at);

  const std::string& path_;
  const std::string& bytes_;
  WalOrigin origin_;
  std::string_view only_uid_;
  std::uint64_t salt_ = 0;
  bool marked_ = false;
  bool extended_ = false;  // the file's marks are (WalMark)
  std::uint64_t sequence_ = 0;
  std::uint64_t file_size_ = 0;         // as the last valid mark has it
  std::uint64_t proven_file_size_ = 0;  // as the one before has it, which was synced
  std::size_t trusted_ = 0;             // everything before it is covered by valid marks
  std::size_t content_end_ = 0;         // one past the last byte that is not zero
  std::uint64_t good_ = 0;
  std::uint64_t unproven_from_ = 0;
  std::map<std::uint32_t, std::string> refs_;
  std::vector<WalRecord> records_;
};

}  // namespace rakv::raftlog
