// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/kept_records.h"

#include <algorithm>

#include "cnode/base/randomness.h"
#include "raft/log/base/checksum.h"
#include "raft/log/wal/wal_format.h"

namespace rakv::raftlog {
namespace {

std::uint64_t random_salt() { return make_salt_of(Randomness::system()()); }

}  // namespace

Result<void> write_kept_records(Disk& disk, const std::string& path, const std::string& uid,
                                const RecoveredWriter& records) {
  const std::uint64_t salt = random_salt();
  std::string bytes(kWalMagic);
  WalMark mark{MarkKind::start, 0, bytes.size(), finish_mark_crc(0, 0, bytes.size(), salt), salt};
  append_mark(bytes, mark, bytes.size());
  mark.kind = MarkKind::batch;
  mark.sequence = 1;
  mark.first_offset = bytes.size();
  bool first = true;
  for (const auto& entry : records.records) {
    append_record_header(bytes, 1, first ? uid : std::string(), entry.index, entry.term,
                         entry.payload.view());
    bytes += entry.payload.view();
    first = false;
  }
  const std::string_view batch = std::string_view(bytes).substr(mark.first_offset);
  QuietParts quiet(mark.first_offset);
  quiet.add(batch);
  quiet.finish();
  mark.crc = finish_mark_crc(crc32c(0, batch), mark.sequence, mark.first_offset, salt);
  mark.quiet_parts = quiet.count();
  mark.quiet_set = quiet.set();
  append_mark(bytes, mark, bytes.size());
  WalMark final{MarkKind::final, 2, bytes.size(), finish_mark_crc(0, 2, bytes.size(), salt), salt};
  final.file_size = bytes.size() + mark_size(bytes.size());
  append_mark(bytes, final, bytes.size());
  return replace_file(disk, path, bytes);
}

}  // namespace rakv::raftlog
