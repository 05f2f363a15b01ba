// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/cluster.h"
#include "tests/simulation/cluster_replacement.h"
#include "tests/simulation/fault_injector.h"
#include "tests/simulation/run_options.h"
#include "tests/simulation/tested_cluster.h"

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

/// One random run of whole nodes with one cluster or two: faults under traffic, then all is made
/// whole, then each cluster must come to rest and serve everybody. Judges look all the time. The
/// first violation ends it.
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

  void make_tested_clusters();
  std::unique_ptr<TestedCluster> make_tested_cluster(const std::string& name,
                                                     const std::string& mark);
  void make_replacement();
  /// Its clients', if there is still time for faults.
  void begin_when_ready(TestedCluster& made);
  /// The second cluster is a new one, of servers with that mark.
  void take_replacement(const std::string& mark);
  void faults();
  void heal();
  void converge();
  /// From now on an operation has time for what it needs.
  void give_time();
  void serve_without_a_minority();
  void serve_everybody();
  void look_at_answers();
  void look_at_accounts();
  void look_at_turns();
  void count_what_happened();
  /// Whether that is so of all clusters.
  bool of_all(const std::function<bool(TestedCluster&)>& holds);
  bool all_lead();
  bool all_converged();
  bool all_idle();
  void begin_operations(std::uint64_t operations);
  std::string states();

  RunOptions options_;
  std::mt19937_64 random_;
  SimulatedCluster cluster_;
  std::vector<std::unique_ptr<TestedCluster>> tested_;
  std::vector<std::unique_ptr<TestedCluster>> retired_;  ///< of clusters that were replaced
  std::unique_ptr<ClusterReplacement> replacement_;      ///< null: none is replaced
  std::unique_ptr<FaultInjector> injector_;
  RunReport report_;
  bool faults_are_over_ = false;
  bool ended_by_ra_ = false;  ///< something is wrong after ra broke a rule of Raft's
};

}  // namespace rakv::simulation
