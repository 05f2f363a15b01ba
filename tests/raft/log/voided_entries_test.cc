// SPDX-License-Identifier: Apache-2.0
#include "raft/log/voided_entries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/raft/log/store.h"

namespace rakv::raftlog {
namespace {

using ::testing::ElementsAre;
using testing::entry;
using ::testing::IsEmpty;

std::vector<Position> written(const VoidedEntries& voided) {
  std::vector<Position> all;
  for (const auto& [index, one] : voided.written()) all.push_back({index, one.term});
  return all;
}

TEST(VoidedEntries, CountAsLongAsNothingElseIsInTheirPlace) {
  VoidedEntries voided(9);
  voided.add_written(entry(8, 2));
  voided.add_written(entry(9, 2));
  EXPECT_THAT(written(voided), ElementsAre(Position{8, 2}, Position{9, 2}));
  EXPECT_EQ(voided.take_changed_from(), UINT64_MAX);
  voided.log_written({7, 7});
  EXPECT_THAT(written(voided), IsEmpty());
  EXPECT_EQ(voided.take_changed_from(), 7U);
  EXPECT_EQ(voided.take_changed_from(), UINT64_MAX);
  voided.log_written({8, 9});
  EXPECT_EQ(voided.take_changed_from(), UINT64_MAX);
}

/// They void what was before them when they come to the WAL, though the log has moved on.
TEST(VoidedEntries, TakeTheirTurnInTheWal) {
  VoidedEntries voided(9);
  voided.add_written(entry(8, 2));
  voided.add_written(entry(9, 2));
  voided.add_queued(20, entry(7, 3));
  voided.add_queued(21, entry(8, 3));
  voided.written_before(20);
  EXPECT_THAT(written(voided), ElementsAre(Position{8, 2}, Position{9, 2}));
  voided.written_before(21);
  EXPECT_THAT(written(voided), ElementsAre(Position{7, 3}));
  EXPECT_EQ(voided.take_changed_from(), 7U);
  voided.written_before(22);
  EXPECT_THAT(written(voided), ElementsAre(Position{7, 3}, Position{8, 3}));
  EXPECT_EQ(voided.take_changed_from(), UINT64_MAX);
}

TEST(VoidedEntries, GoWhenTheyAreInASegmentOrCoveredByASnapshot) {
  VoidedEntries voided(9);
  for (Index index = 5; index <= 9; ++index) voided.add_written(entry(index, 2));
  voided.flushed(6, 1);
  voided.flushed(7, 2);
  voided.drop_up_to(5);
  EXPECT_THAT(written(voided), ElementsAre(Position{6, 2}, Position{8, 2}, Position{9, 2}));
}

}  // namespace
}  // namespace rakv::raftlog
