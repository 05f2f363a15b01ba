// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// What recovery makes of damage: it is told in words and set aside, nothing wrong is taken for
// good, and a server that may have forgotten something knows that until it has caught up.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using ::testing::HasSubstr;
using testing::kServerDirectory;
using testing::kSystemDirectory;
using testing::Store;

TEST(Damage, LossOfWhatWasPromisedMeansAmnesia) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 2));
    store.vote("KVAAAA", 2, std::nullopt);
    store.system->note_last_applied("KVAAAA", 30);
    EXPECT_TRUE(store.system->stop());
  }
  ASSERT_TRUE(disk.unlink("/data/a@host/0000000000000001.wal"));
  {
    Store store(disk);
    ASSERT_TRUE(store.system->find("KVAAAA")->amnesia());
    EXPECT_THAT(store.system->find("KVAAAA")->amnesia()->reason,
                HasSubstr("had applied entries up to 30"));
  }
}

TEST(Damage, ALostMetaRowRaisesTheTermAndMeansAmnesia) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 5, ServerId{"kv", "a@host"});
    store.append(*log, entries(1, 3, 5));
  }
  ASSERT_TRUE(disk.unlink("/data/a@host/meta.dets"));
  {
    Store store(disk);
    const MemberLog* log = store.system->find("KVAAAA");
    EXPECT_EQ(log->meta().term, 5U);
    EXPECT_FALSE(log->meta().voted_for);
    ASSERT_TRUE(log->amnesia());
    EXPECT_THAT(log->amnesia()->reason, HasSubstr("meta.dets"));
    store.settle();
  }
  EXPECT_EQ(read_meta(disk, "/data/a@host/meta.dets")->at(0).term, 5U);
}

TEST(Damage, ADamagedSnapshotIsSetAsideAndMeansAmnesia) {
  MemoryDisk disk;
  std::string path;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    ASSERT_TRUE(store.snapshot(*log, 20, 1, IndexSet::of({4})));
    path = "/data/a@host/KVAAAA/snapshots/" + snapshot_directory_name({20, 1});
  }
  auto file = disk.open_write(path + "/snapshot.dat").value();
  ASSERT_TRUE(file->pwrite(20, "#"));
  Store store(disk);
  const MemberLog* log = store.system->find("KVAAAA");
  ASSERT_TRUE(log->amnesia());
  EXPECT_THAT(log->amnesia()->reason, HasSubstr("snapshot is damaged"));
  EXPECT_TRUE(disk.exists(path + ".bad/snapshot.dat").value());
}

TEST(Damage, AMissingLiveEntryMeansAmnesia) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    store.roll_over();
    ASSERT_TRUE(store.snapshot(*log, 20, 1, IndexSet::of({4})));
  }
  ASSERT_TRUE(disk.unlink("/data/a@host/KVAAAA/0000000000000001.segment"));
  Store store(disk);
  ASSERT_TRUE(store.system->find("KVAAAA")->amnesia());
  EXPECT_THAT(store.system->find("KVAAAA")->amnesia()->reason, HasSubstr("entry 4"));
}

/// Two servers, of which the first has entries 1..3 in one batch, 4..9 in the next, in one file.
void write_two_servers(Disk& disk) {
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.add("kv2", "KVBBBB");
  store.vote("KVAAAA", 1, std::nullopt);
  store.append(*log, entries(1, 3, 1));
  store.append(*log, entries(4, 9, 1));
}

