// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/compaction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::add_with_ten_segments;
using ::testing::ElementsAre;
using testing::entries;
using testing::expected_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kServerDirectory;
using testing::Store;
using testing::text_at;

std::vector<std::string> files(Disk& disk) {
  std::vector<std::string> names;
  for (const auto& entry : disk.list(kServerDirectory).value()) {
    if (entry.kind == DirectoryEntry::Kind::file && entry.name != "config") {
      names.push_back(entry.name);
    }
  }
  return names;
}

std::string file_name(std::uint64_t number) {
  std::string digits = std::to_string(number);
  return std::string(16 - digits.size(), '0') + digits + ".segment";
}

void expect_live(const MemberLog& log, const IndexSet& live) {
  for (const Index index : live.indexes()) {
    EXPECT_EQ(text_at(log, index), expected_text(index, 1));
  }
}

// ---- groups

/// A segment of `entries` entries of 10 bytes, of which the first `live` are live.
LiveSegment part(MemoryDisk& disk, std::uint64_t number, Index entries_count, std::size_t live) {
  std::vector<StoredEntry> all;
  all.reserve(entries_count);
  for (Index i = 0; i < entries_count; ++i) {
    all.push_back({number * 100 + i, 1, SharedBytes::copy_of("0123456789")});
  }
  LiveSegment made;
  made.segment = Segment::create(disk, "/" + file_name(number), number, all, {}).value();
  made.live.assign(made.segment->slots().begin(),
                   made.segment->slots().begin() + static_cast<std::ptrdiff_t>(live));
  made.live_bytes = 10 * live;
  return made;
}

std::vector<std::uint64_t> numbers(const std::vector<LiveSegment>& group) {
  std::vector<std::uint64_t> all;
  all.reserve(group.size());
  for (const auto& member : group) all.push_back(member.segment->number());
  return all;
}

