// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/simulation/cluster.h"
#include "tests/simulation/history.h"
#include "tests/simulation/judges.h"
#include "tests/simulation/run_options.h"
#include "tests/simulation/workload.h"

namespace rakv::simulation {

/// One cluster of a random run: its clients, what they did, and its judges.
class TestedCluster {
 public:
  struct Seams {
    /// Something is wrong.
    Violation violation;
    /// A client was told that its put is stored.
    std::function<void()> acknowledged;
    /// Lets time pass until `done`; whether it came true within that time.
    std::function<bool(const std::function<bool()>& done, Nanoseconds time)> run_until;
  };
  /// Which cluster of the nodes'.
  struct Which {
    std::string name;
    std::string mark;          ///< in its servers' uids
    std::uint64_t number = 0;  ///< no two have one, nor a value or a client's host
  };
  TestedCluster(SimulatedCluster& nodes, const RunOptions& options, Which which, std::uint64_t seed,
                Seams seams);

  const std::string& name() const { return name_; }
  StateJudge& states() { return states_; }
  DurabilityJudge& durability() { return durability_; }
  Workload& workload() { return workload_; }
  /// Whether every member follows one leader and has applied all of its log.
  bool converged();
  /// Where each member stands, for a person.
  std::string describe();
  /// Every member has the leader's live indexes.
  void compare_machines();
  /// Every member can read every live entry.
  void read_all_entries();
  /// What clients did is linearizable, key by key. Counts histories that take too long to check.
  void check_histories(std::map<std::string, std::uint64_t>& counts);

 private:
  std::string describe(SimulatedNode& node);

  SimulatedCluster& nodes_;
  std::string name_;
  Seams seams_;
  std::mt19937_64 random_;
  History history_;
  StateJudge states_;
  DurabilityJudge durability_;
  Workload workload_;
};

}  // namespace rakv::simulation
