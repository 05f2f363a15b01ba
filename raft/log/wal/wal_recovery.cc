// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/wal_recovery.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "raft/log/base/checksum.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/wal/kept_records.h"
#include "raft/log/wal/wal.h"
#include "raft/log/wal/wal_parser.h"

namespace rakv::raftlog {
namespace {

/// Takes in a file's records, which may be none.
void merge(RecoveredWal& recovered, const std::string& path, std::vector<WalRecord> records) {
  for (auto& record : records) {
    if (record.uid == kBatchMarkUid) continue;
    RecoveredWriter& writer = recovered.writers[record.uid];
    if (writer.files.empty() || writer.files.back() != path) writer.files.push_back(path);
    writer.records.push_back(std::move(record.entry));
  }
}

/// One server's records, so damage in them is nobody else's. What files before have of it is in
/// this one, too.
void merge_kept(RecoveredWal& recovered, const std::string& path, WalContent content) {
  std::string uid = content.records.empty() ? std::string() : content.records.front().uid;
  if (!content.damage && !uid.empty()) recovered.writers[uid].records.clear();
  recovered.kept[path] = std::move(uid);
  if (content.damage) {
    recovered.damaged_kept[path] = content.damage->message;
    recovered.notices.push_back(content.damage->message + "; copied to " + path + ".bad");
  }
  merge(recovered, path, std::move(content.records));
}

}  // namespace

Result<std::vector<WalRecord>> parse_wal(const std::string& path, const std::string& bytes,
                                         std::string* notice) {
  return WalParser(path, bytes, WalOrigin::anybody).parse(notice);
}

WalContent read_wal(const std::string& path, const std::string& bytes, WalOrigin origin,
                    std::string_view only_uid) {
  WalParser parser(path, bytes, origin, only_uid);
  WalContent content;
  auto records = parser.parse(&content.notice);
  if (records) {
    content.records = std::move(*records);
  } else {
    content.damage = records.error();
    content.records = parser.take_records();
  }
  content.good_bytes = parser.good_bytes();
  content.unproven_from = parser.unproven_from();
  content.closing_mark = parser.closing_mark();
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
  return replace_file(disk, damage.path, bytes->substr(0, damage.good_bytes) + damage.closing_mark);
}

Result<void> write_again(Disk& disk, const UnprovenBytes& bytes) {
  constexpr std::size_t kStep = std::size_t{1024} * 1024;
  auto file = disk.open_write(bytes.path);
  if (!file) return file.error();
  std::uint32_t crc = 0;
  std::string step;
  for (std::uint64_t at = bytes.from; at < bytes.to; at += step.size()) {
    step.resize(std::min<std::uint64_t>(kStep, bytes.to - at));
    const auto got = (*file)->pread(at, step.data(), step.size());
    if (!got) return got.error();
    if (*got < step.size()) break;
    crc = crc32c(crc, step);
    if (auto done = (*file)->pwrite(at, step); !done) return done;
  }
  if (crc != bytes.crc) {
    return make_error(ErrorCode::io, bytes.path +
                                         ": has other bytes than a moment ago: the disk does not "
                                         "keep what is written; start again when it works");
  }
  return (*file)->fdatasync();
}

Result<RecoveredWal> recover_wal(
    Disk& disk, const std::string& directory,
    const std::function<void(std::size_t done, std::size_t all)>& on_file,
    std::uint64_t last_of_beam) {
  const auto listed = disk.list(directory);
  if (!listed) return listed.error();
  std::vector<std::pair<std::uint64_t, std::string>> files;
  RecoveredWal recovered;
  for (const auto& entry : *listed) {
    if (entry.kind != DirectoryEntry::Kind::file) continue;
    if (const auto number = number_of_name(entry.name, ".wal")) {
      files.emplace_back(*number, directory + "/" + entry.name);
    }
    if (const auto number = number_of_kept(entry.name)) {
      files.emplace_back(*number, directory + "/" + entry.name);
    }
    for (const auto bad :
         {number_of_name(entry.name, ".wal.bad"), number_of_kept(entry.name, ".kept.bad")}) {
      recovered.last_number = std::max(recovered.last_number, bad.value_or(0));
    }
  }
  std::sort(files.begin(), files.end(), [](const auto& one, const auto& other) {
    const auto place = [](const auto& file) {  // see kept_records.h
      return std::tuple(file.first, !file.second.ends_with(kKeptSuffix), file.second);
    };
    return place(one) < place(other);
  });
  for (const auto& [number, path] : files) {
    recovered.last_number = std::max(recovered.last_number, number);
    const bool kept = path.ends_with(kKeptSuffix);
    if (recovered.damage && !kept) {
      recovered.damage->later_files.push_back(path);
      continue;
    }
    const auto bytes = read_file(disk, path);
    if (!bytes) return bytes.error();
    WalContent content = read_wal(
        path, *bytes, number > last_of_beam || kept ? WalOrigin::rakv : WalOrigin::anybody);
    if (kept) {
      merge_kept(recovered, path, std::move(content));
      recovered.files.push_back(path);
      recovered.bytes += bytes->size();
      continue;
    }
    merge(recovered, path, std::move(content.records));
    if (!content.notice.empty()) recovered.notices.push_back(std::move(content.notice));
    if (content.damage) {
      recovered.damage =
          WalDamage{path, content.damage->message, content.good_bytes, content.closing_mark, {}};
      recovered.notices.push_back(content.damage->message + "; what follows is set aside as " +
                                  path + ".bad");
    }
    if (content.damage && content.good_bytes == 0) continue;
    recovered.files.push_back(path);
    recovered.bytes += bytes->size();
    if (content.unproven_from < content.good_bytes && !content.damage) {  // that is written anew
      const auto unproven = std::string_view(*bytes).substr(
          content.unproven_from, content.good_bytes - content.unproven_from);
      recovered.unproven.push_back(
          {path, content.unproven_from, content.good_bytes, crc32c(0, unproven)});
    }
    if (on_file) on_file(recovered.files.size(), files.size());
  }
  return recovered;
}

}  // namespace rakv::raftlog
