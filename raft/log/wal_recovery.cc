#include "raft/log/wal_recovery.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "raft/log/checksum.h"
#include "raft/log/wal.h"
#include "raft/log/wal_format.h"

namespace rakv::log {
namespace {

constexpr std::size_t kNumberDigits = 16;
constexpr std::size_t kSectorSize = 512;
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

/// One file's records. `path` is for messages.
class WalParser {
 public:
  WalParser(const std::string& path, const std::string& bytes) : path_(path), bytes_(bytes) {}

  /// What was good when parse() gave an error.
  std::vector<WalRecord> take_records() { return std::move(records_); }
  std::uint64_t good_bytes() const { return good_; }

  Result<std::vector<WalRecord>> parse(std::string* notice) {
    if (!bytes_.starts_with(kWalMagic)) {
      return make_error(ErrorCode::corrupt,
                        path_ + ": is not a WAL file of version 1 (it does not begin with RAWA 1)");
    }
    const auto first = view_record(bytes_, kWalMagic.size());
    const auto mark = first ? mark_of(*first) : std::nullopt;
    if (mark && mark->kind == MarkKind::start) {
      salt_ = mark->salt;
      return parse_marked(*first, *mark, notice);
    }
    if (const auto at = find_mark(kWalMagic.size(), false)) {
      return damaged(path_, kWalMagic.size(),
                     "the file has batch marks (one at byte " + std::to_string(*at) +
                         ") but its first record is not the mark that every file begins with");
    }
    return parse_unmarked(notice);
  }

 private:
  std::string_view bytes() const { return bytes_; }

  /// Offset of a mark at or behind `from`; with this file's salt if `salted`.
  std::optional<std::size_t> find_mark(std::size_t from, bool salted) const {
    constexpr std::size_t kUidAt = 5;  // in a mark
    for (std::size_t at = from + kUidAt;; ++at) {
      at = bytes().find(kBatchMarkUid, at);
      if (at == std::string_view::npos) return std::nullopt;
      const auto record = view_record(bytes(), at - kUidAt);
      const auto mark = record ? mark_of(*record) : std::nullopt;
      if (mark && (!salted || mark->salt == salt_)) return at - kUidAt;
    }
  }

  bool mark_fits(const WalMark& mark, std::size_t at) const {
    if (mark.salt != salt_ || mark.sequence != sequence_ + 1 || mark.first_offset != trusted_) {
      return false;
    }
    const std::uint32_t crc = crc32c(0, bytes().substr(trusted_, at - trusted_));
    return mark.crc == finish_mark_crc(crc, mark.sequence, mark.first_offset, mark.salt);
  }

  /// Files with marks: everything up to the last valid mark counts; what is behind it must be
  /// explicable as a batch that did not reach the disk wholly.
  Result<std::vector<WalRecord>> parse_marked(const WalRecordView& first, const WalMark& start,
                                              std::string* notice) {
    if (start.crc != finish_mark_crc(0, 0, kWalMagic.size(), salt_)) {
      return damaged(path_, kWalMagic.size(), "the file's first mark has a wrong checksum");
    }
    trusted_ = kWalMagic.size() + first.size;
    std::size_t at = trusted_;
    std::size_t trusted_count = 0;
    bool finished = false;
    while (!finished && at < bytes_.size()) {
      const auto record = view_record(bytes(), at);
      // We always write a checksum; 0 ("not checked") is a hole.
      if (!record || !record->checksum_ok || record->adler == 0 || record->truncate) break;
      if (record->uid == kBatchMarkUid) {
        const auto mark = mark_of(*record);
        if (!mark || !mark_fits(*mark, at)) break;
        sequence_ = mark->sequence;
        finished = mark->kind == MarkKind::final;
        at += record->size;
        trusted_ = at;
        trusted_count = records_.size();
        continue;
      }
      if (!add(*record, at)) break;
      at += record->size;
    }
    good_ = trusted_;
    records_.resize(trusted_count);
    if (auto error = judge_tail(at, finished)) return *error;
    if (trusted_ < bytes_.size() && !all_zero(bytes().substr(trusted_)) && notice != nullptr) {
      *notice = path_ + ": left out " + std::to_string(bytes_.size() - trusted_) +
                " bytes at its end: a batch that was being written when the node stopped and that "
                "was never acknowledged";
    }
    return std::move(records_);
  }

