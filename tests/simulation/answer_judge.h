// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cnode/node/process.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/judges.h"

namespace rakv::simulation {

/// What a caller is told, and how often: once. It asks by hand, because kv::Client takes the first
/// answer and drops the others. For a cluster that has come to rest.
class AnswerJudge : private node::Process {
 public:
  /// Lets time pass until its condition holds; whether it came true in time.
  using RunUntil = std::function<bool(const std::function<bool()>& done, Nanoseconds time)>;

  AnswerJudge(SimulatedCluster& cluster, RunUntil run_until, Violation violation);
  ~AnswerJudge() override;

  /// A command to be answered when it is applied and one when it is appended: one answer each.
  void ask();
  /// A command that is notified of, whose connection ends before it is committed: the client hears
  /// of it when it is back. Nothing is said of a leader that changes meanwhile.
  void ask_and_leave();

 private:
  void on_message(std::string_view message) override;
  bool connect();
  void send(std::uint64_t tag, std::string_view kind, const std::string& mode);
  /// How many answers there are to that tag.
  std::uint64_t heard(std::uint64_t tag) const;

  SimulatedCluster& cluster_;
  RunUntil run_until_;
  Violation violation_;
  SimulatedNode& leader_;
  node::Node& node_;
  etf::Pid pid_;
  std::vector<std::string> heard_;
};

}  // namespace rakv::simulation
