// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::Store;

TEST(LogSystem, WrittenComesOnlyAfterTheSync) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  struct Noting final : MemberLogObserver {
    std::vector<Index> durable;
    void written(MemberLog& member, Term, IndexRange) override {
      durable.push_back(member.last_written().index);
    }
  } observer;
  log->set_observer(&observer);
  log->append(entries(0, 3, 1));
  EXPECT_EQ(log->last(), (Position{3, 1}));
  EXPECT_EQ(log->last_written(), (Position{0, 0}));
  EXPECT_EQ(log->pending_writes(), 4U);
  store.settle();
  EXPECT_EQ(log->last_written(), (Position{3, 1}));
  EXPECT_EQ(log->pending_writes(), 0U);
  EXPECT_THAT(observer.durable, ::testing::ElementsAre(3));
  EXPECT_EQ(log->first_index(), 0U);
  EXPECT_EQ(log->term_at(2), 1U);
  EXPECT_FALSE(log->term_at(4));
}

TEST(LogSystem, AWrittenEventOfAnOverwrittenEntryDoesNotCount) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  log->append(entries(1, 5, 1));
  store.system->wal_writer().run_one_batch();  // durable, but the owner has not heard of it
  log->append(entry(3, 2));
  EXPECT_EQ(log->last(), (Position{3, 2}));
  store.owner.run_all();
  EXPECT_EQ(log->last_written(), (Position{2, 1}));
  store.settle();
  EXPECT_EQ(log->last_written(), (Position{3, 2}));
}

TEST(LogSystem, TruncationLowersLastWritten) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 9, 1));
  log->truncate_after(4);
  EXPECT_EQ(log->last(), (Position{4, 1}));
  EXPECT_EQ(log->last_written(), (Position{4, 1}));
  EXPECT_FALSE(log->has(5));
  log->truncate_after(0);
  EXPECT_TRUE(log->empty());
  store.append(*log, entry(1, 2));
  EXPECT_EQ(log->last_written(), (Position{1, 2}));
}

TEST(LogSystem, TermAndVoteSurvive) {
  MemoryDisk disk;
  {
    Store store(disk);
    store.add("kv", "KVAAAA");
    store.add("kv2", "KVBBBB");
    EXPECT_TRUE(store.vote("KVAAAA", 3, ServerId{"kv", "b@host"}));
    EXPECT_TRUE(store.vote("KVBBBB", 9, std::nullopt));
    EXPECT_EQ(store.vote("NOBODY", 1, std::nullopt).error().code, ErrorCode::not_found);
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  EXPECT_EQ(store.system->find("KVAAAA")->meta().term, 3U);
  EXPECT_EQ(store.system->find("KVAAAA")->meta().voted_for, (ServerId{"kv", "b@host"}));
  EXPECT_EQ(store.system->find("KVBBBB")->meta().term, 9U);
  EXPECT_FALSE(store.system->find("KVBBBB")->meta().voted_for);
}

TEST(LogSystem, VotesThatWaitTogetherAreOneFile) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  store.add("kv", "KVAAAA");
  int files = 0;
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    files += operation == DiskOperation::rename && path.ends_with("meta.dets") ? 1 : 0;
    return std::nullopt;
  });
  int done = 0;
  for (Term term = 1; term <= 10; ++term) {
    store.system->store_term_vote("KVAAAA", term, std::nullopt, [&](const Result<void>& got) {
      EXPECT_TRUE(got);
      ++done;
    });
  }
  store.settle();
  EXPECT_EQ(done, 10);
  EXPECT_EQ(files, 2);
}

TEST(LogSystem, AFailedVoteIsReported) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  store.add("kv", "KVAAAA");
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::sync) return std::nullopt;
    return make_error(ErrorCode::no_space, path + ": can't sync: No space left on device");
  });
  const auto outcome = store.vote("KVAAAA", 2, std::nullopt);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::no_space);
}

TEST(LogSystem, LastAppliedRidesAlongAndIsBoundedByWhatIsWritten) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 9, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    log->append(entries(10, 12, 1));
    store.system->note_last_applied("KVAAAA", 12);  // not durable yet
    bool done = false;
    store.system->flush_metadata([&](const Result<void>& got) { done = static_cast<bool>(got); });
    store.settle();
    EXPECT_TRUE(done);
  }
  Store store(disk);
  EXPECT_EQ(store.system->find("KVAAAA")->meta().last_applied, 9U);
  EXPECT_FALSE(store.system->find("KVAAAA")->amnesia());
}

}  // namespace
}  // namespace rakv::raftlog
