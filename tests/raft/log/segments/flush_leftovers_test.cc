// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A flush or a compaction that fails is tried again every few seconds, for as long as the disk is
// full or broken. It may not leave another file behind each time.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::expected_text;
using testing::kServerDirectory;
using testing::kSystemDirectory;
using testing::Store;
using testing::text_at;

using Failing = std::tuple<DiskOperation, std::string, ErrorCode>;
class FlushThatFails : public ::testing::TestWithParam<Failing> {};

INSTANTIATE_TEST_SUITE_P(
    Operations, FlushThatFails,
    ::testing::Combine(::testing::Values(DiskOperation::open, DiskOperation::create,
                                         DiskOperation::write, DiskOperation::sync,
                                         DiskOperation::reserve, DiskOperation::rename,
                                         DiskOperation::unlink, DiskOperation::sync_directory,
                                         DiskOperation::list),
                       ::testing::Values("/KVAAAA", ".segment", ".wal", "@host"),
                       ::testing::Values(ErrorCode::no_space, ErrorCode::io)));

std::size_t file_count(Disk& disk, const std::string& directory) {
  const auto listed = disk.list(directory);
  return listed ? listed->size() : 0;
}

FaultyDisk::Rule rule_of(const Failing& failing) {
  return [failing](DiskOperation asked, const std::string& path) -> std::optional<Error> {
    const auto& [operation, part, code] = failing;
    if (asked != operation || path.find(part) == std::string::npos) return std::nullopt;
    if (path.find("meta.dets") != std::string::npos) return std::nullopt;
    return make_error(code, path + ": fails");
  };
}

TEST_P(FlushThatFails, CompactionsLeaveNoMoreFilesWithEachAttempt) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = testing::add_with_ten_segments(store);
  std::vector<Index> live;
  for (Index index = 1; index <= 160; index += 7) live.push_back(index);
  ASSERT_TRUE(store.snapshot(*log, 160, 1, IndexSet::of(live)));
  disk.set_rule(rule_of(GetParam()));
  std::size_t first = 0;
  for (int attempt = 0; attempt < 30; ++attempt) {
    log->trigger_major_compaction();
    store.settle();
    const std::size_t files = file_count(memory, kServerDirectory);
    if (attempt == 0) first = files;
    EXPECT_LE(files, first + 1) << "attempt " << attempt;
  }
  disk.set_rule(nullptr);
  log->trigger_major_compaction();
  store.settle();
  for (const Index index : live) EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
}

TEST_P(FlushThatFails, LeavesNoMoreFilesWithEachAttempt) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  store.append(*log, entries(1, 40, 1));
  disk.set_rule(rule_of(GetParam()));
  store.roll_over();
  store.append(*log, entries(41, 60, 1));
  store.roll_over();
  std::size_t first = 0;
  for (int attempt = 0; attempt < 30; ++attempt) {
    store.system->flush_metadata([](const Result<void>&) {});
    store.settle();
    const std::size_t files =
        file_count(memory, kServerDirectory) + file_count(memory, kSystemDirectory);
    if (attempt == 0) first = files;
    EXPECT_LE(files, first + 1) << "attempt " << attempt;
  }
  disk.set_rule(nullptr);
  store.system->retry_wal();
  store.settle();
  store.system->flush_metadata([](const Result<void>&) {});
  store.settle();
  store.append(*log, entries(61, 62, 1));
  store.roll_over();
  for (const Index index : {1, 40, 41, 60, 62})
    EXPECT_EQ(text_at(*log, index), expected_text(index, 1));
}

}  // namespace
}  // namespace rakv::raftlog
