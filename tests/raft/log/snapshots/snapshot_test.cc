// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::kServerDirectory;
using testing::names_in;
using testing::Store;
using testing::text_at;

TEST(LogSystem, SnapshotDropsAllButLiveEntries) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 3, std::nullopt);
    store.append(*log, entries(1, 64, 1));
    store.roll_over();
    store.append(*log, entries(65, 80, 1));
    EXPECT_EQ(log->segment_count(), 4U);
    EXPECT_TRUE(store.snapshot(*log, 70, 1, IndexSet::of({20, 66, 70})));
    EXPECT_EQ(log->first_index(), 71U);
    EXPECT_EQ(log->segment_count(), 2U);  // that of 20, and the newest
    EXPECT_TRUE(log->has(20));
    EXPECT_FALSE(log->has(21));
    EXPECT_TRUE(log->has(66));
    EXPECT_FALSE(log->has(67));
    EXPECT_EQ(log->term_at(70), 1U);
    EXPECT_EQ(store.snapshot(*log, 70, 1, {}).error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(store.snapshot(*log, 75, 1, IndexSet::of({66})));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  ASSERT_TRUE(log->snapshot());
  EXPECT_EQ(log->snapshot()->meta.index, 75U);
  EXPECT_EQ(log->snapshot()->live_indexes, IndexSet::of({66}));
  EXPECT_EQ(log->snapshot()->state.view(), testing::payload("state").view());
  EXPECT_EQ(text_at(*log, 66), expected_text(66, 1));
  EXPECT_FALSE(log->has(20));
  EXPECT_EQ(log->first_index(), 76U);
  EXPECT_EQ(log->last_written(), (Position{80, 1}));
  EXPECT_FALSE(log->amnesia());
  std::optional<Result<MemberLog::SnapshotFile>> again;
  log->read_snapshot_file([&](Result<MemberLog::SnapshotFile> got) { again = std::move(got); });
  store.settle();
  ASSERT_TRUE(again && *again);
  EXPECT_EQ((*again)->meta.index, 75U);
  EXPECT_EQ((*again)->live_indexes, IndexSet::of({66}));
  EXPECT_TRUE(decode_snapshot_file("sent", (*again)->bytes.view()));
  EXPECT_EQ(names_in(disk, kServerDirectory + "/snapshots", "").size(), 1U);
}

TEST(LogSystem, InstalledSnapshotKeepsWhatAgreesAboveIt) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 10, 1));
    log->write_sparse({entry(5, 1)});
    store.settle();
    EXPECT_TRUE(store.install(*log, 7, 1, IndexSet::of({5})));
    EXPECT_EQ(log->last(), (Position{10, 1}));
    EXPECT_EQ(log->last_written(), (Position{10, 1}));
    EXPECT_EQ(log->first_index(), 8U);
    EXPECT_EQ(text_at(*log, 8), expected_text(8, 1));
    EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
    EXPECT_FALSE(log->has(6));
    store.append(*log, entries(11, 12, 1));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  EXPECT_EQ(text_at(*store.system->find("KVAAAA"), 5), expected_text(5, 1));
}

TEST(LogSystem, EntriesOfAnInstallationLeaveMemoryForSegments) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  log->append(entries(1, 4, 1));  // 3 and 4 are an old leader's, never committed
  store.settle();
  log->write_sparse({entry(3, 2, "live"), entry(9, 2, "live")});
  store.settle();
  store.system->roll_over_wal();
  log->write_sparse({entry(12, 2, "live")});
  store.settle();
  EXPECT_TRUE(log->has_for_install(3));
  EXPECT_TRUE(log->has_for_install(9));
  EXPECT_TRUE(log->has_for_install(12));
  EXPECT_FALSE(log->has_for_install(10));
  EXPECT_TRUE(store.install(*log, 20, 3, IndexSet::of({1, 3, 9, 12})));
  EXPECT_EQ(text_at(*log, 1), expected_text(1, 1));
  EXPECT_EQ(text_at(*log, 3), expected_text(3, 2, "live"));
  EXPECT_EQ(text_at(*log, 9), expected_text(9, 2, "live"));
  EXPECT_EQ(text_at(*log, 12), expected_text(12, 2, "live"));
  EXPECT_EQ(log->last(), (Position{20, 3}));
}

