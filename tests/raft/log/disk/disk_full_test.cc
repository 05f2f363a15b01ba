// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A disk that has no room: what is refused, what still works, and that all goes on when there is
// room again.

namespace rakv::raftlog {
namespace {

using ::testing::ElementsAre;
using testing::entries;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kMiB;
using testing::kServerDirectory;
using testing::kSystemDirectory;
using testing::names_in;
using testing::Store;

/// Writes and syncs below paths that contain `part` find no room.
FaultyDisk::Rule no_room_for(const std::string& part) {
  return [part](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    const bool takes_room = operation == DiskOperation::write || operation == DiskOperation::sync;
    if (!takes_room || path.find(part) == std::string::npos) return std::nullopt;
    return make_error(ErrorCode::no_space, path + ": can't write: No space left on device");
  };
}

TEST(DiskFull, RoomIsMeasuredWithHysteresis) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  const auto measure = [&](std::uint64_t free) {
    disk.set_space({free * kMiB, 1024 * kMiB});
    store.system->check_space();
    store.settle();
    return std::exchange(store.watcher.events, {});
  };
  EXPECT_EQ(SpaceWatch::low_water({0, 1024 * kMiB}), 64 * kMiB);
  EXPECT_EQ(SpaceWatch::low_water({0, std::uint64_t{1024} * 1024 * kMiB}), 128 * kMiB);
  EXPECT_THAT(measure(100), IsEmpty());
  EXPECT_THAT(measure(63), ElementsAre(HasSubstr("low: ")));
  EXPECT_THAT(measure(10), IsEmpty());
  EXPECT_THAT(measure(127), IsEmpty());
  EXPECT_THAT(measure(128), ElementsAre("enough"));
  EXPECT_THAT(measure(64), IsEmpty());
}

TEST(DiskFull, AVoteIsStoredInTheRoomOfTheReserve) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  LogSystemOptions options = testing::small_options();
  options.reserve_bytes = 4096;
  Store store(disk, options);
  store.add("kv", "KVAAAA");
  const std::string reserve = kSystemDirectory + "/rakv.reserve";
  store.system->check_space();
  store.settle();
  ASSERT_EQ(read_file(memory, reserve)->size(), 4096U);
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (!memory.exists(reserve).value()) return std::nullopt;
    return no_room_for("meta.dets")(operation, path);
  });
  EXPECT_TRUE(store.vote("KVAAAA", 2, std::nullopt));
  EXPECT_FALSE(memory.exists(reserve).value());
  disk.set_space({0, 1024 * kMiB});
  store.system->check_space();
  store.settle();
  EXPECT_FALSE(memory.exists(reserve).value());  // not while there is no room
  disk.set_space({900 * kMiB, 1024 * kMiB});
  store.system->check_space();
  store.settle();
  EXPECT_TRUE(memory.exists(reserve).value());
}

/// A disk may fill before the first second is over.
TEST(DiskFull, TheReserveIsThereFromTheStart) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  LogSystemOptions options = testing::small_options();
  options.reserve_bytes = 4096;
  Store store(disk, options);
  EXPECT_EQ(read_file(memory, kSystemDirectory + "/rakv.reserve")->size(), 4096U);
}

TEST(DiskFull, AVoteThatCantBeStoredIsAnErrorAndCanBeRepeated) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  store.add("kv", "KVAAAA");
  disk.set_rule(no_room_for("meta.dets"));
  const auto outcome = store.vote("KVAAAA", 2, ServerId{"kv", "b@host"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::no_space);
  EXPECT_FALSE(memory.exists(kSystemDirectory + "/meta.dets.tmp").value());
  disk.set_rule({});
  EXPECT_TRUE(store.vote("KVAAAA", 2, ServerId{"kv", "b@host"}));
  memory.crash(CrashMode::lose_unsynced);
  EXPECT_EQ(read_meta(memory, kSystemDirectory + "/meta.dets")->at(0).term, 2U);
}

