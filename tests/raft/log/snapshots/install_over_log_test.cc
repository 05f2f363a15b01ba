// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// Live entries of a snapshot that is taken in, where the member has entries of its own already: at
// or below its own snapshot, or those of another leader.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::Store;
using testing::text_at;

/// Where the records are when the member is started again.
enum class Where { in_the_wal, log_in_segments, all_in_segments, compacted };

/// A log of term 1 up to `end` with a snapshot at 40, and then live entries of another snapshot,
/// taken in as far as that goes. Gives the log, which that has not changed.
MemberLog* take_in_over_own_snapshot(Store& store, Where where, Index end,
                                     std::vector<StoredEntry> live) {
  MemberLog* log = store.add("kv", "KVAAAA");
  EXPECT_TRUE(store.vote("KVAAAA", 9, std::nullopt));
  store.append(*log, entries(1, end, 1));
  EXPECT_TRUE(store.snapshot(*log, 40, 1, IndexSet::of({20})));
  if (where != Where::in_the_wal) store.roll_over();
  for (StoredEntry& entry :
       live) {  // each in a segment of its own, so that there is something to merge
    log->write_sparse({std::move(entry)});
    store.settle();
    if (where == Where::all_in_segments || where == Where::compacted) store.roll_over();
  }
  EXPECT_EQ(log->pending_writes(), 0U);
  if (where == Where::compacted) {
    log->trigger_major_compaction();
    store.settle();
  }
  EXPECT_EQ(log->last_written(), (Position{end, 1}));
  return log;
}

constexpr std::array kWheres{Where::in_the_wal, Where::log_in_segments, Where::all_in_segments,
                             Where::compacted};

/// The member misses what it should have at or below its own snapshot, and is sent it again. The
/// transfer goes no further: its own log is as it was, whatever has been written.
TEST(Install, WhatLiesBelowTheOwnSnapshotVoidsNothingAboveIt) {
  for (const Where where : kWheres) {
    for (const std::vector<Index>& live :
         {std::vector<Index>{12}, {12, 30}, {40}, {12, 61}, {12, 62, 63}, {12, 50}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(where)) + ", live " +
                   std::to_string(live.size()) + "/" + std::to_string(live.back()));
      MemoryDisk disk;
      // An entry of another leader's in the place of one of the log: that, and all after it, is
      // given up, as it is without a snapshot of the member's own.
      const Index end = live.back() == 50 ? 49 : 60;
      {
        Store store(disk);
        std::vector<StoredEntry> sent;
        sent.reserve(live.size());
        for (const Index index : live) sent.push_back(entry(index, index == 50 ? 9 : 1));
        take_in_over_own_snapshot(store, where, 60, std::move(sent));
      }
      disk.crash(CrashMode::lose_unsynced);
      for (int start = 0; start < 3; ++start) {
        Store store(disk);
        MemberLog* log = store.system->find("KVAAAA");
        EXPECT_FALSE(log->amnesia());
        EXPECT_EQ(log->last_written(), (Position{end, 1}));
        EXPECT_EQ(text_at(*log, 20), expected_text(20, 1));
        for (Index i = 41; i <= end; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
        store.settle();
      }
    }
  }
}

/// A live entry at the snapshot's index, where the log has another leader's entry, and both come to
/// segments before the snapshot is there: the log is not taken for one that agrees with it.
TEST(Install, AnEntryInPlaceOfAnotherIsNotTheLogs) {
  for (const bool begun_anew : {false, true}) {
    MemoryDisk disk;
    {
      Store store(disk);
      MemberLog* log = store.add("kv", "KVAAAA");
      ASSERT_TRUE(store.vote("KVAAAA", 9, std::nullopt));
      store.append(*log, entries(1, 45, 1));
      store.roll_over();
      log->write_sparse({entry(42, 9)});
      store.settle();
      store.roll_over();
      EXPECT_EQ(log->term_at(42), 1U);
      EXPECT_EQ(text_at(*log, 42), expected_text(42, 1));
      if (begun_anew) {
        log->drop_sparse();
        EXPECT_EQ(log->term_at(42), 1U);
        log->write_sparse({entry(42, 9)});
        store.settle();
      }
      ASSERT_TRUE(store.install(*log, 42, 9, IndexSet::of({20, 42})));
      EXPECT_EQ(log->last_written(), (Position{42, 9}));
      EXPECT_EQ(text_at(*log, 42), expected_text(42, 9));
    }
    disk.crash(CrashMode::lose_unsynced);
    for (int start = 0; start < 2; ++start) {
      Store store(disk);
      const MemberLog* log = store.system->find("KVAAAA");
      EXPECT_FALSE(log->amnesia());
      EXPECT_EQ(log->last_written(), (Position{42, 9}));
      EXPECT_EQ(text_at(*log, 42), expected_text(42, 9));
      store.settle();
    }
  }
}

