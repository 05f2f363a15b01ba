// SPDX-License-Identifier: Apache-2.0
#include "raft/log/system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/wal/wal_recovery.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::config;
using testing::entries;
using testing::entry;
using testing::expected_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Store;
using testing::text_at;

constexpr char kDirectory[] = "/data/a@host";

std::vector<std::string> names_in(Disk& disk, const std::string& path, std::string_view suffix) {
  std::vector<std::string> names;
  for (const auto& entry : disk.list(path).value()) {
    if (entry.name.ends_with(suffix)) names.push_back(entry.name);
  }
  return names;
}

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
  const auto keep = [&](Result<MemberLog*> got) { outcome = got; };
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
    store.system->store_term_vote("KVAAAA", term, std::nullopt, [&](Result<void> got) {
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
    store.system->flush_metadata([&](Result<void> got) { done = static_cast<bool>(got); });
    store.settle();
    EXPECT_TRUE(done);
  }
  Store store(disk);
  EXPECT_EQ(store.system->find("KVAAAA")->meta().last_applied, 9U);
  EXPECT_FALSE(store.system->find("KVAAAA")->amnesia());
}

TEST(LogSystem, RollOverMovesEntriesToSegmentsAndRemovesTheWal) {
  MemoryDisk disk;
  const std::string directory = kDirectory;
  {
    Store store(disk);
    MemberLog* a = store.add("kv", "KVAAAA");
    MemberLog* b = store.add("kv2", "KVBBBB");
    a->append(entries(0, 40, 1));
    store.append(*b, entries(1, 5, 3, "other"));
    store.roll_over();
    EXPECT_EQ(a->segment_count(), 3U);  // 16 entries each
    EXPECT_EQ(a->memory_bytes(), 0U);
    EXPECT_EQ(text_at(*a, 0), expected_text(0, 1));
    EXPECT_EQ(text_at(*a, 40), expected_text(40, 1));
    EXPECT_EQ(text_at(*b, 5), expected_text(5, 3, "other"));
    EXPECT_EQ(a->term_at(17), 1U);
    EXPECT_EQ(a->fetch(17), nullptr);
    EXPECT_THAT(names_in(disk, directory, ".wal"), ::testing::ElementsAre("0000000000000002.wal"));
    EXPECT_THAT(store.watcher.events, IsEmpty());
    store.append(*a, entries(41, 42, 1));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* a = store.system->find("KVAAAA");
  EXPECT_EQ(a->last_written(), (Position{42, 1}));
  for (Index i = 0; i <= 42; ++i) EXPECT_EQ(text_at(*a, i), expected_text(i, 1));
  EXPECT_EQ(a->first_index(), 0U);
}

TEST(LogSystem, ReadsFromMemoryAndSegments) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 20, 1));
  store.roll_over();
  log->append(entries(21, 22, 1));
  std::optional<Result<std::vector<Entry>>> got;
  const auto keep = [&](Result<std::vector<Entry>> read) { got = std::move(read); };
  log->read({22, 3, 21, 20}, keep);
  EXPECT_FALSE(got);
  store.settle();
  ASSERT_TRUE(got && *got);
  ASSERT_EQ((*got)->size(), 4U);
  EXPECT_EQ((**got)[1].index, 3U);
  EXPECT_EQ((**got)[1].payload.view(), entry(3, 1).payload.view());
  EXPECT_EQ((**got)[0].payload.view(), entry(22, 1).payload.view());
  log->read({21}, keep);
  store.settle();
  EXPECT_EQ((*got)->size(), 1U);
  log->read({21, 99}, keep);
  store.settle();
  ASSERT_FALSE(*got);
  EXPECT_EQ(got->error().code, ErrorCode::not_found);
  EXPECT_THAT(got->error().message, HasSubstr("99"));
}

TEST(LogSystem, OverwriteOfFlushedEntries) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.roll_over();
    store.append(*log, entries(20, 22, 2));
    EXPECT_EQ(log->last_written(), (Position{22, 2}));
    EXPECT_EQ(text_at(*log, 21), expected_text(21, 2));
    EXPECT_FALSE(log->has(23));
    store.roll_over();
    EXPECT_EQ(text_at(*log, 21), expected_text(21, 2));
    store.append(*log, entries(23, 24, 2));
  }
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_EQ(log->last(), (Position{24, 2}));
  for (Index i = 1; i <= 24; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, i < 20 ? 1 : 2));
}

