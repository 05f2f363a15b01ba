// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "raft/log/system.h"
#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A running server whose directory takes no segments, beside others on the node that go on: neither
// they nor it lose anything.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::kept_files;
using testing::kSystemDirectory;
using testing::names_in;
using testing::Store;
using testing::text_at;

constexpr char kBad[] = "KVAAAA";
constexpr char kGood[] = "KVBBBB";
const std::string kText(1000, 'x');

/// WAL files of ten of the entries that have kText; four such files may wait for segments.
LogSystemOptions small_files() {
  LogSystemOptions options = testing::small_options();
  options.wal.max_size_bytes = 10'000;
  options.wal.max_unflushed_bytes = 40'000;
  return options;
}

/// Nothing can be made, or nothing in the directory made durable, below the bad server's directory.
FaultyDisk::Rule bad_directory(DiskOperation failing, ErrorCode code = ErrorCode::io) {
  return [=](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != failing || path.find(std::string("/") + kBad) == std::string::npos)
      return std::nullopt;
    return make_error(code, path + ": Input/output error");
  };
}

/// A node with two servers, as its owner runs it.
struct Node : Store {
  explicit Node(Disk& disk) : Store(disk, small_files()) {}
  MemberLog* make(const std::string& name, const std::string& uid) {
    MemberLog* log = add(name, uid);
    EXPECT_TRUE(vote(uid, 2, std::nullopt));
    return log;
  }
  /// What the owner does every few seconds.
  void tick() {
    system->flush_metadata([](const Result<void>&) {});
    settle();
  }
  /// One by one, so that WAL files are closed at their size.
  void append_up_to(const std::string& uid, Index last, Term term = 1) {
    MemberLog* log = system->find(uid);
    for (Index i = log->last().index + 1; i <= last; ++i)
      append(*log, testing::entry(i, term, kText));
  }
  /// What the owner was told, but for what failed in the background.
  std::vector<std::string> told() const {
    std::vector<std::string> events = watcher.events;
    std::erase_if(events, [](const auto& event) { return event.starts_with("background"); });
    return events;
  }
  void expect_log(const std::string& uid, Index last, Term term = 1) {
    ASSERT_TRUE(system) << error->message;
    const MemberLog* log = system->find(uid);
    ASSERT_NE(log, nullptr) << uid;
    EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
    ASSERT_EQ(log->last_written().index, last) << uid;
    EXPECT_TRUE(last == 0 || log->last_written().term == term) << uid;
    for (Index i = 1; i <= last; ++i)
      EXPECT_EQ(text_at(*log, i), testing::expected_text(i, *log->term_at(i), kText)) << uid << i;
  }
};

class FailingDirectory : public ::testing::TestWithParam<DiskOperation> {};
INSTANTIATE_TEST_SUITE_P(Operations, FailingDirectory,
                         ::testing::Values(DiskOperation::create, DiskOperation::write,
                                           DiskOperation::sync, DiskOperation::rename,
                                           DiskOperation::sync_directory, DiskOperation::list));

TEST_P(FailingDirectory, StopsNoOtherServer) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  {
    Node node(disk);
    node.make("kv", kBad);
    node.make("kv2", kGood);
    disk.set_rule(bad_directory(GetParam()));
    node.append_up_to(kBad, 15);
    node.append_up_to(kGood, 200);
    node.expect_log(kGood, 200);
    node.expect_log(kBad, 15);
    EXPECT_EQ(kept_files(disk), 1U);
  }
  memory.crash(CrashMode::lose_unsynced);
  for (const bool healed : {false, true, true}) {
    SCOPED_TRACE(healed);
    if (healed) disk.set_rule(nullptr);
    Node node(healed ? static_cast<Disk&>(memory) : disk);
    node.expect_log(kGood, 200);
    if (node.system->find(kBad) == nullptr) {  // its directory can't even be read
      EXPECT_FALSE(healed);
      continue;
    }
    node.expect_log(kBad, 15);
    node.settle();
    node.tick();
    EXPECT_EQ(kept_files(memory), healed ? 0U : 1U);
    node.expect_log(kBad, 15);
  }
}