TEST(Damage, ADamagedWalIsCutSetAsideAndToldToAllServers) {
  MemoryDisk disk;
  write_two_servers(disk);
  const std::string path = kSystemDirectory + "/0000000000000001.wal";
  std::string bytes = read_file(disk, path).value();
  bytes[bytes.size() - 200] = static_cast<char>(bytes[bytes.size() - 200] ^ 1);
  ASSERT_TRUE(replace_file(disk, path, bytes));
  for (int start = 0; start < 2; ++start) {
    Store store(disk);
    ASSERT_TRUE(store.system) << store.error->message;
    MemberLog* log = store.system->find("KVAAAA");
    EXPECT_EQ(log->last_written(), (Position{3, 1}));
    for (const char* uid : {"KVAAAA", "KVBBBB"}) {
      ASSERT_TRUE(store.system->find(uid)->amnesia()) << uid;
      EXPECT_THAT(store.system->find(uid)->amnesia()->reason,
                  HasSubstr("0000000000000001.wal: damaged at byte"));
      EXPECT_FALSE(store.system->find(uid)->amnesia()->term_lost);
    }
    EXPECT_EQ(read_file(disk, path + ".bad").value(), bytes);
    store.settle();
  }
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  log->append(entries(4, 6, 1));
  bool done = false;
  log->end_amnesia([&](const Result<void>& got) { done = static_cast<bool>(got); });
  EXPECT_FALSE(log->amnesia());
  store.settle();
  EXPECT_TRUE(done);
}

TEST(Damage, WhatIsBehindADamagedWalIsNotTakenForItsContinuation) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 2, std::nullopt);
    store.append(*log, entries(1, 9, 1));
    log->append(entries(5, 9, 2));  // takes the place of the old end, in the batch to be damaged
    store.settle();
  }
  const std::string path = kSystemDirectory + "/0000000000000001.wal";
  std::string bytes = read_file(disk, path).value();
  bytes[bytes.size() - 200] = static_cast<char>(bytes[bytes.size() - 200] ^ 1);
  // A further file whose entries seem to follow 9 of term 1.
  MemoryDisk other;
  {
    Store store(other);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 2, std::nullopt);
    store.append(*log, entries(1, 9, 1));
    store.roll_over();
    store.append(*log, entries(10, 12, 2));
  }
  const std::string later = kSystemDirectory + "/0000000000000002.wal";
  ASSERT_TRUE(replace_file(disk, later, read_file(other, later).value()));
  ASSERT_TRUE(replace_file(disk, path, bytes));
  for (int start = 0; start < 2; ++start) {
    Store store(disk);
    ASSERT_TRUE(store.system) << store.error->message;
    EXPECT_EQ(store.system->find("KVAAAA")->last_written(), (Position{9, 1}));
    EXPECT_TRUE(store.system->find("KVAAAA")->amnesia());
    store.settle();
  }
  EXPECT_TRUE(disk.exists(later + ".bad").value());
}

TEST(Damage, SettingAWalAsideCanBeInterruptedAnywhere) {
  std::uint64_t stops = 0;
  for (std::uint64_t stop = 1;; ++stop) {
    MemoryDisk memory;
    write_two_servers(memory);
    const std::string path = kSystemDirectory + "/0000000000000001.wal";
    std::string bytes = read_file(memory, path).value();
    bytes[bytes.size() - 200] = static_cast<char>(bytes[bytes.size() - 200] ^ 1);
    ASSERT_TRUE(replace_file(memory, path, bytes));
    FaultyDisk disk(memory);
    disk.stop_at(stop);
    {
      Store store(disk);
      if (store.system) store.settle();
    }
    const bool stopped = disk.stopped();
    memory.crash(CrashMode::lose_unsynced);
    Store store(memory);
    ASSERT_TRUE(store.system) << stop << ": " << store.error->message;
    EXPECT_EQ(store.system->find("KVAAAA")->last_written(), (Position{3, 1})) << stop;
    EXPECT_TRUE(store.system->find("KVAAAA")->amnesia()) << stop;
    EXPECT_TRUE(store.system->find("KVBBBB")->amnesia()) << stop;
    if (!stopped) break;
    ++stops;
  }
  EXPECT_GT(stops, 10U);
}

TEST(Damage, DamagedMetadataMeanThatTheTermIsLost) {
  MemoryDisk disk;
  write_two_servers(disk);
  const std::string path = kSystemDirectory + "/meta.dets";
  std::string bytes = read_file(disk, path).value();
  bytes[5450] = static_cast<char>(bytes[5450] ^ 1);
  ASSERT_TRUE(replace_file(disk, path, bytes));
  for (int start = 0; start < 2; ++start) {
    Store store(disk);
    ASSERT_TRUE(store.system) << store.error->message;
    EXPECT_EQ(store.system->find("KVAAAA")->meta().term, 1U);
    for (const char* uid : {"KVAAAA", "KVBBBB"}) {
      ASSERT_TRUE(store.system->find(uid)->amnesia()) << uid;
      EXPECT_TRUE(store.system->find(uid)->amnesia()->term_lost);
    }
    EXPECT_EQ(read_file(disk, path + ".bad").value(), bytes);
    store.settle();
  }
}

