// SPDX-License-Identifier: Apache-2.0
#include "raft/member/client_calls.h"

#include "parts.h"
#include "raft/log/memory_budget.h"

// Answers to clients, and the room for those that wait.

namespace rakv::member::testing {
namespace {

using Given = std::vector<std::string>;

class ClientCallsTest : public ::testing::Test {
 protected:
  Answers answers_;
  MemoryAccounts memory_{raftlog::MemoryBudget::kSmallestBytes};
  ClientCalls calls_{
      answers_.reply(),
      &memory_,
      {ByteCharge(&memory_.waiting), ByteCharge(&memory_.queries), ByteCharge(&memory_.waiting)}};
};

TEST_F(ClientCallsTest, AnswersGoToTheCallerAndNowhereForACast) {
  calls_.answer_atom(caller(1), "ok");
  calls_.answer_error(caller(2), "wal_down");
  calls_.answer_redirect(caller(3), kOther);
  calls_.answer_unsupported(caller(4), term("{what, 1}"));
  calls_.answer_atom({}, "ok");
  EXPECT_EQ(answers_.given, (Given{"1: ok", "2: {error,wal_down}", "3: {redirect,{kv,b@host}}",
                                   "4: {error,{unsupported_call,{what,1}}}"}));
}

TEST_F(ClientCallsTest, AnAppendedCommandIsAnsweredIfItsModeSaysSo) {
  const raft::CallToken asked = calls_.pending().add(caller(1), {}, true);
  const raft::CallToken waits = calls_.pending().add(caller(2), {});
  calls_.carry_out(raft::effect::CommandAppended{asked, raft::Index{7}, raft::Term{3}});
  calls_.carry_out(raft::effect::CommandAppended{waits, raft::Index{8}, raft::Term{3}});
  EXPECT_EQ(answers_.given, Given{"1: {wrap_reply,{7,3}}"});
  EXPECT_EQ(calls_.pending().size(), 0U) << "the entry itself knows who waits for its outcome";
}

TEST_F(ClientCallsTest, EachEffectAnswersItsCallOnce) {
  const auto add = [&](std::uint64_t tag) {
    return calls_.pending().add(caller(tag), term("asked"));
  };
  const raft::CallToken redirected = add(1);
  const raft::CallToken refused = add(2);
  const raft::CallToken unsupported = add(3);
  const raft::CallToken done = add(4);
  const raft::CallToken leads = add(5);
  const raft::CallToken dropped = add(6);
  const raft::CallToken held = add(7);
  for (int twice = 0; twice < 2; ++twice) {
    calls_.carry_out(raft::effect::RedirectClient{redirected, kOther});
    calls_.carry_out(raft::effect::RejectCall{refused, raft::effect::RejectReason::already_member});
    calls_.carry_out(
        raft::effect::RejectCall{unsupported, raft::effect::RejectReason::unsupported_call});
    calls_.carry_out(raft::effect::AnswerOk{done});
    calls_.carry_out(raft::effect::AnswerAlreadyLeader{leads});
    calls_.carry_out(raft::effect::DropCall{dropped});
    calls_.carry_out(raft::effect::HoldClient{held});
  }
  EXPECT_EQ(answers_.given,
            (Given{"1: {redirect,{kv,b@host}}", "2: {error,already_member}",
                   "3: {error,{unsupported_call,asked}}", "4: ok", "5: already_leader"}));
  EXPECT_EQ(calls_.pending().size(), 1U) << "the held one";
}

TEST_F(ClientCallsTest, EachReasonHasItsAtom) {
  using Reason = raft::effect::RejectReason;
  for (const auto& [reason, name] : std::vector<std::pair<Reason, std::string>>{
           {Reason::cluster_change_not_permitted, "cluster_change_not_permitted"},
           {Reason::not_member, "not_member"},
           {Reason::missing_uid, "missing_uid"},
           {Reason::wal_down, "wal_down"},
           {Reason::nodedown, "nodedown"},
           {Reason::unknown_member, "unknown_member"},
           {Reason::non_voter, "non_voter"},
           {Reason::not_up_to_date, "not_up_to_date"},
           {Reason::snapshot_corrupt, "snapshot_corrupt"}}) {
    calls_.carry_out(raft::effect::RejectCall{calls_.pending().add(caller(1), {}), reason});
    EXPECT_EQ(answers_.given.back(), "1: {error," + name + "}");
  }
}

TEST_F(ClientCallsTest, AServerTakesHalfOfWhatTheOthersLeave) {
  const std::uint64_t limit = memory_.waiting.limit();
  EXPECT_TRUE(calls_.may_wait(limit / 2 - PendingCalls::kCallBytes));
  const ByteCharge others(&memory_.waiting, limit / 2);
  EXPECT_TRUE(calls_.may_wait(limit / 4 - PendingCalls::kCallBytes));
  EXPECT_FALSE(calls_.may_wait(limit / 4 + 1));
}

TEST_F(ClientCallsTest, CallsAndLocalQueriesThatWaitAreItsOwn) {
  const std::uint64_t limit = memory_.waiting.limit();
  calls_.pending().add(caller(1), {}, false, limit / 8);
  calls_.local_queries().grow(limit / 8);
  EXPECT_TRUE(calls_.may_wait(limit / 8));
  EXPECT_FALSE(calls_.may_wait(limit / 4));
  EXPECT_TRUE(calls_.may_query(memory_.queries.limit() / 4)) << "an account of its own";
}

TEST_F(ClientCallsTest, OneLargerThanItsShareMayWaitAlone) {
  EXPECT_TRUE(calls_.may_wait(2 * memory_.waiting.limit()));
  const ByteCharge others(&memory_.waiting, memory_.waiting.limit() / 2 + 1);
  EXPECT_FALSE(calls_.may_wait(2 * memory_.waiting.limit()));
}

TEST_F(ClientCallsTest, QueriesHaveABoundOfTheirOwn) {
  const std::uint64_t limit = memory_.queries.limit();
  const ByteCharge others(&memory_.queries, limit - 1000);
  EXPECT_FALSE(calls_.may_query(1000));
  EXPECT_TRUE(calls_.may_wait(1000));
}

TEST_F(ClientCallsTest, WithoutABoundEverythingMayWait) {
  ClientCalls unbounded(answers_.reply(), nullptr, {});
  EXPECT_TRUE(unbounded.may_wait(std::size_t{1} << 40));
  EXPECT_TRUE(unbounded.may_query(std::size_t{1} << 40));
}

TEST_F(ClientCallsTest, TheCallsOfANode) {
  const raft::CallToken here = calls_.pending().add(caller(1, "here@host"), {});
  calls_.pending().add(caller(2, "there@host"), {});
  calls_.pending().add({}, {});
  const raft::CallToken again = calls_.pending().add(caller(3, "here@host"), {});
  EXPECT_EQ(calls_.calls_from("here@host"), (std::vector<raft::CallToken>{here, again}));
  EXPECT_EQ(node_of_caller(caller(1, "here@host")), "here@host");
  EXPECT_EQ(node_of_caller(term("{no, pid}")), "");
}

}  // namespace
}  // namespace rakv::member::testing
