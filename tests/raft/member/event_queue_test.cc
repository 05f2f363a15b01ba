// SPDX-License-Identifier: Apache-2.0
#include "raft/member/event_queue.h"

#include "parts.h"

// What comes to a core, in order, and what need not wait for the disk.

namespace rakv::member::testing {
namespace {

raft::Event written(std::uint64_t index) {
  return raft::event::Written{raft::Term{1}, raft::Index{index}};
}
raft::Event node_up(const std::string& node) { return raft::event::NodeUp{node}; }

/// All that is in it, oldest first.
std::string drain(EventQueue& queue) {
  std::string all;
  while (!queue.empty()) {
    const raft::Event event = queue.pop().event;
    if (const auto* up = std::get_if<raft::event::NodeUp>(&event)) all += up->node + ' ';
    if (const auto* durable = std::get_if<raft::event::Written>(&event))
      all += std::to_string(durable->up_to.value()) + ' ';
    if (std::holds_alternative<raft::event::Tick>(event)) all += "tick ";
  }
  return all;
}

TEST(EventQueueTest, KeepsTheOrder) {
  EventQueue queue;
  queue.push(node_up("a"));
  queue.push_while_blocked(node_up("b"), {});
  queue.push(raft::event::Tick{});
  queue.push(written(1));
  queue.push(written(2));
  EXPECT_EQ(queue.size(), 5U);
  EXPECT_EQ(drain(queue), "a b tick 1 2 ");
}

TEST(EventQueueTest, TicksDoNotWaitForTheDisk) {
  EventQueue queue;
  queue.push_while_blocked(raft::event::Tick{}, {});
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueueTest, OfWhatIsDurableTheNewestWaits) {
  EventQueue queue;
  for (std::uint64_t index = 1; index <= 1000; ++index)
    queue.push_while_blocked(written(index), {});
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(drain(queue), "1000 ");
}

TEST(EventQueueTest, WhatIsDurableDoesNotOvertakeAnotherEvent) {
  EventQueue queue;
  queue.push_while_blocked(written(1), {});
  queue.push_while_blocked(node_up("a"), {});
  queue.push_while_blocked(written(2), {});
  queue.push_while_blocked(written(3), {});
  EXPECT_EQ(drain(queue), "1 a 3 ");
}

raft::Event vote(std::uint64_t call, std::uint64_t term) {
  raft::RequestVoteRpc rpc;
  rpc.term = raft::Term{term};
  return raft::event::VoteRequested{raft::CallToken{call}, rpc};
}

/// The terms of the votes, oldest first.
std::vector<std::uint64_t> votes_in(EventQueue& queue) {
  std::vector<std::uint64_t> terms;
  while (!queue.empty()) {
    const raft::Event event = queue.pop().event;
    if (const auto* asked = std::get_if<raft::event::VoteRequested>(&event))
      terms.push_back(asked->rpc.term.value());
  }
  return terms;
}

TEST(EventQueueTest, AVoteOfALaterTermTakesThePlaceOfOneThatWaits) {
  EventQueue queue;
  EXPECT_EQ(queue.push_while_blocked(node_up("a"), {}), std::nullopt);
  EXPECT_EQ(queue.push_while_blocked(vote(1, 5), {}), std::nullopt);
  EXPECT_EQ(queue.push_while_blocked(node_up("b"), {}), std::nullopt);
  EXPECT_EQ(queue.push_while_blocked(vote(2, 6), {}), raft::CallToken{1});
  EXPECT_EQ(queue.push_while_blocked(vote(3, 8), {}), raft::CallToken{2});
  EXPECT_EQ(queue.push_while_blocked(vote(4, 8), {}), std::nullopt) << "of another candidate";
  EXPECT_EQ(queue.push_while_blocked(vote(5, 7), {}), std::nullopt) << "it is refused in its turn";
  EXPECT_EQ(votes_in(queue), (std::vector<std::uint64_t>{8, 8, 7}));
  // One that was taken out is not looked for any more.
  EXPECT_EQ(queue.push_while_blocked(vote(6, 9), {}), std::nullopt);
  EXPECT_EQ(votes_in(queue), std::vector<std::uint64_t>{9});
}

TEST(EventQueueTest, AnEventIsChargedAsLongAsItWaits) {
  ByteAccount account("waiting", 1000);
  EventQueue queue;
  ByteCharge charge(&account);
  ASSERT_TRUE(charge.try_grow(300));
  queue.push_while_blocked(node_up("a"), std::move(charge));
  EXPECT_EQ(account.used(), 300U);
  {
    const EventQueue::Queued taken = queue.pop();
    EXPECT_EQ(account.used(), 300U);
  }
  EXPECT_EQ(account.used(), 0U);
}

}  // namespace
}  // namespace rakv::member::testing
