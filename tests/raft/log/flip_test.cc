// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// Every byte of a small member's files is flipped and every length is cut, one at a time. Whatever
// the start makes of it: no wrong entry is given out, and no acknowledged one is missing without
// somebody being told.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::expected_text;
using testing::kSystemDirectory;
using testing::Store;
using testing::text_at;

constexpr Term kTerm = 2;
constexpr Index kFlippedSnapshot = 20;
constexpr Index kLast = 40;
const std::vector<Index> kLive{3, 17};

using Files = std::map<std::string, std::string>;

void collect_files(Disk& disk, const std::string& directory, Files& files) {
  for (const auto& entry : disk.list(directory).value()) {
    const std::string path = directory + "/" + entry.name;
    if (entry.kind == DirectoryEntry::Kind::directory) {
      collect_files(disk, path, files);
    } else {
      files[path] = read_file(disk, path).value();
    }
  }
}

/// Segments, a snapshot with live entries, two batches in the WAL, a term with a vote.
Files files_of_a_member() {
  MemoryDisk disk;
  disk.reserve_at_most(1000);  // the WAL ends in reserved room
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", kTerm, ServerId{"kv", "b@host"});
    store.append(*log, entries(1, 24, kTerm));
    store.roll_over();
    EXPECT_TRUE(store.snapshot(*log, kFlippedSnapshot, kTerm, IndexSet::of(kLive)));
    store.append(*log, entries(25, 32, kTerm));
    store.append(*log, entries(33, kLast, kTerm));
    store.system->note_last_applied("KVAAAA", kLast);
    store.system->flush_metadata([](const Result<void>&) {});
    store.settle();
  }
  Files files;
  collect_files(disk, kSystemDirectory, files);
  return files;
}

void put(Disk& disk, const Files& files) {
  for (const char* directory :
       {"/data", "/data/a@host", "/data/a@host/KVAAAA", "/data/a@host/KVAAAA/snapshots"}) {
    ASSERT_TRUE(ensure_directory(disk, directory));
  }
  for (const auto& [path, bytes] : files) {
    ASSERT_TRUE(ensure_directory(disk, parent_of(path)));
    auto file = disk.create(path);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->pwrite(0, bytes));
  }
}

struct Counts {
  std::size_t refused = 0;     // the node does not start, and says why
  std::size_t broken = 0;      // the server does not start, and that is said
  std::size_t amnesia = 0;     // it starts, and does not vote
  std::size_t unreadable = 0;  // it starts, and a read is an error
  std::size_t harmless = 0;
};

void check_outcome(Disk& disk, Counts& counts) {
  Store store(disk);
  if (!store.system) {
    EXPECT_NE(store.error->message.find(kSystemDirectory), std::string::npos)
        << store.error->message;
    ++counts.refused;
    return;
  }
  const MemberLog* log = store.system->find("KVAAAA");
  if (log == nullptr) {
    EXPECT_FALSE(store.system->notices().empty());
    ++counts.broken;
    return;
  }
  std::size_t missing = 0;
  std::size_t unreadable = 0;
  std::vector<Index> acknowledged = kLive;
  for (Index index = kFlippedSnapshot + 1; index <= kLast; ++index) acknowledged.push_back(index);
  for (const Index index : acknowledged) {
    const auto read = log->read_blocking(index);
    if (read) {
      EXPECT_EQ(text_at(*log, index), expected_text(index, kTerm)) << index;
      EXPECT_EQ(read->term, kTerm) << index;
    } else {
      missing += read.error().code == ErrorCode::not_found ? 1 : 0;
      unreadable += read.error().code == ErrorCode::corrupt ? 1 : 0;
    }
  }
  EXPECT_LE(log->last().index, kLast);
  if (log->snapshot()) {
    EXPECT_EQ(log->snapshot()->state.view(), testing::payload("state").view());
  }
  const bool vote_kept =
      log->meta().term == kTerm && log->meta().voted_for == ServerId{"kv", "b@host"};
  if (log->amnesia()) {
    EXPECT_TRUE(vote_kept || log->amnesia()->term_lost);
    ++counts.amnesia;
  } else {
    EXPECT_EQ(missing, 0U);
    EXPECT_TRUE(vote_kept);
    EXPECT_EQ(log->config().id, (ServerId{"kv", "a@host"}));
    ++(unreadable > 0 ? counts.unreadable : counts.harmless);
  }
}

void print(const char* what, const Counts& counts) {
  std::printf(
      "%s: %zu; node refused %zu, server refused %zu, amnesia %zu, error on read %zu, harmless "
      "%zu\n",
      what, counts.refused + counts.broken + counts.amnesia + counts.unreadable + counts.harmless,
      counts.refused, counts.broken, counts.amnesia, counts.unreadable, counts.harmless);
}

TEST(Flip, EveryByteOfEveryFile) {
  const Files files = files_of_a_member();
  EXPECT_GE(files.size(), 7U);
  Counts counts;
  for (const auto& [path, bytes] : files) {
    for (std::size_t at = 0; at < bytes.size() && !HasFailure(); ++at) {
      SCOPED_TRACE(path + ", byte " + std::to_string(at) + " of " + std::to_string(bytes.size()));
      Files damaged = files;
      damaged[path][at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
      MemoryDisk disk;
      put(disk, damaged);
      check_outcome(disk, counts);
    }
  }
  print("bytes flipped", counts);
  EXPECT_GT(counts.amnesia, 100U);
}

TEST(Flip, EveryLengthOfEveryFile) {
  const Files files = files_of_a_member();
  Counts counts;
  for (const auto& [path, bytes] : files) {
    for (std::size_t size = 0; size < bytes.size() && !HasFailure(); ++size) {
      SCOPED_TRACE(path + ", cut to " + std::to_string(size) + " of " +
                   std::to_string(bytes.size()));
      Files damaged = files;
      damaged[path].resize(size);
      MemoryDisk disk;
      put(disk, damaged);
      check_outcome(disk, counts);
    }
  }
  print("lengths cut", counts);
  EXPECT_GT(counts.amnesia, 100U);
}

}  // namespace
}  // namespace rakv::raftlog
