// SPDX-License-Identifier: Apache-2.0
#include "raft/member/counters.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace rakv::member {
namespace {

TEST(CountersTest, EveryFieldIsFoundByItsName) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kCounterCount; ++i) {
    names.insert(kCounterFields[i].name);
    EXPECT_EQ(Counters::find(kCounterFields[i].name), i);
    EXPECT_FALSE(kCounterFields[i].help.empty());
  }
  EXPECT_EQ(names.size(), kCounterCount);
  EXPECT_EQ(Counters::find("commit_index"), static_cast<std::size_t>(Counter::commit_index));
  EXPECT_EQ(Counters::find("no_such_counter"), std::nullopt);
}

TEST(CountersTest, BeginAtZeroSaveTheSnapshotIndex) {
  Counters counters;
  for (std::size_t i = 0; i < kCounterCount; ++i) {
    EXPECT_EQ(counters.get(i), kCounterFields[i].name == "snapshot_index" ? -1 : 0);
  }
}

TEST(CountersTest, AddAndSet) {
  Counters counters;
  counters.add(Counter::commands);
  counters.add(Counter::commands, 4);
  counters.set(Counter::term, 7);
  EXPECT_EQ(counters.get(Counter::commands), 5);
  EXPECT_EQ(counters.get(Counter::term), 7);
  EXPECT_EQ(counters.get(Counter::elections), 0);
}

}  // namespace
}  // namespace rakv::member
