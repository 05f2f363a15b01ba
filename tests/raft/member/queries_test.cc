// SPDX-License-Identifier: Apache-2.0
#include "raft/member/queries.h"

#include "parts.h"
#include "raft/log/memory_budget.h"

// Queries of the machine: known ones, those that wait for an entry, those that their caller's node
// evaluates, consistent ones, and aux commands.

namespace rakv::member::testing {
namespace {

using Given = std::vector<std::string>;

struct NoMembers final : AuxContext {
  void write_members(etf::Writer& writer) const override { writer.nil(); }
};

class QueriesTest : public ::testing::Test {
 protected:
  Queries make(const raft::Core& core) {
    return Queries(
        {core, counters_, calls_, no_members_, [this]() -> StateMachine& { return machine_; },
         [this] { return applied_; }, [&core] { return core.role(); },
         [this](std::uint64_t index) -> std::optional<std::uint64_t> {
           if (index > 100) return std::nullopt;
           return term_;
         },
         [this](std::string_view node, std::string_view arguments, Queries::Evaluated done) {
           asked_.push_back(std::string(node) + " " + text(arguments));
           done_ = std::move(done);
         },
         [this](std::string_view) { ++refused_; },
         [this](std::uint64_t bytes) { return ByteCharge(&memory_.waiting, bytes); },
         [this] { ++snapshots_; }});
  }
  void serve(Queries& queries, std::uint64_t tag, const std::string& encoded,
             const std::string& node = "client@host") {
    const wire::ClientRequest request = wire::decode_client_request(encoded);
    queries.serve_local(caller(tag, node), std::get<wire::request::LocalQuery>(request));
  }
  void read_ready(Queries& queries, std::uint64_t tag, const char* request) {
    queries.carry_out(
        raft::effect::ReadReady{calls_.pending().add_query(caller(tag), term(request))});
  }

