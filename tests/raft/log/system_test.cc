// SPDX-License-Identifier: Apache-2.0
#include "raft/log/system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::config;
using testing::entries;
using testing::entry;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kSystemDirectory;
using testing::names_in;
using testing::Store;

TEST(LogSystem, ANewServerIsThereAfterRestart) {
  MemoryDisk disk;
  {
    Store store(disk);
    ASSERT_TRUE(store.system) << store.error->message;
    MemberLog* log = store.add("kv", "KVAAAA");
    ASSERT_NE(log, nullptr);
    EXPECT_TRUE(log->empty());
    EXPECT_EQ(log->first_index(), 1U);
    EXPECT_EQ(store.system->find_by_name("kv"), log);
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  ASSERT_TRUE(store.system) << store.error->message;
  MemberLog* log = store.system->find("KVAAAA");
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->config().id, (ServerId{"kv", "a@host"}));
  EXPECT_TRUE(log->empty());
  EXPECT_FALSE(log->amnesia());
  EXPECT_THAT(store.system->notices(), IsEmpty());
}

TEST(LogSystem, NamesAndUidsAreUnique) {
  MemoryDisk disk;
  Store store(disk);
  ASSERT_NE(store.add("kv", "KVAAAA"), nullptr);
  Result<MemberLog*> outcome = nullptr;
  const auto keep = [&](const Result<MemberLog*>& got) { outcome = got; };
  store.system->register_server(config("kv", "KVBBBB"), keep);
  store.settle();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::already_exists);
  store.system->register_server(config("kv2", "KVAAAA"), keep);
  store.settle();
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("UId KVAAAA exists"));
  store.system->register_server(config("kv2", "../x"), keep);
  store.settle();
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("`uid`"));
}

TEST(LogSystem, DeletionIsFinishedAfterACrash) {
  for (std::uint64_t stop = 1;; ++stop) {
    MemoryDisk memory;
    FaultyDisk disk(memory);
    bool deleted = false;
    std::uint64_t before = 0;
    {
      Store store(disk);
      store.add("kv", "KVAAAA");
      store.vote("KVAAAA", 4, std::nullopt);
      store.system->find("KVAAAA")->append(entries(1, 9, 1));
      store.settle();
      before = disk.operations();
      disk.stop_at(before + stop);
      store.system->delete_server(
          "KVAAAA", [&](const Result<void>& got) { deleted = static_cast<bool>(got); });
      EXPECT_EQ(store.system->find("KVAAAA"), nullptr);
      store.settle();
    }
    const bool stopped = disk.stopped();
    memory.crash(CrashMode::keep_everything);
    Store store(memory);
    ASSERT_TRUE(store.system) << stop << store.error->message;
    const MemberLog* left = store.system->find("KVAAAA");
    if (left != nullptr) {
      EXPECT_EQ(stop, 1U);  // before the rename
      EXPECT_EQ(left->last_written().index, 9U);
    }
    if (deleted) {
      EXPECT_EQ(left, nullptr);
    }
    if (left == nullptr) {
      EXPECT_NE(store.add("kv", "KVBBBB"), nullptr);  // the name is free again
      EXPECT_TRUE(store.system->find("KVBBBB")->empty());
    }
    if (!stopped) break;
  }
}

TEST(LogSystem, ASecondProcessIsToldThatTheDirectoryIsInUse) {
  MemoryDisk disk;
  Store first(disk);
  ASSERT_TRUE(first.system);
  Store second(disk);
  ASSERT_FALSE(second.system);
  EXPECT_EQ(second.error->code, ErrorCode::unavailable);
  EXPECT_THAT(second.error->message, HasSubstr("in use by another process"));
}

TEST(LogSystem, AnUnreadableDirectoryIsAClearError) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::list) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't read directory: Permission denied");
  });
  Store store(disk);
  ASSERT_FALSE(store.system);
  EXPECT_THAT(store.error->message,
              ::testing::AllOf(HasSubstr("/data/a@host"), HasSubstr("Permission denied")));
}

