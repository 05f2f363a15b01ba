// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/random_run.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "tests/simulation/shrink.h"

// Random runs of whole clusters (random_run.h). RAKV_SEED=n runs that seed only, RAKV_RUNS=n so
// many. A failing one prints its arguments for rakv_sim.

namespace rakv::simulation {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given != nullptr ? std::stoull(given) : otherwise;
}

class RandomRunTest : public testing::Test {
 protected:
  RandomRunTest() { spdlog::set_level(spdlog::level::off); }
};

/// Small ones, so that there can be many.
RunOptions small_options(std::uint64_t seed) {
  RunOptions options = RunOptions::draw(seed);
  options.operations = 15;
  options.fault_seconds = 2;
  options.clients = std::min<std::uint64_t>(options.clients, 2);
  return options;
}

RunReport run_quietly(const RunOptions& options) {
  RandomRun run(options);
  run.trace().send_to([](const std::string&) {});
  return run.run();
}

TEST_F(RandomRunTest, NoJudgeFindsAnything) {
  const std::uint64_t first = number_from("RAKV_SEED", 1);
  const std::uint64_t runs =
      number_from("RAKV_RUNS", std::getenv("RAKV_SEED") != nullptr ? 1 : 300);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(45);
  std::uint64_t done = 0;
  for (; done < runs && (done == 0 || std::chrono::steady_clock::now() < end); ++done) {
    const RunOptions options = small_options(first + done);
    const RunReport report = run_quietly(options);
    ASSERT_FALSE(report.violation) << *report.violation << "\nrakv_sim " << options.text();
    ASSERT_GT(report.counts.at("operations"), 0U) << options.text();
  }
  std::cout << done << " seeds from " << first << "\n";
}

/// Runs that found something once (known_runs.txt), a fault or a judge's mistake.
TEST_F(RandomRunTest, KnownRunsPass) {
  std::ifstream file(RAKV_KNOWN_RUNS);
  std::size_t runs = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    const auto options = RunOptions::parse(line);
    ASSERT_TRUE(options) << options.error().message;
    const RunReport report = run_quietly(*options);
    EXPECT_FALSE(report.violation) << *report.violation << "\nrakv_sim " << line;
    ++runs;
  }
  EXPECT_GT(runs, 0U);
}

TEST_F(RandomRunTest, TheSameOptionsAreTheSameRun) {
  for (const std::uint64_t seed : {3U, 4U}) {
    const RunReport first = run_quietly(small_options(seed));
    const RunReport second = run_quietly(small_options(seed));
    EXPECT_EQ(first.trace_sum, second.trace_sum) << "seed " << seed;
    EXPECT_EQ(first.events, second.events);
  }
  EXPECT_NE(run_quietly(small_options(3)).trace_sum, run_quietly(small_options(4)).trace_sum);
}

TEST(RunOptionsTest, TextIsReadBack) {
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    const RunOptions options = RunOptions::draw(seed);
    const auto read = RunOptions::parse(options.text());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, options) << options.text();
  }
  RunOptions options;
  EXPECT_FALSE(options.set("nodes", "many"));
  EXPECT_FALSE(options.set("cows", "1"));
  EXPECT_FALSE(options.set("faults", "kill,rain"));
  EXPECT_FALSE(RunOptions::parse("--nodes=3 nodes"));
}

TEST(ShrinkTest, LeavesOutWhatIsNotNeeded) {
  RunOptions options = RunOptions::draw(1);
  options.nodes = 5;
  options.clients = 4;
  options.faults = {FaultKind::kill, FaultKind::cut, FaultKind::snapshot};
  const auto fails = [](const RunOptions& tried) {
    return tried.nodes >= 3 && tried.faults.contains(FaultKind::cut);
  };
  const RunOptions smallest = shrink(options, fails);
  EXPECT_EQ(smallest.nodes, 3U);
  EXPECT_EQ(smallest.clients, 1U);
  EXPECT_EQ(smallest.operations, 1U);
  EXPECT_EQ(smallest.faults, std::set<FaultKind>{FaultKind::cut});
}

}  // namespace
}  // namespace rakv::simulation
