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

TEST(PeerChargesTest, ANodeIsKnownAsLongAsItHasAnything) {
  ByteAccount account("watches", kLimit);
  PeerCharges charges;
  PeerCharge first = charges.of(&account, "a@h");
  ASSERT_TRUE(first.try_grow(PeerCharge::kLittleBytes));
  // What a node has counts together, whoever asks.
  const ByteCharge others(&account, kLimit / 3 * 2 - PeerCharge::kLittleBytes);
  EXPECT_FALSE(charges.of(&account, "a@h").try_grow(1000));
  EXPECT_TRUE(charges.of(&account, "b@h").try_grow(1000));
  EXPECT_EQ(charges.nodes(), 1u);
  // A call that was answered long after its node had gone, or under a name that nobody has.
  first = PeerCharge();
  EXPECT_EQ(charges.nodes(), 0u);
  EXPECT_EQ(account.used(), others.bytes());
}

TEST(PeerChargeTest, WithoutAnAccountThereIsAlwaysRoom) {
  PeerCharge charge;
  EXPECT_TRUE(charge.try_grow(UINT64_MAX));
}

}  // namespace
}  // namespace rakv::node
