#include <gtest/gtest.h>

#include "raft/log/memory_disk.h"
#include "raft/log/system.h"
#include "tests/raft_log/store.h"

namespace rakv::log {
namespace {

// A server that is stopped and started again finds its log open, the snapshot's state released.
TEST(SnapshotState, IsReadAgainAfterItsRelease) {
  MemoryDisk disk;
  testing::Store store(disk);
  MemberLog* log = store.add("kv", "KVAAAA");
  ASSERT_NE(log, nullptr);
  store.vote("KVAAAA", 1, std::nullopt);
  EXPECT_EQ(log->load_snapshot_state().error().code, ErrorCode::not_found);
  store.append(*log, testing::entries(1, 10, 1));
  ASSERT_TRUE(store.snapshot(*log, 5, 1, {}));
  log->release_snapshot_state();
  EXPECT_EQ(log->snapshot()->state.size(), 0U);
  ASSERT_TRUE(log->load_snapshot_state());
  EXPECT_EQ(log->snapshot()->state.view(), testing::payload("state").view());
  ASSERT_TRUE(log->load_snapshot_state());
}

}  // namespace
}  // namespace rakv::log
