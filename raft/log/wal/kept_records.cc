// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/kept_records.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "cnode/base/randomness.h"
#include "raft/log/base/checksum.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/wal/wal_format.h"

namespace rakv::raftlog {
namespace {

std::uint64_t random_salt() { return make_salt_of(Randomness::system()()); }

std::string name_of_path(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// Writes one file batch by batch. It has its name when finish() is done; without that nothing is
/// left of it.
class KeptWriter {
 public:
  KeptWriter(Disk& disk, std::string uid) : disk_(disk), uid_(std::move(uid)) {}
  KeptWriter(const KeptWriter&) = delete;
  KeptWriter& operator=(const KeptWriter&) = delete;
  ~KeptWriter() { give_up(); }

  bool begun() const { return file_ != nullptr; }
  std::uint64_t bytes() const { return offset_; }

  /// A file that was begun before is given up.
  Result<void> begin(std::string path) {
    give_up();
    path_ = std::move(path);
    offset_ = 0;
    sequence_ = 0;
    salt_ = random_salt();
    auto file = disk_.create(temporary());
    if (!file) return file.error();
    file_ = std::move(*file);
    std::string head(kWalMagic);
    append_mark(head, mark(MarkKind::start, head.size(), 0), head.size());
    return write(head);
  }

  Result<void> add(const std::vector<StoredEntry>& records) {
    std::string batch;
    for (const auto& entry : records) {
      const bool first = sequence_ == 0 && batch.empty();
      append_record_header(batch, 1, first ? uid_ : std::string(), entry.index, entry.term,
                           entry.payload.view());
      batch += entry.payload.view();
    }
    QuietParts quiet(offset_);
    quiet.add(batch);
    quiet.finish();
    ++sequence_;
    WalMark end = mark(MarkKind::batch, offset_, crc32c(0, batch));
    end.quiet_parts = quiet.count();
    end.quiet_set = quiet.set();
    append_mark(batch, end, offset_ + batch.size());
    return write(batch);
  }

  Result<void> finish() {
    ++sequence_;
    WalMark final = mark(MarkKind::final, offset_, 0);
    final.file_size = offset_ + mark_size(offset_);
    std::string bytes;
    append_mark(bytes, final, offset_);
    auto done = write(bytes);
    if (done) done = file_->fdatasync();
    if (done) done = disk_.rename(temporary(), path_);
    if (!done) return done;
    file_.reset();
    return disk_.sync_directory(parent_of(path_));
  }

 private:
  std::string temporary() const { return path_ + ".tmp"; }
  WalMark mark(MarkKind kind, std::uint64_t first_offset, std::uint32_t crc) const {
    return {kind, sequence_, first_offset, finish_mark_crc(crc, sequence_, first_offset, salt_),
            salt_};
  }
  Result<void> write(const std::string& bytes) {
    auto done = file_->pwrite(offset_, bytes);
    offset_ += bytes.size();
    return done;
  }
  void give_up() {
    if (file_ == nullptr) return;
    file_.reset();  // on a full disk it takes up room that others need
    static_cast<void>(disk_.unlink(temporary()));
  }

  Disk& disk_;
  std::string uid_;
  std::string path_;
  std::unique_ptr<File> file_;
  std::uint64_t offset_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t salt_ = 0;
};

/// What a file has of one server.
struct RecordsOf {
  std::vector<StoredEntry> records;
  bool is_all = false;  ///< nothing in older files adds to it
};

Result<RecordsOf> read_records(Disk& disk, const std::string& path, const std::string& uid,
                               WalOrigin origin) {
  const auto bytes = read_file(disk, path);
  if (!bytes) return bytes.error();
  auto content = read_wal(path, *bytes, origin, uid);
  const bool kept = path.ends_with(kKeptSuffix);
  // Of a damaged one of our kind the start took what was good, and told the server.
  if (content.damage && !kept) return *content.damage;
  RecordsOf found{{}, kept && !content.damage};
  for (auto& record : content.records) found.records.push_back(std::move(record.entry));
  return found;
}

std::uint64_t number_of(const std::string& path) {
  const std::string name = name_of_path(path);
  return number_of_name(name, ".wal").value_or(number_of_kept(name).value_or(0));
}

Error too_many_to_keep(const std::string& directory, const std::string& uid,
                       std::uint64_t most_bytes) {
  return make_error(ErrorCode::limit_exceeded,
                    directory + ": the WAL has more than " + std::to_string(most_bytes) +
                        " bytes of server " + uid + ", too many to keep beside it");
}

}  // namespace

std::optional<std::uint64_t> number_of_kept(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  return number_of_name(name.substr(0, name.find('.')), "");
}

Result<void> write_kept_records(Disk& disk, const std::string& path, const std::string& uid,
                                const RecoveredWriter& records) {
  KeptWriter writer(disk, uid);
  if (auto done = writer.begin(path); !done) return done;
  if (auto done = writer.add(records.records); !done) return done;
  return writer.finish();
}

std::string kept_records_path(const std::string& newest_file, const std::string& uid) {
  return parent_of(newest_file) + "/" + numbered_name(number_of(newest_file), "." + uid) +
         std::string(kKeptSuffix);
}

Result<std::optional<KeptFile>> keep_records(Disk& disk, const std::string& directory,
                                             const std::string& uid,
                                             const std::vector<std::string>& files,
                                             std::uint64_t last_of_beam, std::uint64_t most_bytes) {
  if (files.empty()) return std::optional<KeptFile>();
  KeptWriter writer(disk, uid);
  const std::string path = kept_records_path(files.back(), uid);
  std::optional<KeptFile> newest;
  for (const std::string& file : files) {
    const bool ours = file.ends_with(kKeptSuffix) || number_of(file) > last_of_beam;
    const auto found = read_records(disk, file, uid, ours ? WalOrigin::rakv : WalOrigin::anybody);
    if (!found && found.error().code == ErrorCode::not_found) continue;
    if (!found) return found.error();
    if (found->records.empty()) continue;
    newest = found->is_all ? std::optional(KeptFile{file, 0}) : std::nullopt;
    if (found->is_all || !writer.begun()) {
      if (auto done = writer.begin(path); !done) return done.error();
    }
    if (auto done = writer.add(found->records); !done) return done.error();
    if (writer.bytes() > most_bytes) {
      return too_many_to_keep(directory, uid, most_bytes);
    }
  }
  if (!writer.begun()) return std::optional<KeptFile>();
  const std::uint64_t bytes = writer.bytes();
  if (newest) return std::optional(KeptFile{newest->path, bytes});
  if (auto done = writer.finish(); !done) return done.error();
  return std::optional(KeptFile{path, bytes});
}

}  // namespace rakv::raftlog
