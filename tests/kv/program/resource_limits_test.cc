// SPDX-License-Identifier: Apache-2.0
#include "kv/program/resource_limits.h"

#include <gtest/gtest.h>

#include "raft/log/memory_budget.h"

namespace rakv::kv {
namespace {

TEST(DescriptorShares, AreNeverMoreThanTheLimit) {
  for (std::uint64_t limit = DescriptorShares::kSmallestLimit; limit < 100'000;
       limit += 1 + limit / 7) {
    const auto shares = DescriptorShares::of(limit);
    ASSERT_TRUE(shares) << limit;
    EXPECT_EQ(
        shares->segments + shares->handshakes + shares->connections + DescriptorShares::kReserve,
        limit);
    EXPECT_GE(shares->segments, 8U) << limit;
    EXPECT_GE(shares->handshakes, 8U) << limit;
    EXPECT_GE(shares->connections, 16U) << limit;
    EXPECT_LE(shares->segments, DescriptorShares::kMostSegments);
  }
  EXPECT_TRUE(DescriptorShares::of(UINT64_MAX));
}

TEST(DescriptorShares, ALimitThatIsTooSmallIsAnErrorInWords) {
  const auto shares = DescriptorShares::of(32);
  ASSERT_FALSE(shares);
  EXPECT_EQ(
      shares.error().message,
      "the limit on open files (ulimit -n) is 32; a node needs at least 96, better 4096: raise "
      "it, and start again");
}

TEST(AvailableMemory, IsTheLessOfMachineAndCgroup) {
  constexpr std::string_view kMeminfo = "MemTotal:        1024 kB\nMemFree:  12 kB\n";
  EXPECT_EQ(memory_in(kMeminfo, ""), 1024U << 10);
  EXPECT_EQ(memory_in(kMeminfo, "max\n"), 1024U << 10);
  EXPECT_EQ(memory_in(kMeminfo, "4096\n"), 4096U);
  EXPECT_EQ(memory_in(kMeminfo, "9223372036854771712\n"), 1024U << 10);
  EXPECT_EQ(memory_in("", "4096"), 4096U);
  EXPECT_EQ(memory_in("", ""), std::nullopt);
  EXPECT_GT(available_memory().value_or(0), 0U);
}

TEST(BudgetChoice, TheDefaultIsAtMostHalfOfTheMemory) {
  const std::uint64_t standard = raftlog::MemoryBudget::kDefaultBytes;
  EXPECT_EQ(choose_budget(standard, 2 * standard).bytes, standard);
  EXPECT_EQ(choose_budget(standard, 2 * standard).notice, "");
  const BudgetChoice small = choose_budget(standard, std::uint64_t{512} << 20);
  EXPECT_EQ(small.bytes, std::uint64_t{256} << 20);
  EXPECT_EQ(small.notice,
            "this process can have 512MB of memory: the memory budget is 256MB; --memory-budget "
            "sets another one");
  EXPECT_EQ(choose_budget(standard, 1 << 20).bytes, raftlog::MemoryBudget::kSmallestBytes);
  EXPECT_EQ(choose_budget(standard, std::nullopt).bytes, standard);
}

TEST(BudgetChoice, WhatWasAskedForIsTakenAndWarnedOf) {
  const std::uint64_t asked = std::uint64_t{3} << 30;
  EXPECT_EQ(choose_budget(asked, std::uint64_t{1} << 30).bytes, asked);
  EXPECT_NE(choose_budget(asked, std::uint64_t{1} << 30).notice, "");
  EXPECT_EQ(choose_budget(asked, std::uint64_t{4} << 30).notice, "");
}

}  // namespace
}  // namespace rakv::kv
