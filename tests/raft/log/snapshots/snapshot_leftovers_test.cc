// SPDX-License-Identifier: Apache-2.0
#include "raft/log/snapshots/snapshot_leftovers.h"

#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A snapshot of which the last sync fails although the disk has it, and which can't be removed: it
// may be back after a crash, and then what it needs must be there.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::Store;
using testing::text_at;

constexpr char kSnapshots[] = "/data/a@host/KVAAAA/snapshots";

FaultyDisk::Rule snapshots_stay(MemoryDisk& memory) {
  return [&memory](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (!path.starts_with(kSnapshots)) return std::nullopt;
    const bool last_sync = operation == DiskOperation::sync_directory && path == kSnapshots;
    if (last_sync) static_cast<void>(memory.sync_directory(path));
    if (!last_sync && operation != DiskOperation::unlink) return std::nullopt;
    return make_error(ErrorCode::io, path + ": Input/output error");
  };
}

/// Entries 1 to 39 of term 1, and 9 the present term.
MemberLog* make_log_of_old_term(Store& store) {
  MemberLog* log = store.add("kv", "KVAAAA");
  EXPECT_TRUE(store.vote("KVAAAA", 9, std::nullopt));
  store.append(*log, entries(1, 39, 1));
  return log;
}

void expect_snapshot(MemoryDisk& memory, Index index, const std::vector<Index>& live, Index last) {
  memory.crash(CrashMode::lose_unsynced);
  for (int start = 0; start < 2; ++start) {
    Store store(memory);
    ASSERT_TRUE(store.system) << store.error->message;
    const MemberLog* log = store.system->find("KVAAAA");
    EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
    EXPECT_EQ(log->snapshot() ? log->snapshot()->meta.index : 0, index);
    for (const Index i : live) EXPECT_EQ(text_at(*log, i), expected_text(i, i < 40 ? 1 : 9));
    EXPECT_EQ(log->last_written().index, last);
    store.settle();
  }
}

/// The transfer fails, and the leader sends entries after all.
TEST(SnapshotLeftovers, WhatAFailedInstallNeedsStaysUntilItIsGone) {
  for (const bool goes_in_time : {false, true}) {
    MemoryDisk memory;
    FaultyDisk disk(memory);
    {
      Store store(disk);
      MemberLog* log = make_log_of_old_term(store);
      log->write_sparse({entry(52, 9), entry(60, 9)});
      store.settle();
      disk.set_rule(snapshots_stay(memory));
      EXPECT_FALSE(store.install(*log, 80, 9, IndexSet::of({20, 52, 60})));
      store.append(*log, entries(40, 45, 9));
      EXPECT_EQ(log->last_written().index, 45U);
      store.roll_over();
      if (goes_in_time) {
        disk.set_rule({});
        store.system->flush_metadata([](const Result<void>&) {});  // the flush goes on
        store.settle();
      }
    }
    if (goes_in_time) {
      expect_snapshot(memory, 0, {20}, 45);
    } else {
      expect_snapshot(memory, 80, {20, 52, 60}, 80);
    }
  }
}

/// Another snapshot is taken, at a lower index or a higher one, and segments are merged for that.
TEST(SnapshotLeftovers, WhatAnOwnSnapshotNeedsStaysUntilItIsGone) {
  for (const Index other : {Index{25}, Index{35}}) {
    MemoryDisk memory;
    FaultyDisk disk(memory);
    {
      Store store(disk);
      MemberLog* log = make_log_of_old_term(store);
      store.roll_over();
      disk.set_rule(snapshots_stay(memory));
      EXPECT_FALSE(store.snapshot(*log, 30, 1, IndexSet::of({3, 20, 28})));
      disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
        if (operation != DiskOperation::unlink || !path.starts_with(kSnapshots)) return {};
        return make_error(ErrorCode::io, path + ": Input/output error");
      });
      EXPECT_TRUE(store.snapshot(*log, other, 1, IndexSet::of({20})));
      store.append(*log, entries(40, 60, 9));
      store.roll_over();
      log->trigger_major_compaction();
      store.settle();
    }
    if (other < 30) {
      expect_snapshot(memory, 30, {3, 20, 28}, 60);
    } else {
      expect_snapshot(memory, other, {20}, 60);
    }
  }
}

}  // namespace
}  // namespace rakv::raftlog