TEST(Damage, AmnesiaIsRememberedUntilItEnds) {
  MemoryDisk disk;
  write_two_servers(disk);
  {
    Store store(disk);
    Result<void> forgotten = make_error(ErrorCode::timeout, "no answer");
    store.system->find("KVAAAA")->forget_from(
        5, "entry 5 can't be read", [&](Result<void> got) { forgotten = std::move(got); });
    store.settle();
    ASSERT_TRUE(forgotten);
    EXPECT_EQ(store.system->find("KVAAAA")->last(), (Position{4, 1}));
  }
  {
    Store store(disk);
    MemberLog* log = store.system->find("KVAAAA");
    ASSERT_TRUE(log->amnesia());
    EXPECT_EQ(log->amnesia()->reason, "entry 5 can't be read");
    EXPECT_FALSE(store.system->find("KVBBBB")->amnesia());
    log->end_amnesia([](const Result<void>&) {});
    store.settle();
  }
  Store store(disk);
  EXPECT_FALSE(store.system->find("KVAAAA")->amnesia());
}

TEST(Damage, ADamagedMarkCountsAsTheWorst) {
  MemoryDisk disk;
  write_two_servers(disk);
  const std::string directory = kServerDirectory;
  ASSERT_TRUE(write_amnesia(disk, directory, {"its disk lied", false}));
  EXPECT_EQ(read_amnesia(disk, directory).value(), (AmnesiaMark{"its disk lied", false}));
  const std::string bytes = read_file(disk, directory + "/amnesia").value();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    ASSERT_TRUE(replace_file(disk, directory + "/amnesia", flipped));
    EXPECT_TRUE(read_amnesia(disk, directory).value()->term_lost) << at;
  }
  Store store(disk);
  EXPECT_TRUE(store.system->find("KVAAAA")->amnesia()->term_lost);
}

/// A member of two whose snapshot at 20 needs entry 4, which is lost with all others, and which had
/// noted so much as applied.
void expect_to_begin_anew(Index last_applied) {
  MemoryDisk disk;
  std::string path;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.append(*log, entries(1, 30, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    store.roll_over();
    StoredSnapshotMeta meta = testing::snapshot_meta(20, 1);
    etf::Writer cluster;
    cluster.version().map(2);
    for (const char* node : {"a@host", "b@host"}) cluster.tuple(2).atom("kv").atom(node).map(0);
    meta.cluster = cluster.take();
    bool written = false;
    log->write_snapshot(meta, testing::payload("state"), IndexSet::of({4}),
                        [&](const Result<void>& got) { written = static_cast<bool>(got); });
    store.settle();
    ASSERT_TRUE(written);
    store.system->note_last_applied("KVAAAA", last_applied);
    EXPECT_TRUE(store.system->stop());
    path = kServerDirectory + "/snapshots/" + snapshot_directory_name({20, 1});
  }
  ASSERT_TRUE(disk.unlink("/data/a@host/KVAAAA/0000000000000001.segment"));
  for (int start = 0; start < 2; ++start) {
    Store store(disk);
    MemberLog* log = store.system->find("KVAAAA");
    ASSERT_TRUE(log->amnesia());
    EXPECT_TRUE(log->empty());
    EXPECT_FALSE(log->snapshot());
    EXPECT_TRUE(disk.exists(path + ".bad/snapshot.dat").value());
    store.settle();
  }
}

TEST(Damage, AMissingLiveEntryMakesAMemberOfManyBeginAnew) { expect_to_begin_anew(20); }

// Such a member would keep the snapshot, and with it keys that can't be read.
TEST(Damage, AlsoOneWhoseLogEndsBelowWhatItHadApplied) { expect_to_begin_anew(30); }

}  // namespace
}  // namespace rakv::raftlog
