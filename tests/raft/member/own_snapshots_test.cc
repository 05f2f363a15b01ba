// SPDX-License-Identifier: Apache-2.0
#include "raft/member/own_snapshots.h"

#include <deque>

#include "parts.h"
#include "tests/raft/log/store.h"

// When a member takes a snapshot of its own state, over a real log whose disk is in memory.

namespace rakv::member::testing {
namespace {

class OwnSnapshotsTest : public ::testing::Test {
 protected:
  OwnSnapshotsTest() : store_(disk_), log_(*store_.add("kv", "KVAAAA")) {
    store_.vote("KVAAAA", 1, std::nullopt);
    store_.append(log_, raftlog::testing::entries(1, 5, 1));
    cluster_[kSelf];
  }

  OwnSnapshots make(std::uint64_t min_interval = 0) {
    return OwnSnapshots(
        {log_, counters_, log_id_, [this]() -> StateMachine& { return machine_; },
         [this] { return applied_; }, [this] { return blocked_; }, [this] { return sending_; },
         [this](raft::Index index) -> const raft::Cluster& {
           cluster_of_ = index;
           return cluster_;
         },
         [this](std::function<void()> job) { jobs_.push_back(std::move(job)); },
         [this](raft::event::SnapshotTaken event) { taken_.push_back(event); }},
        min_interval, 0);
  }
  void run_jobs() {
    for (; !jobs_.empty(); jobs_.pop_front()) jobs_.front()();
  }

  raftlog::MemoryDisk disk_;
  raftlog::testing::Store store_;
  raftlog::MemberLog& log_;
  Counters counters_;
  std::string log_id_ = "kv";
  NotingMachine machine_;
  raft::Index applied_{5};
  bool blocked_ = false;
  bool sending_ = false;
  raft::Cluster cluster_;
  raft::Index cluster_of_;
  std::deque<std::function<void()>> jobs_;
  std::vector<raft::event::SnapshotTaken> taken_;
};

TEST_F(OwnSnapshotsTest, OfWhatIsAppliedAndDurable) {
  OwnSnapshots snapshots = make();
  machine_.live = {2, 4};
  snapshots.take_when_durable();
  EXPECT_FALSE(log_.snapshot_in_progress()) << "nobody wanted one";
  snapshots.want();
  EXPECT_TRUE(log_.snapshot_in_progress());
  store_.settle();
  ASSERT_EQ(taken_.size(), 1U);
  EXPECT_EQ(taken_[0].index, raft::Index{5});
  EXPECT_EQ(taken_[0].term, raft::Term{1});
  EXPECT_EQ(cluster_of_, raft::Index{5}) << "the configuration is that of the snapshot's index";
  ASSERT_TRUE(log_.snapshot().has_value());
  EXPECT_EQ(log_.snapshot()->meta.index, 5U);
  EXPECT_TRUE(log_.snapshot()->live_indexes.contains(2));
  EXPECT_FALSE(log_.snapshot()->live_indexes.contains(3));
  EXPECT_EQ(counters_.get(Counter::snapshots_written), 1);
  EXPECT_GT(snapshots.file_bytes(), 0U);
  EXPECT_EQ(counters_.get(Counter::snapshot_bytes_written),
            static_cast<std::int64_t>(snapshots.file_bytes()));
  EXPECT_FALSE(snapshots.wanted());
}

TEST_F(OwnSnapshotsTest, WaitsUntilWhatIsAppliedIsDurable) {
  OwnSnapshots snapshots = make();
  log_.append(raftlog::testing::entry(6, 1));
  applied_ = raft::Index{6};
  snapshots.want();
  EXPECT_FALSE(log_.snapshot_in_progress());
  EXPECT_TRUE(snapshots.wanted());
  store_.settle();
  snapshots.take_when_durable();
  store_.settle();
  ASSERT_EQ(taken_.size(), 1U);
  EXPECT_EQ(taken_[0].index, raft::Index{6});
}

TEST_F(OwnSnapshotsTest, ItsTermIsThatOfItsIndex) {
  OwnSnapshots snapshots = make();
  store_.append(log_, raftlog::testing::entry(6, 2));
  snapshots.want();
  store_.settle();
  ASSERT_EQ(taken_.size(), 1U);
  EXPECT_EQ(taken_[0].index, raft::Index{5});
  EXPECT_EQ(taken_[0].term, raft::Term{1});
  EXPECT_EQ(log_.snapshot()->meta.term, 1U);
}

TEST_F(OwnSnapshotsTest, NotWhileEffectsWaitOrAPeerGetsTheOldOne) {
  OwnSnapshots snapshots = make();
  blocked_ = true;
  snapshots.want();
  EXPECT_FALSE(log_.snapshot_in_progress());
  blocked_ = false;
  sending_ = true;
  snapshots.take_when_durable();
  EXPECT_FALSE(log_.snapshot_in_progress());
  sending_ = false;
  snapshots.take_when_durable();
  EXPECT_TRUE(log_.snapshot_in_progress());
}

TEST_F(OwnSnapshotsTest, SoManyEntriesLieBetweenTwo) {
  OwnSnapshots snapshots = make(5);
  snapshots.want();
  EXPECT_FALSE(log_.snapshot_in_progress());
  EXPECT_FALSE(snapshots.wanted()) << "the wish is over; the next one counts anew";
  store_.append(log_, raftlog::testing::entry(6, 1));
  applied_ = raft::Index{6};
  snapshots.want();
  store_.settle();
  EXPECT_EQ(taken_.size(), 1U);
}

TEST_F(OwnSnapshotsTest, ALargeStateIsCopiedInPieces) {
  machine_.pieces = 3;
  OwnSnapshots snapshots = make();
  snapshots.want();
  EXPECT_TRUE(snapshots.copying());
  ASSERT_EQ(jobs_.size(), 1U);
  snapshots.want();
  EXPECT_EQ(jobs_.size(), 1U) << "one at a time";
  run_jobs();
  EXPECT_FALSE(snapshots.copying());
  store_.settle();
  EXPECT_EQ(taken_.front().index, raft::Index{5});
}

TEST_F(OwnSnapshotsTest, ATransferThatBeganMeanwhileIsNotDisturbed) {
  machine_.pieces = 2;
  OwnSnapshots snapshots = make();
  snapshots.want();
  sending_ = true;
  run_jobs();
  EXPECT_FALSE(log_.snapshot_in_progress());
  EXPECT_TRUE(snapshots.wanted()) << "a newer one, later";
  sending_ = false;
  snapshots.take_when_durable();
  run_jobs();
  store_.settle();
  EXPECT_EQ(taken_.size(), 1U);
}

TEST_F(OwnSnapshotsTest, WhatIsCancelledOrStoppedIsNotWritten) {
  machine_.pieces = 2;
  OwnSnapshots snapshots = make();
  snapshots.want();
  snapshots.cancel();
  run_jobs();
  EXPECT_FALSE(log_.snapshot_in_progress());
  snapshots.stop();
  snapshots.want();
  EXPECT_FALSE(snapshots.copying());
}

}  // namespace
}  // namespace rakv::member::testing
