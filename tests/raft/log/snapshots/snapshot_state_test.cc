// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

// A server that is stopped and started again finds its log open, the snapshot's state released.
TEST(SnapshotState, IsReadAgainAfterItsRelease) {
  MemoryDisk disk;
  testing::Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  ASSERT_NE(log, nullptr);
  store.vote("KVAAAA", 1, std::nullopt);
  std::string state;
  const auto read = [&] {
    Result<void> outcome = make_error(ErrorCode::timeout, "no answer");
    log->use_snapshot(
        [&](const Snapshot& snapshot) -> Result<void> {
          state = snapshot.state.view();
          return {};
        },
        [&](Result<void> got) { outcome = std::move(got); });
    store.settle();
    return outcome;
  };
  EXPECT_EQ(read().error().code, ErrorCode::not_found);
  store.append(*log, testing::entries(1, 10, 1));
  ASSERT_TRUE(store.snapshot(*log, 5, 1, {}));
  ASSERT_TRUE(read());
  EXPECT_EQ(state, testing::payload("state").view());
  log->release_snapshot_state();
  EXPECT_EQ(log->snapshot()->state.size(), 0U);
  state.clear();
  ASSERT_TRUE(read());
  EXPECT_EQ(state, testing::payload("state").view());
}

}  // namespace
}  // namespace rakv::raftlog