  /// `bad` is the first byte behind the last valid mark that is not a good record.
  std::optional<Error> judge_tail(std::size_t bad, bool finished) const {
    if (all_zero(bytes().substr(trusted_))) return std::nullopt;
    if (finished) return damaged(path_, trusted_, "there are bytes behind the final mark");
    const auto mark = find_mark(trusted_, true);
    if (mark) {
      const auto record = view_record(bytes(), *mark);
      const bool last_batch =
          mark_of(*record)->sequence == sequence_ + 1 && !find_mark(*mark + record->size, true);
      // A later batch is there: this one was acknowledged before that was begun.
      if (!last_batch) {
        return damaged(path_, bad, "a good batch mark follows at byte " + std::to_string(*mark));
      }
    }
    if (missing_bytes_explain(bad, mark)) return std::nullopt;
    return damaged(path_, bad, "the last batch is all there but does not fit its checksum");
  }

  /// A write that was cut off leaves sectors of zeros or the end of the file in its place; anything
  /// else in the last batch is damage to what may have been acknowledged. `mark` is its own.
  bool missing_bytes_explain(std::size_t bad, std::optional<std::size_t> mark) const {
    // Nothing was written here: a record has no such head.
    if (!mark && all_zero(bytes().substr(trusted_, kEndZeros))) return true;
    if (!mark) mark = spoilt_mark(bad);
    const std::size_t end = end_of_batch(bad, mark);
    for (std::size_t at = trusted_; at < end;) {
      const std::size_t sector_end = std::min((at / kSectorSize + 1) * kSectorSize, end);
      // Also the piece of a sector behind the last durable byte, and the last piece of the batch.
      if (all_zero(bytes().substr(at, sector_end - at))) return true;
      at = sector_end;
    }
    if (mark) return false;
    const bool ends_in_zeros =
        end >= kEndZeros && all_zero(bytes().substr(end - kEndZeros, kEndZeros));
    return ends_in_zeros || bad == bytes_.size() || !view_record(bytes(), bad);
  }

  /// Where the last batch was to end, as far as that can be told: the room behind it is only
  /// reserved.
  std::size_t end_of_batch(std::size_t bad, std::optional<std::size_t> mark) const {
    if (mark) return *mark + kWalMarkSize;
    const auto record = view_record(bytes(), bad);
    return record ? std::min(bad + record->size + kWalMarkSize, bytes_.size()) : bytes_.size();
  }

  /// Where a mark is that can't be read: behind the last good record, or that record itself when
  /// the damage is in its UId.
  std::optional<std::size_t> spoilt_mark(std::size_t bad) const {
    if (looks_like_mark(bad)) return bad;
    if (bad >= trusted_ + kWalMarkSize && looks_like_mark(bad - kWalMarkSize))
      return bad - kWalMarkSize;
    return std::nullopt;
  }

  /// Whether what is at `at` differs from a mark that belongs there in a few bytes only, and not
  /// because its end was never written.
  bool looks_like_mark(std::size_t at) const {
    if (bytes_.size() - at < kWalMarkSize) return false;
    const std::string_view found = bytes().substr(at, kWalMarkSize);
    const std::uint64_t sequence = sequence_ + 1;
    const std::uint32_t crc = finish_mark_crc(crc32c(0, bytes().substr(trusted_, at - trusted_)),
                                              sequence, trusted_, salt_);
    std::size_t fewest = kWalMarkSize;
    for (const MarkKind kind : {MarkKind::batch, MarkKind::final}) {
      std::string expected;
      append_mark(expected, {kind, sequence, trusted_, crc, salt_});
      std::size_t same_until = 0;
      while (same_until < kWalMarkSize && expected[same_until] == found[same_until]) ++same_until;
      if (same_until + 1 < kWalMarkSize && all_zero(found.substr(same_until))) return false;
      std::size_t different = 0;
      for (std::size_t i = 0; i < kWalMarkSize; ++i) different += expected[i] != found[i];
      fewest = std::min(fewest, different);
    }
    return fewest <= kWalMarkSize / 2;
  }

  /// Files of a BEAM: ra's rules (ra_log_wal.erl recover_records), but a hole before further bytes
  /// is an error here, where ra takes it for the end.
  Result<std::vector<WalRecord>> parse_unmarked(std::string* notice) {
    std::size_t at = kWalMagic.size();
    while (at < bytes_.size()) {
      good_ = at;
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
        const std::string_view behind = rest.substr(record->size);
        if (behind.size() >= kEndZeros && !all_zero(behind)) {
          return damaged(path_, at, "a record with a wrong checksum before further records");
        }
        note_tail(at, notice);
        break;
      }
      add(*record, at);  // a ref that was never defined is a deleted writer's: left out, as ra does
      at += record->size;
    }
    return std::move(records_);
  }

  void note_tail(std::size_t at, std::string* notice) const {
    if (notice == nullptr) return;
    *notice = path_ + ": left out " + std::to_string(bytes_.size() - at) +
              " bytes at its end, a record that was not completely written";
  }

