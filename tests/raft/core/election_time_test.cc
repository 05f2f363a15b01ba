// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "tests/raft/core/timed_cluster.h"

// How long clusters are without a leader, in virtual time, by the delay of links and of stores:
// alone, mixed with members that have ra's timers, and for comparison with such ones only.
// RAKV_RUNS=n runs per row, RAKV_SEED=n one of them with its events in words.

namespace rakv::raft::test {
namespace {

constexpr Millis kLimit = 30'000;

enum class Kinds { rakv, mixed, ra };

struct Row {
  Slowness slowness;
  std::size_t size = 3;
  Kinds kinds = Kinds::rakv;
  bool restart = false;
};

std::string row_text(const Row& row) {
  std::ostringstream text;
  text << "one way " << std::setw(3) << row.slowness.one_way << " ms, store " << std::setw(3)
       << row.slowness.store << " ms, " << (row.restart ? "all restart" : "leader dies") << ", "
       << row.size << " members, "
       << (row.kinds == Kinds::rakv    ? "rakv "
           : row.kinds == Kinds::mixed ? "mixed"
                                       : "ra   ");
  return text.str();
}

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
  if (row.kinds == Kinds::mixed) alive.resize(1 + pick(alive.size() - 1));
  if (row.kinds == Kinds::rakv) alive.clear();
  TimedCluster cluster(random(), row.size, row.slowness, alive);
  cluster.trace = trace;
  if (row.restart) {
    cluster.restart_all(row.slowness.one_way);
  } else {
    cluster.lose_leader(leader, row.slowness.one_way);
  }
  return cluster.time_to_leader(kLimit);
}

void run_row(const Row& row, std::uint64_t runs) {
  std::vector<Millis> times;
  for (std::uint64_t seed = 1; seed <= runs; ++seed) {
    const std::optional<Millis> time = one_run(row, seed);
    // Members with ra's timers only are on their own.
    EXPECT_TRUE(time || row.kinds == Kinds::ra)
        << row_text(row) << ": no leader, repeat with RAKV_SEED=" << seed;
    if (time) times.push_back(*time);
  }
  std::cout << row_text(row) << ": " << times.size() << " of " << runs;
  if (!times.empty()) {
    std::sort(times.begin(), times.end());
    Millis sum = 0;
    for (const Millis time : times) sum += time;
    const std::size_t nearly_last = (times.size() * 99 + 99) / 100 - 1;
    std::cout << ", mean " << std::setw(5) << sum / times.size() << " ms, 99 % " << std::setw(5)
              << times[nearly_last] << " ms, longest " << std::setw(5) << times.back() << " ms";
  }
  std::cout << '\n';
}

class ElectionTimeTest : public testing::TestWithParam<Slowness> {};

TEST_P(ElectionTimeTest, EveryRunElectsALeader) {
  std::uint64_t runs = 100;
  if (const char* wanted = std::getenv("RAKV_RUNS")) runs = std::stoull(wanted);
  for (const bool restart : {false, true}) {
    for (const std::size_t size : {std::size_t{3}, std::size_t{5}}) {
      for (const Kinds kinds : {Kinds::rakv, Kinds::mixed, Kinds::ra}) {
        const Row row{GetParam(), size, kinds, restart};
        const char* seed = std::getenv("RAKV_SEED");
        if (seed == nullptr) {
          run_row(row, runs);
        } else if (kinds != Kinds::ra) {
          std::cout << row_text(row) << ":\n";
          EXPECT_TRUE(one_run(row, std::stoull(seed), true));
        }
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
