// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <string>

#include "cnode/node/node.h"
#include "kv/program/command_io.h"
#include "tests/cnode/distribution/support.h"

// The program as a shell runs it: what it prints, what it changes, and how it ends.

namespace rakv::kv {
namespace {

namespace fs = std::filesystem;
using distribution::test::Child;

constexpr char kNode[] = "n@127.0.0.1";

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// An epmd and a folder of its own for each test.
class CommandLineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    epmd_port_ = distribution::test::free_port();
    epmd_ = std::make_unique<Child>(
        std::vector<std::string>{"epmd", "-port", std::to_string(epmd_port_)},
        std::vector<std::string>{});
    ASSERT_TRUE(happens([&] {
      boost::asio::io_context io;
      boost::asio::ip::tcp::socket socket(io);
      boost::system::error_code error;
      socket.connect({boost::asio::ip::address_v4::loopback(), epmd_port_}, error);
      return !error;
    })) << "is epmd installed?";
  }

  static bool happens(const std::function<bool()>& condition) {
    boost::asio::io_context io;
    return distribution::test::run_until(io, condition, std::chrono::seconds(20));
  }

  /// `rakv ARGUMENTS`; its exit code. What it prints is in out() and errors().
  int rakv(const std::string& arguments) const {
    const std::string command = "ERL_EPMD_PORT=" + std::to_string(epmd_port_) +
                                " HOME=" + directory() + " " RAKV_PROGRAM " " + arguments + " >" +
                                directory() + "/out 2>" + directory() + "/errors </dev/null";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int ask(const std::string& command, const std::string& rest) const {
    return rakv(command + " --cookie cookie --server " + kNode + " " + rest);
  }
  std::string out() const { return content_of(directory() + "/out"); }
  std::string errors() const { return content_of(directory() + "/errors"); }
  std::string directory() const { return directory_.path(); }
  std::string data() const { return directory() + "/data/" + kNode; }

  /// A node with the cluster kv, which has a leader.
  void start_node() {
    node_ = std::make_unique<Child>(
        std::vector<std::string>{RAKV_PROGRAM, "start", "--name", kNode, "--cookie", "cookie",
                                 "--data-dir", directory() + "/data", "--bootstrap", "kv"},
        std::vector<std::string>{"ERL_EPMD_PORT=" + std::to_string(epmd_port_),
                                 "HOME=" + directory()});
    ASSERT_TRUE(happens([&] { return node_->output().find("ready ") != std::string::npos; }))
        << node_->output();
  }
  void kill_node() { node_.reset(); }

  /// Names and contents of all files of the node.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(data())) {
      if (entry.is_regular_file()) found[entry.path().string()] = content_of(entry.path());
    }
    return found;
  }
  /// A byte of the first WAL file's first batch is another one.
  void damage_wal() const {
    for (const auto& [path, bytes] : files()) {
      if (!path.ends_with(".wal")) continue;
      const std::size_t at = bytes.find("greeting");
      ASSERT_NE(at, std::string::npos);
      std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
      file.seekp(static_cast<std::streamoff>(at));
      file.put('G');
      return;
    }
    FAIL() << "there is no WAL file";
  }

  std::uint16_t epmd_port_ = 0;
  distribution::test::TemporaryDirectory directory_;
  std::unique_ptr<Child> epmd_;
  std::unique_ptr<Child> node_;
};

TEST(ExitCodes, SayWhatIsKnownOfTheOutcome) {
  EXPECT_EQ(exit_code_of(ErrorCode::invalid_argument), 2);
  EXPECT_EQ(exit_code_of(ErrorCode::not_found), 3);
  EXPECT_EQ(exit_code_of(ErrorCode::timeout), 4);
  for (const ErrorCode code : {ErrorCode::io, ErrorCode::unavailable, ErrorCode::refused,
                               ErrorCode::malformed, ErrorCode::limit_exceeded})
    EXPECT_EQ(exit_code_of(code), 1);
}

TEST_F(CommandLineTest, UnusableArgumentsEndWith2) {
  for (const char* arguments :
       {"nonsense", "get", "put --server a@127.0.0.1 key", "get --server a@127.0.0.1 k --timeout x",
        "takeover /tmp", "start --memory-budget much"}) {
    EXPECT_EQ(rakv(arguments), 2) << arguments;
    EXPECT_TRUE(errors().starts_with("rakv: error: ")) << errors();
  }
  EXPECT_EQ(rakv("--version"), 0);
  EXPECT_EQ(rakv("put --help"), 0);
}

TEST_F(CommandLineTest, WhatNobodyCanDoEndsWith1) {
  EXPECT_EQ(ask("get", "key"), 1);
  EXPECT_EQ(ask("put", "key value"), 1) << "it was not sent";
  EXPECT_EQ(rakv("check " + directory() + "/nothing"), 1);
}

