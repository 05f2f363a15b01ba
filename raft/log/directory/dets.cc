// SPDX-License-Identifier: Apache-2.0
#include "raft/log/directory/dets.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <optional>

#include "cnode/base/byte_order.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/order.h"
#include "raft/log/base/checksum.h"

namespace rakv::raftlog {
namespace {

constexpr std::uint32_t kCookie = 0x00ABCDEF;
constexpr std::uint32_t kActive = 0x12345678;
constexpr std::uint32_t kFree = 0x03ABCDEF;
constexpr std::uint32_t kFreeListEnd = 12345;
constexpr std::uint32_t kSlots = 256;
constexpr std::size_t kCountersAt = 56;
constexpr std::size_t kMd5At = 168;
constexpr std::size_t kBaseAt = 184;
constexpr std::size_t kSealAt = 188;  // in the header's reserved bytes
constexpr std::size_t kPartsAt = 312;
constexpr std::size_t kFirstPartAt = 1336;     // 512 segment pointers
constexpr std::size_t kFirstSegmentAt = 3384;  // 256 slots
constexpr std::size_t kFirstBucketAt = 5432;
constexpr std::uint32_t kSmallestLog2 = 4;  // buckets take at least 16 bytes

std::uint32_t word(std::string_view bytes, std::size_t at) {
  return load_number<std::uint32_t>(bytes, at);
}

std::string md5(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_md5(), nullptr);
  return {reinterpret_cast<const char*>(digest.data()), 16};
}

constexpr std::string_view kDetsSeal = "RAKV";

std::uint32_t seal_crc(std::string_view bytes) {
  const std::size_t after = kSealAt + kDetsSeal.size() + 4;
  return crc32c(crc32c(0, bytes.substr(0, kSealAt)), bytes.substr(after));
}

/// The bytes that the header's MD5 is over.
std::string_view digested(std::string_view bytes) { return bytes.substr(12, kMd5At - 12); }

/// Whether an object is a tuple with a first element, as ETF with 131.
bool is_row(std::string_view object) {
  etf::Cursor cursor(object);
  if (!cursor.version()) return false;
  etf::Cursor inside = cursor;
  const auto arity = inside.tuple();
  return arity && *arity > 0 && cursor.skip() && cursor.at_end();
}

/// The objects of the bucket at `at`; nothing when there is no intact bucket.
std::optional<std::vector<std::string>> read_bucket(std::string_view bytes, std::size_t at) {
  if (at > bytes.size() || bytes.size() - at < 8 || word(bytes, at + 4) != kActive) {
    return std::nullopt;
  }
  const std::size_t size = word(bytes, at);
  if (size < 8 || size > bytes.size() - at) return std::nullopt;
  std::vector<std::string> objects;
  for (std::size_t next = at + 8; next < at + size;) {
    if (at + size - next < 4) return std::nullopt;
    const std::size_t object_size = word(bytes, next);
    if (object_size < 4 || object_size > at + size - next) return std::nullopt;
    objects.emplace_back(bytes.substr(next + 4, object_size - 4));
    if (!is_row(objects.back())) return std::nullopt;
    next += object_size;
  }
  return objects;
}

std::size_t bucket_size_at(std::string_view bytes, std::size_t at) { return word(bytes, at); }

/// Every intact active bucket, wherever the index points.
void scan(std::string_view bytes, DetsContent& content) {
  for (std::size_t at = kFirstPartAt; at + 8 <= bytes.size();) {
    auto objects = read_bucket(bytes, at);
    if (!objects) {
      at += 16;
      continue;
    }
    for (auto& object : *objects) content.objects.push_back(std::move(object));
    at += (bucket_size_at(bytes, at) + 15) / 16 * 16;
  }
}

/// The buckets that the slots point to. False when a pointer leads nowhere.
bool walk(std::string_view bytes, DetsContent& content) {
  const std::uint32_t slots = word(bytes, 24);  // `next`: slots in use
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    const std::uint32_t segment = slot / kSlots;
    const std::size_t part_pointer = kPartsAt + std::size_t{4} * (segment / 512);
    if (part_pointer + 4 > kFirstPartAt) return false;
    const std::size_t part = word(bytes, part_pointer);
    const std::size_t segment_pointer = part + std::size_t{4} * (segment % 512);
    if (part == 0 || segment_pointer + 4 > bytes.size()) return false;
    const std::size_t segment_at = word(bytes, segment_pointer);
    const std::size_t slot_at = segment_at + std::size_t{8} * (slot % kSlots);
    if (segment_at == 0 || slot_at + 8 > bytes.size()) return false;
    const std::uint32_t position = word(bytes, slot_at + 4);
    if (position == 0) continue;
    auto objects = read_bucket(bytes, position);
    if (!objects) return false;
    for (auto& object : *objects) content.objects.push_back(std::move(object));
  }
  return true;
}

