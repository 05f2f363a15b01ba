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
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kSystemDirectory;
using testing::names_in;
using testing::Store;
using testing::text_at;

TEST(LogSystem, RollOverMovesEntriesToSegmentsAndRemovesTheWal) {
  MemoryDisk disk;
  const std::string directory = kSystemDirectory;
  {
    Store store(disk);
    MemberLog* a = store.add("kv", "KVAAAA");
    MemberLog* b = store.add("kv2", "KVBBBB");
    a->append(entries(0, 40, 1));
    store.append(*b, entries(1, 5, 3, "other"));
    store.roll_over();
    EXPECT_EQ(a->segment_count(), 3U);  // 16 entries each
    EXPECT_EQ(a->memory_bytes(), 0U);
    EXPECT_EQ(text_at(*a, 0), expected_text(0, 1));
    EXPECT_EQ(text_at(*a, 40), expected_text(40, 1));
    EXPECT_EQ(text_at(*b, 5), expected_text(5, 3, "other"));
    EXPECT_EQ(a->term_at(17), 1U);
    EXPECT_EQ(a->fetch(17), nullptr);
    EXPECT_THAT(names_in(disk, directory, ".wal"), ::testing::ElementsAre("0000000000000002.wal"));
    EXPECT_THAT(store.watcher.events, IsEmpty());
    store.append(*a, entries(41, 42, 1));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* a = store.system->find("KVAAAA");
  EXPECT_EQ(a->last_written(), (Position{42, 1}));
  for (Index i = 0; i <= 42; ++i) EXPECT_EQ(text_at(*a, i), expected_text(i, 1));
  EXPECT_EQ(a->first_index(), 0U);
}

TEST(LogSystem, ReadsFromMemoryAndSegments) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 20, 1));
  store.roll_over();
  log->append(entries(21, 22, 1));
  std::optional<Result<std::vector<StoredEntry>>> got;
  const auto keep = [&](Result<std::vector<StoredEntry>> read) { got = std::move(read); };
  log->read({22, 3, 21, 20}, keep);
  EXPECT_FALSE(got);
  store.settle();
  ASSERT_TRUE(got && *got);
  ASSERT_EQ((*got)->size(), 4U);
  EXPECT_EQ((**got)[1].index, 3U);
  EXPECT_EQ((**got)[1].payload.view(), entry(3, 1).payload.view());
  EXPECT_EQ((**got)[0].payload.view(), entry(22, 1).payload.view());
  log->read({21}, keep);
  store.settle();
  EXPECT_EQ((*got)->size(), 1U);
  log->read({21, 99}, keep);
  store.settle();
  ASSERT_FALSE(*got);
  EXPECT_EQ(got->error().code, ErrorCode::not_found);
  EXPECT_THAT(got->error().message, HasSubstr("99"));
}

TEST(LogSystem, OverwriteOfFlushedEntries) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.roll_over();
    store.append(*log, entries(20, 22, 2));
    EXPECT_EQ(log->last_written(), (Position{22, 2}));
    EXPECT_EQ(text_at(*log, 21), expected_text(21, 2));
    EXPECT_FALSE(log->has(23));
    store.roll_over();
    EXPECT_EQ(text_at(*log, 21), expected_text(21, 2));
    store.append(*log, entries(23, 24, 2));
  }
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_EQ(log->last(), (Position{24, 2}));
  for (Index i = 1; i <= 24; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, i < 20 ? 1 : 2));
}

TEST(LogSystem, AFailedFlushKeepsTheWalAndIsTriedAgain) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 30, 1));
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::create || path.find(".segment") == std::string::npos) {
      return std::nullopt;
    }
    return make_error(ErrorCode::no_space, path + ": can't create: No space left on device");
  });
  store.roll_over();
  EXPECT_THAT(store.watcher.events, ::testing::ElementsAre(HasSubstr("background job failed")));
  EXPECT_EQ(names_in(memory, kSystemDirectory, ".wal").size(), 2U);
  EXPECT_NE(log->fetch(5), nullptr);
  disk.set_rule({});
  store.system->flush_metadata([](const Result<void>&) {});
  store.settle();
  EXPECT_EQ(names_in(memory, kSystemDirectory, ".wal").size(), 1U);
  EXPECT_EQ(log->fetch(5), nullptr);
  EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
}

TEST(LogSystem, AWalThatIsDownIsReportedAndComesBack) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::sync) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't sync: Input/output error");
  });
  store.append(*log, entries(1, 3, 1));
  EXPECT_EQ(log->last_written(), (Position{0, 0}));
  EXPECT_EQ(log->pending_writes(), 3U);
  ASSERT_EQ(store.watcher.events.size(), 1U);
  EXPECT_THAT(store.watcher.events[0], HasSubstr("down: "));
  disk.set_rule({});
  store.system->retry_wal();
  store.settle();
  EXPECT_EQ(log->last_written(), (Position{3, 1}));
  EXPECT_THAT(store.watcher.events, ::testing::Contains("up"));
}

}  // namespace
}  // namespace rakv::raftlog