  /// False when its ref was not defined before.
  bool add(const WalRecordView& record, std::size_t at) {
    if (!record.known_ref) {
      refs_[record.ref] = std::string(record.uid);
    } else if (!refs_.contains(record.ref)) {
      return false;
    }
    records_.push_back({at,
                        refs_[record.ref],
                        {record.index, record.term, SharedBytes::copy_of(record.data)},
                        record.truncate});
    return true;
  }

  const std::string& path_;
  const std::string& bytes_;
  std::uint64_t salt_ = 0;
  std::uint64_t sequence_ = 0;
  std::size_t trusted_ = 0;  // everything before it is covered by valid marks
  std::uint64_t good_ = 0;
  std::map<std::uint32_t, std::string> refs_;
  std::vector<WalRecord> records_;
};

void merge(RecoveredWriter& writer, WalRecord record) {
  const Index index = record.entry.index;
  auto& entries = writer.entries;
  if (!entries.empty() && index <= entries.rbegin()->first) {
    entries.erase(entries.lower_bound(index), entries.end());
  }
  writer.first_written = std::min(writer.first_written.value_or(index), index);
  entries.emplace_hint(entries.end(), index, std::move(record.entry));
}

}  // namespace

std::string numbered_name(std::uint64_t number, std::string_view suffix) {
  std::string digits = std::to_string(number);
  if (digits.size() < kNumberDigits) digits.insert(0, kNumberDigits - digits.size(), '0');
  return digits.append(suffix);
}

std::optional<std::uint64_t> number_of_name(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  if (name.size() != kNumberDigits && name.size() != 8) return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return number;
}

Result<std::vector<WalRecord>> parse_wal(const std::string& path, const std::string& bytes,
                                         std::string* notice) {
  return WalParser(path, bytes).parse(notice);
}

WalContent read_wal(const std::string& path, const std::string& bytes) {
  WalParser parser(path, bytes);
  WalContent content;
  auto records = parser.parse(&content.notice);
  if (records) {
    content.records = std::move(*records);
    content.good_bytes = bytes.size();
  } else {
    content.damage = records.error();
    content.records = parser.take_records();
    content.good_bytes = parser.good_bytes();
  }
  return content;
}

Result<void> set_damage_aside(Disk& disk, const WalDamage& damage) {
  // The damaged file last: as long as it is as it was, the others are known not to follow.
  for (auto file = damage.later_files.rbegin(); file != damage.later_files.rend(); ++file) {
    if (auto done = disk.rename(*file, *file + ".bad"); !done) return done;
  }
  const std::string directory = parent_of(damage.path);
  if (auto done = disk.sync_directory(directory); !done) return done;
  if (damage.good_bytes == 0) {
    if (auto done = disk.rename(damage.path, damage.path + ".bad"); !done) return done;
    return disk.sync_directory(directory);
  }
  const auto bytes = read_file(disk, damage.path);
  if (!bytes) return bytes.error();
  if (auto done = replace_file(disk, damage.path + ".bad", *bytes); !done) return done;
  return replace_file(disk, damage.path, bytes->substr(0, damage.good_bytes));
}

Result<RecoveredWal> recover_wal(
    Disk& disk, const std::string& directory,
    const std::function<void(std::size_t done, std::size_t all)>& on_file) {
  const auto listed = disk.list(directory);
  if (!listed) return listed.error();
  std::vector<std::pair<std::uint64_t, std::string>> files;
  RecoveredWal recovered;
  for (const auto& entry : *listed) {
    if (entry.kind != DirectoryEntry::Kind::file) continue;
    if (const auto number = number_of_name(entry.name, ".wal")) {
      files.emplace_back(*number, directory + "/" + entry.name);
    }
    const auto bad = number_of_name(entry.name, ".wal.bad");
    recovered.last_number = std::max(recovered.last_number, bad.value_or(0));
  }
  std::sort(files.begin(), files.end());
  for (const auto& [number, path] : files) {
    recovered.last_number = std::max(recovered.last_number, number);
    if (recovered.damage) {
      recovered.damage->later_files.push_back(path);
      continue;
    }
    const auto bytes = read_file(disk, path);
    if (!bytes) return bytes.error();
    WalContent content = read_wal(path, *bytes);
    for (auto& record : content.records) {
      if (record.uid == kBatchMarkUid) continue;
      RecoveredWriter& writer = recovered.writers[record.uid];
      merge(writer, std::move(record));
    }
    if (!content.notice.empty()) recovered.notices.push_back(std::move(content.notice));
    if (content.damage) {
      recovered.damage = WalDamage{path, content.damage->message, content.good_bytes, {}};
      recovered.notices.push_back(content.damage->message + "; what is behind is set aside as " +
                                  path + ".bad");
    }
    if (content.damage && content.good_bytes == 0) continue;
    recovered.files.push_back(path);
    recovered.bytes += bytes->size();
    if (on_file) on_file(recovered.files.size(), files.size());
  }
  return recovered;
}

}  // namespace rakv::log
