// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/judges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <string>
#include <vector>

#include "tests/simulation/disk_damage.h"
#include "tests/simulation/run_options.h"
#include "tests/simulation/workload.h"

// Judges say what is wrong when something is, and only then.

namespace rakv::simulation {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class JudgesTest : public testing::Test {
 protected:
  JudgesTest() {
    spdlog::set_level(spdlog::level::off);
    cluster_.form();
  }

  Violation violation() {
    return [this](const std::string& what) { violations_.push_back(what); };
  }
  /// Puts that value of the workload's; gives the operation's number.
  std::size_t put(std::uint64_t number) {
    const std::size_t operation = history_.invoke(ClientOperation::Kind::put, "key", number);
    history_.answer(operation, ClientOperation::Outcome::done);
    return operation;
  }
  /// A file with the value's bytes, which a power cut leaves.
  void write_durably(const std::string& host, std::uint64_t number) {
    raftlog::MemoryDisk& disk = cluster_.node(host).disk();
    auto file = disk.create("/a_value");
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->pwrite(0, value_mark(number)));
    ASSERT_TRUE((*file)->fdatasync());
    ASSERT_TRUE(disk.sync_directory("/"));
  }

  SimulatedCluster cluster_{1, {"a", "b", "c"}};
  std::vector<std::string> violations_;
  History history_;
  StateJudge states_{cluster_, "kv", "", violation()};
  DurabilityJudge durability_{cluster_, history_, states_, violation()};
};

TEST_F(JudgesTest, AWriteThatIsAcknowledgedHasToBeOnAMajorityOfDisks) {
  const std::size_t operation = put(7);
  write_durably("a", 7);
  durability_.acknowledged(operation, 5);
  EXPECT_THAT(violations_, ElementsAre(HasSubstr("not on a majority of disks")));
  violations_.clear();
  write_durably("c", 7);
  durability_.acknowledged(operation, 5);
  EXPECT_THAT(violations_, IsEmpty());
}

TEST_F(JudgesTest, WhatAnotherWriteMayHaveReplacedNeedsNotBeThere) {
  const std::size_t operation = put(7);
  put(8);
  durability_.acknowledged(operation, 5);
  EXPECT_THAT(violations_, IsEmpty());
}

TEST_F(JudgesTest, AfterAPowerCutAMajorityHasTheEntryAtItsIndex) {
  const std::size_t operation = put(7);
  write_durably("a", 7);
  write_durably("b", 7);
  durability_.acknowledged(operation, 5);
  durability_.rehearse_power_cut();
  EXPECT_THAT(violations_, ElementsAre(HasSubstr("would not have an acknowledged write")));
}

TEST_F(JudgesTest, AnotherEntryAtAnIndexThatWasAppliedIsAViolation) {
  ASSERT_TRUE(cluster_.put("key", 1));
  ASSERT_TRUE(cluster_.run_until([&] { return cluster_.get("key") == "1"; }, 10s));
  states_.look();
  ASSERT_THAT(violations_, IsEmpty());
  // All three lose what they have, and begin again under the same names.
  for (const char* host : {"a", "b", "c"}) {
    SimulatedNode& node = cluster_.node(host);
    node.kill(raftlog::CrashMode::lose_unsynced);
    node.lose_disk();
    node.start();
  }
  const auto serve = [&](const char* host) { return cluster_.node(host).serves(); };
  ASSERT_TRUE(cluster_.run_until([&] { return serve("a") && serve("b") && serve("c"); }, 10s));
  for (const char* host : {"a", "b", "c"})
    cluster_.node(host).make_server("kv", "UID" + std::string(host) + "AGAIN", cluster_.servers());
  const auto stands = [&](const char* host) { return cluster_.node(host).standing().has_value(); };
  ASSERT_TRUE(cluster_.run_until([&] { return stands("a") && stands("b") && stands("c"); }, 10s));
  cluster_.node("a").trigger_election();
  ASSERT_TRUE(cluster_.run_until([&] { return cluster_.leader() != nullptr; }, 30s));
  ASSERT_TRUE(cluster_.put("key", 2));
  states_.look();
  EXPECT_THAT(violations_, testing::Contains(HasSubstr("another entry is applied")));
}

/// A flip that changes nothing would let every run with damage pass.
TEST_F(JudgesTest, DamageIsNoticed) {
  for (std::uint64_t value = 0; value < 20; ++value) ASSERT_TRUE(cluster_.put("key", value));
  DiskDamage damage(cluster_, 1);
  SimulatedNode* damaged = nullptr;
  for (int flips = 0; flips < 50; ++flips) damaged = damage.flip();
  ASSERT_NE(damaged, nullptr);
  damaged->kill(raftlog::CrashMode::keep_everything);
  damaged->start();
  cluster_.run_for(5s);
  const member::Member* const member = damaged->member();
  EXPECT_TRUE(damaged->failed() || member == nullptr || member->log().amnesia());
  if (!damaged->failed()) return;
  damaged->kill(raftlog::CrashMode::keep_everything);
  damage.repair(*damaged);
  damaged->start();
  EXPECT_TRUE(cluster_.run_until([&] { return damaged->serves(); }, 10s));
}

}  // namespace
}  // namespace rakv::simulation
