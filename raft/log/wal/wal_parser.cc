// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/wal_parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "raft/log/base/checksum.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/wal/wal.h"

namespace rakv::raftlog {
namespace {

/// ra takes this many zero bytes at a record's place as the end of the file.
constexpr std::size_t kEndZeros = 13;

Error damaged(const std::string& path, std::uint64_t offset, const std::string& what) {
  return make_error(ErrorCode::corrupt, path + ": damaged at byte " + std::to_string(offset) +
                                            ": " + what +
                                            ". Acknowledged entries from there on may be lost");
}

bool all_zero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

/// Calls `part(begin, end)` for what each sector has of [from, to) until it gives false.
template <class Part>
void for_each_part(std::size_t from, std::size_t to, Part part) {
  for (std::size_t at = from; at < to;) {
    const std::size_t end = std::min((at / kWalSectorSize + 1) * kWalSectorSize, to);
    if (!part(at, end)) return;
    at = end;
  }
}

}  // namespace

Result<std::vector<WalRecord>> WalParser::parse(std::string* notice) {
  if (!bytes_.starts_with(kWalMagic)) {
    return make_error(ErrorCode::corrupt,
                      path_ + ": is not a WAL file of version 1 (it does not begin with RAWA 1)");
  }
  const auto first = view_record(bytes_, kWalMagic.size());
  const auto mark = first ? mark_of(*first) : std::nullopt;
  if (mark && mark->kind == MarkKind::start) {
    salt_ = mark->salt;
    extended_ = mark->extended;
    marked_ = true;
    return parse_marked(*first, *mark, notice);
  }
  if (const auto at = find_mark(kWalMagic.size(), false)) {
    return damaged(path_, kWalMagic.size(),
                   "the file has batch marks (one at byte " + std::to_string(*at) +
                       ") but its first record is not the mark that every file begins with");
  }
  return parse_unmarked(notice);
}

std::string WalParser::closing_mark() const {
  std::string closing;
  if (!marked_ || !extended_ || good_ == 0) return closing;
  WalMark mark{MarkKind::final, sequence_ + 1, good_,
               finish_mark_crc(0, sequence_ + 1, good_, salt_), salt_};
  mark.file_size = good_ + mark_size(good_);
  append_mark(closing, mark, good_);
  return closing;
}

/// Offset of a mark at or after `from`; with this file's salt if `salted`.
std::optional<std::size_t> WalParser::find_mark(std::size_t from, bool salted) const {
  constexpr std::size_t kUidAt = 5;  // in a mark
  for (std::size_t at = from + kUidAt;; ++at) {
    at = bytes().find(kBatchMarkUid, at);
    if (at == std::string_view::npos) return std::nullopt;
    const auto record = view_record(bytes(), at - kUidAt);
    const auto mark = record ? mark_of(*record) : std::nullopt;
    if (mark && (!salted || mark->salt == salt_)) return at - kUidAt;
  }
}

bool WalParser::mark_fits(const WalMark& mark, std::size_t at) const {
  if (mark.salt != salt_ || mark.sequence != sequence_ + 1 || mark.first_offset != trusted_) {
    return false;
  }
  const std::uint32_t crc = crc32c(0, bytes().substr(trusted_, at - trusted_));
  return mark.crc == finish_mark_crc(crc, mark.sequence, mark.first_offset, mark.salt);
}

/// Files with marks: everything up to the last valid mark counts; what follows it must be
/// explicable as a batch that did not reach the disk wholly.
Result<std::vector<WalRecord>> WalParser::parse_marked(const WalRecordView& first,
                                                       const WalMark& start, std::string* notice) {
  if (start.crc != finish_mark_crc(0, 0, kWalMagic.size(), salt_)) {
    return damaged(path_, kWalMagic.size(), "the file's first mark has a wrong checksum");
  }
  trusted_ = unproven_from_ = kWalMagic.size() + first.size;
  file_size_ = proven_file_size_ = start.file_size;
  std::size_t at = trusted_;
  std::size_t trusted_count = 0;
  bool finished = false;
  while (!finished && at < bytes_.size()) {
    const auto record = view_record(bytes(), at);
    // We always write a checksum, whatever it comes to: 0 is one like any other.
    if (!record || !record->checksum_fits || record->truncate) break;
    if (record->uid == kBatchMarkUid) {
      const auto mark = mark_of(*record);
      if (!mark || !mark_fits(*mark, at)) break;
      sequence_ = mark->sequence;
      proven_file_size_ = file_size_;
      file_size_ = mark->file_size;
      finished = mark->kind == MarkKind::final;
      at += record->size;
      unproven_from_ = finished ? at : trusted_;
      trusted_ = at;
      trusted_count = records_.size();
      continue;
    }
    if (!add(*record, at)) break;
    at += record->size;
  }
  good_ = trusted_;
  records_.resize(trusted_count);
  if (auto error = check_tail(at, finished)) return *error;
  if (proven_file_size_ > bytes_.size()) {
    return damaged(path_, bytes_.size(),
                   "the file was " + std::to_string(proven_file_size_) + " bytes long and was cut");
  }
  if (trusted_ < bytes_.size() && !all_zero(bytes().substr(trusted_)) && notice != nullptr) {
    *notice = path_ + ": left out " + std::to_string(bytes_.size() - trusted_) +
              " bytes at its end: a batch that was being written when the node stopped and that "
              "was never acknowledged";
  }
  return std::move(records_);
}

/// `bad` is the first byte after the last valid mark that is not a good record.
std::optional<Error> WalParser::check_tail(std::size_t bad, bool finished) {
  if (all_zero(bytes().substr(trusted_))) return std::nullopt;
  if (finished) return damaged(path_, trusted_, "there are bytes after the final mark");
  const auto mark_at = find_mark(trusted_, true);
  std::optional<WalMark> mark;
  if (mark_at) {
    const auto record = view_record(bytes(), *mark_at);
    mark = mark_of(*record);
    const bool last_batch =
        mark->sequence == sequence_ + 1 && !find_mark(*mark_at + record->size, true);
    // A later batch is there: this one was acknowledged before that was begun.
    if (!last_batch) {
      return damaged(path_, bad, "a good batch mark follows at byte " + std::to_string(*mark_at));
    }
  }
  content_end_ = bytes().find_last_not_of('\0') + 1;
  const bool cut_off = mark ? cut_off_before(*mark, *mark_at) : cut_off_without_mark();
  if (cut_off) return std::nullopt;
  return damaged(path_, bad, "the last batch is all there but does not fit its checksum");
}

/// The batch's mark is whole. Whether a part of the batch is missing: it is zeros, and was not when
/// the mark was made.
bool WalParser::cut_off_before(const WalMark& mark, std::size_t mark_at) const {
  if (mark.first_offset != trusted_) return false;
  if (!extended_) return has_unwritten_part(trusted_, mark_at);
  QuietParts quiet(trusted_);
  quiet.add(bytes().substr(trusted_, mark_at - trusted_));
  quiet.finish();
  const std::uint64_t difference = quiet.set() ^ mark.quiet_set;
  if (difference == 0) return false;
  std::optional<bool> one_part;  // the only difference is one part: whether it is missing
  for_each_part(trusted_, mark_at, [&](std::size_t from, std::size_t to) {
    if (mix_part(from / kWalSectorSize) != difference) return true;
    one_part = all_zero(bytes().substr(from, to - from));
    return false;
  });
  return one_part.value_or(quiet.count() > mark.quiet_parts);
}

/// The mark of the last batch is missing or is spoilt. True when all that is wrong can be put down
/// to parts that were not written.
bool WalParser::cut_off_without_mark() {
  std::size_t at = trusted_;
  bool good = true;  // everything from trusted_ up to `at`
  while (at < content_end_) {
    if (good) {
      if (const auto cut_off = cut_off_in_mark(at)) return *cut_off;
    }
    const auto record = view_record(bytes(), at);
    switch (check_header(at)) {
      case Header::wrong:
        return false;
      case Header::cut_off:
        return true;
      case Header::believable:
        break;
    }
    if (!record) return true;  // it goes on past the end of the file
    if (!record->checksum_fits) {
      const std::size_t end = at + record->size;
      if (end >= content_end_ || has_unwritten_part(at, at + record->header_size)) return true;
      if (!has_unwritten_part(at, end)) return false;
      good = false;
    }
    if (!record->known_ref) refs_[record->ref] = std::string(record->uid);
    at += record->size;
  }
  return true;
}

/// Whether the mark that belongs at `at` was not written wholly, or is damaged; nothing when what
/// is there does not look like it at all.
std::optional<bool> WalParser::cut_off_in_mark(std::size_t at) const {
  if (!extended_) {
    return has_unwritten_part(at, at + kWalOldMarkSize) ? std::optional(true) : std::nullopt;
  }
  const std::size_t size = mark_size(at);
  QuietParts quiet(trusted_);
  quiet.add(bytes().substr(trusted_, at - trusted_));
  quiet.finish();
  const std::uint64_t sequence = sequence_ + 1;
  WalMark mark{MarkKind::batch, sequence, trusted_,
               finish_mark_crc(crc32c(0, bytes().substr(trusted_, at - trusted_)), sequence,
                               trusted_, salt_),
               salt_};
  mark.quiet_parts = quiet.count();
  mark.quiet_set = quiet.set();
  // What can't be known of it: its checksum, and the length of the file that it was given.
  constexpr std::size_t kAdlerAt = 5 + kBatchMarkUid.size();
  constexpr std::size_t kFileSizeAt = kWalMarkSize - 8 - 8 - 4 - 8;
  const auto unknown = [&](std::size_t i) {
    return (i >= kAdlerAt && i < kAdlerAt + 4) || (i >= kFileSizeAt && i < kFileSizeAt + 8);
  };
  std::string found(bytes().substr(at, size));
  found.resize(size, '\0');
  std::optional<bool> cut_off;
  for (const MarkKind kind : {MarkKind::batch, MarkKind::final}) {
    mark.kind = kind;
    std::string expected;
    append_mark(expected, mark, at);
    std::size_t different = 0;
    std::size_t missing = 0;  // zeros instead, with nothing but zeros after them in their sector
    for (std::size_t i = 0; i < size; ++i) {
      if (expected[i] == found[i] || unknown(i)) continue;
      ++different;
      const std::size_t part_end =
          std::min((at + i) / kWalSectorSize * kWalSectorSize + kWalSectorSize, at + size) - at;
      if (all_zero(std::string_view(found).substr(i, part_end - i))) ++missing;
    }
    // The end of the file in its place is no flipped byte.
    const std::size_t at_least = at + size > bytes_.size() ? 1 : 2;
    if (different >= at_least && missing == different) return true;
    const auto differing = [&](std::size_t from, std::size_t count) {
      std::size_t bytes = 0;
      for (std::size_t i = from; i < from + count; ++i) bytes += expected[i] != found[i] ? 1 : 0;
      return bytes;
    };
    // A record of a client has neither of them.
    if (differing(5, kBatchMarkUid.size()) <= 1 || differing(size - 8, 8) <= 1) cut_off = false;
  }
  return cut_off;
}

/// Headers have no checksum of their own.
WalParser::Header WalParser::check_header(std::size_t at) const {
  constexpr std::size_t kLongestHeader = 5 + 255 + kWalFixedSize;
  const auto header = view_header(bytes(), at);
  if (header && !header->truncate) {
    const auto known = refs_.find(header->ref);
    const bool is_next = known == refs_.end() && header->ref == refs_.size() + 1;
    // parse_marked() may have come as far as that.
    const bool is_known = known != refs_.end() && known->second == header->uid;
    if (header->known_ref ? known != refs_.end()
                          : (is_next || is_known) && valid_uid(header->uid)) {
      return Header::believable;
    }
  }
  if (header && header->uid == kBatchMarkUid) {
    const std::size_t end = at + (extended_ ? mark_size(at) : kWalOldMarkSize);
    return end > content_end_ || has_unwritten_part(at, end) ? Header::cut_off : Header::wrong;
  }
  const std::size_t size = std::min(header ? header->header_size : kLongestHeader, kLongestHeader);
  if (at + size >= content_end_ || has_unwritten_part(at, at + size)) return Header::cut_off;
  return Header::wrong;
}

/// Whether what a sector has of the tail, and that [from, to) touches, is all zeros.
bool WalParser::has_unwritten_part(std::size_t from, std::size_t to) const {
  bool found = false;
  const std::size_t first = std::max(from / kWalSectorSize * kWalSectorSize, trusted_);
  const std::size_t last =
      std::min((to + kWalSectorSize - 1) / kWalSectorSize * kWalSectorSize, bytes_.size());
  for_each_part(first, last, [&](std::size_t begin, std::size_t end) {
    found = all_zero(bytes().substr(begin, end - begin));
    return !found;
  });
  return found;
}

/// Files of a BEAM: ra's rules (ra_log_wal.erl recover_records), but a hole before further bytes
/// is an error here, where ra takes it for the end.
Result<std::vector<WalRecord>> WalParser::parse_unmarked(std::string* notice) {
  std::size_t at = good_ = kWalMagic.size();
  while (at < bytes_.size()) {
    const std::string_view rest = bytes().substr(at);
    if (rest.size() >= kEndZeros && all_zero(rest.substr(0, kEndZeros))) {
      const auto data = rest.find_first_not_of('\0');
      if (data == std::string_view::npos) break;
      return damaged(
          path_, at,
          "zeros where a record must be, and further data at byte " + std::to_string(at + data));
    }
    const auto record = view_record(bytes(), at);
    if (!record) {
      if (!all_zero(rest)) note_tail(at, notice);
      break;
    }
    if (!record->checksum_ok) {
      const std::string_view next = rest.substr(record->size);
      if (next.size() >= kEndZeros && !all_zero(next)) {
        return damaged(path_, at, "a record with a wrong checksum before further records");
      }
      note_tail(at, notice);
      break;
    }
    add(*record, at);  // a ref that was never defined is a deleted writer's: left out, as ra does
    at += record->size;
    good_ = at;
  }
  unproven_from_ = kWalMagic.size();
  if (records_.empty() && origin_ == WalOrigin::rakv) {
    good_ = 0;
    return damaged(path_, kWalMagic.size(), "the mark that every file begins with is not there");
  }
  return std::move(records_);
}

void WalParser::note_tail(std::size_t at, std::string* notice) const {
  if (notice == nullptr) return;
  *notice = path_ + ": left out " + std::to_string(bytes_.size() - at) +
            " bytes at its end, a record that was not completely written";
}

/// False when its ref was not defined before.
bool WalParser::add(const WalRecordView& record, std::size_t at) {
  if (!record.known_ref) {
    refs_[record.ref] = std::string(record.uid);
  } else if (!refs_.contains(record.ref)) {
    return false;
  }
  const std::string& uid = refs_[record.ref];
  if (!only_uid_.empty() && uid != only_uid_) return true;
  records_.push_back(
      {at, uid, {record.index, record.term, SharedBytes::copy_of(record.data)}, record.truncate});
  return true;
}

}  // namespace rakv::raftlog
