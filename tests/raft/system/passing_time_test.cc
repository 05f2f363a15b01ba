// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>

#include "tests/raft/member/shell.h"
#include "tests/support/manual_clock.h"

// What a node's servers do by themselves as time passes.

namespace rakv::system::testing {
namespace {

using namespace std::chrono_literals;
using member::testing::Shell;

class PassingTimeTest : public ::testing::Test {
 protected:
  PassingTimeTest() : shell_(options()) {
    shell_.member()->trigger_election();
    shell_.run();
  }
  Shell::Options options() {
    Shell::Options options;
    options.members = {"kv"};
    options.tick_ms = 1000;
    options.clock = &clock_;
    return options;
  }
  void pass(std::chrono::milliseconds time) {
    for (; time > 0ms; time -= 100ms) {
      clock_.pass(100ms);
      shell_.run();
    }
  }
  void put(std::string_view text) {
    const Shell::Answer answer = shell_.put("kv", text);
    shell_.run();
    EXPECT_TRUE(answer->value_or("").starts_with("{wrap_reply,")) << answer->value_or("no answer");
  }

  ManualClock clock_;
  Shell shell_;
};

TEST_F(PassingTimeTest, WhatIsAppliedIsStoredEveryFewSeconds) {
  put("one");
  pass(12s);
  put("two");
  pass(12s);
  const raft::Index applied = shell_.member()->last_applied();
  shell_.crash();
  ASSERT_NE(shell_.member(), nullptr);
  EXPECT_EQ(shell_.member()->last_applied(), applied);
}

/// Descriptors may have run out, and be there again.
TEST_F(PassingTimeTest, AServerThatCantBeReadIsStartedUntilItCan) {
  put("one");
  shell_.ask([](etf::Writer& writer) { writer.tuple(2).atom("aux_command").atom("snapshot"); });
  bool fails = true;
  shell_.faults().set_rule(
      [&](raftlog::DiskOperation operation, const std::string& path) -> std::optional<Error> {
        const bool is_meant = path.ends_with("snapshot.dat");
        if (!fails || operation != raftlog::DiskOperation::read || !is_meant) return std::nullopt;
        return make_error(ErrorCode::io, path + ": can't read: Input/output error");
      });
  shell_.kill();
  pass(50s);
  EXPECT_EQ(shell_.member(), nullptr);
  fails = false;
  pass(40s);
  ASSERT_NE(shell_.member(), nullptr);
  EXPECT_EQ(shell_.history(), "2:one");
}

}  // namespace
}  // namespace rakv::system::testing
