// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "tests/simulation/cluster.h"
#include "tests/simulation/fault_injector.h"
#include "tests/simulation/history.h"
#include "tests/simulation/judges.h"
#include "tests/simulation/run_options.h"
#include "tests/simulation/workload.h"

namespace rakv::simulation {

/// What came of a run.
struct RunReport {
  std::optional<std::string> violation;  ///< the first
  std::uint64_t trace_sum = 0;           ///< two runs of the same options have the same
  std::uint64_t events = 0;
  double virtual_seconds = 0;
  /// Operations, crashes and so on, by name.
  std::map<std::string, std::uint64_t> counts;
};

/// One random run of a cluster of whole nodes: faults under traffic, then all is made whole, then
/// the cluster must come to rest and serve everybody. Judges look all the time. The first violation
/// ends it.
class RandomRun {
 public:
  explicit RandomRun(const RunOptions& options);
  RunReport run();
  Trace& trace() { return cluster_.trace; }

 private:
  /// Whether `done` came true within that time, and nothing was violated.
  bool run_until(const std::function<bool()>& done, Nanoseconds time);
  void fail(const std::string& what);
  /// Nothing more is to be judged.
  bool failed() const { return ended_by_ra_ || report_.violation.has_value(); }

  void faults();
  void heal();
  void converge();
  void serve_everybody();
  void look_at_answers();
  void compare_machines();
  void read_all_entries();
  void look_at_accounts();
  void check_histories();
  bool converged();
  std::string states();

  RunOptions options_;
  std::mt19937_64 random_;
  SimulatedCluster cluster_;
  History history_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<FaultInjector> injector_;
  StateJudge state_judge_;
  DurabilityJudge durability_judge_;
  RunReport report_;
  bool ended_by_ra_ = false;  ///< something is wrong after ra broke a rule of Raft's
};

}  // namespace rakv::simulation
