// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/epmd.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/cnode/distribution/support.h"

namespace rakv::distribution::epmd {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string made;
  for (const int value : values) made += static_cast<char>(value);
  return made;
}

TEST(EpmdCodecTest, Requests) {
  EXPECT_EQ(*encode_register({"kv", 0x1234, true}),
            bytes({0, 15, 120, 0x12, 0x34, 77, 0, 0, 6, 0, 6, 0, 2, 'k', 'v', 0, 0}));
  EXPECT_EQ((*encode_register({"kv", 1, false}))[5], 72);
  EXPECT_EQ(*encode_lookup("kv"), bytes({0, 3, 122, 'k', 'v'}));
  EXPECT_EQ(encode_names(), bytes({0, 1, 110}));
  EXPECT_EQ(encode_register({"", 1, true}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(encode_lookup(std::string(256, 'x')).error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(encode_lookup(std::string(255, 'x')).has_value());
}

TEST(EpmdCodecTest, RegisterReplies) {
  const std::string wide = bytes({118, 0, 0x12, 0x34, 0x56, 0x78});
  for (std::size_t size = 0; size < wide.size(); ++size) {
    const auto partial = decode_register_reply(wide.substr(0, size), "kv");
    ASSERT_TRUE(partial.has_value());
    EXPECT_FALSE(partial->has_value());
  }
  EXPECT_EQ(**decode_register_reply(wide, "kv"), 0x12345678u);
  EXPECT_EQ(**decode_register_reply(bytes({121, 0, 0, 3}), "kv"), 3u);
  const auto taken = decode_register_reply(bytes({118, 1, 0, 0, 0, 99}), "kv");
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::already_exists);
  EXPECT_EQ(decode_register_reply("HTTP/1.1", "kv").error().code, ErrorCode::malformed);
  EXPECT_EQ(decode_register_reply(bytes({118, 0, 0, 0, 0, 0}), "kv").error().code,
            ErrorCode::malformed);
  EXPECT_EQ(decode_register_reply(bytes({121, 0, 0, 0}), "kv").error().code, ErrorCode::malformed);
}

TEST(EpmdCodecTest, LookupReplies) {
  const std::string reply = bytes({119, 0, 0x12, 0x34, 77, 0, 0, 6, 0, 5, 0, 2, 'k', 'v', 0, 0});
  for (std::size_t size = 0; size < 10; ++size) {
    const auto partial = decode_lookup_reply(reply.substr(0, size), false, "kv");
    ASSERT_TRUE(partial.has_value()) << size;
    EXPECT_FALSE(partial->has_value());
    EXPECT_EQ(decode_lookup_reply(reply.substr(0, size), true, "kv").error().code,
              ErrorCode::malformed);
  }
  EXPECT_EQ(**decode_lookup_reply(reply, false, "kv"), 0x1234);
  EXPECT_EQ(decode_lookup_reply(bytes({119, 1}), true, "kv").error().code, ErrorCode::not_found);
  EXPECT_EQ(decode_lookup_reply("no epmd", true, "kv").error().code, ErrorCode::malformed);
  std::string old = reply;
  old[7] = 5;
  EXPECT_EQ(decode_lookup_reply(old, true, "kv").error().code, ErrorCode::unsupported);
  std::string no_port = reply;
  no_port[2] = no_port[3] = 0;
  EXPECT_EQ(decode_lookup_reply(no_port, true, "kv").error().code, ErrorCode::malformed);
}

TEST(EpmdCodecTest, NamesReplies) {
  const std::string port = bytes({0, 0, 0x11, 0x11});
  EXPECT_TRUE(decode_names_reply(port)->empty());
  const auto names =
      decode_names_reply(port + "name kv1 at port 4711\nname odd at port at port 1\n");
  ASSERT_TRUE(names.has_value());
  ASSERT_EQ(names->size(), 2u);
  EXPECT_EQ((*names)[0].alive_name, "kv1");
  EXPECT_EQ((*names)[0].port, 4711);
  EXPECT_EQ((*names)[1].alive_name, "odd at port");
  for (const std::string bad :
       {"name kv1 at port 4711", "name kv1\n", "kv1 at port 1\n", "name kv1 at port 99999\n",
        "name kv1 at port x\n", "name at port 1\n"}) {
    EXPECT_EQ(decode_names_reply(port + bad).error().code, ErrorCode::malformed) << bad;
  }
  EXPECT_EQ(decode_names_reply("ab").error().code, ErrorCode::malformed);
}

/// Sets a variable of the environment for one scope.
struct Variable {
  Variable(const char* variable, const std::string& value) : name(variable) {
    const char* before = std::getenv(variable);
    if (before != nullptr) old = before;
    had_old = before != nullptr;
    ::setenv(variable, value.c_str(), 1);
  }
  ~Variable() { had_old ? ::setenv(name, old.c_str(), 1) : ::unsetenv(name); }
  const char* name;
  std::string old;
  bool had_old = false;
};

TEST(EpmdOptionsTest, PortOfTheEnvironment) {
  const Variable unset("ERL_EPMD_PORT", "");
  EXPECT_EQ(port_from_environment(), 4369);
  {
    const Variable given("ERL_EPMD_PORT", "5000");
    EXPECT_EQ(port_from_environment(), 5000);
  }
  for (const char* bad : {"0", "65536", "epmd", "5000x", "-1"}) {
    const Variable given("ERL_EPMD_PORT", bad);
    EXPECT_EQ(port_from_environment(), 4369) << bad;
  }
}

TEST(EpmdOptionsTest, DaemonIsLookedForInOrder) {
  const test::TemporaryDirectory configured, in_path, in_bindir;
  for (const auto* directory : {&configured, &in_path, &in_bindir}) {
    const std::string program = directory->path() + "/epmd";
    std::ofstream(program) << "#!/bin/sh\n";
    ::chmod(program.c_str(), 0700);
  }
  std::ofstream(in_path.path() + "/other") << "";
  const Variable path("PATH", "/nowhere:" + in_path.path() + "::" + in_path.path());
  const Variable bindir("BINDIR", in_bindir.path());
  Options options;
  options.daemon_path = configured.path() + "/epmd";
  const std::vector<std::string> found = daemon_candidates(options);
  ASSERT_GE(found.size(), 3u);
  EXPECT_EQ(found[0], configured.path() + "/epmd");
  EXPECT_EQ(found[1], in_path.path() + "/epmd");
  EXPECT_EQ(found[2], in_bindir.path() + "/epmd");
  options.daemon_path = in_path.path() + "/other";
  EXPECT_EQ(daemon_candidates(options)[0], in_path.path() + "/epmd") << "not executable";
}

TEST(EpmdDaemonTest, IsRunWhenNobodyListens) {
  // A stand-in that only notes how it was called: no real daemon may outlive a test.
  const test::TemporaryDirectory directory;
  const std::string program = directory.path() + "/epmd";
  std::ofstream(program) << "#!/bin/sh\necho \"$@\" > " << directory.path() << "/called\n";
  ::chmod(program.c_str(), 0700);
  boost::asio::io_context io;
  Options options;
  options.port = test::free_port();
  options.daemon_path = program;
  Registrar registrar(io, options);
  std::optional<Result<std::uint32_t>> outcome;
  registrar.start({"kv", 1, true}, [&](const Result<std::uint32_t>& result) { outcome = result; });
  ASSERT_TRUE(test::run_until(io, [&] { return outcome.has_value(); }));
  ASSERT_FALSE(outcome->has_value());
  EXPECT_EQ(outcome->error().code, ErrorCode::unavailable);
  std::ifstream file(directory.path() + "/called");
  std::string called;
  std::getline(file, called);
  EXPECT_EQ(called, "-daemon -port " + std::to_string(options.port));
}

}  // namespace
}  // namespace rakv::distribution::epmd
