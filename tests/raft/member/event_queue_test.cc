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
