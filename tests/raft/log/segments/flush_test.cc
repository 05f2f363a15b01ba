// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A log that is written anew while the WAL files of what it was go to segments.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::Store;

/// The log up to 10, of term 1, is in a segment; 7 to 10 of term 2 are in a WAL file.
MemberLog* make_overwritten_log(Store& store) {
  MemberLog* log = store.add("kv", "KVAAAA");
  EXPECT_TRUE(store.vote("KVAAAA", 3, std::nullopt));
  store.append(*log, entries(1, 10, 1));
  store.roll_over();
  store.append(*log, entries(7, 10, 2));
  return log;
}

/// No entry of term 3 follows one of another term that it never followed.
void expect_one_log(Disk& disk) {
  for (int start = 0; start < 2; ++start) {
    Store store(disk);
    const MemberLog* log = store.system->find("KVAAAA");
    ASSERT_NE(log, nullptr);
    for (Index i = 5; i <= log->last().index; ++i) {
      EXPECT_TRUE(log->term_at(i) != 3U || log->term_at(5) == 3U) << i;
      EXPECT_TRUE(log->term_at(i) != 2U || log->term_at(6) == 1U) << i;
    }
    store.settle();
  }
}

/// The next leader's entries are not in the WAL yet when its former file is closed.
TEST(Flush, NewEntriesDoNotComeBehindOldOnes) {
  for (const Index end : {Index{6}, Index{8}, Index{12}}) {
    MemoryDisk memory;
    {
      Store store(memory);
      MemberLog* log = make_overwritten_log(store);
      store.system->roll_over_wal();
      while (store.system->wal_writer().run_one_batch()) {
      }
      log->append(entries(5, end, 3));
      for (int i = 0; i < 20; ++i) {  // all but the WAL
        store.owner.run_all();
        store.worker.run_all();
      }
    }
    memory.crash(CrashMode::lose_unsynced);
    expect_one_log(memory);
  }
}

/// The log is shorter than the first file's entries when that is flushed, and longer again when the
/// second one is.
TEST(Flush, ATruncationIsRememberedUntilItIsInASegment) {
  MemoryDisk memory;
  {
    Store store(memory);
    MemberLog* log = make_overwritten_log(store);
    log->truncate_after(4);
    store.roll_over();
    store.append(*log, entries(5, 6, 3));
    log->append(entries(7, 8, 3));
    store.system->roll_over_wal();
    while (store.system->wal_writer().run_one_batch()) {
    }
    store.settle();
  }
  memory.crash(CrashMode::lose_unsynced);
  expect_one_log(memory);
  Store store(memory);
  EXPECT_EQ(store.system->find("KVAAAA")->last_written(), (Position{8, 3}));
}

/// The WAL file after the one that is flushed goes on where that one ended, and the log does not:
/// what took the place of both, if anything did, is not in the WAL.
TEST(Flush, VoidedEntriesStayBelowThoseOfTheNextFile) {
  for (const Index end : {Index{4}, Index{6}, Index{12}}) {
    MemoryDisk memory;
    {
      Store store(memory);
      MemberLog* log = make_overwritten_log(store);
      store.system->roll_over_wal();
      while (store.system->wal_writer().run_one_batch()) {
      }
      log->append(entries(11, 12, 2));
      while (store.system->wal_writer().run_one_batch()) {
      }
      log->truncate_after(4);
      if (end > 4) log->append(entries(5, end, 3));
      for (int i = 0; i < 20; ++i) {  // all but the WAL
        store.owner.run_all();
        store.worker.run_all();
      }
      EXPECT_EQ(testing::names_in(memory, "/data/a@host", ".wal").size(), 1U);
    }
    memory.crash(CrashMode::lose_unsynced);
    expect_one_log(memory);
    Store store(memory);
    const MemberLog* log = store.system->find("KVAAAA");
    EXPECT_EQ(log->last(), (Position{12, 2}));
    for (Index i = 7; i <= 12; ++i) EXPECT_EQ(log->term_at(i), 2U) << i;
  }
}

/// The same when the log gives them up before it has heard that the WAL has them.
TEST(Flush, EntriesThatAreVoidedOnTheirWayToTheWalStayBelowThoseOfTheNextFile) {
  MemoryDisk memory;
  {
    Store store(memory);
    MemberLog* log = make_overwritten_log(store);
    const auto write = [&] {
      while (store.system->wal_writer().run_one_batch()) {
      }
    };
    log->append(entries(5, 8, 3));
    write();
    store.system->roll_over_wal();
    log->append(entries(9, 10, 3));
    write();
    log->truncate_after(4);
    for (int i = 0; i < 20; ++i) {
      store.owner.run_all();
      store.worker.run_all();
    }
    EXPECT_EQ(testing::names_in(memory, "/data/a@host", ".wal").size(), 1U);
  }
  memory.crash(CrashMode::lose_unsynced);
  expect_one_log(memory);
  Store store(memory);
  const MemberLog* log = store.system->find("KVAAAA");
  EXPECT_EQ(log->last(), (Position{10, 3}));
  for (Index i = 5; i <= 10; ++i) EXPECT_EQ(log->term_at(i), 3U) << i;
}

}  // namespace
}  // namespace rakv::raftlog
