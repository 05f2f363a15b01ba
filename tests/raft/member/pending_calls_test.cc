// SPDX-License-Identifier: Apache-2.0
#include "raft/member/pending_calls.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace rakv::member {
namespace {

TEST(PendingCallsTest, FoundUntilRemoved) {
  PendingCalls calls;
  const raft::CallToken token = calls.add("from", "request");
  ASSERT_NE(calls.find(token), nullptr);
  EXPECT_EQ(calls.find(token)->from, "from");
  EXPECT_EQ(calls.find(token)->request, "request");
  EXPECT_EQ(calls.size(), 1u);
  calls.remove(token);
  EXPECT_EQ(calls.find(token), nullptr);
  calls.remove(token);
  EXPECT_EQ(calls.size(), 0u);
}

TEST(PendingCallsTest, StaleTokenDoesNotFindTheSlotsNextUser) {
  PendingCalls calls;
  const raft::CallToken old = calls.add("a", "1");
  calls.remove(old);
  const raft::CallToken next = calls.add("b", "2");
  EXPECT_EQ(static_cast<std::uint32_t>(old.value()), static_cast<std::uint32_t>(next.value()))
      << "the slot was not reused: this test tests nothing";
  EXPECT_EQ(calls.find(old), nullptr);
  calls.remove(old);
  ASSERT_NE(calls.find(next), nullptr);
  EXPECT_EQ(calls.find(next)->from, "b");
}

TEST(PendingCallsTest, WhetherToAnswerWhenAppendedIsOfTheCallNotTheSlot) {
  PendingCalls calls;
  const raft::CallToken token = calls.add("a", {}, true);
  EXPECT_TRUE(calls.find(token)->answer_when_appended);
  calls.remove(token);
  EXPECT_FALSE(calls.find(calls.add("b", {}))->answer_when_appended);
}

TEST(PendingCallsTest, TokensOfNoCall) {
  PendingCalls calls;
  EXPECT_EQ(calls.find(raft::CallToken{0}), nullptr);
  EXPECT_EQ(calls.find(raft::CallToken{~std::uint64_t{0}}), nullptr);
}

TEST(PendingCallsTest, GiantRequestIsGivenBack) {
  PendingCalls calls;
  calls.remove(calls.add("from", std::string(1 << 20, 'x')));
  const raft::CallToken token = calls.add("from", "small");
  EXPECT_LT(calls.find(token)->request.capacity(), std::size_t{1} << 16);
}

TEST(PendingCallsTest, WhatTheyTakeIsCharged) {
  ByteAccount account("waiting", 1 << 20);
  ByteAccount queries("queries", 1 << 20);
  {
    PendingCalls calls{ByteCharge(&account), ByteCharge(&queries)};
    const raft::CallToken command = calls.add("from", "", false, 10'000);
    EXPECT_GE(account.used(), 10'004u);
    const raft::CallToken query = calls.add_query("from", std::string(5000, 'x'));
    EXPECT_LT(account.used(), 11'000u);
    EXPECT_GE(queries.used(), 5004u);
    calls.remove(command);
    EXPECT_EQ(account.used(), 0u);
    calls.remove(query);
    calls.remove(query);
    EXPECT_EQ(queries.used(), 0u);
    calls.add("stays", "");
  }
  EXPECT_EQ(account.used(), 0u);
}

TEST(PendingCallsTest, AfterAFloodTheSlotsGoAndOldTokensStayStale) {
  PendingCalls calls;
  std::vector<raft::CallToken> tokens;
  tokens.reserve(20'000);
  for (int i = 0; i < 20'000; ++i) tokens.push_back(calls.add("from", "request"));
  for (const raft::CallToken token : tokens) calls.remove(token);
  EXPECT_EQ(calls.slots(), 0u);
  const raft::CallToken next = calls.add("from", "request");
  EXPECT_NE(next, tokens.front());
  EXPECT_EQ(calls.find(tokens.front()), nullptr);
  EXPECT_NE(calls.find(next), nullptr);
}

TEST(PendingCallsTest, TokensOfACaller) {
  PendingCalls calls;
  const raft::CallToken first = calls.add("a", "");
  calls.add("b", "");
  const raft::CallToken last = calls.add("a", "");
  calls.add("", "");
  const auto tokens = calls.tokens_of([](std::string_view from) { return from == "a"; });
  EXPECT_EQ(tokens, (std::vector<raft::CallToken>{first, last}));
}

}  // namespace
}  // namespace rakv::member