TEST(LogSystem, ABrokenConfigKeepsTheServersDataAndTheOthersStart) {
  MemoryDisk disk;
  {
    Store store(disk);
    store.add("kv", "KVAAAA")->append(entries(1, 3, 1));
    store.add("kv2", "KVBBBB")->append(entries(1, 4, 1));
    store.settle();
  }
  ASSERT_TRUE(replace_file(disk, "/data/a@host/KVAAAA/config", "#{id => "));
  {
    Store store(disk);
    ASSERT_TRUE(store.system);
    store.settle();
    EXPECT_EQ(store.system->find("KVAAAA"), nullptr);
    ASSERT_TRUE(store.system->broken_servers().contains("KVAAAA"));
    EXPECT_THAT(store.system->broken_servers().at("KVAAAA").message, HasSubstr("KVAAAA/config"));
    EXPECT_EQ(store.system->find("KVBBBB")->last().index, 4U);
    EXPECT_EQ(names_in(disk, kSystemDirectory, ".wal").size(), 1U);
    EXPECT_EQ(names_in(disk, kSystemDirectory, ".kept").size(), 1U);
  }
  const auto text = print_server_config(config("kv", "KVAAAA"));
  ASSERT_TRUE(replace_file(disk, "/data/a@host/KVAAAA/config", *text));
  Store store(disk);
  store.settle();
  EXPECT_EQ(store.system->find("KVAAAA")->last().index, 3U);
  EXPECT_EQ(names_in(disk, kSystemDirectory, ".wal").size(), 1U);
  EXPECT_EQ(names_in(disk, kSystemDirectory, ".kept").size(), 0U);
}

TEST(LogSystem, AServerWithoutNameRowIsTakenIn) {
  MemoryDisk disk;
  {
    Store store(disk);
    store.add("kv", "KVAAAA")->append(entries(1, 3, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    store.settle();
  }
  ASSERT_TRUE(write_names(disk, "/data/a@host/names.dets.rakv", {}));
  Store store(disk);
  ASSERT_NE(store.system->find_by_name("kv"), nullptr);
  EXPECT_EQ(store.system->find_by_name("kv")->last_written().index, 3U);
  EXPECT_THAT(store.system->notices(), ::testing::ElementsAre(HasSubstr("has been taken in")));
}

TEST(LogSystem, WithARealThread) {
  MemoryDisk disk;
  WorkerThread worker;
  ManualExecutor owner;  // emptied by this thread only; the WAL thread's posts need a lock
  struct LockedOwner final : Executor {
    std::mutex mutex;
    std::condition_variable ready;
    std::deque<std::function<void()>> jobs;
    void post(std::function<void()> job) override {
      std::lock_guard lock(mutex);
      jobs.push_back(std::move(job));
      ready.notify_one();
    }
    void run_until(const std::function<bool()>& done) {
      while (!done()) {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(ready.wait_for(lock, std::chrono::seconds(30), [&] { return !jobs.empty(); }));
        auto job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job();
      }
    }
  } queue;
  // The memory disk is for one thread: this test uses real files.
  const char* base = std::getenv("TMPDIR");
  std::string directory = std::string(base != nullptr ? base : "/tmp") + "/rakv_log_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const auto files = make_posix_disk();
  {
    auto system = LogSystem::open(directory + "/a@host", *files, queue, worker);
    ASSERT_TRUE(system) << system.error().message;
    MemberLog* log = nullptr;
    (*system)->register_server(config("kv", "KVAAAA"), [&](Result<MemberLog*> got) { log = *got; });
    queue.run_until([&] { return log != nullptr; });
    for (Index i = 1; i <= 300; ++i) {
      log->append(entry(i, 1));
      if (i % 100 == 0) queue.run_until([&] { return log->last_written().index == i; });
    }
    (*system)->roll_over_wal();
    queue.run_until([&] { return log->segment_count() == 1; });
    log->append(entry(301, 1));
    EXPECT_TRUE((*system)->stop());
  }
  {
    auto second = LogSystem::open(directory + "/a@host", *files, queue, worker);
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ((*second)->find("KVAAAA")->last_written(), (Position{301, 1}));
    const auto third = LogSystem::open(directory + "/a@host", *files, queue, worker);
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().code, ErrorCode::unavailable);
  }
  EXPECT_TRUE(remove_tree(*files, directory));
}

}  // namespace
}  // namespace rakv::raftlog
