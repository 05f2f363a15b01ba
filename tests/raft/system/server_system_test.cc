// SPDX-License-Identifier: Apache-2.0
#include "raft/system/server_system.h"

#include <gtest/gtest.h>

#include "cnode/etf/text.h"
#include "tests/raft/member/shell.h"
#include "tests/support/term_text.h"

// The ra system of a node as BEAM nodes see it: its remote procedures and its supervisor.

namespace rakv::system::testing {
namespace {

using member::testing::Shell;

constexpr char kHere[] = "a@127.0.0.1";

class ServerSystemTest : public ::testing::Test {
 protected:
  ServerSystemTest() { shell_.add_server("solo"); }

  /// Module:Function(...) as another node applies it, with a list of arguments in text.
  std::string apply(std::string_view module, std::string_view function, std::string_view list) {
    return apply_encoded(module, function, term(list));
  }
  std::string apply_encoded(std::string_view module, std::string_view function,
                            std::string_view list) {
    auto answer = std::make_shared<std::string>("no answer");
    shell_.node().apply(
        kHere, module, function, list, std::chrono::hours(1),
        [answer](const node::ApplyResult& result) { *answer = etf::print_text(result.term); });
    shell_.run();
    return *answer;
  }
  std::string ask_supervisor(const std::function<void(etf::Writer&)>& request) {
    const Shell::Answer answer = shell_.call(request, "ra_server_sup_sup");
    shell_.run();
    return answer->value_or("no answer");
  }

  std::string put(const std::string& name) {
    const Shell::Answer answer = shell_.put(name, "x");
    shell_.run();
    return answer->value_or("no answer");
  }

