// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "raft/log/snapshots/superseded_entries.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// ra_kv:get/3 reads an entry after it asked for its index: what a snapshot has superseded meanwhile
// must be there for a while, wherever it was, and after a restart, too.

namespace rakv::raftlog {
namespace {

using std::chrono::milliseconds;
using testing::add_with_ten_segments;
using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::kServerDirectory;
using testing::Store;

constexpr milliseconds kKeepFor{1000};

std::string text_of(const StoredEntry& entry) {
  etf::Cursor cursor(entry.payload.view());
  cursor.version();
  return std::string(cursor.binary().value_or("not a binary"));
}

/// As read by MemberLog::read, or the error's text.
std::string read_at(Store& store, MemberLog& log, Index index) {
  std::string text = "no answer";
  log.read({index}, [&](const Result<std::vector<StoredEntry>>& got) {
    text = got ? text_of(got->front()) : "error: " + got.error().message;
  });
  store.settle();
  return text;
}

class Superseded : public ::testing::Test {
 protected:
  LogSystemOptions options() {
    LogSystemOptions made = testing::small_options();
    made.keep_superseded_for = kKeepFor;
    made.now = [this] { return now_; };
    return made;
  }
  void open() {
    store_.reset();
    store_ = std::make_unique<Store>(disk_, options());
    ASSERT_FALSE(store_->error) << store_->error->message;
  }
  /// As after kill -9.
  void restart() {
    open();
    log_ = store_->system->find("KVAAAA");
    ASSERT_NE(log_, nullptr);
  }
  /// A server with the entries 1..40 in memory.
  void begin() {
    open();
    log_ = store_->add("kv", "KVAAAA");
    store_->vote("KVAAAA", 1, std::nullopt);
    store_->append(*log_, entries(1, 40, 1));
  }
  void pass(milliseconds time) {
    now_ += time;
    store_->system->drop_superseded();
    store_->settle();
  }
  std::string read(Index index) { return read_at(*store_, *log_, index); }
  bool readable(Index index, Term term = 1) { return read(index) == expected_text(index, term); }
  std::size_t files() {
    std::size_t count = 0;
    for (const auto& file : disk_.list(kServerDirectory).value())
      count += file.name.ends_with(".segment");
    return count;
  }

