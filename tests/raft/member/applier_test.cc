// SPDX-License-Identifier: Apache-2.0
#include "raft/member/applier.h"

#include <deque>

#include "parts.h"
#include "raft/wire/entry.h"
#include "tests/raft/log/store.h"

// Committed entries on their way to the machine, over a real log whose disk is in memory, and what
// clients hear of them.

namespace rakv::member::testing {
namespace {

using Given = std::vector<std::string>;

class ApplierTest : public ::testing::Test {
 protected:
  ApplierTest() : store_(disk_), log_(*store_.add("kv", "KVAAAA")) {
    store_.vote("KVAAAA", 1, std::nullopt);
  }
  Applier make(const raft::Core& core) {
    auto machine = std::make_unique<NotingMachine>();
    machine_ = machine.get();
    return Applier(
        {log_, core, counters_, log_id_, calls_, notifications_, [] { return std::int64_t{150}; },
         [this] { ++waiting_; }, [this] { --waiting_; },
         [this] {
           notifications_.flush();
           ++ended_;
         },
         [this](const Error& error) { failures_.push_back(error.message); }},
        std::move(machine), raft::Index{});
  }
  void append(SharedBytes payload) {
    log_.append(raftlog::StoredEntry{log_.last().index + 1, 1, std::move(payload)});
  }
  void append_user(std::string_view from, std::string_view data, std::string_view mode) {
    append(wire::encode_user(100, from, term(data), mode));
  }
  static raft::effect::Apply range(std::uint64_t first, std::uint64_t last, bool leader = true) {
    return {raft::Index{first}, raft::Index{last}, leader};
  }