TEST_P(FailingDirectory, LosesNothingByACrashAtAnyMoment) {
  for (std::uint64_t stop = 1;; ++stop) {
    SCOPED_TRACE(stop);
    MemoryDisk memory;
    {
      Node node(memory);
      node.make("kv", kBad);
      node.make("kv2", kGood);
    }
    FaultyDisk disk(memory);
    disk.set_rule(bad_directory(GetParam()));
    disk.stop_at(stop);
    Index bad = 0;
    Index good = 0;
    for (int start = 0; start < 2; ++start) {
      Node node(disk);
      if (!node.system) break;
      for (Index i = 1; i <= 12; ++i) {
        for (const auto& [uid, last] : {std::pair(kBad, &bad), std::pair(kGood, &good)}) {
          MemberLog* log = node.system->find(uid);
          if (log == nullptr) continue;
          node.append_up_to(uid, log->last().index + 1);
          *last = log->last_written().index;
        }
      }
      node.tick();
    }
    const bool stopped = disk.stopped();
    memory.crash(CrashMode::random, stop);
    for (const bool healed : {false, true}) {
      if (!healed && GetParam() != DiskOperation::create) continue;  // others stop the start
      FaultyDisk next(memory);
      if (!healed) next.set_rule(bad_directory(GetParam()));
      Node node(next);
      ASSERT_TRUE(node.system) << node.error->message;
      node.settle();
      node.tick();
      for (const auto& [uid, last] : {std::pair(kBad, bad), std::pair(kGood, good)}) {
        const MemberLog* log = node.system->find(uid);
        ASSERT_NE(log, nullptr) << uid;
        EXPECT_GE(log->last_written().index, last) << uid;
        node.expect_log(uid, log->last_written().index);
      }
      if (HasFailure()) return;
    }
    if (!stopped) {
      EXPECT_GT(stop, 100U);
      break;
    }
  }
}

TEST(FailingDirectoryOnce, IsNoOccasionToRefuseAnything) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Node node(disk);
  node.make("kv", kBad);
  int failures = 0;
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (failures > 0) return std::nullopt;
    auto error = bad_directory(DiskOperation::create)(operation, path);
    failures += error ? 1 : 0;
    return error;
  });
  node.append_up_to(kBad, 15);
  node.tick();
  EXPECT_EQ(failures, 1);
  EXPECT_THAT(node.told(), ::testing::IsEmpty());
  EXPECT_EQ(kept_files(memory), 0U);
  EXPECT_EQ(node.system->find(kBad)->segment_count(), 1U);
}

TEST(FailingDirectoryHealed, TakesTheKeptRecordsAndAllThatCameAfterThem) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  {
    Node node(disk);
    node.make("kv", kBad);
    node.make("kv2", kGood);
    disk.set_rule(bad_directory(DiskOperation::create));
    node.append_up_to(kBad, 25);
    node.append_up_to(kGood, 45);
    EXPECT_THAT(node.told(), ::testing::ElementsAre("KVAAAA down"));
    EXPECT_TRUE(node.system->keeps_records_of(kBad));
    EXPECT_EQ(kept_files(memory), 1U);
    node.tick();
    EXPECT_EQ(kept_files(memory), 1U);
    disk.set_rule(nullptr);
    node.tick();
    EXPECT_THAT(node.told(), ::testing::ElementsAre("KVAAAA down", "KVAAAA up"));
    EXPECT_FALSE(node.system->keeps_records_of(kBad));
    EXPECT_EQ(kept_files(memory), 0U);
    node.append_up_to(kBad, 60);
    node.expect_log(kBad, 60);
  }
  memory.crash(CrashMode::lose_unsynced);
  Node node(memory);
  node.expect_log(kBad, 60);
  node.expect_log(kGood, 45);
}

/// What is kept is overwritten by the next leader's entries, whose WAL file comes later.
TEST(FailingDirectoryOfAFollower, KeepsTheOrderOfWriting) {
  for (const bool healed : {false, true}) {
    for (const Index first : {Index{1}, Index{5}, Index{15}, Index{16}}) {
      SCOPED_TRACE(first);
      MemoryDisk memory;
      FaultyDisk disk(memory);
      {
        Node node(disk);
        MemberLog* log = node.make("kv", kBad);
        node.make("kv2", kGood);
        disk.set_rule(bad_directory(DiskOperation::create));
        node.append_up_to(kBad, 15);
        node.append_up_to(kGood, 25);
        ASSERT_TRUE(node.system->keeps_records_of(kBad));
        node.append(*log, entries(first, 17, 2, kText));
        if (healed) disk.set_rule(nullptr);
        node.append_up_to(kGood, 45);
        EXPECT_EQ(kept_files(memory), healed ? 0U : 1U);
      }
      memory.crash(CrashMode::lose_unsynced);
      for (int start = 0; start < 2; ++start) {
        Node node(memory);
        node.expect_log(kBad, 17, 2);
        EXPECT_EQ(node.system->find(kBad)->term_at(first), Term{2});
        node.settle();
      }
    }
  }
}

TEST(FailingDirectoryOfADeletedServer, LeavesNothingBehind) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Node node(disk);
  node.make("kv", kBad);
  node.make("kv2", kGood);
  disk.set_rule(bad_directory(DiskOperation::create));
  node.append_up_to(kBad, 15);
  node.append_up_to(kGood, 25);
  EXPECT_EQ(kept_files(memory), 1U);
  std::optional<Result<std::string>> aside;
  node.system->set_server_aside(kBad, [&](Result<std::string> got) { aside = std::move(got); });
  node.settle();
  ASSERT_TRUE(aside && !*aside);
  EXPECT_EQ(aside->error().code, ErrorCode::unavailable);
  std::optional<Result<void>> deleted;
  node.system->delete_server(kBad, [&](Result<void> got) { deleted = std::move(got); });
  node.settle();
  ASSERT_TRUE(deleted && *deleted);
  node.tick();
  EXPECT_EQ(kept_files(memory), 0U);
  EXPECT_FALSE(node.system->keeps_records_of(kBad));
  EXPECT_NE(node.add("kv", "KVCCCC"), nullptr);
}

