// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "raft/log/disk/space_watch.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// What the system gives is bounded: descriptors and files (inodes).

namespace rakv::raftlog {
namespace {

using testing::expected_text;
using testing::Store;
using testing::text_at;

TEST(Limits, OpenSegmentFilesGiveWayWhenThereIsNoDescriptor) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  LogSystemOptions options = testing::small_options();
  options.max_open_segments = 4;
  Store store(disk, options);
  MemberLog* log = testing::add_with_ten_segments(store);
  ASSERT_NE(log, nullptr);
  for (const Index index : {1, 20, 40, 60})
    ASSERT_EQ(text_at(*log, index), expected_text(index, 1));
  int refused = 0;
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::open || refused++ > 0) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't open: Too many open files");
  });
  EXPECT_EQ(text_at(*log, 150), expected_text(150, 1));
  EXPECT_EQ(refused, 2);
  // Where closing does not help, the read is an error and the next one may succeed.
  refused = -10;
  disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::open || ++refused > -8) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't open: Too many open files");
  });
  EXPECT_EQ(text_at(*log, 100).find("error"), 0U);
  EXPECT_EQ(text_at(*log, 100), expected_text(100, 1));
}

TEST(Limits, FilesCountLikeBytes) {
  constexpr std::uint64_t kPlenty = std::uint64_t{1} << 40;
  constexpr std::uint64_t kLow = SpaceWatch::kLowWaterFiles;
  SpaceWatch watch;
  EXPECT_FALSE(watch.update({kPlenty, kPlenty, kLow}));
  EXPECT_TRUE(watch.update({kPlenty, kPlenty, kLow - 1}));
  EXPECT_TRUE(watch.low());
  EXPECT_FALSE(watch.update({kPlenty, kPlenty, 2 * kLow - 1}));
  EXPECT_TRUE(watch.update({kPlenty, kPlenty, 2 * kLow}));
  EXPECT_FALSE(watch.low());
  EXPECT_TRUE(watch.update({0, kPlenty, kPlenty}));
  EXPECT_FALSE(watch.update({kPlenty, kPlenty, 0}));
  EXPECT_TRUE(watch.update({kPlenty, kPlenty}));  // files are not counted there
}

}  // namespace
}  // namespace rakv::raftlog
