// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/wal_recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "raft/log/base/checksum.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/wal/wal.h"
#include "raft/log/wal/wal_format.h"
#include "tests/raft/log/special_values.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using ::testing::HasSubstr;
using testing::IgnoredWalEvents;
using testing::value_with_adler_zero;

/// The file that writing these batches (of writer A) gives. `closed`: with its final mark.
std::string wal_of(const std::vector<std::vector<StoredEntry>>& batches, bool closed = false) {
  MemoryDisk disk;
  static_cast<void>(disk.make_directory("/w"));
  WalQueue queue;
  IgnoredWalEvents sink;
  WalOptions options;
  options.salt_seed = 3;
  auto writer = WalWriter::open(disk, "/w", 1, options, queue, sink).value();
  const WriterId a = queue.add_writer("UIDA");
  std::uint64_t sequence = 1;
  for (const auto& batch : batches) {
    queue.append(a, sequence, batch);
    sequence += batch.size();
    writer->run_one_batch();
  }
  if (closed) {
    EXPECT_TRUE(writer->close());
  }
  return read_file(disk, "/w/0000000000000001.wal").value();
}

/// A file as a BEAM writes it: no marks.
std::string beam_wal(const std::vector<StoredEntry>& all) {
  std::string bytes(kWalMagic);
  bool first = true;
  for (const auto& one : all) {
    append_record_header(bytes, 0, first ? "UIDA" : "", one.index, one.term, one.payload.view());
    bytes += one.payload.view();
    first = false;
  }
  return bytes;
}

/// Indexes of the entries (not the marks) that a file's bytes give.
Result<std::vector<Index>> indexes_in(const std::string& bytes, std::string* notice = nullptr) {
  auto records = parse_wal("FILE", bytes, notice);
  if (!records) return records.error();
  std::vector<Index> indexes;
  for (const auto& record : *records) indexes.push_back(record.entry.index);
  return indexes;
}

RecoveredWal recover(const std::vector<std::string>& files) {
  MemoryDisk disk;
  static_cast<void>(disk.make_directory("/w"));
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto file = disk.create("/w/" + numbered_name(i + 1, ".wal"));
    EXPECT_TRUE((*file)->pwrite(0, files[i]));
  }
  auto recovered = recover_wal(disk, "/w");
  EXPECT_TRUE(recovered) << recovered.error().message;
  return std::move(*recovered);
}

/// Of the entries, in the order of writing.
std::vector<std::pair<Index, Term>> positions(const RecoveredWal& wal) {
  std::vector<std::pair<Index, Term>> all;
  for (const StoredEntry& one : wal.writers.at("UIDA").records)
    all.emplace_back(one.index, one.term);
  return all;
}

/// What an overwrite voids depends on the server's snapshot (install_test.cc).
TEST(WalRecovery, KeepsTheOrderOfWritingAcrossFiles) {
  const auto wal = recover(
      {wal_of({entries(1, 3, 1), {entry(2, 2)}}, true), wal_of({{entry(17, 2), entry(33, 2)}})});
  EXPECT_THAT(positions(wal),
              ::testing::ElementsAre(std::pair(1, 1), std::pair(2, 1), std::pair(3, 1),
                                     std::pair(2, 2), std::pair(17, 2), std::pair(33, 2)));
}