  Shell shell_;
};

TEST_F(ServerSystemTest, TheSupervisorStopsAServerByItsPid) {
  const etf::Pid pid = shell_.servers().find("solo")->pid();
  const auto terminate = [&] {
    return ask_supervisor(
        [&](etf::Writer& writer) { writer.tuple(2).atom("terminate_child").pid(pid); });
  };
  EXPECT_EQ(terminate(), "ok");
  EXPECT_EQ(shell_.servers().find("solo"), nullptr);
  EXPECT_EQ(terminate(), "{error,not_found}");
}

/// Its process ends before the event loop turns: nothing of the server may outlive its node.
TEST_F(ServerSystemTest, AServerThatWasStoppedGoesWithItsSystem) {
  shell_.servers().stop_server("solo");
  shell_.crash(raftlog::CrashMode::lose_unsynced);
  shell_.run();
  EXPECT_NE(shell_.servers().find("solo"), nullptr) << "the next process has it";
}

TEST_F(ServerSystemTest, TheSupervisorCountsItsChildren) {
  EXPECT_EQ(ask_supervisor([](etf::Writer& writer) { writer.atom("count_children"); }),
            "[{specs,1},{active,2},{supervisors,2},{workers,0}]");
  EXPECT_TRUE(ask_supervisor([](etf::Writer& writer) {
                writer.atom("which_children");
              }).starts_with("[{undefined,"));
  EXPECT_EQ(ask_supervisor([](etf::Writer& writer) { writer.atom("what"); }),
            "{error,{unsupported_call,what}}");
}

TEST_F(ServerSystemTest, AClusterOfOneIsMadeWithTheMachineOfThisNode) {
  std::optional<Result<void>> made;
  shell_.servers().bootstrap("fresh", [&](Result<void> done) { made = std::move(done); });
  shell_.run();
  ASSERT_TRUE(made && *made);
  const member::Member* fresh = shell_.servers().find("fresh");
  ASSERT_NE(fresh, nullptr);
  EXPECT_EQ(fresh->role(), raft::Role::leader);
  EXPECT_EQ(fresh->machine().module(), "history");
  made.reset();
  shell_.servers().bootstrap("fresh", [&](Result<void> done) { made = std::move(done); });
  shell_.run();
  ASSERT_TRUE(made && *made) << "it is there";
}

TEST_F(ServerSystemTest, ADeletedServerIsGoneWithItsData) {
  EXPECT_EQ(apply("ra_server_sup_sup", "delete_server_rpc", "[default, solo]"), "ok");
  EXPECT_EQ(shell_.servers().find("solo"), nullptr);
  EXPECT_EQ(shell_.log_system().find_by_name("solo"), nullptr);
  EXPECT_EQ(apply("ra_directory", "uid_of", "[default, solo]"), "undefined");
  EXPECT_EQ(
      apply("ra_server_sup_sup", "restart_server_rpc", "[default, {solo, 'a@127.0.0.1'}, #{}]"),
      "{error,name_not_registered}");
  EXPECT_NE(shell_.member(), nullptr) << "the others stay";
}

TEST_F(ServerSystemTest, OtherSystemsAreNotStartedHere) {
  for (const auto& [function, arguments] : std::vector<std::pair<const char*, const char*>>{
           {"start_server_rpc", "[other, x, #{}]"},
           {"restart_server_rpc", "[other, {solo, 'a@127.0.0.1'}, #{}]"},
           {"prepare_server_stop_rpc", "[other, solo]"},
           {"delete_server_rpc", "[other, solo]"}}) {
    EXPECT_EQ(apply("ra_server_sup_sup", function, arguments), "{error,system_not_started}")
        << function;
  }
  EXPECT_NE(shell_.servers().find("solo"), nullptr);
}

TEST_F(ServerSystemTest, TheDirectoryKnowsServersByNameAndUid) {
  EXPECT_EQ(apply("ra_directory", "uid_of", "[default, solo]"), "<<\"soloAAAAAAAAAA\">>");
  EXPECT_EQ(apply("ra_directory", "name_of", "[default, <<\"soloAAAAAAAAAA\">>]"), "solo");
  EXPECT_EQ(apply("ra_directory", "cluster_name_of", "[default, solo]"), "solo");
  EXPECT_EQ(apply("ra_directory", "is_registered_uid", "[default, <<\"nobody\">>]"), "false");
  EXPECT_EQ(apply("ra_directory", "uid_of", "[default, {solo, 'a@127.0.0.1'}]"),
            "<<\"soloAAAAAAAAAA\">>");
}

TEST_F(ServerSystemTest, TheLeaderboardNamesTheLeaderUntilTheServerStops) {
  EXPECT_EQ(apply("ra_leaderboard", "lookup_leader", "[solo]"), "{solo,'a@127.0.0.1'}");
  EXPECT_EQ(apply("ra_leaderboard", "lookup_members", "[solo]"), "[{solo,'a@127.0.0.1'}]");
  EXPECT_EQ(apply("ra_leaderboard", "lookup_leader", "[nobody]"), "undefined");
  shell_.servers().stop_server("solo");
  shell_.run();
  EXPECT_EQ(apply("ra_leaderboard", "lookup_leader", "[solo]"), "undefined");
}

TEST_F(ServerSystemTest, MetricsOutliveTheServer) {
  const std::string running = apply("ra", "key_metrics", "[{solo, 'a@127.0.0.1'}]");
  EXPECT_NE(running.find("state => leader"), std::string::npos) << running;
  EXPECT_NE(running.find("term => 1"), std::string::npos) << running;
  shell_.servers().stop_server("solo");
  shell_.run();
  const std::string stopped = apply("ra", "key_metrics", "[{solo, 'a@127.0.0.1'}]");
  EXPECT_NE(stopped.find("state => noproc"), std::string::npos) << stopped;
  EXPECT_NE(stopped.find("term => 1"), std::string::npos) << stopped;
  EXPECT_EQ(apply("ra", "key_metrics", "[{nobody, 'a@127.0.0.1'}]"),
            "#{membership => unknown,state => noproc}");
}

TEST_F(ServerSystemTest, MembersAreAskedOfTheLeader) {
  EXPECT_EQ(apply("ra", "members", "[{solo, 'a@127.0.0.1'}]"),
            "{ok,[{solo,'a@127.0.0.1'}],{solo,'a@127.0.0.1'}}");
  EXPECT_EQ(apply("ra", "members", "[{nobody, 'a@127.0.0.1'}]"), "{error,noproc}");
}

TEST_F(ServerSystemTest, CommandsAreRefusedWhileTheLogCantBeWritten) {
  EXPECT_TRUE(
      apply("ra_server_sup_sup", "prepare_server_stop_rpc", "[default, solo]").starts_with("{ok,"));
  member::Member* solo = shell_.servers().find("solo");
  solo->log_down();
  shell_.run();
  const Shell::Answer refused = shell_.put("solo", "x");
  shell_.run();
  EXPECT_EQ(refused->value_or(""), "{error,wal_down}");
  solo->log_up();
  shell_.run();
  const Shell::Answer taken = shell_.put("solo", "x");
  shell_.run();
  EXPECT_TRUE(taken->value_or("").starts_with("{wrap_reply,")) << taken->value_or("");
}

TEST_F(ServerSystemTest, ServersAreToldWhenTheWalIsThereAgain) {
  bool fails = true;
  shell_.faults().set_rule(
      [&](raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
        const bool is_wal = path.ends_with(".wal") || path.ends_with(".wal.tmp");
        if (!fails || operation != raftlog::DiskOperation::write || !is_wal) return std::nullopt;
        return make_error(ErrorCode::io, path + ": Input/output error");
      });
  const Shell::Answer caught = shell_.put("solo", "x");
  shell_.run();
  EXPECT_EQ(put("solo"), "{error,wal_down}");
  fails = false;
  shell_.log_system().retry_wal();
  shell_.run();
  EXPECT_TRUE(put("solo").starts_with("{wrap_reply,"));
}

TEST_F(ServerSystemTest, AServerThatIsStartedOnAFullDiskTakesNothing) {
  shell_.faults().set_space({0, std::uint64_t{1} << 30});
  shell_.log_system().check_space();
  shell_.run();
  shell_.servers().stop_server("solo");
  shell_.run();
  EXPECT_TRUE(
      apply("ra_server_sup_sup", "restart_server_rpc", "[default, {solo, 'a@127.0.0.1'}, #{}]")
          .starts_with("{ok,"));
  shell_.servers().find("solo")->trigger_election();
  shell_.run();
  EXPECT_EQ(put("solo"), "{error,wal_down}");
  shell_.faults().set_space({});
  shell_.log_system().check_space();
  shell_.run();
  EXPECT_TRUE(put("solo").starts_with("{wrap_reply,"));
}

TEST_F(ServerSystemTest, ANameIsFreeAgainWhenItsServerIsDeleted) {
  const auto start = [&](const std::string& uid) {
    return apply("ra_server_sup_sup", "start_server_rpc",
                 "[default, <<\"" + uid + "\">>, #{id => {fresh, 'a@127.0.0.1'}, uid => <<\"" +
                     uid +
                     "\">>, cluster_name => fresh, machine => {module, history, #{}}, "
                     "log_init_args => #{}, initial_members => [{fresh, 'a@127.0.0.1'}]}]");
  };
  const std::string first = start("FRESHAAAAAAA");
  EXPECT_TRUE(first.starts_with("{ok,")) << first;
  EXPECT_EQ(apply("ra_server_sup_sup", "delete_server_rpc", "[default, fresh]"), "ok");
  const std::string second = start("FRESHBBBBBBB");
  EXPECT_TRUE(second.starts_with("{ok,")) << second;
}

TEST_F(ServerSystemTest, AServerThatCrashesIsStartedAgain) {
  const etf::Pid first = shell_.servers().find("solo")->pid();
  shell_.node().send_exit(first.view(), first.view(), etf::Writer().atom("kill").view());
  shell_.run();
  ASSERT_NE(shell_.servers().find("solo"), nullptr);
  EXPECT_NE(shell_.servers().find("solo")->pid(), first);
}

TEST_F(ServerSystemTest, CallsThatCameDuringAStartAreAnswered) {
  shell_.servers().stop_server("solo");
  shell_.run();
  shell_.hold.worker = true;
  const Shell::Answer started = shell_.rpc(
      "restart_server_rpc",
      [&](etf::Writer& writer) { writer.atom("default").tuple(2).atom("solo").atom(kHere).map(0); },
      3);
  shell_.run();
  shell_.hold.worker = false;
  while (shell_.servers().pid_of("solo") == std::nullopt) ASSERT_TRUE(shell_.run_worker_once());
  ASSERT_EQ(shell_.servers().find("solo"), nullptr) << "it is starting";
  const Shell::Answer asked = shell_.call([](etf::Writer& writer) { writer.atom("ping"); }, "solo");
  shell_.run();
  EXPECT_TRUE(asked->value_or("").starts_with("{pong,")) << asked->value_or("no answer");
}

/// Not only at the next second: what is left then is for votes, and the WAL would take it.
TEST_F(ServerSystemTest, TheRoomIsMeasuredWhenTheWalFails) {
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  shell_.faults().set_space({0, kGiB});
  shell_.faults().set_rule(
      [](raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
        if (operation != raftlog::DiskOperation::write || !path.ends_with(".wal")) return {};
        return make_error(ErrorCode::no_space, path + ": No space left on device");
      });
  const Shell::Answer caught = shell_.put("solo", "x");
  shell_.run();
  shell_.faults().set_rule({});
  shell_.log_system().retry_wal();
  shell_.run();
  const Shell::Answer refused = shell_.put("solo", "x");
  shell_.run();
  EXPECT_EQ(refused->value_or(""), "{error,wal_down}");
}

/// Its WAL file would stay, and the node's WAL would stand still in the end.
TEST_F(ServerSystemTest, AServerWhoseDirectoryTakesNoSegmentsIsDownAlone) {
  shell_.add_server("other");
  const auto tick = [&] {
    shell_.log_system().flush_metadata([](const Result<void>&) {});
    shell_.run();
  };
  const std::string uid = shell_.servers().find("solo")->log().uid();
  shell_.faults().set_rule(
      [&](raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
        const bool fails = operation == raftlog::DiskOperation::create &&
                           path.find("/" + uid + "/") != std::string::npos &&
                           path.find(".segment") != std::string::npos;
        if (!fails) return std::nullopt;
        return make_error(ErrorCode::io, path + ": Input/output error");
      });
  EXPECT_TRUE(put("solo").starts_with("{wrap_reply,"));
  EXPECT_TRUE(put("other").starts_with("{wrap_reply,"));
  shell_.log_system().roll_over_wal();
  shell_.run();
  EXPECT_TRUE(put("solo").starts_with("{wrap_reply,"));  // it failed only once
  tick();
  EXPECT_EQ(put("solo"), "{error,wal_down}");
  EXPECT_TRUE(put("other").starts_with("{wrap_reply,"));
  shell_.servers().stop_server("solo");
  shell_.run();
  EXPECT_TRUE(
      apply("ra_server_sup_sup", "restart_server_rpc", "[default, {solo, 'a@127.0.0.1'}, #{}]")
          .starts_with("{ok,"));
  ASSERT_NE(shell_.servers().find("solo"), nullptr);
  shell_.servers().find("solo")->trigger_election();
  shell_.run();
  EXPECT_EQ(put("solo"), "{error,wal_down}");
  shell_.faults().set_rule(nullptr);
  tick();
  EXPECT_TRUE(put("solo").starts_with("{wrap_reply,"));
}

}  // namespace
}  // namespace rakv::system::testing