/// More than a server that is told in time can have there is not taken out of the WAL.
TEST(FailingDirectoryThatGoesOn, IsBoundedInBytes) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Node node(disk);
  node.make("kv", kBad);
  node.make("kv2", kGood);
  disk.set_rule(bad_directory(DiskOperation::create));
  node.append_up_to(kBad, 200);  // nobody listens to segments_down()
  std::uint64_t kept = 0;
  for (const std::string& name : names_in(memory, kSystemDirectory, ".kept"))
    kept +=
        read_file(memory, std::string(kSystemDirectory).append("/").append(name)).value().size();
  EXPECT_GT(kept, 70'000U);
  EXPECT_LE(kept, 80'000U);
  EXPECT_LT(node.system->find(kBad)->last_written().index, 140U);
  disk.set_rule(nullptr);
  node.tick();
  node.expect_log(kBad, 200);
}

/// A full disk is nobody's own: what would be kept would only take more of it.
TEST(FailingDirectoryOnAFullDisk, KeepsTheWalFiles) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Node node(disk);
  node.make("kv", kBad);
  disk.set_rule(bad_directory(DiskOperation::create, ErrorCode::no_space));
  node.append_up_to(kBad, 25);
  for (int i = 0; i < 3; ++i) node.tick();
  EXPECT_THAT(node.told(), ::testing::IsEmpty());
  EXPECT_EQ(kept_files(memory), 0U);
}

TEST(FailingDirectoryAndItsSystem, IsTriedAgainWithTheWalFilesInPlace) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Index good = 0;
  {
    Node node(disk);
    node.make("kv", kBad);
    node.make("kv2", kGood);
    disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      if (path.find(".kept") != std::string::npos) return make_error(ErrorCode::io, path + ": bad");
      return bad_directory(DiskOperation::create)(operation, path);
    });
    node.append_up_to(kBad, 15);
    node.append_up_to(kGood, 25);
    for (int i = 0; i < 3; ++i) node.tick();
    EXPECT_THAT(node.told(), ::testing::IsEmpty());
    EXPECT_GT(names_in(memory, kSystemDirectory, ".wal").size(), 2U);
    good = node.system->find(kGood)->last_written().index;
    EXPECT_GT(good, 15U);
  }
  memory.crash(CrashMode::lose_unsynced);
  Node node(memory);
  node.expect_log(kBad, 15);
  node.expect_log(kGood, good);
}

/// The file is there, and whether it will be there after a crash is not known. Its records would be
/// read over newer ones in segments.
TEST(FailingDirectoryAndItsSystem, AKeptFileThatIsNotSureGoesBeforeTheWalFiles) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Node node(disk);
  node.make("kv", kBad);
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation == DiskOperation::sync_directory && path == kSystemDirectory &&
        kept_files(memory) > 0)
      return make_error(ErrorCode::io, path + ": bad");
    return bad_directory(DiskOperation::create)(operation, path);
  });
  node.append_up_to(kBad, 15);
  node.tick();
  EXPECT_EQ(kept_files(memory), 1U);
  EXPECT_FALSE(node.system->keeps_records_of(kBad));
  disk.set_rule(nullptr);
  node.tick();
  EXPECT_EQ(kept_files(memory), 0U);
}

/// A start has read the kept file with the WAL files, and the directory fails still.
TEST(FailingDirectoryAndItsSystem, AKeptFileStaysWhenWalFilesCantBeRemovedAtOnce) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  const auto make_kept = [&] {
    Node node(disk);
    node.make("kv", kBad);
    node.make("kv2", kGood);
    disk.set_rule(bad_directory(DiskOperation::create));
    node.append_up_to(kBad, 15);
    node.append_up_to(kGood, 25);
    ASSERT_TRUE(node.system->keeps_records_of(kBad));
  };
  make_kept();
  {
    int failures = 0;
    disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      if (operation == DiskOperation::unlink && path.ends_with(".wal") && failures++ < 2)
        return make_error(ErrorCode::io, path + ": bad");
      return bad_directory(DiskOperation::create)(operation, path);
    });
    Node node(disk);
    ASSERT_TRUE(node.system) << node.error->message;
    for (int i = 0; i < 6; ++i) node.tick();
    EXPECT_GE(failures, 2);
    EXPECT_EQ(kept_files(memory), 1U);
  }
  memory.crash(CrashMode::lose_unsynced);
  Node node(memory);
  node.expect_log(kBad, 15);
  node.expect_log(kGood, 25);
}

}  // namespace
}  // namespace rakv::raftlog