TEST(WalRecovery, TornTailAtEveryByte) {
  const std::string first = wal_of({entries(1, 3, 1)});
  const std::string whole = wal_of({entries(1, 3, 1), entries(4, 6, 1)});
  for (std::size_t size = first.size(); size < whole.size(); ++size) {
    std::string notice;
    const auto got = indexes_in(whole.substr(0, size), &notice);
    ASSERT_TRUE(got) << size << ": " << got.error().message;
    EXPECT_THAT(*got, ::testing::ElementsAre(1, 2, 3)) << size;
    EXPECT_EQ(notice.empty(), size == first.size()) << size;
  }
  EXPECT_THAT(*indexes_in(whole), ::testing::ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(WalRecovery, TornTailFollowedByZeros) {
  const std::string first = wal_of({entries(1, 3, 1)});
  const std::string whole = wal_of({entries(1, 3, 1), {entry(4, 1, std::string(2000, 'x'))}});
  // Any sector of the last batch may be missing while later ones are there.
  for (std::size_t sector = first.size() / 512; sector * 512 < whole.size(); ++sector) {
    std::string bytes = whole;
    for (std::size_t i = std::max(sector * 512, first.size());
         i < std::min((sector + 1) * 512, bytes.size()); ++i) {
      bytes[i] = '\0';
    }
    const auto got = indexes_in(bytes);
    ASSERT_TRUE(got) << sector << ": " << got.error().message;
    EXPECT_THAT(*got, ::testing::ElementsAre(1, 2, 3)) << sector;
  }
  EXPECT_THAT(*indexes_in(first + std::string(5000, '\0')), ::testing::ElementsAre(1, 2, 3));
}

TEST(WalRecovery, TornTailInReservedRoom) {
  const std::string first = wal_of({entries(1, 3, 1)});
  std::string random_bytes(1800, '\0');
  std::mt19937_64 random(4);
  for (char& byte : random_bytes) byte = static_cast<char>(random() % 255 + 1);
  const std::string whole = wal_of({entries(1, 3, 1), {entry(4, 1, random_bytes), entry(5, 1)}});
  const std::size_t begin = first.size() / 512;
  const std::size_t sectors = (whole.size() - 1) / 512 - begin + 1;
  // Each set of the last batch's sectors but all of them may have reached the disk.
  for (std::size_t there = 0; there + 1 < std::size_t{1} << sectors; ++there) {
    std::string bytes = whole + std::string(4096, '\0');
    for (std::size_t at = first.size(); at < whole.size(); ++at) {
      if ((there >> (at / 512 - begin) & 1) == 0) bytes[at] = '\0';
    }
    const auto got = indexes_in(bytes);
    ASSERT_TRUE(got) << there << ": " << got.error().message;
    EXPECT_THAT(*got, ::testing::ElementsAre(1, 2, 3)) << there;
  }
  EXPECT_THAT(*indexes_in(whole + std::string(4096, '\0')), ::testing::ElementsAre(1, 2, 3, 4, 5));
}

/// Values with runs of zeros, as counters, images and sparse files have.
std::vector<std::string> zero_rich_values() {
  std::string counters;  // one byte that is not zero in each sector
  for (int i = 0; i < 6; ++i) counters += std::string(511, '\0') + '\x01';
  std::string mixed = std::string(700, '\0') + "text" + std::string(1300, '\0') + "more";
  return {std::string(3000, '\0'), counters, mixed, mixed + std::string(9, '\0')};
}

/// The last batch with such a value, between others.
std::string wal_with(const std::string& value, std::size_t shift) {
  return wal_of({entries(1, 3, 1, std::string(shift, 's')),
                 {entry(4, 1), {5, 1, testing::payload(value)}, entry(6, 1)}});
}

/// Each byte but those that are only zeros in the middle of zeros, whose like is tried.
TEST(WalRecovery, AFlippedByteBesideZerosIsNeverSilent) {
  std::size_t flips = 0;
  for (const std::string& value : zero_rich_values()) {
    for (const std::size_t shift : {1U, 60U, 130U}) {
      const std::string whole = wal_with(value, shift) + std::string(1500, '\0');
      const std::size_t content = whole.find_last_not_of('\0') + 1;
      for (std::size_t at = kWalMagic.size(); at < content; ++at) {
        for (const int mask : {0x01, 0x40, 0x80, 0xff}) {
          std::string bytes = whole;
          bytes[at] = static_cast<char>(bytes[at] ^ mask);
          const auto got = indexes_in(bytes);
          ++flips;
          if (!got) continue;
          ASSERT_THAT(*got, ::testing::ElementsAre(1, 2, 3, 4, 5, 6)) << at << " of " << content;
        }
      }
    }
  }
  std::printf("bytes flipped beside zeros: %zu\n", flips);
}

/// As after a power cut: any set of the last batch's sectors is missing, the room after them is
/// reserved. Only where nothing is missing but sectors that were as good as zeros may it be taken
/// for damage.
TEST(WalRecovery, ACutOffBatchBesideZerosIsNoDamage) {
  std::mt19937_64 random(testing::seed_of_test(11));
  std::size_t cases = 0;
  for (const std::string& value : zero_rich_values()) {
    for (std::size_t shift = 1; shift < 180; shift += 7) {
      const std::string whole = wal_with(value, shift);
      const std::size_t begin = wal_of({entries(1, 3, 1, std::string(shift, 's'))}).size();
      ASSERT_TRUE(indexes_in(whole));
      for (int round = 0; round < 40; ++round) {
        std::string bytes = whole + std::string(2000, '\0');
        bool missing = false;
        std::string lost;
        for (std::size_t at = begin; at < whole.size();) {
          const std::size_t end = std::min((at / 512 + 1) * 512, whole.size());
          std::size_t not_zero = 0;
          for (std::size_t i = at; i < end; ++i) not_zero += whole[i] != 0;
          if (random() % 3 == 0) {
            bytes.replace(at, end - at, end - at, '\0');
            missing |= not_zero > 1;
            lost += std::to_string(at) + "(" + std::to_string(not_zero) + ") ";
          }
          at = end;
        }
        if (!missing) continue;
        ++cases;
        const auto got = indexes_in(bytes);
        ASSERT_TRUE(got) << got.error().message << "; missing " << lost << " of " << begin << " to "
                         << whole.size();
        ASSERT_THAT(*got, ::testing::ElementsAre(1, 2, 3));
      }
    }
  }
  std::printf("batches with missing sectors: %zu\n", cases);
  EXPECT_GT(cases, 2000U);
}

/// As after a kill -9: the write has stopped somewhere.
TEST(WalRecovery, AWriteThatStoppedAtAnyByteIsNoDamage) {
  for (const std::string& value : zero_rich_values()) {
    const std::string whole = wal_with(value, 60);
    const std::size_t begin = wal_of({entries(1, 3, 1, std::string(60, 's'))}).size();
    for (std::size_t size = begin; size + 1 < whole.size(); ++size) {
      for (const bool reserved : {false, true}) {
        std::string bytes = whole.substr(0, size);
        if (reserved) bytes.resize(whole.size() + 700, '\0');
        const auto got = indexes_in(bytes);
        ASSERT_TRUE(got) << size << " of " << whole.size() << ": " << got.error().message;
        ASSERT_THAT(*got, ::testing::ElementsAre(1, 2, 3)) << size;
      }
    }
  }
}

TEST(WalRecovery, AChecksumThatComesToZeroIsOneLikeAnyOther) {
  const std::vector<StoredEntry> special = {{4, 1, value_with_adler_zero(4, 1, 2000)}};
  EXPECT_EQ(indexes_in(wal_of({entries(1, 3, 1), special, entries(5, 6, 1)}))->size(), 6U);
  EXPECT_EQ(indexes_in(wal_of({entries(1, 3, 1), special}))->size(), 4U);
  EXPECT_EQ(indexes_in(wal_of({entries(1, 3, 1), special}) + std::string(900, '\0'))->size(), 4U);
  // And it is checked.
  const std::string whole = wal_of({entries(1, 3, 1), special});
  for (std::size_t at = wal_of({entries(1, 3, 1)}).size(); at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    EXPECT_FALSE(indexes_in(bytes)) << at;
  }
}

/// Flips every byte of a file of acknowledged batches: either an error tells of it, or all entries
/// come out as they were.
void flip_every_byte(const std::string& whole, std::size_t* harmless) {
  const auto expected = parse_wal("FILE", whole, nullptr).value();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int mask : {0x01, 0x40, 0x80, 0xff}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      const auto got = parse_wal("FILE", bytes, nullptr);
      if (!got) {
        EXPECT_EQ(got.error().code, ErrorCode::corrupt);
        EXPECT_THAT(got.error().message, HasSubstr("FILE"));
        continue;
      }
      ++*harmless;
      ASSERT_EQ(got->size(), expected.size())
          << "byte " << at << " of " << whole.size() << ", mask " << mask << ", kept "
          << got->size() << " of " << expected.size() << ", last at " << got->back().offset;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ((*got)[i].uid, expected[i].uid) << at;
        EXPECT_EQ((*got)[i].entry.index, expected[i].entry.index) << at;
        EXPECT_EQ((*got)[i].entry.term, expected[i].entry.term) << at;
        EXPECT_EQ((*got)[i].entry.payload.view(), expected[i].entry.payload.view()) << at;
      }
    }
  }
}