TEST(LogSystem, SnapshotDropsAllButLiveEntries) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 3, std::nullopt);
    store.append(*log, entries(1, 64, 1));
    store.roll_over();
    store.append(*log, entries(65, 80, 1));
    EXPECT_EQ(log->segment_count(), 4U);
    EXPECT_TRUE(store.snapshot(*log, 70, 1, IndexSet::of({20, 66, 70})));
    EXPECT_EQ(log->first_index(), 71U);
    EXPECT_EQ(log->segment_count(), 2U);  // that of 20, and the newest
    EXPECT_TRUE(log->has(20));
    EXPECT_FALSE(log->has(21));
    EXPECT_TRUE(log->has(66));
    EXPECT_FALSE(log->has(67));
    EXPECT_EQ(log->term_at(70), 1U);
    EXPECT_EQ(store.snapshot(*log, 70, 1, {}).error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(store.snapshot(*log, 75, 1, IndexSet::of({66})));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  ASSERT_TRUE(log->snapshot());
  EXPECT_EQ(log->snapshot()->meta.index, 75U);
  EXPECT_EQ(log->snapshot()->live_indexes, IndexSet::of({66}));
  EXPECT_EQ(log->snapshot()->state.view(), testing::payload("state").view());
  EXPECT_EQ(text_at(*log, 66), expected_text(66, 1));
  EXPECT_FALSE(log->has(20));
  EXPECT_EQ(log->first_index(), 76U);
  EXPECT_EQ(log->last_written(), (Position{80, 1}));
  EXPECT_FALSE(log->amnesia());
  std::optional<Result<MemberLog::SnapshotFile>> again;
  log->read_snapshot_file([&](Result<MemberLog::SnapshotFile> got) { again = std::move(got); });
  store.settle();
  ASSERT_TRUE(again && *again);
  EXPECT_EQ((*again)->meta.index, 75U);
  EXPECT_EQ((*again)->live_indexes, IndexSet::of({66}));
  EXPECT_TRUE(decode_snapshot_file("sent", (*again)->bytes.view()));
  EXPECT_EQ(names_in(disk, std::string(kDirectory) + "/KVAAAA/snapshots", "").size(), 1U);
}

TEST(LogSystem, InstalledSnapshotKeepsWhatAgreesAboveIt) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 10, 1));
    log->write_sparse({entry(5, 1)});
    store.settle();
    EXPECT_TRUE(store.install(*log, 7, 1, IndexSet::of({5})));
    EXPECT_EQ(log->last(), (Position{10, 1}));
    EXPECT_EQ(log->last_written(), (Position{10, 1}));
    EXPECT_EQ(log->first_index(), 8U);
    EXPECT_EQ(text_at(*log, 8), expected_text(8, 1));
    EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
    EXPECT_FALSE(log->has(6));
    store.append(*log, entries(11, 12, 1));
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  EXPECT_EQ(text_at(*store.system->find("KVAAAA"), 5), expected_text(5, 1));
}

TEST(LogSystem, EntriesOfAnInstallationLeaveMemoryForSegments) {
  MemoryDisk disk;
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  log->append(entries(1, 4, 1));  // 3 and 4 are an old leader's, never committed
  store.settle();
  log->write_sparse({entry(3, 2, "live"), entry(9, 2, "live")});
  store.settle();
  store.system->roll_over_wal();
  log->write_sparse({entry(12, 2, "live")});
  store.settle();
  EXPECT_TRUE(log->has_for_install(3));
  EXPECT_TRUE(log->has_for_install(9));
  EXPECT_TRUE(log->has_for_install(12));
  EXPECT_FALSE(log->has_for_install(10));
  EXPECT_TRUE(store.install(*log, 20, 3, IndexSet::of({1, 3, 9, 12})));
  EXPECT_EQ(text_at(*log, 1), expected_text(1, 1));
  EXPECT_EQ(text_at(*log, 3), expected_text(3, 2, "live"));
  EXPECT_EQ(text_at(*log, 9), expected_text(9, 2, "live"));
  EXPECT_EQ(text_at(*log, 12), expected_text(12, 2, "live"));
  EXPECT_EQ(log->last(), (Position{20, 3}));
}

TEST(LogSystem, InstalledSnapshotReplacesTheLog) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 3, std::nullopt);
    store.append(*log, entries(1, 10, 1));
    log->write_sparse({entry(17, 2, "live"), entry(33, 2, "live")});
    EXPECT_EQ(log->pending_writes(), 2U);
    EXPECT_EQ(store.install(*log, 100, 3, IndexSet::of({5, 17, 33})).error().code,
              ErrorCode::invalid_argument);  // not durable yet
    store.settle();
    EXPECT_EQ(log->pending_writes(), 0U);
    EXPECT_TRUE(store.install(*log, 100, 3, IndexSet::of({5, 17, 33})));
    EXPECT_EQ(log->last_written(), (Position{100, 3}));
    EXPECT_EQ(log->first_index(), 101U);
    EXPECT_EQ(text_at(*log, 33), expected_text(33, 2, "live"));
    EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
    EXPECT_FALSE(log->has(6));
    store.append(*log, entries(101, 103, 3));
    store.roll_over();
  }
  disk.crash(CrashMode::lose_unsynced);
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  EXPECT_EQ(text_at(*log, 17), expected_text(17, 2, "live"));
  EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
  EXPECT_EQ(log->last_written(), (Position{103, 3}));
  EXPECT_FALSE(log->amnesia());
}

