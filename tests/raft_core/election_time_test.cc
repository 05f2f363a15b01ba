#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <iostream>

#include "tests/raft_core/timed_cluster.h"

// How long clusters are without a leader, in virtual time, by the delay of links and of stores,
// alone and mixed with members that have ra's timers. RAKV_RUNS=n runs per row, RAKV_SEED=n one of
// them with its events in words.

namespace rakv::raft::test {
namespace {

constexpr Millis kLimit = 30'000;

struct Row {
  Slowness slowness;
  std::size_t size = 3;
  bool mixed = false;
  bool restart = false;
};

std::optional<Millis> one_run(const Row& row, std::uint64_t seed, bool trace = false) {
  std::mt19937_64 random(seed);
  const auto pick = [&](std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
  };
  const std::size_t leader = pick(row.size);
  std::vector<std::size_t> alive;
  for (std::size_t i = 0; i < row.size; ++i) {
    if (row.restart || i != leader) alive.push_back(i);
  }
  std::shuffle(alive.begin(), alive.end(), random);
  // Some of those that are there, but not all.
  alive.resize(row.mixed ? 1 + pick(alive.size() - 1) : 0);
  TimedCluster cluster(random(), row.size, row.slowness, alive);
  cluster.trace = trace;
  if (row.restart) {
    cluster.restart_all(row.slowness.one_way);
  } else {
    cluster.lose_leader(leader, row.slowness.one_way);
  }
  return cluster.time_to_leader(kLimit);
}

/// ra's timers end before answers can come, so its members ask again and again. They can't win, and
/// others can only in between.
bool beyond_ra(const Row& row) {
  return row.mixed && 2 * row.slowness.one_way + row.slowness.store > 600;
}

class ElectionTimeTest : public testing::TestWithParam<Slowness> {};

TEST_P(ElectionTimeTest, EveryRunElectsALeader) {
  std::uint64_t runs = 100;
  if (const char* wanted = std::getenv("RAKV_RUNS")) runs = std::stoull(wanted);
  for (const bool restart : {false, true}) {
    for (const std::size_t size : {std::size_t{3}, std::size_t{5}}) {
      for (const bool mixed : {false, true}) {
        const Row row{GetParam(), size, mixed, restart};
        if (const char* seed = std::getenv("RAKV_SEED")) {
          EXPECT_TRUE(one_run(row, std::stoull(seed), true));
          continue;
        }
        std::vector<Millis> times;
        for (std::uint64_t seed = 1; seed <= runs; ++seed) {
          const std::optional<Millis> time = one_run(row, seed);
          EXPECT_TRUE(time || beyond_ra(row)) << "no leader, repeat with RAKV_SEED=" << seed;
          if (time) times.push_back(*time);
        }
        EXPECT_GE(times.size() * 2, runs);
        std::sort(times.begin(), times.end());
        if (times.empty()) continue;
        Millis sum = 0;
        for (const Millis time : times) sum += time;
        std::cout << "one way " << std::setw(3) << row.slowness.one_way << " ms, store "
                  << std::setw(3) << row.slowness.store << " ms, "
                  << (restart ? "all restart" : "leader dies") << ", " << size << " members, "
                  << (mixed ? "mixed" : "rakv ") << ": " << times.size() << " of " << runs
                  << ", mean " << std::setw(5) << sum / times.size() << " ms, 99 % " << std::setw(5)
                  << times[times.size() * 99 / 100 - (times.size() == 100 ? 1 : 0)]
                  << " ms, longest " << std::setw(5) << times.back() << " ms\n";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Slowness, ElectionTimeTest,
                         testing::Values(Slowness{1, 1}, Slowness{90, 1}, Slowness{150, 1},
                                         Slowness{1, 250}, Slowness{150, 250}, Slowness{400, 1},
                                         Slowness{1, 800}, Slowness{400, 800}),
                         [](const auto& row) {
                           return "OneWay" + std::to_string(row.param.one_way) + "Store" +
                                  std::to_string(row.param.store);
                         });

}  // namespace
}  // namespace rakv::raft::test