TEST(WalRecovery, FlipOfEveryByteOfAClosedFileIsDetected) {
  std::size_t harmless = 0;
  flip_every_byte(wal_of({entries(1, 3, 1), entries(4, 5, 2)}, true), &harmless);
  std::printf("flips without effect: %zu\n", harmless);
}

TEST(WalRecovery, FlipOfEveryByteOfAnOpenFileIsDetected) {
  std::size_t harmless = 0;
  flip_every_byte(wal_of({entries(1, 3, 1), entries(4, 5, 2)}), &harmless);
  std::printf("flips without effect: %zu\n", harmless);
}

TEST(WalRecovery, FlipOfEveryByteWithReservedRoomBehindIsDetected) {
  std::size_t harmless = 0;
  flip_every_byte(wal_of({entries(1, 3, 1), entries(4, 5, 2)}) + std::string(1500, '\0'),
                  &harmless);
  flip_every_byte(wal_of({entries(1, 3, 1)}, true) + std::string(1500, '\0'), &harmless);
  std::printf("flips without effect: %zu\n", harmless);
}

TEST(WalRecovery, DamageBeforeAValidMarkNamesFileAndOffset) {
  const std::string first = wal_of({entries(1, 3, 1)});
  std::string bytes = wal_of({entries(1, 3, 1), entries(4, 6, 1), entries(7, 9, 1)});
  // A whole record zeroed: ra takes that for the end of the file.
  for (std::size_t i = first.size(); i < first.size() + 40; ++i) bytes[i] = '\0';
  const auto got = indexes_in(bytes);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message,
              ::testing::AllOf(HasSubstr("FILE"), HasSubstr("byte " + std::to_string(first.size())),
                               HasSubstr("a good batch mark follows")));
}

