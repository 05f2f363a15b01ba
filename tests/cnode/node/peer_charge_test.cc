// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/peer_charge.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <utility>

namespace rakv::node {
namespace {

constexpr std::uint64_t kLimit = 300'000;

TEST(PeerChargeTest, ANodeWithMuchLeavesAThirdToThoseWithLittle) {
  ByteAccount account("watches", kLimit);
  const auto much = std::make_shared<std::uint64_t>(0);
  const auto little = std::make_shared<std::uint64_t>(0);
  {
    std::deque<PeerCharge> charges;
    const auto add = [&](const std::shared_ptr<std::uint64_t>& of_peer) {
      PeerCharge charge(&account, of_peer);
      const bool has_room = charge.try_grow(1000);
      if (has_room) charges.push_back(std::move(charge));
      return has_room;
    };
    while (add(much)) {
    }
    EXPECT_EQ(account.used(), kLimit / 3 * 2);
    EXPECT_EQ(*much, account.used());
    for (int i = 0; i < 16; ++i) EXPECT_TRUE(add(little)) << i;
    EXPECT_FALSE(add(little)) << "it has much now, too";
  }
  EXPECT_EQ(account.used(), 0u);
  EXPECT_EQ(*much, 0u);
  EXPECT_EQ(*little, 0u);
}

TEST(PeerChargeTest, WithoutAnAccountThereIsAlwaysRoom) {
  PeerCharge charge;
  EXPECT_TRUE(charge.try_grow(UINT64_MAX));
}

}  // namespace
}  // namespace rakv::node
