// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/wal_format.h"

#include <algorithm>

#include "cnode/base/byte_order.h"
#include "cnode/base/check.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/log/base/checksum.h"
#include "raft/log/wal/wal.h"

namespace rakv::raftlog {
namespace {

constexpr std::string_view name_of(MarkKind kind) {
  switch (kind) {
    case MarkKind::start:
      return "start";
    case MarkKind::batch:
      return "batch";
    case MarkKind::final:
      return "final";
  }
  return {};
}

}  // namespace

std::uint32_t finish_mark_crc(std::uint32_t crc, std::uint64_t sequence, std::uint64_t first_offset,
                              std::uint64_t salt) {
  std::string numbers;
  put_number(numbers, sequence);
  put_number(numbers, first_offset);
  put_number(numbers, salt);
  return crc32c(crc, numbers);
}

void append_record_header(std::string& out, std::uint32_t ref, std::string_view uid,
                          std::uint64_t index, std::uint64_t term, std::string_view data) {
  const std::uint32_t first = (uid.empty() ? 1U << 22 : 0) | ref;
  out.push_back(static_cast<char>(first >> 16));
  put_number(out, static_cast<std::uint16_t>(first));
  if (!uid.empty()) {
    put_number(out, static_cast<std::uint16_t>(uid.size()));
    out.append(uid);
  }
  const std::size_t checksum_at = out.size();
  put_number(out, std::uint32_t{0});
  put_number(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t covered_at = out.size();
  put_number(out, index);
  put_number(out, term);
  const std::uint32_t adler = adler32(1, std::string_view(out).substr(covered_at));
  store_number(out.data() + checksum_at, adler32(adler, data));
}

std::uint64_t mix_part(std::uint64_t number) {  // the finish of splitmix64
  number += 0x9e3779b97f4a7c15;
  number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
  number = (number ^ number >> 27) * 0x94d049bb133111eb;
  return number ^ number >> 31;
}

void QuietParts::end_part() {
  if (any_ && not_zero_ < 2) {
    ++count_;
    set_ ^= mix_part((at_ - 1) / kWalSectorSize);
  }
  any_ = false;
  not_zero_ = 0;
}

void QuietParts::add(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t size =
        std::min<std::size_t>(kWalSectorSize - at_ % kWalSectorSize, bytes.size());
    for (std::size_t i = 0; i < size && not_zero_ < 2; ++i) not_zero_ += bytes[i] != 0 ? 1 : 0;
    any_ = true;
    at_ += size;
    bytes.remove_prefix(size);
    if (at_ % kWalSectorSize == 0) end_part();
  }
}

std::uint64_t make_salt_of(std::uint64_t random) {
  for (int shift = 0; shift < 64; shift += 8) {
    if ((random >> shift & 0xff) == 0) random |= std::uint64_t{1} << shift;
  }
  return random;
}

std::size_t mark_size(std::uint64_t offset) {
  constexpr std::size_t kClear = kWalMaxPad / 2;  // bytes of a sector's ends
  const std::size_t over = (offset + kWalMarkSize) % kWalSectorSize;
  std::size_t pad = 0;
  if (over != 0 && over < kClear) pad = kClear - over;
  if (over > kWalSectorSize - kClear) pad = kWalSectorSize - over;
  return kWalMarkSize + pad;
}

void append_mark(std::string& out, const WalMark& mark, std::uint64_t offset) {
  std::string numbers;
  put_number(numbers, mark.sequence);
  put_number(numbers, mark.first_offset);
  put_number(numbers, mark.crc);
  put_number(numbers, mark.file_size);
  put_number(numbers, mark.quiet_parts);
  put_number(numbers, mark.quiet_set);
  const std::size_t size = mark_size(offset);
  numbers.append(size - kWalMarkSize, '-');
  put_number(numbers, mark.salt);
  etf::Writer data;
  data.version().tuple(2).atom(name_of(mark.kind)).binary(numbers);
  const std::size_t before = out.size();
  append_record_header(out, 0, kBatchMarkUid, mark.sequence, 0, data.view());
  out.append(data.view());
  RAKV_CHECK(out.size() - before == size);
}

std::optional<WalRecordView> view_header(std::string_view bytes, std::size_t offset) {
  if (offset >= bytes.size()) return std::nullopt;
  bytes = bytes.substr(offset);
  if (bytes.size() < 3) return std::nullopt;
  WalRecordView record;
  const auto first = static_cast<unsigned char>(bytes[0]);
  record.truncate = (first & 0x80) != 0;
  record.known_ref = (first & 0x40) != 0;
  record.ref = (first & 0x3FU) << 16 | load_number<std::uint16_t>(bytes, 1);
  std::size_t at = 3;
  if (!record.known_ref) {
    if (bytes.size() < at + 2) return std::nullopt;
    const std::size_t uid_size = load_number<std::uint16_t>(bytes, at);
    at += 2;
    if (bytes.size() < at + uid_size) return std::nullopt;
    record.uid = bytes.substr(at, uid_size);
    at += uid_size;
  }
  if (bytes.size() < at + kWalFixedSize) return std::nullopt;
  record.adler = load_number<std::uint32_t>(bytes, at);
  record.index = load_number<std::uint64_t>(bytes, at + 8);
  record.term = load_number<std::uint64_t>(bytes, at + 16);
  record.header_size = at + kWalFixedSize;
  record.size = record.header_size + load_number<std::uint32_t>(bytes, at + 4);
  return record;
}

std::optional<WalRecordView> view_record(std::string_view bytes, std::size_t offset) {
  auto record = view_header(bytes, offset);
  if (!record || bytes.size() - offset < record->size) return std::nullopt;
  const std::size_t data_size = record->size - record->header_size;
  record->data = bytes.substr(offset + record->header_size, data_size);
  record->checksum_fits =
      record->adler == adler32(1, bytes.substr(offset + record->header_size - 16, 16 + data_size));
  record->checksum_ok = record->adler == 0 || record->checksum_fits;
  return record;
}

std::optional<WalMark> mark_of(const WalRecordView& record) {
  if (record.uid != kBatchMarkUid || record.size < kWalOldMarkSize ||
      record.size > kWalMarkSize + kWalMaxPad || record.truncate || record.ref != 0 ||
      record.term != 0 || !record.checksum_fits) {
    return std::nullopt;
  }
  etf::Cursor data(record.data);
  if (!data.version() || !data.tuple(2)) return std::nullopt;
  WalMark mark;
  if (data.is_atom("start")) {
    mark.kind = MarkKind::start;
  } else if (data.is_atom("batch")) {
    mark.kind = MarkKind::batch;
  } else if (data.is_atom("final")) {
    mark.kind = MarkKind::final;
  } else {
    return std::nullopt;
  }
  const auto numbers = data.binary();
  constexpr std::size_t kOldNumbers = 28;
  constexpr std::size_t kNumbers = 48;
  if (!numbers || (numbers->size() != kOldNumbers && numbers->size() < kNumbers)) {
    return std::nullopt;
  }
  mark.sequence = load_number<std::uint64_t>(*numbers, 0);
  mark.first_offset = load_number<std::uint64_t>(*numbers, 8);
  mark.crc = load_number<std::uint32_t>(*numbers, 16);
  mark.salt = load_number<std::uint64_t>(*numbers, numbers->size() - 8);
  mark.extended = numbers->size() >= kNumbers;
  if (mark.extended) {
    mark.file_size = load_number<std::uint64_t>(*numbers, 20);
    mark.quiet_parts = load_number<std::uint32_t>(*numbers, 28);
    mark.quiet_set = load_number<std::uint64_t>(*numbers, 32);
  }
  if (mark.sequence != record.index) return std::nullopt;
  return mark;
}

}  // namespace rakv::raftlog