  Answers answers_;
  MemoryAccounts memory_{raftlog::MemoryBudget::kSmallestBytes};
  ClientCalls calls_{
      answers_.reply(),
      &memory_,
      {ByteCharge(&memory_.waiting), ByteCharge(&memory_.queries), ByteCharge(&memory_.waiting)}};
  Counters counters_;
  NoMembers no_members_;
  NotingMachine machine_;
  raft::Index applied_{7};
  std::uint64_t term_ = 1;
  std::vector<std::string> asked_;
  Queries::Evaluated done_;
  int refused_ = 0;
  int snapshots_ = 0;
  const raft::Core leader_ = leading_core();
  const raft::Core follower_ = following_core();
};

TEST_F(QueriesTest, KnownOnesAreAnsweredHereWithPlaceAndLeader) {
  Queries of_leader = make(leader_);
  machine_.live = {3, 300};
  serve(of_leader, 1, term("{local_query, {ra_lib, id, []}}"));
  serve(of_leader, 2, term("{local_query, {noting, overview, []}}"));
  serve(of_leader, 3, term("{local_query, fun noting:live_indexes/1}"));
  serve(of_leader, 4, term("{local_query, fun ra_lib:ignore/1}"));
  Queries of_follower = make(follower_);
  serve(of_follower, 5, term("{local_query, {ra_lib, id, []}}"));
  const raft::Core nobody(state_of({kSelf, kOther}));
  Queries without_leader = make(nobody);
  serve(without_leader, 6, term("{local_query, {ra_lib, id, []}}"));
  EXPECT_EQ(answers_.given,
            (Given{"1: {ok,{{7,1},state},{kv,a@host}}", "2: {ok,{{7,1},overview},{kv,a@host}}",
                   "3: {ok,{{7,1},[3,300]},{kv,a@host}}", "4: {ok,{{7,1},ok},{kv,a@host}}",
                   "5: {ok,{{7,1},state},{kv,b@host}}", "6: {ok,{{7,0},state},not_known}"}));
  EXPECT_EQ(counters_.get(Counter::local_queries), 6);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(QueriesTest, WhatWaitsForAnEntryIsAnsweredWhenItIsApplied) {
  Queries queries = make(leader_);
  const std::string at_9 =
      term("{local_query, {ra_lib, ignore, []}, #{condition => {applied, {9, 1}}}}");
  serve(queries, 1, at_9);
  serve(queries, 2, term("{local_query, {ra_lib, ignore, []}, #{condition => {applied, {7, 1}}}}"));
  EXPECT_EQ(answers_.given, Given{"2: {ok,{{7,1},ok},{kv,a@host}}"});
  EXPECT_EQ(queries.awaited_index(), raft::Index{7});
  EXPECT_GT(memory_.waiting.used(), at_9.size());
  applied_ = raft::Index{8};
  queries.check_waiting();
  EXPECT_EQ(queries.waiting(), 1U);
  applied_ = raft::Index{9};
  queries.check_waiting();
  EXPECT_EQ(answers_.given.size(), 2U);
  EXPECT_EQ(answers_.given.back(), "1: {ok,{{9,1},ok},{kv,a@host}}");
  EXPECT_EQ(queries.awaited_index(), raft::Index{9});
  EXPECT_EQ(memory_.waiting.used(), 0U);
}

TEST_F(QueriesTest, AnEntryThatWasReplacedIsAwaitedInVain) {
  Queries queries = make(leader_);
  term_ = 2;
  serve(queries, 1, term("{local_query, {ra_lib, ignore, []}, #{condition => {applied, {7, 1}}}}"));
  EXPECT_TRUE(answers_.given.empty());
  EXPECT_EQ(queries.waiting(), 1U);
}

TEST_F(QueriesTest, ThoseOfANodeThatIsGoneAreForgotten) {
  Queries queries = make(leader_);
  const std::string waits =
      term("{local_query, {ra_lib, ignore, []}, #{condition => {applied, {9, 1}}}}");
  serve(queries, 1, waits, "gone@host");
  serve(queries, 2, waits, "there@host");
  const std::uint64_t both = memory_.waiting.used();
  queries.forget_callers_of("gone@host");
  EXPECT_EQ(queries.waiting(), 1U);
  EXPECT_LT(memory_.waiting.used(), both);
  applied_ = raft::Index{9};
  queries.check_waiting();
  EXPECT_EQ(answers_.given, Given{"2: {ok,{{9,1},ok},{kv,a@host}}"});
}

TEST_F(QueriesTest, WithoutRoomNothingWaits) {
  const ByteCharge others(&memory_.waiting, memory_.waiting.limit());
  Queries queries = make(leader_);
  serve(queries, 1, term("{local_query, {ra_lib, ignore, []}, #{condition => {applied, {9, 1}}}}"));
  serve(queries, 2, term("{local_query, {m, f, []}}"));
  EXPECT_EQ(refused_, 2);
  EXPECT_EQ(queries.waiting(), 0U);
  EXPECT_TRUE(asked_.empty());
}

TEST_F(QueriesTest, OthersAreEvaluatedAtTheirCaller) {
  Queries queries = make(leader_);
  serve(queries, 1, term("{local_query, {m, f, []}}"), "far@host");
  EXPECT_EQ(asked_, Given{"far@host [noting,{m,f,[]},state,#{index => 7,machine_version => 0,term "
                          "=> 1}]"});
  EXPECT_GT(memory_.waiting.used(), 0U) << "the caller waits here";
  applied_ = raft::Index{8};
  done_(true, term("value"));
  EXPECT_EQ(answers_.given, Given{"1: {ok,{{7,1},value},{kv,a@host}}"})
      << "with the place at which it was asked";
  serve(queries, 2, term("{local_query, {ra_lib, id, [1]}}"));
  done_(false, term("undef"));
  EXPECT_EQ(answers_.given.back(), "2: {error,undef}");
  done_ = nullptr;
  EXPECT_EQ(memory_.waiting.used(), 0U);
}

TEST_F(QueriesTest, AnEvaluationThatEndsAfterTheMemberAnswersNobody) {
  {
    Queries queries = make(leader_);
    serve(queries, 1, term("{local_query, {m, f, []}}"));
  }
  done_(true, term("value"));
  EXPECT_TRUE(answers_.given.empty());
}

TEST_F(QueriesTest, ConsistentOnesWhenTheLeadershipIsConfirmed) {
  Queries queries = make(leader_);
  read_ready(queries, 1, "{consistent_query, {ra_lib, id, []}}");
  read_ready(queries, 2, "{consistent_query, {m, f, []}}");
  done_(true, term("value"));
  read_ready(queries, 3, "{consistent_query, {m, f, []}}");
  done_(false, term("undef"));
  read_ready(queries, 4, "{consistent_aux, {get, k}}");
  read_ready(queries, 5, "{consistent_aux, quiet}");
  EXPECT_EQ(answers_.given, (Given{"1: {ok,state,{kv,a@host}}", "2: {ok,value,{kv,a@host}}",
                                   "3: {error,undef}", "4: {wrap_reply,{did,{get,k}}}"}));
  EXPECT_EQ(calls_.pending().size(), 0U);
  queries.carry_out(raft::effect::ReadReady{raft::CallToken{77}});
  EXPECT_EQ(answers_.given.size(), 4U);
}

TEST_F(QueriesTest, AuxCommands) {
  Queries queries = make(leader_);
  queries.serve_aux(caller(1), term("look"));
  queries.serve_aux(caller(2), term("{'$wrap_reply', look}"));
  queries.serve_aux(caller(3), term("quiet"));
  EXPECT_EQ(snapshots_, 0);
  queries.serve_aux(caller(4), term("snapshot"));
  EXPECT_EQ(snapshots_, 1);
  EXPECT_EQ(answers_.given,
            (Given{"1: {did,look}", "2: {wrap_reply,{did,look}}", "4: {did,snapshot}"}));
  EXPECT_EQ(counters_.get(Counter::aux_commands), 4);
  EXPECT_EQ(counters_.get(Counter::release_cursors), 1);
}

}  // namespace
}  // namespace rakv::member::testing
