// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "raft/log/directory/server_directory.h"
#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// Servers that are made and deleted, with the machine stopping in between.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::Store;

/// Two are made at a time, and one of them fails, at each operation in its directory in turn: the
/// other is there, and the name that was not given is free, or its server is whole.
TEST(Servers, OneThatCouldNotBeMadeLeavesItsNameFree) {
  std::uint64_t failing = 1;
  for (bool failed = true; failed && !HasFailure(); ++failing) {
    SCOPED_TRACE(failing);
    MemoryDisk memory;
    FaultyDisk disk(memory);
    failed = false;
    {
      Store store(disk);
      std::uint64_t operations = 0;
      disk.set_rule([&](DiskOperation, const std::string& path) -> std::optional<Error> {
        if (path.find("/KVBBBB") == std::string::npos || ++operations != failing) return {};
        failed = true;
        return make_error(ErrorCode::io, path + ": Input/output error");
      });
      int made = 0;
      for (const auto& [name, uid] : {std::pair("kv", "KVAAAA"), std::pair("kv2", "KVBBBB")}) {
        store.system->register_server(
            testing::config(name, uid),
            [&](const Result<MemberLog*>& done) { made += done ? 1 : 0; });
      }
      store.settle();
      EXPECT_GE(made, failed ? 1 : 2);
    }
    memory.crash(CrashMode::keep_everything);
    Store store(memory);
    ASSERT_TRUE(store.system) << store.error->message;
    EXPECT_TRUE(store.system->broken_servers().empty());
    EXPECT_NE(store.system->find("KVAAAA"), nullptr);
    const bool there = store.system->find("KVBBBB") != nullptr;
    EXPECT_TRUE(there || store.add("kv2", "KVBBBB") != nullptr);
  }
  EXPECT_GT(failing, 10U);
}

/// Whoever was told that a server could not be made must not meet it after the next start.
TEST(Servers, OneThatCouldNotBeMadeIsNotThereAfterTheNextStart) {
  for (const std::string& failing : {std::string("/KVAAAA/config"), std::string("/names.dets")}) {
    SCOPED_TRACE(failing);
    MemoryDisk memory;
    FaultyDisk disk(memory);
    {
      Store store(disk);
      bool fails = true;
      disk.set_rule([&](DiskOperation, const std::string& path) -> std::optional<Error> {
        if (!fails || path.find(failing) == std::string::npos) return {};
        return make_error(ErrorCode::io, path + ": Input/output error");
      });
      EXPECT_EQ(store.add("kv", "KVAAAA"), nullptr);
      fails = false;
      EXPECT_FALSE(*memory.exists("/data/a@host/KVAAAA"));
    }
    memory.crash(CrashMode::lose_unsynced);
    Store store(memory);
    ASSERT_TRUE(store.system) << store.error->message;
    EXPECT_EQ(store.system->find("KVAAAA"), nullptr);
    EXPECT_TRUE(store.system->notices().empty()) << store.system->notices().front();
    EXPECT_NE(store.add("kv", "KVAAAA"), nullptr) << "name and UId are free";
  }
}

/// Two directories claim one name: the second is left alone, and nobody writes into it.
TEST(Servers, ADirectoryThatIsLeftAloneIsNotTakenForANewServer) {
  MemoryDisk memory;
  {
    Store store(memory);
    ASSERT_NE(store.add("kv", "KVAAAA"), nullptr);
  }
  ASSERT_TRUE(create_server(memory, "/data/a@host", testing::config("kv", "KVBBBB")));
  const std::string config = *read_file(memory, "/data/a@host/KVBBBB/config");
  Store store(memory);
  ASSERT_TRUE(store.system) << store.error->message;
  EXPECT_EQ(store.add("kv2", "KVBBBB"), nullptr);
  EXPECT_EQ(*read_file(memory, "/data/a@host/KVBBBB/config"), config);
}

/// What the deletion of another server writes does not count before it is written.
TEST(Servers, LastAppliedIsFlushedBesideADeletionThatFails) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.add("gone", "KVBBBB");
    store.append(*log, testing::entries(1, 5, 1));
    store.system->note_last_applied("KVAAAA", 4);
    disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      if (operation != DiskOperation::write || path.find("names.dets") == std::string::npos)
        return std::nullopt;
      return make_error(ErrorCode::io, path + ": Input/output error");
    });
    store.system->delete_server("KVBBBB",
                                [](const Result<void>& deleted) { EXPECT_FALSE(deleted); });
    store.settle();
    bool flushed = false;
    store.system->flush_metadata([&](const Result<void>& done) { flushed = done.has_value(); });
    store.settle();
    EXPECT_TRUE(flushed);
  }
  memory.crash(CrashMode::lose_unsynced);
  EXPECT_EQ(read_meta(memory, "/data/a@host/meta.dets")->at(0).last_applied, 4U);
}

/// Another server's vote is stored before the deletion is certain, and the machine stops.
TEST(Servers, OneThatIsBackFromItsDeletionHasItsVote) {
  MemoryDisk memory;
  {
    ManualExecutor background;
    LogSystemOptions options = testing::small_options();
    options.background = &background;
    Store store(memory, options);
    MemberLog* log = store.add("kv", "KVAAAA");
    ASSERT_NE(store.add("kv2", "KVBBBB"), nullptr);
    ASSERT_TRUE(store.vote("KVAAAA", 7, ServerId{"kv", "b@host"}));
    store.append(*log, entries(1, 3, 7));
    store.system->delete_server("KVAAAA", [](const Result<void>&) {});
    ASSERT_TRUE(store.vote("KVBBBB", 2, std::nullopt));
  }
  memory.crash(CrashMode::lose_unsynced);
  Store store(memory);
  const MemberLog* log = store.system->find("KVAAAA");
  ASSERT_NE(log, nullptr);
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
  EXPECT_EQ(log->meta().term, 7U);
  EXPECT_EQ(log->meta().voted_for, (ServerId{"kv", "b@host"}));
  EXPECT_EQ(log->last_written().index, 3U);
}

}  // namespace
}  // namespace rakv::raftlog