struct Bucket {
  std::uint32_t slot = 0;
  std::uint32_t log2 = kSmallestLog2;  // of the space it takes
  std::string bytes;
};

/// Rows of one slot, in the order of their keys.
Result<std::map<std::uint32_t, std::vector<std::string>>> group_by_slot(
    const std::vector<std::string>& objects) {
  struct Row {
    std::string_view key;
    std::string_view object;
  };
  std::map<std::uint32_t, std::vector<Row>> slots;
  for (const auto& object : objects) {
    if (!is_row(object)) {
      return make_error(ErrorCode::invalid_argument, "a row for a DETS file is not a tuple");
    }
    etf::Cursor cursor(object);
    cursor.version();
    cursor.tuple();
    const auto key = cursor.skip();
    const auto hash = etf::phash2(*key);
    if (!hash) return hash.error();
    slots[*hash % kSlots].push_back({*key, object});
  }
  std::map<std::uint32_t, std::vector<std::string>> grouped;
  for (auto& [slot, rows] : slots) {
    const auto before = [](const Row& a, const Row& b) {
      return etf::compare(a.key, b.key).value() < 0;
    };
    std::sort(rows.begin(), rows.end(), before);
    for (std::size_t i = 1; i < rows.size(); ++i) {
      if (!before(rows[i - 1], rows[i])) {
        return make_error(ErrorCode::invalid_argument, "two rows for a DETS file have one key");
      }
    }
    for (const auto& row : rows) grouped[slot].emplace_back(row.object);
  }
  return grouped;
}

/// What a buddy allocator has left after the first `used` bytes: aligned powers of two up to 2^31.
/// Level n stands for 2^(n-1) bytes; each list has its size, the mark of free space, its level and
/// its addresses.
std::string free_lists(std::uint64_t used) {
  std::string out;
  constexpr std::uint64_t kAll = std::uint64_t{1} << 31;
  while (used < kAll) {
    const auto log2 = used == 0 ? 31U : static_cast<std::uint32_t>(std::countr_zero(used));
    put_number(out, std::uint32_t{16});
    put_number(out, kFree);
    put_number(out, log2 + 1);
    put_number(out, static_cast<std::uint32_t>(kFirstBucketAt + used));
    used += std::uint64_t{1} << log2;
  }
  put_number(out, std::uint32_t{12});
  put_number(out, kFree);
  put_number(out, kFreeListEnd);
  return out;
}

}  // namespace

Result<DetsContent> read_dets(const std::string& name, const std::string& bytes) {
  if (bytes.size() < kFirstPartAt || word(bytes, 4) != kCookie) {
    return make_error(ErrorCode::malformed,
                      name + ": is not a DETS file (" + std::to_string(bytes.size()) + " bytes)");
  }
  if (word(bytes, 16) != 9 || word(bytes, 12) != 1 || word(bytes, 28) != 1) {
    return make_error(ErrorCode::malformed,
                      name + ": is not a DETS file of version 9, type set and key position 1");
  }
  if (md5(digested(bytes)) != std::string_view(bytes).substr(kMd5At, 16)) {
    return make_error(ErrorCode::corrupt, name + ": the checksum of its header does not fit");
  }
  DetsContent content;
  const std::uint32_t length = word(bytes, bytes.size() - 4);
  content.clean = word(bytes, 8) == 1 && length == bytes.size() - word(bytes, kBaseAt);
  if (!content.clean) {
    scan(bytes, content);
  } else if (!walk(bytes, content)) {
    return make_error(ErrorCode::corrupt,
                      name + ": was closed properly, but its index points to no intact row");
  } else if (content.objects.size() != word(bytes, 32)) {
    return make_error(ErrorCode::corrupt, name + ": has " + std::to_string(content.objects.size()) +
                                              " rows where " + std::to_string(word(bytes, 32)) +
                                              " are counted in its header");
  }
  return content;
}