TEST(CompactionGroups, ADenseSegmentEndsAGroup) {
  MemoryDisk disk;
  CompactionGroups groups({100, 10'000});
  EXPECT_THAT(groups.add(part(disk, 1, 10, 5)), IsEmpty());  // half is not less than half
  EXPECT_THAT(groups.add(part(disk, 2, 10, 4)), IsEmpty());
  EXPECT_THAT(groups.add(part(disk, 3, 10, 1)), IsEmpty());
  EXPECT_THAT(numbers(groups.add(part(disk, 4, 10, 10))), ElementsAre(2, 3));
  EXPECT_THAT(groups.add(part(disk, 5, 10, 1)), IsEmpty());
  EXPECT_THAT(numbers(groups.finish()), ElementsAre(5));
  EXPECT_THAT(groups.finish(), IsEmpty());
}

TEST(CompactionGroups, FewBytesAreEnoughToBeSparse) {
  MemoryDisk disk;
  CompactionGroups groups({100, 10'000});
  LiveSegment small = part(disk, 1, 10, 8);
  small.live_bytes = 49;  // of 100
  EXPECT_THAT(groups.add(std::move(small)), IsEmpty());
  EXPECT_THAT(numbers(groups.finish()), ElementsAre(1));
}

TEST(CompactionGroups, AGroupHoldsNoMoreThanASegmentMay) {
  MemoryDisk disk;
  CompactionGroups by_entries({8, 10'000});
  EXPECT_THAT(by_entries.add(part(disk, 1, 20, 5)), IsEmpty());
  EXPECT_THAT(by_entries.add(part(disk, 2, 20, 3)), IsEmpty());
  EXPECT_THAT(numbers(by_entries.add(part(disk, 3, 20, 1))), ElementsAre(1, 2));
  EXPECT_THAT(numbers(by_entries.add(part(disk, 4, 20, 9))), ElementsAre(3));  // 4 is too large
  EXPECT_THAT(by_entries.add(part(disk, 5, 20, 2)), IsEmpty());
  EXPECT_THAT(numbers(by_entries.finish()), ElementsAre(5));

  CompactionGroups by_bytes({100, 80});
  EXPECT_THAT(by_bytes.add(part(disk, 6, 20, 5)), IsEmpty());
  EXPECT_THAT(numbers(by_bytes.add(part(disk, 7, 20, 4))), ElementsAre(6));
  EXPECT_THAT(numbers(by_bytes.finish()), ElementsAre(7));
}

// ---- a member's segments

TEST(Compaction, MergesSparseSegmentsAndKeepsEveryLiveEntry) {
  MemoryDisk disk;
  const IndexSet live = IndexSet::of({3, 20, 21, 70, 100, 101, 102, 103, 104, 105, 106, 107, 130});
  {
    Store store(disk);
    MemberLog* log = add_with_ten_segments(store);
    ASSERT_TRUE(store.snapshot(*log, 150, 1, live));
    EXPECT_EQ(log->segment_count(), 6U);  // 3, 4, 6 and 8 had nothing live
    log->trigger_major_compaction();
    store.settle();
    // 7 holds 97..112, half of it live, and stays; 9 holds 129..144 with 130.
    EXPECT_THAT(files(disk), ElementsAre(file_name(1), file_name(7), file_name(9), file_name(10)));
    expect_live(*log, live);
    EXPECT_EQ(log->compaction_counts().minor, 1U);
    EXPECT_EQ(log->compaction_counts().major, 1U);
    EXPECT_EQ(log->compaction_counts().segments_written, 2U);
    EXPECT_EQ(log->compaction_counts().segments_compacted, 4U);  // 1, 2, 5 and 9
    EXPECT_THAT(store.watcher.events, IsEmpty());
    log->trigger_major_compaction();  // finds nothing more to do
    store.settle();
    EXPECT_EQ(log->compaction_counts().segments_written, 2U);
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_FALSE(log->amnesia());
  EXPECT_EQ(log->last_written(), (Position{160, 1}));
  expect_live(*log, live);
  for (Index i = 151; i <= 160; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
}

TEST(Compaction, AMajorOneFollowsAfterSoManyMinorOnes) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = add_with_ten_segments(store);
  log->set_major_compaction_after(2);
  for (const Index index : {20, 40, 60}) {
    ASSERT_TRUE(store.snapshot(*log, index, 1, IndexSet::of({3, 18})));
  }
  EXPECT_EQ(log->compaction_counts().minor, 2U);
  EXPECT_EQ(log->compaction_counts().major, 1U);
  EXPECT_EQ(log->compaction_counts().segments_compacted, 2U);
  for (const Index index : {80, 100, 120}) {
    ASSERT_TRUE(store.snapshot(*log, index, 1, IndexSet::of({3, 18})));
  }
  EXPECT_EQ(log->compaction_counts().minor, 4U);
  EXPECT_EQ(log->compaction_counts().major, 2U);
  log->set_major_compaction_after(std::nullopt);
  for (const Index index : {122, 124, 126, 128, 130}) {
    ASSERT_TRUE(store.snapshot(*log, index, 1, IndexSet::of({3, 18})));
  }
  EXPECT_EQ(log->compaction_counts().major, 2U);
  expect_live(*log, IndexSet::of({3, 18}));
}

TEST(Compaction, WithoutASnapshotOrASecondSegmentNothingHappens) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  log->trigger_major_compaction();
  store.append(*log, entries(1, 10, 1));
  store.roll_over();
  ASSERT_TRUE(store.snapshot(*log, 9, 1, IndexSet::of({3})));
  log->trigger_major_compaction();
  store.settle();
  EXPECT_EQ(log->compaction_counts().minor, 0U);
  EXPECT_EQ(log->compaction_counts().major, 0U);
  EXPECT_EQ(text_at(*log, 3), expected_text(3, 1));
}

/// A log that was overwritten: 20 is in the segments 2 (term 1), 4 (term 2) and 5 (term 3).
TEST(Compaction, OverwrittenEntriesDoNotShowThrough) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    const auto write = [&](Index first, Index last, Term term) {
      store.vote("KVAAAA", term, std::nullopt);
      store.append(*log, entries(first, last, term));
      store.roll_over();
    };
    write(1, 40, 1);   // segments 1 to 3
    write(20, 21, 2);  // 4
    write(20, 30, 3);  // 5
    write(31, 40, 3);  // 6
    ASSERT_TRUE(store.snapshot(*log, 40, 3, IndexSet::of({2, 19, 20, 30})));
    log->trigger_major_compaction();
    store.settle();
    EXPECT_THAT(files(disk), ElementsAre(file_name(1), file_name(6)));
    EXPECT_EQ(text_at(*log, 20), expected_text(20, 3));
  }
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_EQ(text_at(*log, 2), expected_text(2, 1));
  EXPECT_EQ(text_at(*log, 19), expected_text(19, 1));
  EXPECT_EQ(text_at(*log, 20), expected_text(20, 3));
  EXPECT_EQ(text_at(*log, 30), expected_text(30, 3));
}

/// Reads that were begun before a compaction and are carried out after it.
TEST(Compaction, AReaderUnderWayGetsItsEntries) {
  MemoryDisk disk;
  ManualExecutor background;
  LogSystemOptions options = testing::small_options();
  options.background = &background;
  options.max_open_segments = 1;  // so that most reads open their file anew
  Store store(disk, options);
  store.background = &background;
  MemberLog* log = add_with_ten_segments(store);
  const std::vector<Index> wanted = {3, 20, 40, 60, 70};
  ASSERT_TRUE(store.snapshot(*log, 150, 1, IndexSet::of(wanted)));
  std::optional<Result<std::vector<StoredEntry>>> got;
  log->read(wanted, [&](Result<std::vector<StoredEntry>> read) { got = std::move(read); });
  log->trigger_major_compaction();
  for (bool worked = true; worked;) {  // all but the worker, where the read waits
    worked = background.run_all() > 0;
    worked = store.owner.run_all() > 0 || worked;
  }
  ASSERT_FALSE(got);
  EXPECT_THAT(files(disk), ElementsAre(file_name(1), file_name(10)));
  store.settle();
  ASSERT_TRUE(got);
  ASSERT_TRUE(*got) << got->error().message;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ((**got)[i].payload.view(), testing::entry(wanted[i], 1).payload.view());
  }
}

TEST(Compaction, ADamagedEntryLeavesItsGroupAsItIs) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = add_with_ten_segments(store);
  ASSERT_TRUE(store.snapshot(*log, 150, 1, IndexSet::of({3, 20, 40})));
  const std::string path = kServerDirectory + "/" + file_name(2);
  const std::string whole = read_file(disk, path).value();
  testing::damage_value(disk, path, 20);
  log->trigger_major_compaction();
  store.settle();
  EXPECT_THAT(store.watcher.events, ElementsAre(HasSubstr("checksum of entry 20")));
  EXPECT_THAT(files(disk), ElementsAre(file_name(1), file_name(2), file_name(3), file_name(10)));
  EXPECT_EQ(text_at(*log, 3), expected_text(3, 1));
  EXPECT_EQ(text_at(*log, 40), expected_text(40, 1));
  ASSERT_TRUE(disk.open_write(path).value()->pwrite(0, whole));
  log->trigger_major_compaction();
  store.settle();
  EXPECT_THAT(files(disk), ElementsAre(file_name(1), file_name(10)));
  expect_live(*log, IndexSet::of({3, 20, 40}));
}

TEST(Compaction, ADeletedMemberEndsIt) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = add_with_ten_segments(store);
  ASSERT_TRUE(store.snapshot(*log, 150, 1, IndexSet::of({3, 20, 40})));
  log->trigger_major_compaction();
  bool deleted = false;
  store.system->delete_server("KVAAAA",
                              [&](const Result<void>& done) { deleted = static_cast<bool>(done); });
  store.settle();
  EXPECT_TRUE(deleted);
  EXPECT_FALSE(disk.exists(kServerDirectory).value());
  EXPECT_FALSE(disk.exists(kServerDirectory + ".deleted").value());
}

TEST(SegmentFiles, NoMoreAreOpenThanMayBe) {
  MemoryDisk disk;
  const auto open = std::make_shared<SegmentFiles>(disk, 3);
  std::vector<std::shared_ptr<const Segment>> segments;
  for (std::uint64_t number = 1; number <= 10; ++number) {
    segments.push_back(Segment::create(disk, "/" + file_name(number), number,
                                       entries(number * 10, number * 10 + 5, 1), {}, open)
                           .value());
    EXPECT_LE(open->open_count(), 3U);
  }
  for (int round = 0; round < 3; ++round) {
    for (const auto& segment : segments) {
      const Index index = segment->number() * 10 + 2;
      const auto read = segment->read(*segment->find(index));
      ASSERT_TRUE(read) << read.error().message;
      EXPECT_EQ(read->payload.view(), testing::entry(index, 1).payload.view());
      EXPECT_EQ(open->open_count(), 3U);
    }
  }
  segments.clear();
  EXPECT_EQ(open->open_count(), 0U);
}

}  // namespace
}  // namespace rakv::raftlog
