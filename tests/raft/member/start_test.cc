// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "raft/wire/ids.h"
#include "shell.h"

// The start of a member, in slices, while others go on; and what may happen to it meanwhile.

namespace rakv::member::testing {
namespace {

/// kv has so many entries, all applied; then it is stopped and its start is begun, with the worker
/// held.
class Starting {
 public:
  explicit Starting(std::uint64_t entries) {
    shell.add_server("other");
    Peer b(shell, "b");
    const std::string text(20, 'x');
    for (std::uint64_t last = 0; last < entries;) {
      std::vector<raft::Entry> some;
      while (some.size() < 1000 && last < entries) some.push_back(user(++last, 1, text));
      const std::uint64_t prev = last - some.size();
      b.leads(1, std::move(some), prev, prev == 0 ? 0 : 1, last);
      shell.run();
    }
    EXPECT_EQ(shell.member()->last_applied(), raft::Index{entries});
    shell.stop();
    shell.node().terminate(*shell.node().whereis("b"), etf::Writer().atom("normal").view());
    shell.hold.worker = true;
    shell.start();
  }
  Shell shell;
};

std::string state_of(Shell& shell) { return shell.member() == nullptr ? "starting" : "running"; }

TEST(MemberStart, OtherServersGoOnMeanwhile) {
  Starting started(5000);
  Shell& shell = started.shell;
  int puts = 0;
  while (shell.member() == nullptr) {
    const Shell::Answer answer = shell.put("other", "y");
    shell.run();  // all but the worker
    EXPECT_TRUE(answer->value_or("").starts_with("{wrap_reply,")) << answer->value_or("");
    ++puts;
    ASSERT_TRUE(shell.run_worker_once());
  }
  EXPECT_GE(puts, 5000 / 512);
  EXPECT_EQ(shell.member()->last_applied(), raft::Index{5000});
}

TEST(MemberStart, CallsWaitForTheMember) {
  Starting started(1000);
  Shell& shell = started.shell;
  ASSERT_EQ(state_of(shell), "starting");
  const Shell::Answer answer = shell.call(
      [](etf::Writer& writer) { writer.tuple(2).atom("state_query").atom("last_applied"); });
  shell.run();
  EXPECT_EQ(answer->value_or(""), "");
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(answer->value_or(""), "{ok,1000,{kv,'a@127.0.0.1'}}");
}

TEST(MemberStart, MoreCallsThanMayWaitAreRefused) {
  Starting started(1000);
  Shell& shell = started.shell;
  const auto ask = [&] {
    return shell.call(
        [](etf::Writer& writer) { writer.tuple(2).atom("state_query").atom("leader"); });
  };
  std::vector<Shell::Answer> answers;
  {
    const ByteCharge taken =
        shell.node().charge(&MemoryAccounts::waiting, shell.memory().waiting.limit() - 1000);
    for (int i = 0; i < 10; ++i) answers.push_back(ask());
    shell.run();
    EXPECT_LE(shell.memory().waiting.used(), shell.memory().waiting.limit());
  }
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(answers.front()->value_or(""), "{ok,undefined,{kv,'a@127.0.0.1'}}");
  EXPECT_EQ(answers.back()->value_or(""), "{error,system_limit}");
  EXPECT_EQ(shell.memory().waiting.used(), 0U);
}

TEST(MemberStart, MayBeStopped) {
  Starting started(1000);
  Shell& shell = started.shell;
  const Shell::Answer answer =
      shell.call([](etf::Writer& writer) { writer.tuple(2).atom("state_query").atom("leader"); });
  shell.run();
  shell.stop();
  EXPECT_EQ(answer->value_or(""), "down: shutdown");
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(shell.member(), nullptr);
  EXPECT_FALSE(shell.node().whereis("kv"));
  shell.start();
  EXPECT_EQ(state_of(shell), "running");
  EXPECT_EQ(shell.member()->last_applied(), raft::Index{1000});
}

TEST(MemberStart, MayBeKilled) {
  Starting started(1000);
  Shell& shell = started.shell;
  const etf::Pid first = shell.servers().pid_of("kv").value();
  shell.node().send_exit(first.view(), first.view(), etf::Writer().atom("kill").view());
  shell.run();
  EXPECT_EQ(state_of(shell), "starting");
  EXPECT_NE(shell.servers().pid_of("kv").value(), first);
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(state_of(shell), "running");
}

TEST(MemberStart, ASecondStartIsToldOfTheFirst) {
  Starting started(1000);
  Shell& shell = started.shell;
  const auto arguments = [&](etf::Writer& writer) {
    writer.atom("default");
    wire::write_server_id(writer, shell.id("kv"));
    writer.map(0);
  };
  // The node began this start by itself: the first who asks joins it, the next is told of it.
  const Shell::Answer joined = shell.rpc("restart_server_rpc", arguments, 3);
  const Shell::Answer second = shell.rpc("restart_server_rpc", arguments, 3);
  shell.run();
  EXPECT_FALSE(joined->has_value()) << joined->value_or("");
  EXPECT_TRUE(second->value_or("").starts_with("{error,{already_started,")) << second->value_or("");
  shell.stop();
  EXPECT_NE(joined->value_or("").find("stopped during its start"), std::string::npos)
      << joined->value_or("");
  // The first one's caller hears that it was stopped.
  const Shell::Answer first = shell.rpc("restart_server_rpc", arguments, 3);
  shell.hold.worker = true;
  shell.run_without_disk();
  while (!shell.servers().pid_of("kv")) ASSERT_TRUE(shell.run_worker_once());
  shell.stop();
  EXPECT_NE(first->value_or("").find("stopped during its start"), std::string::npos)
      << first->value_or("");
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(shell.member(), nullptr);
}

TEST(MemberStart, MayBeDeleted) {
  Starting started(1000);
  Shell& shell = started.shell;
  const Shell::Answer deleted = shell.rpc(
      "delete_server_rpc", [](etf::Writer& writer) { writer.atom("default").atom("kv"); }, 2);
  shell.run();
  shell.hold.worker = false;
  shell.run();
  EXPECT_EQ(deleted->value_or(""), "ok");
  EXPECT_EQ(shell.log_system().find_by_name("kv"), nullptr);
  EXPECT_FALSE(shell.node().whereis("kv"));
}

void write_default_and_kv(etf::Writer& writer) { writer.atom("default").atom("kv"); }

/// A crash and a deletion in one turn of the event loop: exit(Pid, kill), force_delete_server.
TEST(MemberStart, IsNotBegunForOneThatIsBeingDeleted) {
  Shell shell;
  const etf::Pid pid = shell.member()->pid();
  shell.node().send_exit(pid.view(), pid.view(), etf::Writer().atom("kill").view());
  Shell::Answer deleted;
  boost::asio::post(shell.io(), [&] {
    EXPECT_EQ(shell.member(), nullptr) << "it has crashed";
    deleted = shell.rpc("delete_server_rpc", write_default_and_kv, 2);
  });
  shell.run();
  EXPECT_EQ(deleted->value_or(""), "ok");
  EXPECT_EQ(shell.log_system().find_by_name("kv"), nullptr);
  EXPECT_FALSE(shell.node().whereis("kv")) << "a start that nobody can end has the name";
}

/// One that can't be started: the answer is ok when it is gone, and its name is free.
TEST(MemberStart, OneThatIsBrokenMayBeDeleted) {
  Shell shell;
  const std::string directory = "/data/a@127.0.0.1/" + shell.log().uid();
  ASSERT_TRUE(raftlog::replace_file(shell.disk(), directory + "/config", "damage"));
  shell.crash();
  ASSERT_NE(shell.log_system().why_broken("kv"), nullptr);
  const Shell::Answer deleted = shell.rpc("delete_server_rpc", write_default_and_kv, 2);
  shell.run();
  EXPECT_EQ(deleted->value_or(""), "ok");
  EXPECT_EQ(shell.log_system().why_broken("kv"), nullptr);
  EXPECT_FALSE(shell.disk().exists(directory).value());
  shell.crash();
  EXPECT_EQ(shell.log_system().why_broken("kv"), nullptr);
  EXPECT_EQ(shell.log_system().find_by_name("kv"), nullptr);
}

/// Settings of a restart are being stored when a new server takes the stopped one's name.
TEST(MemberStart, IsNotBegunForOneWhoseNameIsTaken) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "one")});
  shell.run();
  shell.stop();
  shell.hold.worker = shell.hold.background = true;
  const Shell::Answer restarted = shell.rpc(
      "restart_server_rpc",
      [&](etf::Writer& writer) {
        writer.atom("default");
        wire::write_server_id(writer, shell.id("kv"));
        writer.map(0);
      },
      3);
  shell.run();
  const Shell::Answer started = shell.rpc(
      "start_server_rpc",
      [&](etf::Writer& writer) {
        writer.atom("default").atom("machine").map(5);
        writer.atom("id");
        wire::write_server_id(writer, shell.id("kv"));
        writer.atom("uid").binary("kvBBBBBBBBBB");
        writer.atom("cluster_name").atom("kv").atom("machine").atom("history");
        writer.atom("log_init_args").map(0);
      },
      3);
  shell.run();  // what the former one has goes to segments first
  shell.hold.worker = false;
  shell.run();
  shell.hold.background = false;
  shell.run();
  EXPECT_TRUE(started->value_or("").starts_with("{ok,")) << started->value_or("");
  EXPECT_TRUE(restarted->value_or("").starts_with("{error,")) << restarted->value_or("");
  ASSERT_NE(shell.member(), nullptr);
  EXPECT_EQ(shell.member()->uid(), "kvBBBBBBBBBB");
  EXPECT_EQ(&shell.member()->log(), shell.log_system().find("kvBBBBBBBBBB"));
}