TEST(WalRecovery, AValueThatLooksLikeAMarkIsNoMark) {
  std::string fake;
  append_mark(fake, {MarkKind::batch, 9, 5, 1, 42}, 0);
  const std::string first = wal_of({entries(1, 3, 1)});
  const std::string whole = wal_of({entries(1, 3, 1), {entry(4, 1, fake)}});
  const auto got = indexes_in(whole.substr(0, whole.size() - 10));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_THAT(*got, ::testing::ElementsAre(1, 2, 3));
}

TEST(WalRecovery, BeamFilesFollowRasRules) {
  const std::string whole = beam_wal(entries(0, 9, 1));
  EXPECT_EQ(indexes_in(whole)->size(), 10U);
  EXPECT_EQ(indexes_in(whole + std::string(1000, '\0'))->size(), 10U);
  std::string notice;
  EXPECT_EQ(indexes_in(whole.substr(0, whole.size() - 3), &notice)->size(), 9U);
  EXPECT_THAT(notice, HasSubstr("not completely written"));
  std::string last_bad = whole;
  last_bad.back() ^= 1;
  EXPECT_EQ(indexes_in(last_bad)->size(), 9U);
  std::string middle_bad = whole;
  middle_bad[whole.size() / 2] ^= 1;
  ASSERT_FALSE(indexes_in(middle_bad));
  EXPECT_EQ(indexes_in(std::string(kWalMagic))->size(), 0U);
}

TEST(WalRecovery, AHoleInABeamFileIsAnErrorAndNotTheEnd) {
  const std::string head = beam_wal(entries(0, 3, 1));
  std::string bytes = beam_wal(entries(0, 9, 1));
  for (std::size_t i = head.size(); i < head.size() + 30; ++i) bytes[i] = '\0';
  const auto got = indexes_in(bytes);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("zeros where a record must be"));
}

TEST(WalRecovery, RefusesWhatIsNoWal) {
  for (const std::string& bytes : {std::string(), std::string("RAW"), std::string("RAWA\x02", 5)}) {
    const auto got = indexes_in(bytes);
    ASSERT_FALSE(got);
    EXPECT_THAT(got.error().message, HasSubstr("FILE: is not a WAL file of version 1"));
  }
}

TEST(WalRecovery, NamesOfBothLengths) {
  EXPECT_EQ(numbered_name(12, ".wal"), "0000000000000012.wal");
  EXPECT_EQ(number_of_name("0000000000000012.wal", ".wal"), 12U);
  EXPECT_EQ(number_of_name("00000012.wal", ".wal"), 12U);
  EXPECT_FALSE(number_of_name("000000000000001x.wal", ".wal"));
  EXPECT_FALSE(number_of_name("0000000000000012.tmp", ".wal"));
}

}  // namespace
}  // namespace rakv::raftlog