TEST(LogSystem, AnUnfinishedInstallLeavesTheOldLog) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    log->append(entries(1, 10, 1));
    log->write_sparse({entry(17, 2), entry(33, 2)});
    store.settle();
  }
  {
    Store store(disk);
    MemberLog* log = store.system->find("KVAAAA");
    EXPECT_EQ(log->last_written(), (Position{10, 1}));
    EXPECT_FALSE(log->has(17));
    store.settle();
    store.append(*log, entries(11, 20, 1));
    store.roll_over();
  }
  Store store(disk);
  for (Index i = 1; i <= 20; ++i) {
    EXPECT_EQ(text_at(*store.system->find("KVAAAA"), i), expected_text(i, 1));
  }
}

TEST(LogSystem, AnOldTailBehindAnInstalledSnapshotDoesNotComeBack) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 120, 1));
    EXPECT_TRUE(store.install(*log, 100, 3, {}));
    EXPECT_EQ(log->last(), (Position{100, 3}));
  }
  Store store(disk);
  EXPECT_EQ(store.system->find("KVAAAA")->last(), (Position{100, 3}));
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
      store.system->delete_server("KVAAAA",
                                  [&](Result<void> got) { deleted = static_cast<bool>(got); });
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
    EXPECT_EQ(names_in(disk, kDirectory, ".wal").size(), 1U);
    EXPECT_EQ(names_in(disk, kDirectory, ".kept").size(), 1U);
  }
  const auto text = print_server_config(config("kv", "KVAAAA"));
  ASSERT_TRUE(replace_file(disk, "/data/a@host/KVAAAA/config", *text));
  Store store(disk);
  store.settle();
  EXPECT_EQ(store.system->find("KVAAAA")->last().index, 3U);
  EXPECT_EQ(names_in(disk, kDirectory, ".wal").size(), 1U);
  EXPECT_EQ(names_in(disk, kDirectory, ".kept").size(), 0U);
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

TEST(LogSystem, UnknownLiveIndexesKeepEverythingUntilTheyAreSet) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    ASSERT_TRUE(store.snapshot(*log, 20, 1, IndexSet::of({4})));
  }
  ASSERT_TRUE(disk.unlink("/data/a@host/KVAAAA/snapshots/" + snapshot_directory_name({20, 1}) +
                          "/indexes"));
  {
    Store store(disk);
    MemberLog* log = store.system->find("KVAAAA");
    EXPECT_FALSE(log->snapshot()->live_indexes_known);
    store.settle();
    EXPECT_EQ(text_at(*log, 4), expected_text(4, 1));
    EXPECT_TRUE(log->has(5));
    bool done = false;
    log->set_live_indexes(IndexSet::of({4}),
                          [&](Result<void> got) { done = static_cast<bool>(got); });
    store.settle();
    EXPECT_TRUE(done);
    EXPECT_FALSE(log->has(5));
  }
  Store store(disk);
  EXPECT_TRUE(store.system->find("KVAAAA")->snapshot()->live_indexes_known);
  EXPECT_EQ(text_at(*store.system->find("KVAAAA"), 4), expected_text(4, 1));
}

TEST(LogSystem, AFailedFlushKeepsTheWalAndIsTriedAgain) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 30, 1));
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::create || path.find(".segment") == std::string::npos) {
      return std::nullopt;
    }
    return make_error(ErrorCode::no_space, path + ": can't create: No space left on device");
  });
  store.roll_over();
  EXPECT_THAT(store.watcher.events, ::testing::ElementsAre(HasSubstr("trouble")));
  EXPECT_EQ(names_in(memory, kDirectory, ".wal").size(), 2U);
  EXPECT_NE(log->fetch(5), nullptr);
  disk.set_rule({});
  store.system->flush_metadata([](const Result<void>&) {});
  store.settle();
  EXPECT_EQ(names_in(memory, kDirectory, ".wal").size(), 1U);
  EXPECT_EQ(log->fetch(5), nullptr);
  EXPECT_EQ(text_at(*log, 5), expected_text(5, 1));
}

TEST(LogSystem, AWalThatIsDownIsReportedAndComesBack) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::sync) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't sync: Input/output error");
  });
  store.append(*log, entries(1, 3, 1));
  EXPECT_EQ(log->last_written(), (Position{0, 0}));
  EXPECT_EQ(log->pending_writes(), 3U);
  ASSERT_EQ(store.watcher.events.size(), 1U);
  EXPECT_THAT(store.watcher.events[0], HasSubstr("down: "));
  disk.set_rule({});
  store.system->retry_wal();
  store.settle();
  EXPECT_EQ(log->last_written(), (Position{3, 1}));
  EXPECT_THAT(store.watcher.events, ::testing::Contains("up"));
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
