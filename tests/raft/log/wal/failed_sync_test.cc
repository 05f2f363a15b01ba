// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A sync that failed leaves in the page cache what the disk does not have, and no later process is
// told of it. And what a killed process had renamed, made or removed and not synced.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::expected_text;
using testing::kSystemDirectory;
using testing::Store;
using testing::text_at;

/// Syncs of WAL files fail, and the kernel gives their pages up.
FaultyDisk::Rule no_sync_of_wal_files(MemoryDisk& memory) {
  return [&memory](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (path.find(".wal") == std::string::npos) return std::nullopt;
    if (operation == DiskOperation::unlink) {  // so that they are still there at the next start
      return make_error(ErrorCode::io, path + ": can't remove: Input/output error");
    }
    if (operation != DiskOperation::sync) return std::nullopt;
    memory.give_up_unsynced(path);
    return make_error(ErrorCode::io, path + ": can't sync: Input/output error");
  };
}

TEST(FailedSync, WhatIsReportedAfterARestartSurvivesAPowerCut) {
  for (const std::uint64_t reserved : {0U, 3000U}) {
    MemoryDisk memory;
    memory.reserve_at_most(reserved);
    {
      FaultyDisk disk(memory);
      Store store(disk);
      MemberLog* log = store.add("kv", "KVAAAA");
      ASSERT_TRUE(store.vote("KVAAAA", 1, std::nullopt));
      store.append(*log, entries(1, 5, 1));
      store.append(*log, entries(6, 9, 1));
      disk.set_rule(no_sync_of_wal_files(memory));
      store.append(*log, entries(10, 29, 1));
      EXPECT_EQ(log->last_written().index, 9U);
      EXPECT_FALSE(store.watcher.events.empty());  // down
    }
    memory.crash(CrashMode::keep_everything);  // the process is killed, the machine is not
    Index reported = 0;
    {
      Store store(memory);
      ASSERT_TRUE(store.system) << store.error->message;
      reported = store.system->find("KVAAAA")->last_written().index;
      EXPECT_EQ(reported, 29U);
    }
    memory.crash(CrashMode::lose_unsynced);
    Store store(memory);
    ASSERT_TRUE(store.system) << store.error->message;
    const MemberLog* log = store.system->find("KVAAAA");
    EXPECT_FALSE(log->amnesia());
    EXPECT_GE(log->last_written().index, reported);
    for (Index i = 1; i <= reported; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
  }
}

/// A directory whose process was killed at each operation of some work in turn, started again and
/// killed at once, then a power cut that takes any of the unsynced names: what the start in between
/// reported is there.
TEST(FailedSync, WhatARestartBelievesIsDurableBeforeAnythingIsRemoved) {
  const auto work = [](Store& store) {
    MemberLog* log = store.add("kv", "KVAAAA");
    if (log == nullptr) return;
    if (!store.vote("KVAAAA", 1, std::nullopt)) return;
    store.append(*log, entries(1, 40, 1));
    if (log->last_written().index < 40) return;
    if (!store.snapshot(*log, 15, 1, IndexSet::of({3, 12}))) return;
    store.roll_over();
    store.append(*log, entries(41, 50, 1));
    if (log->last_written().index < 50) return;
    if (!store.snapshot(*log, 38, 1, IndexSet::of({3, 20, 30}))) return;
    log->trigger_major_compaction();
    store.settle();
    store.system->delete_server("KVAAAA", [](const Result<void>&) {});
    store.settle();
  };
  std::uint64_t cuts = 0;
  for (std::uint64_t stop = 1;; ++stop) {
    MemoryDisk memory;
    {
      FaultyDisk disk(memory);
      disk.stop_at(stop);
      Store store(disk);
      if (store.system) work(store);
      if (!disk.stopped()) break;
    }
    memory.crash(CrashMode::keep_everything);
    struct Reported {
      bool there = false;
      Index snapshot = 0;
      Index written = 0;
      IndexSet live;
    };
    for (std::uint64_t further = 0; further < 25; ++further) {
      const auto left = memory.clone();
      Reported reported;
      {
        FaultyDisk disk(*left);
        Store store(disk);
        ASSERT_TRUE(store.system) << store.error->message;
        disk.stop_at(disk.operations() + 1 + further);
        if (const MemberLog* log = store.system->find("KVAAAA")) {
          reported = {true, 0, log->last_written().index, {}};
          if (log->snapshot()) {
            reported.snapshot = log->snapshot()->meta.index;
            reported.live = log->snapshot()->live_indexes;
          }
        }
        store.settle();
      }
      for (std::uint64_t seed = 0; seed < 3; ++seed) {
        SCOPED_TRACE("killed at operation " + std::to_string(stop) + ", cut " +
                     std::to_string(further) + " later, seed " + std::to_string(seed));
        const auto cut = left->clone();
        cut->crash(seed == 0 ? CrashMode::lose_unsynced : CrashMode::random, stop * 97 + seed);
        ++cuts;
        Store store(*cut);
        ASSERT_TRUE(store.system) << store.error->message;
        const MemberLog* log = store.system->find("KVAAAA");
        if (!reported.there) {
          EXPECT_EQ(log == nullptr || log->empty(), true);
          continue;
        }
        ASSERT_NE(log, nullptr);
        EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
        EXPECT_GE(log->last_written().index, reported.written);
        ASSERT_TRUE(reported.snapshot == 0 || log->snapshot());
        for (const Index index : reported.live.indexes()) {
          EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
        }
        for (Index i = reported.snapshot + 1; i <= reported.written; ++i) {
          EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
        }
      }
    }
    if (HasFailure()) break;
  }
  std::printf("killed, started and cut off %llu times\n", static_cast<unsigned long long>(cuts));
  EXPECT_GT(cuts, 1000U);
}

/// A WAL file of which nothing but its first bytes is left was a BEAM's only if one was here.
TEST(FailedSync, AWalOfZerosIsNoEmptyOne) {
  MemoryDisk memory;
  memory.reserve_at_most(2000);
  {
    Store store(memory);
    MemberLog* log = store.add("kv", "KVAAAA");
    ASSERT_TRUE(store.vote("KVAAAA", 1, std::nullopt));
    store.append(*log, entries(1, 3, 1));
    store.append(*log, entries(4, 5, 1));
  }
  const std::string path = kSystemDirectory + "/0000000000000001.wal";
  const std::string whole = read_file(memory, path).value();
  for (const bool cut : {false, true}) {
    const auto copy = memory.clone();
    std::string bytes = whole.substr(0, 5);
    if (!cut) bytes.resize(whole.size(), '\0');
    ASSERT_TRUE(replace_file(*copy, path, bytes));
    for (int start = 0; start < 2; ++start) {
      Store store(*copy);
      ASSERT_TRUE(store.system) << store.error->message;
      EXPECT_TRUE(store.system->find("KVAAAA")->amnesia());
    }
    EXPECT_EQ(read_file(*copy, path + ".bad").value(), bytes);
  }
  // Cut in the room that was reserved: what was in it before is not known.
  const auto copy = memory.clone();
  ASSERT_TRUE(replace_file(*copy, path, whole.substr(0, whole.size() - 700)));
  for (int start = 0; start < 2; ++start) {
    Store store(*copy);
    ASSERT_TRUE(store.system) << store.error->message;
    EXPECT_TRUE(store.system->find("KVAAAA")->amnesia());
    EXPECT_EQ(store.system->find("KVAAAA")->last_written().index, 5U);
  }
}

}  // namespace
}  // namespace rakv::raftlog
