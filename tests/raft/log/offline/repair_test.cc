// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/disk/overlay_disk.h"
#include "raft/log/segments/segment.h"
#include "tests/raft/log/store.h"

namespace rakv::raftlog {
namespace {

using ::testing::ElementsAre;
using testing::entries;
using testing::expected_text;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kServerDirectory;
using testing::kSystemDirectory;
using testing::Store;
using testing::text_at;

Result<void> admit_all(const ServerConfig&) { return {}; }

/// Entries 1 to 40 in segments of 16, 41 to 60 in the WAL.
void write_log_with_segments(Disk& disk) {
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.vote("KVAAAA", 3, ServerId{"kv", "b@host"});
  store.append(*log, entries(1, 40, 3));
  store.roll_over();
  store.append(*log, entries(41, 60, 3));
  EXPECT_TRUE(store.system->stop());
}

class RepairOf : public ::testing::Test {
 protected:
  RepairOf() { write_log_with_segments(disk_); }

  void damage(const std::string& path, std::uint64_t at, const std::string& bytes) {
    ASSERT_TRUE(disk_.open_write(path).value()->pwrite(at, bytes));
    damaged_ = read_file(disk_, path).value();
  }

  /// Repairs, first as a dry run; both must say the same.
  Repair run() {
    OverlayDisk overlay(disk_);
    const auto dry = repair(overlay, kSystemDirectory, admit_all);
    EXPECT_TRUE(dry) << dry.error().message;
    const auto done = repair(disk_, kSystemDirectory, admit_all);
    EXPECT_TRUE(done) << done.error().message;
    if (!dry || !done) return {};
    EXPECT_EQ(dry->set_aside, done->set_aside);
    EXPECT_EQ(dry->notices, done->notices);
    EXPECT_EQ(dry->left, done->left);
    return *done;
  }

  MemoryDisk disk_;
  std::string damaged_;
};

TEST_F(RepairOf, ASoundDirectoryDoesNothing) {
  const Repair done = run();
  EXPECT_THAT(done.set_aside, IsEmpty());
  EXPECT_THAT(done.notices, IsEmpty());
  EXPECT_THAT(done.left, IsEmpty());
}

TEST_F(RepairOf, NamesFindsTheServersByTheirConfigs) {
  damage(kSystemDirectory + "/names.dets.rakv", 20, "########");
  ASSERT_FALSE(Store(disk_).system);
  const Repair done = run();
  EXPECT_THAT(done.set_aside,
              ElementsAre(Field(&SetAside::path, kSystemDirectory + "/names.dets.rakv")));
  EXPECT_EQ(read_file(disk_, kSystemDirectory + "/names.dets.rakv.bad").value(), damaged_);
  Store store(disk_);
  ASSERT_TRUE(store.system);
  ASSERT_NE(store.system->find_by_name("kv"), nullptr);
  EXPECT_EQ(store.system->find_by_name("kv")->last(), (Position{60, 3}));
  EXPECT_FALSE(store.system->find_by_name("kv")->amnesia());
}

/// What recovery sets aside by itself it sets aside here, too.
TEST_F(RepairOf, MetaMakesTheServersForgetTheirVotes) {
  damage(kSystemDirectory + "/meta.dets", 20, "########");
  const Repair done = run();
  EXPECT_THAT(done.set_aside, IsEmpty());
  EXPECT_THAT(done.notices, ::testing::Contains(HasSubstr("meta.dets")));
  EXPECT_EQ(read_file(disk_, kSystemDirectory + "/meta.dets.bad").value(), damaged_);
  Store store(disk_);
  const MemberLog* log = store.system->find("KVAAAA");
  ASSERT_TRUE(log->amnesia());
  EXPECT_TRUE(log->amnesia()->term_lost);
  EXPECT_EQ(log->last(), (Position{60, 3}));
}

TEST_F(RepairOf, ASegmentKeepsWhatIsBeforeItAndVotesNoMore) {
  const std::string path = kServerDirectory + "/0000000000000002.segment";
  damage(path, 0, "XXXX");
  const Repair done = run();
  EXPECT_THAT(done.set_aside, ElementsAre(Field(&SetAside::path, path)));
  EXPECT_THAT(done.left, IsEmpty());
  EXPECT_EQ(read_file(disk_, path + ".bad").value(), damaged_);
  Store store(disk_);
  const MemberLog* log = store.system->find("KVAAAA");
  ASSERT_NE(log, nullptr);
  ASSERT_TRUE(log->amnesia());
  EXPECT_EQ(log->last(), (Position{16, 3}));
  for (Index i = 1; i <= 16; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 3));
}

TEST_F(RepairOf, TwiceKeepsBothPieces) {
  const std::string path = kServerDirectory + "/0000000000000002.segment";
  ASSERT_TRUE(replace_file(disk_, path + ".bad", "the first"));
  damage(path, 0, "XXXX");
  run();
  EXPECT_EQ(read_file(disk_, path + ".bad").value(), "the first");
  EXPECT_EQ(read_file(disk_, path + ".bad2").value(), damaged_);
}

TEST_F(RepairOf, AConfigIsNotPossible) {
  ASSERT_TRUE(replace_file(disk_, kServerDirectory + "/config", "#{"));
  const Repair done = run();
  EXPECT_THAT(done.set_aside, IsEmpty());
  EXPECT_THAT(done.left, ElementsAre(HasSubstr("KVAAAA/config")));
  EXPECT_TRUE(
      disk_.exists(kSystemDirectory + "/0000000000000002.wal").value());  // its entries are there
}

TEST(Repair, StoppedAtEveryOperationTheServerKnowsThatItForgot) {
  std::uint64_t points = 0;
  for (std::uint64_t at = 1;; ++at, ++points) {
    MemoryDisk memory;
    write_log_with_segments(memory);
    const std::string path = kServerDirectory + "/0000000000000002.segment";
    {
      auto file = memory.open_write(path).value();
      ASSERT_TRUE(file->pwrite(0, "XXXX"));
      ASSERT_TRUE(file->fdatasync());
    }
    FaultyDisk disk(memory);
    disk.stop_at(at);
    const bool done = static_cast<bool>(repair(disk, kSystemDirectory, admit_all));
    memory.crash(CrashMode::lose_unsynced);
    if (memory.exists(path + ".bad").value()) {
      EXPECT_TRUE(read_amnesia(memory, kServerDirectory).value()) << at;
    }
    ASSERT_TRUE(repair(memory, kSystemDirectory, admit_all)) << at;
    Store store(memory);
    const MemberLog* log = store.system->find("KVAAAA");
    ASSERT_NE(log, nullptr) << at;
    EXPECT_TRUE(log->amnesia()) << at;
    if (done) break;
  }
  EXPECT_GT(points, 10U);
}

TEST_F(RepairOf, WhatIsInUseIsRefused) {
  Store store(disk_);
  const auto refused = repair(disk_, kSystemDirectory, admit_all);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_EQ(repair(disk_, "/data", admit_all).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace rakv::raftlog