/// The same while the flush of the log's entries waits, and comes when the other entry is there.
TEST(Install, TheEntryThatIsReplacedIsNotFlushedBehindTheOther) {
  MemoryDisk disk;
  {
    ManualExecutor background;
    LogSystemOptions options = testing::small_options();
    options.background = &background;
    Store store(disk, options);
    MemberLog* log = store.add("kv", "KVAAAA");
    ASSERT_TRUE(store.vote("KVAAAA", 9, std::nullopt));
    store.append(*log, entries(1, 30, 1));
    store.roll_over();
    store.append(*log, entries(31, 45, 1));  // the flush of the file before is under way
    store.roll_over();
    log->write_sparse({entry(42, 9)});
    background.run_one();  // a segment
    store.settle();
    background.run_one();  // the mark
    store.settle();
    EXPECT_EQ(log->pending_writes(), 0U);
    store.roll_over();
    store.background = &background;
    store.settle();
    ASSERT_TRUE(store.install(*log, 42, 9, IndexSet::of({20, 42})));
    EXPECT_EQ(text_at(*log, 42), expected_text(42, 9));
  }
  disk.crash(CrashMode::lose_unsynced);
  const Store store(disk);
  EXPECT_EQ(text_at(*store.system->find("KVAAAA"), 42), expected_text(42, 9));
}

/// The transfer is given up, and the next leader's entries take the place of some, while both still
/// wait for the WAL.
TEST(Install, WhatWaitsBehindItsEntriesIsNotTakenForWritten) {
  MemoryDisk disk;
  LogSystemOptions options = testing::small_options();
  options.wal.max_batch_entries = 3;
  Store store(disk, options);
  MemberLog* log = take_in_over_own_snapshot(store, Where::in_the_wal, 60, {});
  log->append(entries(61, 63, 8));
  log->write_sparse({entry(12, 1)});
  log->append(entries(63, 66, 9));
  for (int batch = 0; batch < 3; ++batch) {
    ASSERT_TRUE(store.system->wal_writer().run_one_batch());
    store.owner.run_all();
    const auto cut = disk.clone();
    cut->crash(CrashMode::lose_unsynced);
    const Store after(*cut);
    const MemberLog* left = after.system->find("KVAAAA");
    for (Index i = 41; i <= log->last_written().index; ++i) {
      EXPECT_EQ(left->term_at(i), log->term_at(i)) << "batch " << batch << ", entry " << i;
    }
  }
  EXPECT_EQ(log->last_written(), (Position{66, 9}));
}

/// Between its arrival and the snapshot's an entry at or below the own snapshot is needed by
/// nothing else.
TEST(Install, WhatLiesBelowTheOwnSnapshotStaysUntilTheNewOneIsThere) {
  for (const bool merged : {false, true}) {
    MemoryDisk disk;
    {
      Store store(disk);
      MemberLog* log = take_in_over_own_snapshot(store, Where::all_in_segments, 60,
                                                 {entry(12, 1), entry(30, 1)});
      store.append(*log, entries(61, 70, 9));
      store.roll_over();
      // The append has dropped them: a second transfer, each in a segment of its own again.
      for (const Index index : {12, 30}) {
        log->write_sparse({entry(index, 1)});
        store.settle();
        store.roll_over();
      }
      EXPECT_TRUE(store.snapshot(*log, 50, 1, IndexSet::of({20})));
      if (merged) log->trigger_major_compaction();
      store.settle();
      ASSERT_TRUE(log->has_for_install(12) && log->has_for_install(30));
      ASSERT_TRUE(store.install(*log, 65, 9, IndexSet::of({12, 20, 30})));
    }
    disk.crash(CrashMode::lose_unsynced);
    Store store(disk);
    const MemberLog* log = store.system->find("KVAAAA");
    EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
    for (const Index i : {12, 20, 30}) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
    EXPECT_EQ(log->last_written(), (Position{70, 9}));
  }
}

