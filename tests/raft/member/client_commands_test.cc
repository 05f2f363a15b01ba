// SPDX-License-Identifier: Apache-2.0
#include "raft/member/client_commands.h"

#include <deque>

#include "parts.h"
#include "raft/log/memory_budget.h"
#include "raft/wire/entry.h"

// What becomes of a client's command before the core sees it.

namespace rakv::member::testing {
namespace {

using Given = std::vector<std::string>;

class ClientCommandsTest : public ::testing::Test {
 protected:
  ClientCommands make(const raft::Core& core) {
    return ClientCommands({core, counters_, calls_, notifications_,
                           [this]() -> const StateMachine& { return machine_; },
                           [this] { return blocked_; }, [this] { return overloaded_; },
                           [] { return std::int64_t{1234}; },
                           [](std::string_view) { return SharedBytes(); },
                           [this](std::function<void()> job) { jobs_.push_back(std::move(job)); },
                           [this](std::string_view from) {
                             refused_.emplace_back(from.empty() ? "nobody" : "somebody");
                           },
                           [this](const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write) {
                             etf::Writer writer;
                             write(writer);
                             cast_.push_back(to_string(to) + " " + text(writer.view()));
                           },
                           [this](raft::Event event) { events_.push_back(std::move(event)); }});
  }
  void submit(ClientCommands& commands, std::string_view from, const std::string& encoded,
              bool leader_call = true) {
    commands.submit(from, encoded, command_of(encoded), leader_call);
  }
  void end_turn() {
    for (; !jobs_.empty(); jobs_.pop_front()) jobs_.front()();
  }
  /// The commands of the only event so far.
  std::vector<raft::event::ClientCommand> gathered() {
    EXPECT_EQ(events_.size(), 1U);
    if (events_.size() != 1) return {};
    return std::get<raft::event::CommandBatch>(events_.front()).commands;
  }

