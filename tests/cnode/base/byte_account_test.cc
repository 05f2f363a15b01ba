// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/byte_account.h"

#include <gtest/gtest.h>

#include <utility>

#include "cnode/base/memory_accounts.h"

namespace rakv {
namespace {

TEST(ByteAccountTest, AChargeIsGivenBackWhenItGoes) {
  ByteAccount sum("sum", 100);
  ByteAccount account("account", 10, &sum);
  {
    const ByteCharge charge(&account, 6);
    EXPECT_EQ(account.used(), 6u);
    EXPECT_EQ(sum.used(), 6u);
    EXPECT_TRUE(account.has_room(4));
    EXPECT_FALSE(account.has_room(5));
  }
  EXPECT_EQ(account.used(), 0u);
  EXPECT_EQ(sum.used(), 0u);
  EXPECT_EQ(account.peak(), 6u);
}

TEST(ByteAccountTest, OneMayOvershootAndThenThereIsNoRoom) {
  ByteAccount account("account", 10);
  ByteCharge charge(&account);
  charge.grow(25);
  EXPECT_EQ(account.used(), 25u);
  EXPECT_FALSE(account.has_room(0));
  EXPECT_FALSE(account.has_room(UINT64_MAX));
  charge.shrink(20);
  EXPECT_TRUE(account.has_room(5));
  charge.shrink(20);
  EXPECT_EQ(account.used(), 0u);
}

TEST(ByteAccountTest, AChargeMovesWithItsBytes) {
  ByteAccount one("one", 10);
  ByteAccount other("other", 10);
  ByteCharge first(&one, 3);
  ByteCharge second(&other, 4);
  second = std::move(first);
  EXPECT_EQ(one.used(), 3u);
  EXPECT_EQ(other.used(), 0u);
  const ByteCharge third(std::move(second));
  EXPECT_EQ(one.used(), 3u);
  // NOLINTNEXTLINE(bugprone-use-after-move): a charge whose bytes went keeps its account
  second.resize(2);
  EXPECT_EQ(one.used(), 5u);
}

TEST(ByteAccountTest, WithoutAnAccountNothingIsChargedAndThereIsAlwaysRoom) {
  ByteCharge charge;
  charge.grow(1000);
  EXPECT_EQ(charge.bytes(), 0u);
  EXPECT_TRUE(charge.has_room(UINT64_MAX));
}

TEST(MemoryAccountsTest, TheSharesLeaveTheLogWhatItHas) {
  const std::uint64_t budget = std::uint64_t{64} << 20;
  const MemoryAccounts accounts(budget);
  std::uint64_t shares = 0;
  for (const ByteAccount* kind : accounts.kinds()) {
    if (kind != &accounts.snapshots) shares += kind->limit();
  }
  EXPECT_EQ(shares, accounts.sum.limit());
  // 3/8 are for entries that are not in segments, 1/4 for commands that wait for the disk.
  EXPECT_LE(shares, budget - budget / 8 * 3 - budget / 4);
}

}  // namespace
}  // namespace rakv
