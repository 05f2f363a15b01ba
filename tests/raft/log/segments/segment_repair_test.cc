// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/segment_repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// Entries that can't be read are found and replaced; nothing else of their segment changes.

namespace rakv::raftlog {
namespace {

using ::testing::ElementsAre;
using testing::entry;
using testing::expected_text;
using ::testing::HasSubstr;
using testing::kServerDirectory;
using testing::Store;
using testing::text_at;

constexpr char kSegment[] = "/data/a@host/KVAAAA/0000000000000002.segment";

/// Ten segments and a snapshot at 150; the second segment holds 17..32.
MemberLog* fill(Store& store, const IndexSet& live) {
  MemberLog* log = testing::add_with_ten_segments(store);
  EXPECT_TRUE(store.snapshot(*log, 150, 1, live));
  return log;
}

/// An entry of the second segment.
void damage(Disk& disk, Index index) { testing::damage_value(disk, kSegment, index); }

std::vector<Index> indexes(const std::vector<SegmentSlot>& slots) {
  std::vector<Index> all;
  all.reserve(slots.size());
  for (const auto& slot : slots) all.push_back(slot.index);
  return all;
}

Result<SegmentDamage> find_damage(Store& store, MemberLog& log, Index index) {
  Result<SegmentDamage> found = make_error(ErrorCode::timeout, "no answer");
  log.find_damage(index, [&](Result<SegmentDamage> got) { found = std::move(got); });
  store.settle();
  return found;
}

Result<void> replace(Store& store, MemberLog& log, SegmentDamage damage,
                     const std::vector<Index>& given) {
  std::map<Index, StoredEntry> replacements;
  for (const Index index : given) replacements.emplace(index, entry(index, 1));
  Result<void> outcome = make_error(ErrorCode::timeout, "no answer");
  log.replace_damaged(std::move(damage), std::move(replacements),
                      [&](Result<void> done) { outcome = std::move(done); });
  store.settle();
  return outcome;
}

TEST(SegmentRepair, ReplacesWhatCannotBeReadAndKeepsTheDamagedFile) {
  MemoryDisk disk;
  const IndexSet live = IndexSet::of({3, 20, 21, 22, 40});
  {
    Store store(disk);
    MemberLog* log = fill(store, live);
    EXPECT_TRUE(find_damage(store, *log, 20)->empty());
    for (const Index index : {20, 22, 25}) damage(disk, index);
    EXPECT_THAT(text_at(*log, 20), HasSubstr("checksum of entry 20"));
    const auto found = find_damage(store, *log, 20);
    ASSERT_TRUE(found);
    EXPECT_THAT(indexes(found->needed), ElementsAre(20, 22));
    EXPECT_THAT(found->dropped, ElementsAre(25));  // not live
    // A part of them is not enough, and changes nothing.
    EXPECT_FALSE(replace(store, *log, *found, {20}));
    EXPECT_THAT(text_at(*log, 20), HasSubstr("checksum of entry 20"));
    EXPECT_EQ(text_at(*log, 21), expected_text(21, 1));
    ASSERT_TRUE(replace(store, *log, *found, {20, 22}));
    for (const Index index : live.indexes()) {
      EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
    }
    EXPECT_THAT(read_file(disk, std::string(kSegment) + ".bad").value(), HasSubstr("Value 20/1"));
    EXPECT_TRUE(find_damage(store, *log, 20)->empty());
    // What is old news by now does no harm.
    EXPECT_EQ(replace(store, *log, *found, {20, 22}).error().code, ErrorCode::unavailable);
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_FALSE(log->amnesia());
  for (const Index index : live.indexes()) {
    EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
  }
}

TEST(SegmentRepair, ErrorsOfTheDiskAreNotTakenForDamage) {
  MemoryDisk below;
  FaultyDisk disk(below);
  Store store(disk);
  MemberLog* log = fill(store, IndexSet::of({20}));
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    // It may be open under the name that it was written with.
    if (operation != DiskOperation::read || !path.starts_with(kSegment)) return std::nullopt;
    return make_error(ErrorCode::io, "the cable is loose");
  });
  EXPECT_EQ(find_damage(store, *log, 20).error().code, ErrorCode::io);
  EXPECT_EQ(find_damage(store, *log, 30).error().code, ErrorCode::io);
  EXPECT_EQ(find_damage(store, *log, 1000).error().code, ErrorCode::not_found);
}

TEST(SegmentRepair, NoCompactionAtTheSameTime) {
  MemoryDisk disk;
  Store store(disk);
  const std::vector<Index> live = {3, 20, 40};
  MemberLog* log = fill(store, IndexSet::of(live));
  damage(disk, 20);
  const auto found = find_damage(store, *log, 20);
  ASSERT_TRUE(found);
  const auto start = [&](std::optional<Result<void>>& outcome) {
    log->replace_damaged(*found, {{20, entry(20, 1)}},
                         [&](const Result<void>& done) { outcome = done; });
  };
  std::optional<Result<void>> refused;
  log->trigger_major_compaction();
  start(refused);
  store.settle();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error().code, ErrorCode::unavailable);
  // The damaged entry has left its group as it is.
  std::optional<Result<void>> done;
  start(done);
  log->trigger_major_compaction();  // not now
  store.settle();
  ASSERT_TRUE(done && *done);
  EXPECT_EQ(log->segment_count(), 4U);
  log->trigger_major_compaction();
  store.settle();
  EXPECT_EQ(log->segment_count(), 2U);
  for (const Index index : live) EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
}

/// The machine stops at each operation of a replacement.
TEST(SegmentRepair, EveryCrashLeavesTheOldSegmentOrTheNewOne) {
  const std::vector<Index> others = {3, 21, 40};
  std::uint64_t operations = 0;
  std::size_t old_ones = 0;
  bool finished = false;
  for (std::uint64_t stop = 1; !finished; ++stop) {
    for (const CrashMode mode : {CrashMode::lose_unsynced, CrashMode::random}) {
      MemoryDisk disk;
      {
        FaultyDisk faulty(disk);
        Store store(faulty);
        MemberLog* log = fill(store, IndexSet::of({3, 20, 21, 40}));
        damage(disk, 20);
        const auto found = find_damage(store, *log, 20);
        const std::uint64_t before = faulty.operations();
        faulty.stop_at(before + stop);
        finished = static_cast<bool>(replace(store, *log, *found, {20}));
        operations = faulty.operations() - before;
      }
      disk.crash(mode, stop);
      Store store(disk);
      ASSERT_TRUE(store.system) << stop;
      MemberLog* log = store.system->find("KVAAAA");
      ASSERT_NE(log, nullptr) << stop;
      EXPECT_FALSE(log->amnesia()) << stop;
      for (const Index index : others) EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
      const bool is_old = text_at(*log, 20) != expected_text(20, 1);
      if (is_old) {
        EXPECT_THAT(text_at(*log, 20), HasSubstr("checksum of entry 20"));
      }
      EXPECT_FALSE(finished && is_old);
      EXPECT_FALSE(disk.exists(kServerDirectory + "/0000000000000002.compacting").value());
      old_ones += is_old ? 1 : 0;
    }
  }
  EXPECT_GT(operations, 7U);
  EXPECT_GT(old_ones, 8U);
}

}  // namespace
}  // namespace rakv::raftlog
