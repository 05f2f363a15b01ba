// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A server that can't be started, beside others on the node that go on: neither they nor it lose
// anything, however long that lasts and whatever the cause.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::expected_text;
using testing::kept_files;
using testing::kSystemDirectory;
using testing::Store;
using testing::text_at;

/// Two servers with entries 1 to 20 of term 1 in one WAL file.
void make_two_servers(Disk& disk) {
  Store store(disk);
  for (const auto& [name, uid] : {std::pair("kv", "KVAAAA"), std::pair("kv2", "KVBBBB")}) {
    MemberLog* log = store.add(name, uid);
    ASSERT_TRUE(store.vote(uid, 1, std::nullopt));
    store.append(*log, entries(1, 20, 1));
  }
}

void expect_log(Store& store, const std::string& uid, Index last) {
  ASSERT_TRUE(store.system) << store.error->message;
  const MemberLog* log = store.system->find(uid);
  ASSERT_NE(log, nullptr) << uid;
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
  EXPECT_EQ(log->last_written().index, last) << uid;
  for (Index i = 1; i <= last; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 1)) << uid << i;
}

/// The other one writes `rounds` WAL files full meanwhile, with a start after each.
void go_on_without(MemoryDisk& memory, Disk& disk, Index& last, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    {
      Store store(disk);
      expect_log(store, "KVAAAA", last);
      if (::testing::Test::HasFailure()) return;
      EXPECT_TRUE(store.system->broken_servers().contains("KVBBBB"));
      store.append(*store.system->find("KVAAAA"), entries(last + 1, last + 30, 1));
      store.roll_over();
      store.append(*store.system->find("KVAAAA"), entries(last + 31, last + 40, 1));
      last += 40;
      EXPECT_EQ(kept_files(disk), 1U);
    }
    memory.crash(CrashMode::lose_unsynced);
  }
}

TEST(BrokenServer, ADamagedConfigCostsNobodyAnything) {
  MemoryDisk memory;
  make_two_servers(memory);
  testing::DamagedConfig config(memory, "KVBBBB");
  Index last = 20;
  go_on_without(memory, memory, last, 3);
  config.repair();
  for (int start = 0; start < 3; ++start) {
    Store store(memory);
    expect_log(store, "KVAAAA", last);
    expect_log(store, "KVBBBB", 20);
    store.settle();
    EXPECT_EQ(kept_files(memory), 0U);
  }
}

TEST(BrokenServer, AnErrorOfTheDiskAtOneStartCostsNobodyAnything) {
  for (const DiskOperation failing : {DiskOperation::open, DiskOperation::read, DiskOperation::list,
                                      DiskOperation::sync_directory}) {
    MemoryDisk memory;
    make_two_servers(memory);
    FaultyDisk disk(memory);
    disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      if (operation != failing || path.find("/KVBBBB") == std::string::npos) return std::nullopt;
      return make_error(ErrorCode::io, path + ": Too many open files");
    });
    Index last = 20;
    go_on_without(memory, disk, last, 1);
    if (HasFailure()) return;
    Store store(memory);
    expect_log(store, "KVAAAA", last);
    expect_log(store, "KVBBBB", 20);
  }
}

TEST(BrokenServer, ItsRecordsSurviveACrashAtAnyOperationOfAnyStart) {
  for (std::uint64_t stop = 1;; ++stop) {
    MemoryDisk memory;
    make_two_servers(memory);
    testing::DamagedConfig config(memory, "KVBBBB");
    bool stopped = false;
    Index last = 20;
    for (const bool repaired : {false, true}) {
      if (repaired) config.repair();
      FaultyDisk disk(memory);
      disk.stop_at(stop);
      {
        Store store(disk);
        if (store.system) {
          MemberLog* log = store.system->find("KVAAAA");
          log->append(entries(last + 1, last + 5, 1));
          store.settle();
          store.roll_over();
          last = log->last_written().index;
        }
      }
      stopped |= disk.stopped();
      memory.crash(CrashMode::random, stop);
    }
    Store store(memory);
    ASSERT_TRUE(store.system) << store.error->message;
    const Index written = store.system->find("KVAAAA")->last_written().index;
    EXPECT_GE(written, last) << "stopped at operation " << stop;
    expect_log(store, "KVAAAA", written);
    expect_log(store, "KVBBBB", 20);
    if (!stopped || HasFailure()) {
      EXPECT_GT(stop, 20U);
      break;
    }
  }
}

TEST(BrokenServer, DamageInItsRecordsIsItsOwn) {
  MemoryDisk memory;
  make_two_servers(memory);
  testing::DamagedConfig config(memory, "KVBBBB");
  Index last = 20;
  go_on_without(memory, memory, last, 1);
  config.repair();
  std::string path;
  for (const auto& entry : memory.list(kSystemDirectory).value()) {
    if (entry.name.ends_with(".kept")) path = kSystemDirectory + "/" + entry.name;
  }
  ASSERT_FALSE(path.empty());
  const std::string bytes = read_file(memory, path).value();
  for (std::size_t at = 0; at < bytes.size() && !HasFailure(); ++at) {
    SCOPED_TRACE(at);
    const auto copy = memory.clone();
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    ASSERT_TRUE(replace_file(*copy, path, damaged));
    Store store(*copy);
    ASSERT_TRUE(store.system) << store.error->message;
    const MemberLog* a = store.system->find("KVAAAA");
    const MemberLog* b = store.system->find("KVBBBB");
    ASSERT_TRUE(a != nullptr && b != nullptr);
    EXPECT_EQ(a->last_written().index, last);
    EXPECT_TRUE(b->amnesia() || b->last_written().index == 20U);
    store.settle();
    EXPECT_EQ(read_file(*copy, path + ".bad").value(), damaged);
  }
}

}  // namespace
}  // namespace rakv::raftlog