void seal_dets(std::string& bytes) {
  bytes.replace(kSealAt, kDetsSeal.size(), kDetsSeal);
  store_number(bytes.data() + kSealAt + kDetsSeal.size(), seal_crc(bytes));
}

bool dets_seal_fits(std::string_view bytes) {
  if (bytes.size() < kPartsAt || bytes.substr(kSealAt, kDetsSeal.size()) != kDetsSeal) return true;
  return word(bytes, kSealAt + kDetsSeal.size()) == seal_crc(bytes);
}

Result<std::string> write_dets(const std::vector<std::string>& objects) {
  auto grouped = group_by_slot(objects);
  if (!grouped) return grouped.error();
  std::vector<Bucket> buckets;
  for (const auto& [slot, rows] : *grouped) {
    Bucket bucket;
    bucket.slot = slot;
    bucket.bytes.resize(4);
    put_number(bucket.bytes, kActive);
    for (const auto& row : rows) {
      put_number(bucket.bytes, static_cast<std::uint32_t>(row.size() + 4));
      bucket.bytes += row;
    }
    store_number(bucket.bytes.data(), static_cast<std::uint32_t>(bucket.bytes.size()));
    bucket.log2 = std::max<std::uint32_t>(
        kSmallestLog2, static_cast<std::uint32_t>(std::bit_width(bucket.bytes.size() - 1)));
    buckets.push_back(std::move(bucket));
  }
  // Largest first: so each is aligned to its own size, as a buddy allocator would have put it.
  std::stable_sort(buckets.begin(), buckets.end(),
                   [](const Bucket& a, const Bucket& b) { return a.log2 > b.log2; });

  std::string file(kFirstBucketAt, '\0');
  std::array<std::uint32_t, 28> counters{};
  std::uint64_t used = 0;
  for (const auto& bucket : buckets) {
    file.resize(kFirstBucketAt + used);
    const std::size_t slot_at = kFirstSegmentAt + std::size_t{8} * bucket.slot;
    store_number(file.data() + slot_at, static_cast<std::uint32_t>(bucket.bytes.size()));
    store_number(file.data() + slot_at + 4, static_cast<std::uint32_t>(file.size()));
    file += bucket.bytes;
    used += std::uint64_t{1} << bucket.log2;
    ++counters[bucket.log2 - kSmallestLog2];
  }

  const auto count = static_cast<std::uint32_t>(objects.size());
  const std::array<std::uint32_t, 14> header{static_cast<std::uint32_t>(file.size()),
                                             kCookie,
                                             1,         // closed properly
                                             1,         // type set
                                             9,         // version
                                             kSlots,    // m
                                             kSlots,    // next
                                             1,         // key position
                                             count,     // objects
                                             count,     // keys
                                             kSlots,    // least slots
                                             1U << 25,  // most slots
                                             1,         // phash2
                                             0};        // n
  for (std::size_t i = 0; i < header.size(); ++i) store_number(file.data() + 4 * i, header[i]);
  for (std::size_t i = 0; i < counters.size(); ++i) {
    store_number(file.data() + kCountersAt + 4 * i, counters[i]);
  }
  file.replace(kMd5At, 16, md5(digested(file)));
  store_number(file.data() + kBaseAt, static_cast<std::uint32_t>(kFirstBucketAt));
  store_number(file.data() + kPartsAt, static_cast<std::uint32_t>(kFirstPartAt));
  store_number(file.data() + kFirstPartAt, static_cast<std::uint32_t>(kFirstSegmentAt));

  file += free_lists(used);
  put_number(file, static_cast<std::uint32_t>(file.size() + 4 - kFirstBucketAt));
  return file;
}

}  // namespace rakv::raftlog
