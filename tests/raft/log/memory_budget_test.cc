// SPDX-License-Identifier: Apache-2.0
#include "raft/log/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// What a memory budget bounds, and that the WAL waits for segments rather than go beyond it.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::expected_text;
using ::testing::HasSubstr;
using testing::kMiB;
using testing::kSystemDirectory;
using testing::Store;
using testing::text_at;

TEST(MemoryBudget, IsSharedOut) {
  const auto standard = MemoryBudget::of(MemoryBudget::kDefaultBytes);
  ASSERT_TRUE(standard);
  EXPECT_EQ(standard->wal_file_bytes(), 256'000'000U);  // as ra
  EXPECT_EQ(standard->waiting_bytes(), 508 * kMiB);
  const auto small = MemoryBudget::of(512 * kMiB);
  ASSERT_TRUE(small);
  EXPECT_EQ(small->wal_file_bytes(), 62 * kMiB);
  EXPECT_EQ(small->unflushed_bytes(), 186 * kMiB);
  EXPECT_EQ(small->waiting_bytes(), 124 * kMiB);
  for (std::uint64_t total = MemoryBudget::kSmallestBytes; total <= 64'000 * kMiB; total *= 2) {
    const auto budget = MemoryBudget::of(total);
    ASSERT_TRUE(budget);
    // A file may overshoot by a batch; while it is flushed the next one has room.
    EXPECT_LE(2 * (budget->wal_file_bytes() + budget->wal_batch_bytes()),
              budget->unflushed_bytes());
    EXPECT_LE(budget->unflushed_bytes() + budget->waiting_bytes(), total / 8 * 5);
    // The process itself, what the log keeps, and what peers may make the node hold, for which
    // docs/memory.md promises 3/8: any two of the three leave room for the allocator.
    EXPECT_LE(MemoryBudget::kProcessBytes + budget->unflushed_bytes() + budget->waiting_bytes() +
                  budget->wal_batch_bytes(),
              total / 4 * 3);
  }
}

TEST(MemoryBudget, TooSmallAOneIsRefused) {
  const auto refused = MemoryBudget::of(64 * kMiB - 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("needs at least 64MB"));
  MemoryDisk disk;
  LogSystemOptions options = testing::small_options();
  options.memory_budget_bytes = 1000;
  Store store(disk, options);
  ASSERT_TRUE(store.error);
  EXPECT_EQ(store.error->message, MemoryBudget::of(1000).error().message);
}

TEST(MemoryBudget, SetsTheSizesOfTheWal) {
  MemoryDisk disk;
  LogSystemOptions options = testing::small_options();
  options.memory_budget_bytes = 128 * kMiB;
  Store store(disk, options);
  EXPECT_EQ(store.system->options().wal.max_size_bytes, 14 * kMiB);
  EXPECT_EQ(store.system->options().wal.max_unflushed_bytes, 42 * kMiB);
  EXPECT_EQ(store.system->options().wal.max_batch_bytes, 3584 * 1024);
}

/// Files of about 1,000 bytes, of which 3,000 bytes may wait for segments.
LogSystemOptions tight_options() {
  LogSystemOptions options = testing::small_options();
  options.wal.max_size_bytes = 1000;
  options.wal.max_unflushed_bytes = 3000;
  options.wal.max_batch_entries = 4;
  return options;
}

/// All that the WAL does without a flush.
void run_wal(Store& store) {
  while (store.system->wal_writer().run_one_batch()) store.owner.run_all();
}

TEST(MemoryBudget, TheWalWaitsForSegmentsAndGoesOn) {
  MemoryDisk disk;
  Store store(disk, tight_options());
  MemberLog* log = store.add("kv", "KVAAAA");
  log->append(entries(1, 200, 1, std::string(100, 'x')));
  run_wal(store);
  EXPECT_TRUE(store.system->wal_writer().waits_for_flush());
  const Index written = log->last_written().index;
  EXPECT_GT(written, 15U);
  EXPECT_LT(written, 40U);
  const auto read = log->read_blocking(200);  // readable, not acknowledged
  EXPECT_TRUE(read);
  EXPECT_TRUE(store.vote("KVAAAA", 2, std::nullopt));  // needs nothing of the WAL; settles all
  EXPECT_FALSE(store.system->wal_writer().waits_for_flush());
  EXPECT_EQ(log->last_written().index, 200U);
  EXPECT_EQ(store.system->queued_bytes(), 0U);
  EXPECT_LE(log->memory_bytes(), 2000U);
  for (const Index index : {1, 30, 100, 200}) {
    EXPECT_EQ(text_at(*log, index), expected_text(index, 1, std::string(100, 'x')));
  }
}

