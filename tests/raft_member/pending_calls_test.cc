#include "raft/member/pending_calls.h"

#include <gtest/gtest.h>

#include <string>

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

}  // namespace
}  // namespace rakv::member
