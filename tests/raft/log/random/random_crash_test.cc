// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/raft/log/random/random_node.h"

// A node with several servers through generations of processes, each of which works for a while on
// a disk that may fail, and ends by a kill, a power cut or a stop. See RandomNode for what happens
// and MemberModel for what must be there afterwards.
//
// RAKV_SEED repeats one seed, RAKV_RUNS of them from there on; RAKV_GENERATIONS sets their number;
// RAKV_TRACE prints what is done, RAKV_TRACE_DISK=UID what files have of a server at each start.

namespace rakv::raftlog {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t standard) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : standard;
}

TEST(RandomCrash, NothingAcknowledgedIsLost) {
  const bool repeated = std::getenv("RAKV_SEED") != nullptr;
  const std::uint64_t first = from_environment("RAKV_SEED", 1);
  const std::uint64_t runs = from_environment("RAKV_RUNS", repeated ? 1 : 500);
  const std::uint64_t generations = from_environment("RAKV_GENERATIONS", 8);
  testing::RandomTotals totals;
  for (std::uint64_t seed = first; seed < first + runs && !HasFailure(); ++seed) {
    SCOPED_TRACE("RAKV_SEED=" + std::to_string(seed));
    testing::RandomNode node(seed, totals);
    for (std::uint64_t i = 0; i < generations && !HasFailure(); ++i) node.generation();
    if (!HasFailure()) node.last_start();
    for (int i = 0; i < 4 && !HasFailure(); ++i) node.flip_a_byte();
  }
  std::printf("seeds %llu to %llu, %llu generations each\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + runs - 1),
              static_cast<unsigned long long>(generations));
  totals.print();
}

}  // namespace
}  // namespace rakv::raftlog