TEST(DiskFull, EntriesWaitAndCountUntilThereIsRoom) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  disk.set_rule(no_room_for(".wal"));
  const std::vector<StoredEntry> some = entries(1, 30, 1);
  std::uint64_t bytes = 0;
  for (const StoredEntry& one : some) bytes += one.payload.size();
  log->append(some);
  EXPECT_EQ(store.system->queued_bytes(), bytes);
  store.settle();
  EXPECT_EQ(store.system->queued_bytes(), bytes);
  EXPECT_EQ(log->last_written().index, 0U);
  EXPECT_EQ(testing::text_at(*log, 30), testing::expected_text(30, 1));  // reads go on
  disk.set_rule({});
  store.system->retry_wal();
  store.settle();
  EXPECT_EQ(log->last_written().index, 30U);
  EXPECT_EQ(store.system->queued_bytes(), 0U);
  EXPECT_THAT(store.watcher.events, ElementsAre(HasSubstr("down: "), "up"));
}

/// Each attempt would leave a file behind, and take a new number.
TEST(DiskFull, FlushesThatFailLeaveNothing) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  const std::string member = kServerDirectory;
  for (const DiskOperation failing :
       {DiskOperation::create, DiskOperation::write, DiskOperation::sync, DiskOperation::rename}) {
    const auto before = names_in(memory, member);
    const Index next = log->last().index + 1;
    store.append(*log, entries(next, next + 9, 1));
    disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      if (operation != failing || path.find(".segment") == std::string::npos) return std::nullopt;
      return make_error(ErrorCode::no_space, path + ": No space left on device");
    });
    store.roll_over();
    for (int attempt = 0; attempt < 5; ++attempt) {
      store.system->flush_metadata([](const Result<void>&) {});
      store.settle();
    }
    EXPECT_EQ(store.watcher.events.size(), 6U);
    store.watcher.events.clear();
    EXPECT_EQ(names_in(memory, member), before);
    disk.set_rule({});
    store.system->flush_metadata([](const Result<void>&) {});
    store.settle();
    EXPECT_EQ(names_in(memory, member).size(), before.size() + 1);
  }
  EXPECT_TRUE(memory.exists(member + "/0000000000000004.segment").value());
}

TEST(DiskFull, WalFilesThatCantBeMadeLeaveNothing) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  store.add("kv", "KVAAAA");
  for (const DiskOperation failing : {DiskOperation::write, DiskOperation::sync,
                                      DiskOperation::rename, DiskOperation::sync_directory}) {
    const auto before = names_in(memory, kSystemDirectory).size();
    disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      const bool wal = path.find(".wal") != std::string::npos ||
                       path.find("/00000000") != std::string::npos || path == kSystemDirectory;
      if (operation != failing || !wal) return std::nullopt;
      return make_error(ErrorCode::no_space, path + ": No space left on device");
    });
    store.system->roll_over_wal();
    for (int attempt = 0; attempt < 5; ++attempt) {
      store.settle();
      store.system->retry_wal();
    }
    store.settle();
    EXPECT_LE(names_in(memory, kSystemDirectory).size(), before);
    disk.set_rule({});
    store.system->retry_wal();
    store.system->flush_metadata([](const Result<void>&) {});
    store.settle();
    EXPECT_EQ(names_in(memory, kSystemDirectory).size(), before);
  }
}

TEST(DiskFull, ASnapshotThatDoesNotFitLeavesNothingAndTheNextWorks) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 30, 1));
  disk.set_rule(no_room_for("snapshots"));
  const auto outcome = store.snapshot(*log, 20, 1, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::no_space);
  EXPECT_FALSE(log->snapshot());
  EXPECT_THAT(memory.list(kServerDirectory + "/snapshots").value(), IsEmpty());
  disk.set_rule({});
  EXPECT_TRUE(store.snapshot(*log, 20, 1, {}));
}

}  // namespace
}  // namespace rakv::raftlog