  MemoryDisk disk_;
  milliseconds now_{5'000};
  std::unique_ptr<Store> store_;
  MemberLog* log_ = nullptr;
};

TEST_F(Superseded, StaysReadableInMemoryForAsLongAsTheWalHasIt) {
  begin();
  ASSERT_TRUE(store_->snapshot(*log_, 40, 1, IndexSet::of({7})));
  EXPECT_EQ(log_->first_index(), 41U);
  EXPECT_FALSE(log_->has(6));  // for Raft it is gone
  EXPECT_TRUE(readable(6));
  pass(10 * kKeepFor);
  EXPECT_TRUE(readable(6));
  store_->append(*log_, entry(41, 1));
  store_->roll_over();
  EXPECT_FALSE(readable(6));
  EXPECT_TRUE(readable(7));
  EXPECT_TRUE(readable(41));
  EXPECT_EQ(log_->memory_entries(), 0U);
}

TEST_F(Superseded, GoesToSegmentsWhileItIsKept) {
  begin();
  ASSERT_TRUE(store_->snapshot(*log_, 40, 1, IndexSet::of({7})));
  store_->append(*log_, entry(41, 1));
  store_->roll_over();
  EXPECT_EQ(log_->memory_entries(), 0U);
  for (Index index = 1; index <= 41; ++index) EXPECT_TRUE(readable(index)) << index;
  pass(kKeepFor - milliseconds{1});
  EXPECT_TRUE(readable(1));
  pass(milliseconds{1});
  EXPECT_FALSE(readable(1));
  EXPECT_TRUE(readable(7));
}

TEST_F(Superseded, SegmentsStayForAsLong) {
  open();
  log_ = add_with_ten_segments(*store_);
  ASSERT_TRUE(store_->snapshot(*log_, 160, 1, IndexSet::of({20})));
  EXPECT_EQ(files(), 10U);
  for (Index index = 1; index <= 160; ++index) EXPECT_TRUE(readable(index)) << index;
  pass(kKeepFor);
  EXPECT_EQ(files(), 2U);  // the one with 20, and the newest
  EXPECT_FALSE(readable(21));
  EXPECT_TRUE(readable(20));
}

TEST_F(Superseded, AMajorCompactionIsMadeUpForLater) {
  open();
  log_ = add_with_ten_segments(*store_);
  ASSERT_TRUE(store_->snapshot(*log_, 160, 1, IndexSet::of({3, 20, 40, 100})));
  log_->trigger_major_compaction();
  store_->settle();
  EXPECT_EQ(log_->compaction_counts().major, 1U);
  for (Index index = 1; index <= 160; ++index) EXPECT_TRUE(readable(index)) << index;
  pass(kKeepFor);
  EXPECT_EQ(files(), 2U);  // the merged one, and the newest
  EXPECT_EQ(log_->compaction_counts().major, 1U);
  for (const Index index : {3, 20, 40, 100}) EXPECT_TRUE(readable(index)) << index;
  EXPECT_FALSE(readable(4));
}

// Snapshots all the time: what the last one superseded is kept, and what an old one did goes.
TEST_F(Superseded, IsKeptAcrossManySnapshots) {
  begin();
  Index last = 40;
  for (int round = 0; round < 100; ++round) {
    store_->append(*log_, entry(++last, 1));
    ASSERT_TRUE(store_->snapshot(*log_, last, 1, IndexSet::of({last})));
    store_->roll_over();
    pass(kKeepFor / 10);
    // Superseded not longer ago than that: the last ten.
    for (Index index = last - 9; index <= last; ++index) ASSERT_TRUE(readable(index)) << index;
  }
  EXPECT_FALSE(readable(last - 25));
  EXPECT_LT(files(), 30U);
}

TEST_F(Superseded, IsReadableAfterARestart) {
  begin();
  ASSERT_TRUE(store_->snapshot(*log_, 40, 1, IndexSet::of({7})));  // all in the WAL
  restart();
  for (Index index = 1; index <= 40; ++index) EXPECT_TRUE(readable(index)) << index;
  store_->append(*log_, entry(41, 1));
  store_->roll_over();
  restart();
  for (Index index = 1; index <= 41; ++index) EXPECT_TRUE(readable(index)) << index;
  pass(kKeepFor);
  EXPECT_FALSE(readable(6));
  restart();
  EXPECT_FALSE(readable(6));
  EXPECT_TRUE(readable(7));
}

// The second snapshot superseded 7 just now; the first one is settled.
TEST_F(Superseded, WhatALaterSnapshotSupersedesIsReadableAfterARestart) {
  begin();
  ASSERT_TRUE(store_->snapshot(*log_, 40, 1, IndexSet::of({7})));
  store_->append(*log_, entry(41, 1));
  store_->roll_over();
  pass(kKeepFor);
  ASSERT_FALSE(readable(6));
  ASSERT_TRUE(store_->snapshot(*log_, 41, 1, IndexSet::of({41})));
  EXPECT_TRUE(readable(7));
  EXPECT_FALSE(readable(6));
  restart();
  EXPECT_TRUE(readable(7));
  EXPECT_FALSE(readable(6));
}

// Entries 30..40 of term 1 were never committed; a snapshot of term 2 covers their place.
TEST_F(Superseded, NothingOfAnotherHistoryIsEverRead) {
  begin();
  store_->append(*log_, entries(41, 60, 1));
  store_->roll_over();
  store_->append(*log_, entries(61, 62, 1));
  log_->write_sparse({entry(20, 1), entry(35, 2)});
  store_->settle();
  ASSERT_TRUE(store_->install(*log_, 70, 2, IndexSet::of({20, 35})));
  for (const int opens : {0, 1, 2}) {
    if (opens > 0) restart();
    EXPECT_TRUE(readable(20));
    EXPECT_TRUE(readable(35, 2));
    for (const Index index : {30, 34, 36, 60, 61}) EXPECT_EQ(read(index).find("error"), 0U);
  }
  // Nor when own snapshots follow.
  store_->append(*log_, entries(71, 72, 2));
  ASSERT_TRUE(store_->snapshot(*log_, 71, 2, IndexSet::of({20})));
  for (const int opens : {0, 1, 2}) {
    if (opens > 0) restart();
    EXPECT_TRUE(readable(35, 2));
    EXPECT_TRUE(readable(71, 2));
    for (const Index index : {30, 34, 36, 60, 61}) EXPECT_EQ(read(index).find("error"), 0U);
  }
}

TEST_F(Superseded, AnInstalledSnapshotThatTheLogAgreesWithLeavesWhatWasThere) {
  begin();
  ASSERT_TRUE(store_->install(*log_, 30, 1, IndexSet::of({20})));
  for (const int opens : {0, 1}) {
    if (opens > 0) restart();
    for (Index index = 1; index <= 40; ++index) EXPECT_TRUE(readable(index)) << index;
  }
  pass(kKeepFor);
  store_->roll_over();
  EXPECT_FALSE(readable(19));
  EXPECT_TRUE(readable(20));
}

TEST_F(Superseded, IsGivenUpWhenTheDiskIsNearlyFull) {
  open();
  log_ = add_with_ten_segments(*store_);
  ASSERT_TRUE(store_->snapshot(*log_, 160, 1, IndexSet::of({20})));
  EXPECT_EQ(files(), 10U);
  log_->drop_superseded(true);
  store_->settle();
  EXPECT_EQ(files(), 2U);
  restart();
  EXPECT_FALSE(readable(21));
  EXPECT_TRUE(readable(20));
  // And the next one is kept again.
  store_->append(*log_, entry(161, 1));
  ASSERT_TRUE(store_->snapshot(*log_, 161, 1, IndexSet::of({161})));
  restart();
  EXPECT_TRUE(readable(20));
}

TEST_F(Superseded, ADamagedFileMakesNothingReadableThatIsNotNeeded) {
  begin();
  ASSERT_TRUE(store_->snapshot(*log_, 40, 1, IndexSet::of({7})));
  const std::string path = kServerDirectory + "/superseded";
  const std::string bytes = read_file(disk_, path).value();
  store_.reset();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    ASSERT_TRUE(replace_file(disk_, path, damaged));
    restart();
    EXPECT_FALSE(readable(6)) << at;
    EXPECT_TRUE(readable(7)) << at;
    store_.reset();
  }
}

// Whatever the last step on the disk is: what is read is the entry that was committed, and what is
// needed is there.
TEST_F(Superseded, NoCrashMakesAnotherHistoryReadable) {
  std::size_t stops = 0;
  for (const CrashMode mode :
       {CrashMode::lose_unsynced, CrashMode::keep_everything, CrashMode::random}) {
    for (std::uint64_t step = 1; !HasFailure(); ++step) {
      SCOPED_TRACE("mode " + std::to_string(static_cast<int>(mode)) + ", step " +
                   std::to_string(step));
      MemoryDisk memory;
      FaultyDisk disk(memory);
      {
        Store store(disk, options());
        MemberLog* log = store.add("kv", "KVAAAA");
        store.append(*log, entries(1, 40, 1));
        store.roll_over();
        ASSERT_TRUE(store.snapshot(*log, 10, 1, IndexSet::of({7})));
        disk.stop_at(disk.operations() + step);
        log->write_sparse({entry(35, 2)});
        store.settle();
        if (log->pending_writes() == 0) {
          static_cast<void>(store.install(*log, 50, 2, IndexSet::of({7, 35})));
          for (int i = 0; i < 3; ++i) {
            now_ += kKeepFor;
            store.system->drop_superseded();
            store.settle();
          }
        }
      }
      const bool stopped = disk.stopped();
      memory.crash(mode, step);
      Store store(memory, options());
      ASSERT_FALSE(store.error) << store.error->message;
      MemberLog* log = store.system->find("KVAAAA");
      ASSERT_NE(log, nullptr);
      EXPECT_EQ(read_at(store, *log, 7), expected_text(7, 1));
      if (log->snapshot() && log->snapshot()->meta.index == 50) {
        EXPECT_EQ(read_at(store, *log, 35), expected_text(35, 2));
        EXPECT_EQ(read_at(store, *log, 34).find("error"), 0U);
      }
      if (!stopped) break;
      ++stops;
    }
  }
  std::printf("stopped at %zu operations\n", stops);
  EXPECT_GT(stops, 30U);
}

}  // namespace
}  // namespace rakv::raftlog