  Answers answers_;
  MemoryAccounts memory_{raftlog::MemoryBudget::kSmallestBytes};
  ClientCalls calls_{answers_.reply(), &memory_, {ByteCharge(&memory_.waiting), {}, {}}};
  std::vector<std::string> notified_;
  Notifications notifications_{
      {[this](const std::string&, const etf::PidView& pid, std::string_view event) {
         notified_.push_back(std::string(pid.node) + " " + text(event));
         return true;
       },
       [] { return ByteCharge(); }}};
  Counters counters_;
  NotingMachine machine_;
  bool blocked_ = false;
  bool overloaded_ = false;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::string> refused_;
  std::vector<std::string> cast_;
  std::vector<raft::Event> events_;
  const std::string put_ = term("{command, normal, {'$usr', put, await_consensus}}");
  const raft::Core leader_ = leading_core();
  const raft::Core follower_ = following_core();
};

/// `{command, normal, {'$usr', put, {notify, 5, Pid}}}`
std::string notifying() {
  etf::Writer writer;
  writer.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr").atom("put");
  return writer.tuple(3).atom("notify").u64(5).pid(pid_on("client@host")).take();
}

TEST_F(ClientCommandsTest, ThoseOfOneTurnAreOneAppend) {
  ClientCommands commands = make(leader_);
  submit(commands, caller(1), put_);
  submit(commands, caller(2), put_);
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(jobs_.size(), 1U);
  end_turn();
  const std::vector<raft::event::ClientCommand> gathered = this->gathered();
  ASSERT_EQ(gathered.size(), 2U);
  EXPECT_EQ(calls_.pending().find(gathered[0].token)->from, caller(1));
  EXPECT_EQ(calls_.pending().find(gathered[1].token)->from, caller(2));
  EXPECT_TRUE(gathered[0].leader_call);
  const wire::EntryView entry = wire::parse_entry(gathered[0].payload.view());
  EXPECT_EQ(entry.kind, raft::EntryKind::user);
  EXPECT_EQ(text(entry.data), "put");
  EXPECT_EQ(text(entry.mode), "await_consensus");
  EXPECT_EQ(entry.from, caller(1));
  EXPECT_EQ(entry.ts, 1234);
  EXPECT_EQ(counters_.get(Counter::commands), 2);
  submit(commands, caller(3), put_);
  EXPECT_EQ(jobs_.size(), 1U) << "the next turn has one of its own";
}

TEST_F(ClientCommandsTest, ATurnThatBringsVeryManyIsSplit) {
  ClientCommands commands = make(leader_);
  for (std::size_t i = 0; i < ClientCommands::kBatchMax; ++i) submit(commands, {}, put_, false);
  EXPECT_EQ(gathered().size(), ClientCommands::kBatchMax);
}

TEST_F(ClientCommandsTest, ACastThatNeedNotWaitTakesNoRoom) {
  ClientCommands commands = make(leader_);
  submit(commands, {}, put_, false);
  EXPECT_EQ(calls_.pending().size(), 0U);
  blocked_ = true;
  submit(commands, {}, put_, false);
  EXPECT_EQ(calls_.pending().size(), 1U);
}

TEST_F(ClientCommandsTest, ModesThatAreAnsweredWhenAppendedAreKeptSo) {
  ClientCommands commands = make(leader_);
  submit(commands, caller(1), term("{command, normal, {'$usr', put, after_log_append}}"));
  submit(commands, caller(2), put_);
  commands.flush();
  const std::vector<raft::event::ClientCommand> gathered = this->gathered();
  EXPECT_TRUE(calls_.pending().find(gathered[0].token)->answer_when_appended);
  EXPECT_FALSE(calls_.pending().find(gathered[1].token)->answer_when_appended);
}

TEST_F(ClientCommandsTest, ChangesOfMembersGoAtOnceAfterWhatCameBefore) {
  ClientCommands commands = make(leader_);
  submit(commands, caller(1), put_);
  const std::string join = term("{command, low, {'$ra_join', {kv, 'c@host'}, await_consensus}}");
  submit(commands, caller(2), join);
  const std::vector<raft::event::ClientCommand> gathered = this->gathered();
  ASSERT_EQ(gathered.size(), 2U);
  EXPECT_EQ(gathered[1].kind, raft::event::CommandKind::join);
  EXPECT_EQ(gathered[1].server, raft::ServerId("kv", "c@host"));
  EXPECT_EQ(gathered[1].priority, raft::event::Priority::normal) << "low is for the machine's only";
  EXPECT_EQ(calls_.pending().find(gathered[1].token)->request, join);
  EXPECT_EQ(calls_.pending().find(gathered[0].token)->request, "") << "the payload has it";
}

TEST_F(ClientCommandsTest, TheEndOfTheClusterIsAnEntry) {
  ClientCommands commands = make(leader_);
  submit(commands, caller(1), term("{command, normal, {'$ra_cluster', delete, await_consensus}}"));
  const std::vector<raft::event::ClientCommand> gathered = this->gathered();
  ASSERT_EQ(gathered.size(), 1U);
  EXPECT_EQ(gathered[0].kind, raft::event::CommandKind::delete_cluster);
  EXPECT_EQ(wire::parse_entry(gathered[0].payload.view()).kind, raft::EntryKind::cluster_delete);
}

TEST_F(ClientCommandsTest, LowPriorityIsPassedOn) {
  ClientCommands commands = make(leader_);
  submit(commands, {}, term("{command, low, {'$usr', put, noreply}}"), false);
  end_turn();
  EXPECT_EQ(gathered().front().priority, raft::event::Priority::low);
  EXPECT_EQ(calls_.pending().size(), 1U) << "it waits for others, so it is charged";
}

TEST_F(ClientCommandsTest, ALeaderSaysWhatItDoesNotTake) {
  ClientCommands commands = make(leader_);
  submit(commands, caller(1), term("{command, normal, {'$usr', put, whenever}}"));
  submit(commands, caller(2), term("{command, normal, {'$ra_machine', put, await_consensus}}"));
  machine_.refuses = true;
  submit(commands, caller(3), put_);
  EXPECT_EQ(answers_.given,
            (Given{"1: {error,{invalid_reply_mode,whenever}}",
                   "2: {error,{unsupported_call,{command,normal,{'$ra_machine',put,await_consensus}"
                   "}}}",
                   "3: {error,{unsupported_command,<<\"no such command\">>}}"}));
  EXPECT_EQ(counters_.get(Counter::invalid_reply_mode_commands), 1);
  EXPECT_TRUE(events_.empty());
}

TEST_F(ClientCommandsTest, AFollowerLetsTheLeaderSayIt) {
  ClientCommands commands = make(follower_);
  machine_.refuses = true;
  submit(commands, caller(1), put_);
  ASSERT_EQ(events_.size(), 1U);
  const auto& request = std::get<raft::event::LeaderRequest>(events_.front());
  EXPECT_EQ(calls_.pending().find(request.token)->request, put_);
  EXPECT_TRUE(answers_.given.empty());
  submit(commands, caller(2), put_, false);
  EXPECT_EQ(answers_.given.size(), 1U) << "a call that is for this member is answered by it";
  submit(commands, {}, notifying(), false);
  EXPECT_EQ(notified_, Given{"client@host {rejected,{not_leader,{kv,b@host},5}}"});
}

TEST_F(ClientCommandsTest, ALeaderWhoseDiskDoesNotKeepUpRefuses) {
  ClientCommands commands = make(leader_);
  overloaded_ = true;
  submit(commands, caller(1), put_);
  EXPECT_EQ(answers_.given, Given{"1: {error,wal_down}"});
  submit(commands, {}, notifying(), false);
  EXPECT_EQ(notified_, Given{"client@host {rejected,{not_leader,undefined,5}}"});
  ClientCommands of_follower = make(follower_);
  submit(of_follower, caller(2), put_);
  of_follower.flush();
  EXPECT_EQ(gathered().size(), 1U) << "a follower sends the caller on";
}

TEST_F(ClientCommandsTest, WithoutRoomNothingWaits) {
  const ByteCharge others(&memory_.waiting, memory_.waiting.limit());
  ClientCommands commands = make(leader_);
  submit(commands, caller(1), put_);
  EXPECT_TRUE(refused_.empty()) << "what need not wait needs no room";
  blocked_ = true;
  submit(commands, caller(2), put_);
  EXPECT_EQ(refused_, Given{"somebody"});
  submit(commands, {}, notifying(), false);
  EXPECT_EQ(notified_.size(), 1U);
  commands.flush();
  EXPECT_EQ(gathered().size(), 1U);
}

TEST_F(ClientCommandsTest, OutsideALeaderCallAFollowerRefusesForwardsOrRejects) {
  ClientCommands commands = make(follower_);
  const std::string noreply = term("{command, low, {'$usr', put, noreply}}");
  submit(commands, caller(1), put_, false);
  submit(commands, {}, noreply, false);
  submit(commands, {}, notifying(), false);
  commands.flush();
  for (raft::event::ClientCommand& command : gathered()) {
    EXPECT_FALSE(command.leader_call);
    commands.carry_out(raft::effect::NotLeader{command, kOther});
  }
  EXPECT_EQ(answers_.given,
            Given{"1: {error,{unsupported_call,{command,normal,{'$usr',put,await_consensus}}}}"});
  EXPECT_EQ(cast_, Given{"{kv,b@host} {command,low,{'$usr',put,noreply}}"});
  EXPECT_EQ(notified_, Given{"client@host {rejected,{not_leader,{kv,b@host},5}}"});
  EXPECT_EQ(calls_.pending().size(), 0U);
}

TEST_F(ClientCommandsTest, WithoutALeaderToNameAFollowerForwardsNothing) {
  ClientCommands commands = make(follower_);
  submit(commands, {}, term("{command, normal, {'$usr', put, noreply}}"), false);
  submit(commands, {}, notifying(), false);
  commands.flush();
  const std::vector<raft::event::ClientCommand> gathered = this->gathered();
  for (const raft::event::ClientCommand& command : gathered) {
    commands.carry_out(raft::effect::NotLeader{command, std::nullopt});
    commands.carry_out(raft::effect::NotLeader{command, kSelf});
  }
  EXPECT_TRUE(cast_.empty());
  EXPECT_TRUE(notified_.empty());
  blocked_ = true;
  commands.carry_out(raft::effect::NotLeader{gathered[1], kOther});
  EXPECT_EQ(notified_, Given{"client@host {rejected,{not_leader,undefined,5}}"})
      << "while it waits it does not know who leads";
}

}  // namespace
}  // namespace rakv::member::testing