TEST(LogSystem, InstalledSnapshotReplacesTheLog) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 3, std::nullopt);
    store.append(*log, entries(1, 10, 1));
    log->write_sparse({entry(17, 2, "live"), entry(33, 2, "live")});
    EXPECT_EQ(log->pending_writes(), 2U);
    EXPECT_EQ(store.install(*log, 100, 3, IndexSet::of({5, 17, 33})).error().code,
              ErrorCode::invalid_argument);  // not durable yet
    store.settle();
    EXPECT_EQ(log->pending_writes(), 0U);
    EXPECT_TRUE(store.install(*log, 100, 3, IndexSet::of({5, 17, 33})));
    EXPECT_EQ(log->last_written(), (Position{100, 3}));
    EXPECT_EQ(log->first_index(), 101U);
    EXPECT_EQ(text_at(*log, 33), expected_text(33, 2, "live"));
    EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
    EXPECT_FALSE(log->has(6));
    store.append(*log, entries(101, 103, 3));
    store.roll_over();
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_EQ(text_at(*log, 17), expected_text(17, 2, "live"));
  EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
  EXPECT_EQ(log->last_written(), (Position{103, 3}));
  EXPECT_FALSE(log->amnesia());
}

TEST(LogSystem, AnUnfinishedInstallLeavesTheOldLog) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    log->append(entries(1, 10, 1));
    log->write_sparse({entry(17, 2), entry(33, 2)});
    store.settle();
  }
  {
    Store store(disk);
    MemberLog* log = store.system->find("KVAAAA");
    EXPECT_EQ(log->last_written(), (Position{10, 1}));
    EXPECT_FALSE(log->has(17));
    store.settle();
    store.append(*log, entries(11, 20, 1));
    store.roll_over();
  }
  Store store(disk);
  for (Index i = 1; i <= 20; ++i) {
    EXPECT_EQ(text_at(*store.system->find("KVAAAA"), i), expected_text(i, 1));
  }
}

TEST(LogSystem, AnOldTailBehindAnInstalledSnapshotDoesNotComeBack) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 120, 1));
    EXPECT_TRUE(store.install(*log, 100, 3, {}));
    EXPECT_EQ(log->last(), (Position{100, 3}));
  }
  Store store(disk);
  EXPECT_EQ(store.system->find("KVAAAA")->last(), (Position{100, 3}));
}

TEST(LogSystem, UnknownLiveIndexesKeepEverythingUntilTheyAreSet) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    ASSERT_TRUE(store.snapshot(*log, 20, 1, IndexSet::of({4})));
  }
  ASSERT_TRUE(disk.unlink("/data/a@host/KVAAAA/snapshots/" + snapshot_directory_name({20, 1}) +
                          "/indexes"));
  {
    Store store(disk);
    MemberLog* log = store.system->find("KVAAAA");
    EXPECT_FALSE(log->snapshot()->live_indexes_known);
    store.settle();
    EXPECT_EQ(text_at(*log, 4), expected_text(4, 1));
    EXPECT_TRUE(log->has(5));
    bool done = false;
    log->set_live_indexes(IndexSet::of({4}),
                          [&](const Result<void>& got) { done = static_cast<bool>(got); });
    store.settle();
    EXPECT_TRUE(done);
    EXPECT_FALSE(log->has(5));
  }
  Store store(disk);
  EXPECT_TRUE(store.system->find("KVAAAA")->snapshot()->live_indexes_known);
  EXPECT_EQ(text_at(*store.system->find("KVAAAA"), 4), expected_text(4, 1));
}

}  // namespace
}  // namespace rakv::raftlog