TEST_F(CommandLineTest, ValuesComeBackAndKeysThatAreNotThereEndWith3) {
  start_node();
  EXPECT_EQ(ask("put", "greeting 'hello world'"), 0) << errors();
  EXPECT_TRUE(out().starts_with("stored at index 2, term 1, leader n@127.0.0.1")) << out();
  EXPECT_EQ(ask("get", "greeting"), 0);
  EXPECT_EQ(out(), "hello world");
  EXPECT_EQ(ask("get", "other"), 3);
  EXPECT_EQ(out(), "");
  EXPECT_EQ(ask("put", "--term '{user,17}' '#{name => ada}'"), 0) << errors();
  EXPECT_EQ(ask("get", "--term '{user,17}'"), 0);
  EXPECT_EQ(out(), "#{name => ada}\n");
  EXPECT_EQ(ask("delete", "greeting"), 0);
  EXPECT_EQ(ask("delete", "greeting"), 3);
  EXPECT_EQ(ask("get", "greeting"), 3);
  EXPECT_EQ(ask("status", ""), 0);
  EXPECT_NE(out().find("leader"), std::string::npos) << out();
}

TEST_F(CommandLineTest, TheNextServerIsAskedWhenOneIsNotThere) {
  start_node();
  EXPECT_EQ(ask("put", "greeting hello"), 0) << errors();
  EXPECT_EQ(rakv("get --cookie cookie --server gone@127.0.0.1,n@127.0.0.1 greeting"), 0)
      << errors();
  EXPECT_EQ(rakv("get --cookie cookie --server gone@127.0.0.1 --server n@127.0.0.1 greeting"), 0);
}

TEST_F(CommandLineTest, AValueThatCantBeWrittenEndsWith5) {
  start_node();
  EXPECT_EQ(ask("put", "greeting hello"), 0) << errors();
  EXPECT_EQ(ask("get", "greeting --output /dev/full"), 5);
  EXPECT_EQ(ask("get", "greeting --output " + directory() + "/no/such/folder"), 5);
  EXPECT_EQ(ask("get", "greeting --output " + directory() + "/file"), 0);
  EXPECT_EQ(content_of(directory() + "/file"), "hello");
}

/// Takes messages and answers none.
class Silent : public node::Process {
 public:
  void on_message(std::string_view) override {}
};

TEST_F(CommandLineTest, APutWithoutAnAnswerEndsWith4AndAGetWith1) {
  boost::asio::io_context io;
  node::NodeOptions options;
  options.name = kNode;
  options.cookie = "cookie";
  options.listen_address = "127.0.0.1";
  options.epmd.port = epmd_port_;
  node::Node node(io, options);
  bool started = false;
  node.start([&](const Result<void>& done) { started = done.has_value(); });
  ASSERT_TRUE(distribution::test::run_until(
      io, [&] { return started; }, std::chrono::seconds(20)));
  Silent silent;
  node.register_name("kv", node.spawn(silent));
  node.accept_peers();
  const auto code_of = [&](const std::string& command, const std::string& value = "") {
    auto ended =
        std::async(std::launch::async, [&] { return ask(command, "--timeout 1 key" + value); });
    distribution::test::run_until(
        io, [&] { return ended.wait_for(std::chrono::seconds(0)) == std::future_status::ready; },
        std::chrono::seconds(20));
    return ended.get();
  };
  EXPECT_EQ(code_of("put", " value"), 4) << errors();
  EXPECT_NE(errors().find("the outcome is unknown"), std::string::npos) << errors();
  EXPECT_EQ(code_of("delete"), 4) << errors();
  EXPECT_EQ(code_of("get"), 1) << errors();
}

TEST_F(CommandLineTest, DamageEndsWith6AndIsRepairedOnlyWhenAsked) {
  start_node();
  ASSERT_EQ(ask("put", "greeting hello"), 0) << errors();
  ASSERT_EQ(ask("put", "other value"), 0) << errors();
  EXPECT_EQ(rakv("check " + data()), 1) << "it runs";
  kill_node();
  EXPECT_EQ(rakv("check " + data()), 0) << out() << errors();
  EXPECT_EQ(rakv("takeover --check " + data()), 6) << "it is rakv's already";
  ASSERT_NO_FATAL_FAILURE(damage_wal());
  const auto before = files();
  EXPECT_EQ(rakv("check " + data()), 6) << out();
  EXPECT_EQ(rakv("check --json " + data()), 6);
  EXPECT_NE(out().find("\"ok\":false"), std::string::npos) << out();
  EXPECT_EQ(rakv("repair --dry-run " + data()), 0) << errors();
  EXPECT_EQ(files(), before) << "they have only looked";
  EXPECT_EQ(rakv("repair " + data()), 0);
}

}  // namespace
}  // namespace rakv::kv