TEST(MemoryBudget, AnEntryLargerThanTheBudgetIsTaken) {
  MemoryDisk disk;
  Store store(disk, tight_options());
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 5, 1, std::string(10'000, 'x')));
  EXPECT_EQ(log->last_written().index, 5U);
}

TEST(MemoryBudget, TheWalWaitsAsLongAsTheFlushFailsAndThenGoesOn) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk, tight_options());
  MemberLog* log = store.add("kv", "KVAAAA");
  disk.set_rule([](DiskOperation, const std::string& path) -> std::optional<Error> {
    if (path.find(".segment") == std::string::npos) return std::nullopt;
    return make_error(ErrorCode::no_space, path + ": no room");
  });
  store.append(*log, entries(1, 200, 1, std::string(100, 'x')));
  EXPECT_TRUE(store.system->wal_writer().waits_for_flush());
  EXPECT_THAT(store.watcher.events, ::testing::Contains(HasSubstr("background job failed: ")));
  EXPECT_LT(log->last_written().index, 40U);
  disk.set_rule({});
  store.system->flush_metadata([](const Result<void>&) {});
  store.settle();
  EXPECT_EQ(log->last_written().index, 200U);
}

TEST(MemoryBudget, AStopDoesNotWaitForAFlush) {
  MemoryDisk disk;
  {
    Store store(disk, tight_options());
    MemberLog* log = store.add("kv", "KVAAAA");
    log->append(entries(1, 200, 1, std::string(100, 'x')));
    run_wal(store);
    ASSERT_TRUE(store.system->wal_writer().waits_for_flush());
    EXPECT_TRUE(store.system->stop());
  }
  disk.crash(CrashMode::lose_unsynced);
  Store again(disk, tight_options());
  MemberLog* log = again.system->find("KVAAAA");
  EXPECT_EQ(log->last_written().index, 200U);
  // The files of the last run count: nothing is written before they are in segments.
  EXPECT_TRUE(again.system->wal_writer().waits_for_flush());
  log->append(testing::entry(201, 1));
  again.settle();
  EXPECT_EQ(log->last_written().index, 201U);
}

// ---- flushing segment by segment

/// Closed files wait; one segment of the first is written.
struct HalfFlushed {
  MemoryDisk disk;
  Store store;
  MemberLog* log;
  HalfFlushed() : store(disk), log(store.add("kv", "KVAAAA")) {
    store.append(*log, entries(1, 100, 1));
    store.system->roll_over_wal();
    store.system->wal_writer().run_one_batch();
    store.owner.run_all();
    store.worker.run_one();  // segments hold 16 entries
  }
};

TEST(SegmentFlusher, EntriesLeaveMemorySegmentBySegment) {
  HalfFlushed half;
  EXPECT_EQ(half.log->memory_entries(), 100U);
  half.store.owner.run_one();
  EXPECT_EQ(half.log->segment_count(), 1U);
  EXPECT_EQ(half.log->memory_range()->first, 17U);
  EXPECT_EQ(text_at(*half.log, 3), expected_text(3, 1));
  half.store.settle();
  EXPECT_EQ(half.log->memory_entries(), 0U);
  EXPECT_EQ(half.log->segment_count(), 7U);
  EXPECT_EQ(text_at(*half.log, 100), expected_text(100, 1));
}

TEST(SegmentFlusher, ALogThatIsOverwrittenMeanwhileIsNeverMixed) {
  HalfFlushed half;
  // A new leader's entries from 10 on, which are not durable; the rest of the flush is. What the
  // first segment has of the old ones may be back, as after any truncation.
  half.log->append(entries(10, 60, 2));
  while (half.store.owner.run_all() + half.store.worker.run_all() > 0) {
  }
  EXPECT_FALSE(half.disk.exists(kSystemDirectory + "/0000000000000001.wal").value());
  half.store.system.reset();
  half.disk.crash(CrashMode::lose_unsynced);
  Store again(half.disk);
  MemberLog* log = again.system->find("KVAAAA");
  for (Index index = 1; index < 10; ++index) EXPECT_EQ(log->term_at(index), 1U);
  for (Index index = 10; index <= log->last().index; ++index) {
    EXPECT_EQ(log->term_at(index), log->term_at(10));
  }
}

// ---- thousands of segments

TEST(MemberSegments, TheNewestSegmentThatHasAnIndexIsFound) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  log->append(entries(1, 100, 1));
  const auto to_segments = [&] {
    store.settle();
    store.roll_over();
  };
  to_segments();
  log->append(entries(40, 60, 2));  // 61 to 100 of term 1 are in segments, and void
  to_segments();
  log->append(entries(61, 90, 3));
  to_segments();
  EXPECT_EQ(log->memory_entries(), 0U);
  EXPECT_EQ(log->segments_range(), (IndexRange{1, 100}));
  EXPECT_EQ(text_at(*log, 39), expected_text(39, 1));
  EXPECT_EQ(text_at(*log, 40), expected_text(40, 2));
  EXPECT_EQ(text_at(*log, 61), expected_text(61, 3));
  EXPECT_EQ(text_at(*log, 90), expected_text(90, 3));
  EXPECT_FALSE(log->has(91));
  EXPECT_FALSE(log->has(0));
}

}  // namespace
}  // namespace rakv::raftlog