/// No descriptor is left, or the disk does not answer, for a moment: nothing is lost by that, and
/// nothing is given up.
TEST(MemberStart, AnErrorOfTheDiskIsNoDamage) {
  for (const char* file : {".segment", "snapshot.dat"}) {
    SCOPED_TRACE(file);
    Shell shell;
    Peer b(shell, "b");
    b.leads(1, {user(1, 1, "one"), user(2, 1, "two")}, 0, 0, 2);
    shell.run();
    shell.ask([](etf::Writer& writer) { writer.tuple(2).atom("aux_command").atom("snapshot"); });
    b.leads(1, {user(3, 1, "three")}, 2, 1, 3);
    shell.run();
    shell.log_system().roll_over_wal();
    shell.run();
    ASSERT_EQ(shell.log().memory_entries(), 0U);
    int failed = 0;
    shell.faults().set_rule(
        [&](raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
          const bool is_meant = path.find(file) != std::string::npos;
          if (operation != raftlog::DiskOperation::read || !is_meant || failed > 0)
            return std::nullopt;
          ++failed;
          return make_error(ErrorCode::io, path + ": can't read: Input/output error");
        });
    shell.stop();
    shell.start();
    shell.run_until([&] { return shell.member() != nullptr; }, "it starts");
    EXPECT_EQ(failed, 1);
    EXPECT_FALSE(shell.log().amnesia());
    EXPECT_EQ(shell.history(), "1:one 2:two 3:three");
  }
}