  raftlog::MemoryDisk disk_;
  raftlog::testing::Store store_;
  raftlog::MemberLog& log_;
  Counters counters_;
  std::string log_id_ = "kv";
  Answers answers_;
  ClientCalls calls_{answers_.reply(), nullptr, {}};
  std::vector<std::string> notified_;
  Notifications notifications_{
      {[this](const std::string&, const etf::PidView&, std::string_view event) {
         notified_.push_back(text(event));
         return true;
       },
       [] { return ByteCharge(); }}};
  NotingMachine* machine_ = nullptr;
  int waiting_ = 0;
  int ended_ = 0;
  std::vector<std::string> failures_;
  const raft::Core leader_ = leading_core();
  const raft::Core follower_ = following_core();
  const std::string await_ = term("await_consensus");
  const std::string noreply_ = term("noreply");
};

TEST_F(ApplierTest, EntriesInTheirOrderAndTheLeaderAnswers) {
  Applier applier = make(leader_);
  append_user(caller(1), "one", await_);
  append(wire::encode_noop(100, 0));
  append_user(caller(3), "three", noreply_);
  append_user(caller(4), "four", term("after_log_append"));
  append_user(caller(5), "five", await_);
  applier.carry_out(range(1, 3));
  applier.carry_out(range(4, 5));
  EXPECT_EQ(machine_->applied, (Given{"1:one", "3:three", "4:four", "5:five"}));
  EXPECT_EQ(answers_.given, (Given{"1: {wrap_reply,1}", "5: {wrap_reply,5}"}));
  EXPECT_EQ(applier.last_applied(), raft::Index{5});
  EXPECT_EQ(counters_.get(Counter::commit_latency), 50);
  EXPECT_EQ(ended_, 2);
  EXPECT_EQ(waiting_, 0);
}

TEST_F(ApplierTest, AFollowerIsSilent) {
  Applier applier = make(follower_);
  append_user(caller(1), "one", await_);
  applier.carry_out(range(1, 1, false));
  EXPECT_EQ(machine_->applied, Given{"1:one"});
  EXPECT_TRUE(answers_.given.empty());
}

TEST_F(ApplierTest, WhatTheMachineDoesNotSeeIsAnsweredToo) {
  Applier applier = make(leader_);
  append(wire::encode_cluster_change(100, caller(1), leader_.cluster(), nullptr, await_));
  append(raftlog::testing::payload("no command"));
  applier.carry_out(range(1, 2));
  EXPECT_TRUE(machine_->applied.empty());
  EXPECT_EQ(answers_.given, Given{"1: {wrap_reply,ok}"});
  EXPECT_EQ(applier.last_applied(), raft::Index{2});
}

TEST_F(ApplierTest, TheMemberThatTheModeNamesAnswers) {
  const std::string by_self = term("{await_consensus, #{reply_from => {member, {kv, 'a@host'}}}}");
  const std::string by_other = term("{await_consensus, #{reply_from => {member, {kv, 'b@host'}}}}");
  const std::string by_stranger =
      term("{await_consensus, #{reply_from => {member, {kv, 'z@host'}}}}");
  Applier of_follower = make(follower_);
  append_user(caller(1), "x", by_self);
  append_user(caller(2), "x", by_other);
  append_user(caller(3), "x", by_stranger);
  of_follower.carry_out(range(1, 3, false));
  EXPECT_EQ(answers_.given, Given{"1: {wrap_reply,1}"});
  Applier of_leader = make(leader_);
  of_leader.carry_out(range(2, 3));
  EXPECT_EQ(answers_.given.size(), 3U) << "b is no member of this cluster, the leader answers";
  Applier led_by_other = make(follower_);
  led_by_other.carry_out(range(2, 2));
  EXPECT_EQ(answers_.given.size(), 3U) << "b is a member, and answers itself";
}

TEST_F(ApplierTest, TheMemberOnTheCallersNodeAnswers) {
  const std::string local = term("{await_consensus, #{reply_from => local}}");
  Applier applier = make(follower_);
  append_user(caller(1, "a@host"), "x", local);
  append_user(caller(2, "b@host"), "x", local);
  append_user(caller(3, "far@host"), "x", local);
  applier.carry_out(range(1, 3, false));
  EXPECT_EQ(answers_.given, Given{"1: {wrap_reply,1}"});
  applier.carry_out(range(2, 3, true));
  EXPECT_EQ(answers_.given, (Given{"1: {wrap_reply,1}", "3: {wrap_reply,3}"}))
      << "as a leader for those who have no voter on their node";
}

TEST_F(ApplierTest, ClientsAreNotifiedOnceABatch) {
  etf::Writer mode;
  mode.tuple(3).atom("notify").u64(8).pid(pid_on("client@host"));
  Applier applier = make(leader_);
  append_user({}, "x", mode.view());
  append_user({}, "y", mode.view());
  applier.carry_out(range(1, 2));
  EXPECT_EQ(notified_, Given{"{applied,[{8,1},{8,2}]}"});
  applier.carry_out(range(1, 2, false));
  EXPECT_EQ(notified_.size(), 1U) << "followers notify nobody";
}

TEST_F(ApplierTest, EntriesThatLeftMemoryAreReadFirst) {
  for (int i = 0; i < 20; ++i) append_user(caller(1), "x", await_);
  store_.settle();
  store_.roll_over();
  ASSERT_EQ(log_.fetch(1), nullptr);
  Applier applier = make(leader_);
  applier.carry_out(range(1, 20));
  EXPECT_EQ(waiting_, 1);
  EXPECT_TRUE(machine_->applied.empty());
  EXPECT_EQ(ended_, 0);
  store_.settle();
  EXPECT_EQ(waiting_, 0);
  EXPECT_EQ(machine_->applied.size(), 20U);
  EXPECT_EQ(machine_->applied.back(), "20:x");
  EXPECT_EQ(answers_.given.size(), 20U);
  EXPECT_EQ(ended_, 1);
}

TEST_F(ApplierTest, EntriesThatCantBeReadAreReported) {
  append_user(caller(1), "x", await_);
  Applier applier = make(leader_);
  applier.carry_out(range(2, 2));
  store_.settle();
  EXPECT_EQ(failures_.size(), 1U);
  EXPECT_TRUE(machine_->applied.empty());
}

TEST_F(ApplierTest, OneThatWasStoppedAppliesNothing) {
  for (int i = 0; i < 3; ++i) append_user(caller(1), "x", await_);
  store_.settle();
  store_.roll_over();
  Applier applier = make(leader_);
  applier.carry_out(range(1, 3));
  applier.stop();
  store_.settle();
  EXPECT_TRUE(machine_->applied.empty());
  EXPECT_NE(applier.take_machine(), nullptr);
}

TEST_F(ApplierTest, ASnapshotsMachineTakesItsPlace) {
  Applier applier = make(leader_);
  auto other = std::make_unique<NotingMachine>();
  const NotingMachine* given = other.get();
  applier.replace(std::move(other), raft::Index{40});
  EXPECT_EQ(&applier.machine(), given);
  EXPECT_EQ(applier.last_applied(), raft::Index{40});
}

// --- notifications

class NotificationsTest : public ::testing::Test {
 protected:
  wire::ReplyMode mode(std::uint64_t correlation, const std::string& node) {
    etf::Writer writer;
    writer.tuple(3).atom("notify").u64(correlation).pid(pid_on(node));
    modes_.push_back(writer.take());
    return wire::parse_reply_mode(modes_.back());
  }
  std::deque<std::string> modes_;
  std::vector<std::string> delivered_;
  bool reachable_ = true;
  ByteAccount account_{"notifications", 10'000};
  Notifications notifications_{
      {[this](const std::string&, const etf::PidView& pid, std::string_view event) {
         if (!reachable_) return false;
         std::string shown = text(event);
         delivered_.push_back(std::string(pid.node) + " " + shown.substr(0, 40));
         return true;
       },
       [this] { return ByteCharge(&account_); }}};
};

TEST_F(NotificationsTest, OneEventForEachClient) {
  notifications_.add(mode(1, "x@host"), term("a"));
  notifications_.add(mode(2, "y@host"), term("b"));
  notifications_.add(mode(3, "x@host"), term("c"));
  EXPECT_TRUE(delivered_.empty());
  notifications_.flush();
  EXPECT_EQ(delivered_, (Given{"x@host {applied,[{1,a},{3,c}]}", "y@host {applied,[{2,b}]}"}));
  notifications_.flush();
  EXPECT_EQ(delivered_.size(), 2U);
}

TEST_F(NotificationsTest, ALargeBatchDoesNotWaitForItsEnd) {
  const std::string large = etf::Writer().binary(std::string(300'000, 'x')).take();
  notifications_.add(mode(1, "x@host"), large);
  EXPECT_EQ(delivered_.size(), 1U);
  notifications_.flush();
  EXPECT_EQ(delivered_.size(), 1U);
}

TEST_F(NotificationsTest, WhoIsAwayGetsThemLaterInTheirOrder) {
  const std::string pid = etf::Writer().pid(pid_on("x@host")).take();
  reachable_ = false;
  notifications_.send(pid, term("first"));
  notifications_.send(pid, term("second"));
  EXPECT_EQ(notifications_.undelivered(), 2U);
  notifications_.retry();
  EXPECT_EQ(notifications_.undelivered(), 2U);
  reachable_ = true;
  notifications_.retry();
  EXPECT_EQ(delivered_, (Given{"x@host first", "x@host second"}));
  EXPECT_EQ(account_.used(), 0U);
  reachable_ = false;
  notifications_.send(pid, term("third"));
  notifications_.forget_undelivered();
  EXPECT_EQ(notifications_.undelivered(), 0U);
}

TEST_F(NotificationsTest, WhatIsKeptHasABoundAndTheNewestStay) {
  const std::string pid = etf::Writer().pid(pid_on("x@host")).take();
  reachable_ = false;
  for (int i = 0; i < 20; ++i) {
    notifications_.send(pid, etf::Writer().tuple(2).u64(i).binary(std::string(1000, 'x')).view());
  }
  EXPECT_LE(account_.used(), account_.limit());
  EXPECT_EQ(notifications_.undelivered(), 7U);
  reachable_ = true;
  notifications_.retry();
  ASSERT_EQ(delivered_.size(), 7U);
  EXPECT_TRUE(delivered_.front().starts_with("x@host {13,")) << delivered_.front();
}

TEST_F(NotificationsTest, WhatIsNoPidGetsNothing) {
  notifications_.send(term("name"), term("event"));
  EXPECT_TRUE(delivered_.empty());
  EXPECT_EQ(notifications_.undelivered(), 0U);
}

}  // namespace
}  // namespace rakv::member::testing
