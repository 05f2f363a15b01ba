// SPDX-License-Identifier: Apache-2.0
#include "raft/core/configuration.h"

#include <gtest/gtest.h>

#include "tests/raft/core/world.h"

namespace rakv::raft {
namespace {

using effect::RejectReason;
using test::server;

VoterStatus promotable(std::optional<std::string> uid) {
  return {Membership::promotable, std::move(uid), std::nullopt};
}

Configuration of(Cluster members) {
  return {std::make_shared<const Cluster>(std::move(members)), {}, false};
}

/// Voters a, b and c, and d, which is promotable.
Cluster abc_and_d() {
  Cluster members;
  for (const char* node : {"a", "b", "c"}) members[server(node)];
  members[server("d")].voter_status = promotable("uid_d");
  return members;
}

RejectReason reason(const ClusterChange& change) {
  const auto* refused = std::get_if<RejectReason>(&change);
  EXPECT_NE(refused, nullptr) << "it was not refused";
  return refused == nullptr ? RejectReason::unsupported_call : *refused;
}

TEST(ConfigurationTest, OnlyVotersCount) {
  const Configuration configuration = of(abc_and_d());
  EXPECT_TRUE(configuration.contains(server("d")));
  EXPECT_FALSE(configuration.is_voter(server("d")));
  EXPECT_TRUE(configuration.is_voter(server("a")));
  EXPECT_FALSE(configuration.is_voter(server("e")));
  EXPECT_EQ(configuration.majority(), 2u);
  EXPECT_EQ(configuration.count_voters([](const ServerId& id) { return id != server("b"); }), 2u);
}

TEST(ConfigurationTest, KnowsTheNodesOfItsMembers) {
  const Configuration configuration = of(abc_and_d());
  EXPECT_TRUE(configuration.has_member_on(server("d").node()));
  EXPECT_FALSE(configuration.has_member_on(server("e").node()));
}

TEST(ConfigurationTest, TurnsGoByIdAndPassOverWhoIsAbsent) {
  const Configuration configuration = of(abc_and_d());
  EXPECT_EQ(configuration.turn_of(server("a"), std::nullopt), 0u);
  EXPECT_EQ(configuration.turn_of(server("c"), std::nullopt), 2u);
  EXPECT_EQ(configuration.turn_of(server("c"), server("a")), 1u);
  EXPECT_EQ(configuration.turn_of(server("a"), server("c")), 0u);
}

TEST(ConfigurationTest, JoiningByBareIdMakesAVoterAndIsRefusedToMembers) {
  const Cluster members = abc_and_d();
  const ClusterChange joined = join(members, server("e"), std::nullopt, Index(9));
  ASSERT_TRUE(std::holds_alternative<Cluster>(joined));
  EXPECT_EQ(std::get<Cluster>(joined).size(), 5u);
  EXPECT_EQ(std::get<Cluster>(joined).at(server("e")).voter_status, VoterStatus{});
  EXPECT_EQ(reason(join(members, server("a"), std::nullopt, Index(9))),
            RejectReason::already_member);
}

TEST(ConfigurationTest, APromotableNewcomerNeedsAUidAndHasATarget) {
  const Cluster members = abc_and_d();
  EXPECT_EQ(reason(join(members, server("e"), promotable(std::nullopt), Index(9))),
            RejectReason::missing_uid);
  const ClusterChange joined = join(members, server("e"), promotable("uid_e"), Index(9));
  ASSERT_TRUE(std::holds_alternative<Cluster>(joined));
  EXPECT_EQ(std::get<Cluster>(joined).at(server("e")).voter_status->target, Index(9));
  VoterStatus given = promotable("uid_e");
  given.target = Index(4);
  const ClusterChange with_target = join(members, server("e"), given, Index(9));
  ASSERT_TRUE(std::holds_alternative<Cluster>(with_target));
  EXPECT_EQ(std::get<Cluster>(with_target).at(server("e")).voter_status->target, Index(4));
}

TEST(ConfigurationTest, AMemberMayJoinAgainWithAnotherStatusOnly) {
  Cluster members = abc_and_d();
  const VoterStatus voter{Membership::voter, "uid_d", std::nullopt};
  const ClusterChange changed = join(members, server("d"), voter, Index(9));
  ASSERT_TRUE(std::holds_alternative<Cluster>(changed));
  EXPECT_EQ(std::get<Cluster>(changed).at(server("d")).voter_status, voter);
  EXPECT_EQ(reason(join(std::get<Cluster>(changed), server("d"), voter, Index(10))),
            RejectReason::already_member);
}

TEST(ConfigurationTest, OnlyMembersLeave) {
  const Cluster members = abc_and_d();
  const ClusterChange left = leave(members, server("b"));
  ASSERT_TRUE(std::holds_alternative<Cluster>(left));
  EXPECT_EQ(std::get<Cluster>(left).size(), 3u);
  EXPECT_FALSE(std::get<Cluster>(left).contains(server("b")));
  EXPECT_EQ(reason(leave(members, server("e"))), RejectReason::not_member);
}

}  // namespace
}  // namespace rakv::raft