TEST(MemberStart, FailsWhereTheSnapshotCannotBeRead) {
  Shell shell;
  Peer b(shell, "b");
  b.leads(1, {user(1, 1, "one"), user(2, 1, "two")}, 0, 0, 2);
  shell.run();
  shell.ask([](etf::Writer& writer) { writer.tuple(2).atom("aux_command").atom("snapshot"); });
  ASSERT_TRUE(shell.log().snapshot());
  shell.stop();
  const std::string directory = "/data/a@127.0.0.1/" + shell.log().uid() + "/snapshots";
  const auto snapshots = shell.disk().list(directory).value();
  ASSERT_EQ(snapshots.size(), 1U);
  auto file =
      shell.disk().open_write(directory + "/" + snapshots[0].name + "/snapshot.dat").value();
  ASSERT_TRUE(file->pwrite(20, "damage"));
  shell.start();
  EXPECT_EQ(shell.member(), nullptr);
  EXPECT_FALSE(shell.node().whereis("kv"));
}

/// How long the owner's thread is kept by the start of a server with many entries. Nothing is
/// expected of it; `RAKV_ENTRIES` says how many (1,000,000 for the README's figure).
TEST(MemberStart, MeasuresHowLongTheOwnerIsKept) {
  const char* given = std::getenv("RAKV_ENTRIES");
  const std::uint64_t entries = given != nullptr ? std::strtoull(given, nullptr, 10) : 20'000;
  Starting started(entries);
  Shell& shell = started.shell;
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  Clock::duration longest{};
  Clock::duration all{};
  const auto begun = Clock::now();
  while (shell.member() == nullptr) {
    ASSERT_TRUE(shell.run_one_of_worker());
    const auto from = Clock::now();
    shell.run_without_disk();
    longest = std::max(longest, Clock::now() - from);
    all += Clock::now() - from;
  }
  std::printf(
      "start of %llu entries: %.0f ms, of these on the owner's thread %.1f ms, "
      "the longest at a time %.2f ms\n",
      static_cast<unsigned long long>(entries), ms(Clock::now() - begun), ms(all), ms(longest));
}

}  // namespace
}  // namespace rakv::member::testing
