// SPDX-License-Identifier: Apache-2.0
#include "raft/core/core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/core/invariants.h"
#include "raft/core/text.h"
#include "tests/raft/core/world.h"

namespace rakv::raft {
namespace {

using test::server;
using ::testing::ElementsAre;

/// Of all effects of one kind, in order.
template <class EffectType>
std::vector<CallToken> tokens_of(const Effects& effects) {
  std::vector<CallToken> tokens;
  for (const Effect& effect : effects) {
    if (const auto* one = std::get_if<EffectType>(&effect)) tokens.push_back(one->token);
  }
  return tokens;
}

CoreState state_of(const std::string& node, const std::vector<std::string>& members) {
  CoreState state;
  state.id = server(node);
  state.uid = "uid_" + node;
  for (const std::string& member : members) state.cluster[server(member)];
  return state;
}

TEST(ServerIdTest, OrderIsNameThenNodeAndCopiesAreEqual) {
  EXPECT_LT(ServerId("a", "z"), ServerId("b", "a"));
  EXPECT_LT(ServerId("a", "a"), ServerId("a", "b"));
  EXPECT_EQ(ServerId("kv", "n1@host"), ServerId("kv", "n1@host"));
  EXPECT_TRUE(ServerId().is_none());
  EXPECT_EQ(to_string(ServerId("kv", "n1@host")), "{kv,n1@host}");
}

TEST(PeerConfigTest, AbsentAndEmptyVoterStatusDifferButBothVote) {
  const PeerConfig initial;
  const PeerConfig joined{VoterStatus{}, std::nullopt};
  EXPECT_NE(initial, joined);
  EXPECT_TRUE(initial.is_voter());
  EXPECT_TRUE(joined.is_voter());
  EXPECT_FALSE((
      PeerConfig{VoterStatus{Membership::promotable, "u", std::nullopt}, std::nullopt}.is_voter()));
}

TEST(CoreTest, AMemberFindsItselfInItsConfiguration) {
  const Core core(state_of("d", {"a", "b", "c"}));
  EXPECT_TRUE(core.cluster().contains(server("d")));
  EXPECT_EQ(core.role(), Role::follower);
  EXPECT_EQ(core.peers(), nullptr);
}

TEST(CoreTest, WhatIsHeldForCallersThatAreGoneIsDropped) {
  Core core(state_of("a", {"a", "b", "c"}));
  Effects effects;
  event::CommandBatch commands;
  commands.commands.resize(1);
  commands.commands.front().token = CallToken(1);
  core.step(std::move(commands), effects);
  core.step(event::ReadRequest{CallToken(2)}, effects);
  core.step(event::LeaderRequest{CallToken(3)}, effects);
  EXPECT_TRUE(core.would_hold());
  EXPECT_THAT(tokens_of<effect::HoldClient>(effects),
              ElementsAre(CallToken(1), CallToken(2), CallToken(3)));
  effects.clear();
  core.step(event::CallersGone{{CallToken(1), CallToken(3), CallToken(9)}}, effects);
  EXPECT_THAT(tokens_of<effect::DropCall>(effects), ElementsAre(CallToken(1), CallToken(3)));
  effects.clear();
  AppendEntriesRpc rpc;
  rpc.term = Term(1);
  rpc.leader = server("b");
  core.step(event::AppendEntries{rpc}, effects);
  EXPECT_THAT(tokens_of<effect::RedirectClient>(effects), ElementsAre(CallToken(2)));
}

TEST(CoreTest, AVoterStatusCountsOnlyForTheUidItNames) {
  CoreState state = state_of("a", {"a", "b"});
  state.membership = Membership::promotable;
  state.cluster[server("a")].voter_status = VoterStatus{Membership::voter, "another", std::nullopt};
  EXPECT_EQ(Core(state).membership(), Membership::promotable);
  state.cluster[server("a")].voter_status->uid = "uid_a";
  EXPECT_EQ(Core(state).membership(), Membership::voter);
}

TEST(CoreTest, RecoveryTakesTheLatestClusterChangeAndItsCommitStart) {
  CoreState state = state_of("a", {"a", "b", "c"});
  state.current_term = Term(3);
  state.log = LogShape({Index(4), Term(1)}, {{Index(5), Term(2)}}, Index(9));
  state.last_applied = Index(6);
  auto smaller = std::make_shared<Cluster>();
  (*smaller)[server("a")];
  state.special_entries.push_back({{Index(7), Term(2)}, EntryKind::cluster_change, smaller, 0});
  Core core(std::move(state));
  EXPECT_EQ(core.cluster().size(), 1u);
  EXPECT_EQ(core.cluster_index_term(), (IndexTerm{Index(7), Term(2)}));
  EXPECT_EQ(core.commit_index(), Index(6));
  EXPECT_EQ(core.last_applied(), Index(6));
  Effects effects;
  core.start(effects);
  ASSERT_EQ(effects.size(), 1u);
  EXPECT_EQ(to_string(effects[0]), "election timer: short");
}

TEST(CoreTest, EffectsAreAddedAfterWhatIsThere) {
  Core core(state_of("a", {"a"}));
  Effects effects;
  effects.push_back(effect::ScheduleFlush{});
  core.step(event::TriggerElectionRequested{CallToken(1)}, effects);
  EXPECT_TRUE(std::holds_alternative<effect::ScheduleFlush>(effects.front()));
  EXPECT_EQ(core.role(), Role::leader);
}

TEST(CoreTest, PayloadsPassThroughUncopied) {
  Core core(state_of("a", {"a"}));
  Effects effects;
  core.step(event::TriggerElectionRequested{CallToken(1)}, effects);
  effects.clear();
  const SharedBytes payload = SharedBytes::copy_of("a value");
  event::CommandBatch commands;
  commands.commands.emplace_back();
  commands.commands.back().payload = payload;
  core.step(std::move(commands), effects);
  const auto& append = std::get<effect::AppendToLog>(effects.front());
  EXPECT_EQ(append.entries.front().payload.view().data(), payload.view().data());
}

TEST(CoreTest, AStoppedMemberDoesNothing) {
  Core core(state_of("a", {"a"}));
  Effects effects;
  core.step(event::TriggerElectionRequested{CallToken(1)}, effects);
  core.step(event::Written{Term(1), Index(1)}, effects);
  event::CommandBatch commands;
  commands.commands.emplace_back();
  commands.commands.back().kind = event::CommandKind::delete_cluster;
  core.step(std::move(commands), effects);
  core.step(event::Written{Term(1), Index(2)}, effects);
  ASSERT_TRUE(core.stopped());
  effects.clear();
  core.step(event::ReadRequest{CallToken(2)}, effects);
  EXPECT_TRUE(effects.empty());
}

TEST(CoreTest, TheLastMemberMayLeave) {
  Core core(state_of("a", {"a"}));
  Effects effects;
  core.step(event::TriggerElectionRequested{CallToken(1)}, effects);
  core.step(event::Written{Term(1), Index(1)}, effects);
  event::CommandBatch commands;
  commands.commands.emplace_back();
  commands.commands.back().kind = event::CommandKind::leave;
  commands.commands.back().server = server("a");
  core.step(std::move(commands), effects);
  core.step(event::Written{Term(1), Index(2)}, effects);
  EXPECT_TRUE(core.stopped());
  EXPECT_EQ(std::get<effect::Stop>(effects.back()).reason, effect::StopReason::removed);
}

template <class Effect>
const Effect* find_effect(const Effects& effects) {
  for (const auto& any : effects) {
    if (const auto* found = std::get_if<Effect>(&any)) return found;
  }
  return nullptr;
}

/// The last thing that the leader had to say carried the last entry and that it is committed.
TEST(AmnesiaTest, EndsThoughTheLeaderHasNothingMoreToSend) {
  CoreState state = state_of("a", {"a", "b", "c"});
  state.current_term = Term(2);
  state.log = LogShape({}, {{Index(1), Term(2)}}, Index(1));
  state.amnesia = Amnesia{false};
  Core core(std::move(state));
  Effects effects;
  core.start(effects);
  core.step(event::Tick{}, effects);
  EXPECT_EQ(find_effect<effect::CallPreVote>(effects), nullptr) << "no leader is known";
  AppendEntriesRpc rpc{Term(2), server("b"), Index(2), Index(1), Term(2), {}};
  rpc.entries.emplace_back();
  rpc.entries.back().index = Index(2);
  rpc.entries.back().term = Term(2);
  core.step(event::AppendEntries{rpc}, effects);
  core.step(event::Written{Term(2), Index(2)}, effects);
  EXPECT_EQ(core.commit_index(), Index(2));
  EXPECT_TRUE(core.has_amnesia());
  effects.clear();
  core.step(event::Tick{}, effects);
  const auto* asked = find_effect<effect::CallPreVote>(effects);
  ASSERT_NE(asked, nullptr);
  EXPECT_EQ(asked->to, server("b"));
  EXPECT_EQ(asked->rpc.term, Term(2));
  EXPECT_EQ(core.role(), Role::follower);
  core.step(event::AppendEntries{{Term(2), server("b"), Index(2), Index(2), Term(2), {}}}, effects);
  EXPECT_FALSE(core.has_amnesia());
  EXPECT_NE(find_effect<effect::AmnesiaEnded>(effects), nullptr);
  effects.clear();
  core.step(event::Tick{}, effects);
  EXPECT_EQ(find_effect<effect::CallPreVote>(effects), nullptr);
}

TEST(InvariantsTest, NoticeWhatMustNotHappen) {
  CoreState state = state_of("a", {"a", "b"});
  state.current_term = Term(5);
  state.log = LogShape({}, {{Index(1), Term(1)}}, Index(3));
  state.last_applied = Index(3);
  const Core later(state);
  MemberInvariants invariants;
  EXPECT_EQ(invariants.check(later), std::nullopt);
  state.current_term = Term(4);
  EXPECT_NE(invariants.check(Core(state)), std::nullopt) << "the term fell";
  state.current_term = Term(5);
  state.last_applied = Index(2);
  EXPECT_NE(invariants.check(Core(state)), std::nullopt) << "the applied index fell";
}

TEST(InvariantsTest, NoticeTwoHistories) {
  CoreState state = state_of("a", {"a", "b"});
  state.current_term = Term(2);
  state.log = LogShape({}, {{Index(1), Term(1)}}, Index(3));
  state.last_applied = Index(3);
  ClusterInvariants cluster;
  EXPECT_EQ(cluster.check(Core(state)), std::nullopt);
  state.id = server("b");
  state.log = LogShape({}, {{Index(1), Term(1)}, {Index(3), Term(2)}}, Index(3));
  EXPECT_NE(cluster.check(Core(state)), std::nullopt);
}

TEST(InvariantsTest, NoticeLogsThatMatchAboveButNotBelow) {
  CoreState one = state_of("a", {"a", "b"});
  one.current_term = Term(3);
  one.log = LogShape({}, {{Index(1), Term(1)}, {Index(3), Term(3)}}, Index(3));
  CoreState other = state_of("b", {"a", "b"});
  other.current_term = Term(3);
  other.log =
      LogShape({}, {{Index(1), Term(1)}, {Index(2), Term(2)}, {Index(3), Term(3)}}, Index(3));
  EXPECT_NE(ClusterInvariants::check_logs(Core(one), Core(other)), std::nullopt);
  EXPECT_EQ(ClusterInvariants::check_logs(Core(one), Core(one)), std::nullopt);
}

}  // namespace
}  // namespace rakv::raft