/// A transfer that is begun anew brings lower entries than the one before: their segment is as
/// good.
TEST(Install, EntriesThatComeToSegmentsOutOfOrderStay) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = take_in_over_own_snapshot(store, Where::all_in_segments, 60, {entry(70, 9)});
    log->write_sparse({entry(12, 1), entry(30, 1)});
    store.settle();
    store.roll_over();
    log->write_sparse({entry(80, 9)});
    store.settle();
    store.roll_over();
    ASSERT_TRUE(store.install(*log, 90, 9, IndexSet::of({12, 20, 30, 70, 80})));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  const MemberLog* log = store.system->find("KVAAAA");
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
  for (const Index i : {12, 20, 30}) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
  for (const Index i : {70, 80}) EXPECT_EQ(text_at(*log, i), expected_text(i, 9));
}

/// What a transfer that was given up left in segments is not the log's, whatever else is installed.
TEST(Install, EntriesOfATransferThatWasGivenUpStayHidden) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = take_in_over_own_snapshot(store, Where::all_in_segments, 60, {entry(48, 9)});
  ASSERT_TRUE(store.install(*log, 45, 1, {}));
  EXPECT_EQ(log->term_at(48), 1U);
  EXPECT_EQ(text_at(*log, 48), expected_text(48, 1));
  EXPECT_EQ(log->last(), (Position{60, 1}));
}

/// Nor after a start: another snapshot, below them, does not make them the log's.
TEST(Install, EntriesOfATransferThatWasGivenUpStayHiddenAfterAStart) {
  for (const Where where : kWheres) {
    for (const bool started_before : {false, true}) {
      MemoryDisk disk;
      {
        auto store = std::make_unique<Store>(disk);
        take_in_over_own_snapshot(*store, where, 60, {entry(48, 9), entry(49, 9)});
        if (started_before) {
          store.reset();
          disk.crash(CrashMode::lose_unsynced);
          store = std::make_unique<Store>(disk);
        }
        ASSERT_TRUE(store->install(*store->system->find("KVAAAA"), 45, 1, {}));
      }
      disk.crash(CrashMode::lose_unsynced);
      Store store(disk);
      MemberLog* log = store.system->find("KVAAAA");
      EXPECT_EQ(log->last(), (Position{47, 1})) << static_cast<int>(where) << started_before;
      store.append(*log, entries(48, 50, 10));
      EXPECT_EQ(log->last_written(), (Position{50, 10}));
      disk.crash(CrashMode::lose_unsynced);
      const Store again(disk);
      EXPECT_EQ(again.system->find("KVAAAA")->last(), (Position{50, 10}));
    }
  }
}

/// The same while the server can't be started for a time.
TEST(Install, WhatLiesBelowTheOwnSnapshotVoidsNothingOfABrokenServer) {
  MemoryDisk disk;
  {
    Store store(disk);
    take_in_over_own_snapshot(store, Where::in_the_wal, 60, {entry(12, 1)});
  }
  testing::DamagedConfig config(disk, "KVAAAA");
  for (int start = 0; start < 3; ++start) {
    Store store(disk);
    EXPECT_EQ(store.system->broken_servers().size(), 1U);
    if (start > 0) store.settle();  // else the WAL stays beside the records that were kept
  }
  config.repair();
  Store store(disk);
  EXPECT_EQ(store.system->find("KVAAAA")->last_written(), (Position{60, 1}));
}

/// A later leader's entries are no live ones of a snapshot: they void what follows them.
TEST(Install, AnOverwriteAboveTheOwnSnapshotVoidsWhatIsBehindIt) {
  for (const Where where : kWheres) {
    for (const Index first : {Index{41}, Index{50}, Index{60}}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(where)) + ", from " + std::to_string(first));
      MemoryDisk disk;
      {
        Store store(disk);
        MemberLog* log = take_in_over_own_snapshot(store, where, 60, {entry(12, 1)});
        store.append(*log, entry(first, 9));
        if (where == Where::all_in_segments) store.roll_over();
      }
      disk.crash(CrashMode::lose_unsynced);
      for (int start = 0; start < 3; ++start) {
        Store store(disk);
        MemberLog* log = store.system->find("KVAAAA");
        EXPECT_EQ(log->last_written(), (Position{first, 9}));
        for (Index i = 41; i < first; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
        store.settle();
      }
    }
  }
}

}  // namespace
}  // namespace rakv::raftlog
