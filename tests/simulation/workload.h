// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/cluster.h"
#include "tests/simulation/history.h"
#include "tests/simulation/run_options.h"

namespace rakv::simulation {

/// The value that a put stores, encoded: its bytes are in no other value, and tell its number.
std::string workload_value(std::uint64_t number, const RunOptions& options);
/// The bytes in it that no other value has.
std::string value_mark(std::uint64_t number);

/// Clients of the product that put, get and remove a few keys, each one operation after the other.
class Workload {
 public:
  struct Seams {
    std::string cluster = "kv";
    std::string hosts = "client";   ///< what the names of its hosts begin with
    std::uint64_t first_value = 0;  ///< values are numbered from here; so many are for others
    /// A put was acknowledged at that index.
    std::function<void(std::size_t operation, std::uint64_t index)> acknowledged;
    /// An answer that no member may give.
    std::function<void(const std::string& what)> violation;
  };

  Workload(SimulatedCluster& cluster, const RunOptions& options, History& history,
           std::uint64_t seed, Seams seams);

  /// Whether all clients' nodes have started.
  bool ready() const;
  /// Each client does so many operations from now on, with pauses between them.
  void begin(std::uint64_t operations);
  /// No new operations.
  void stop();
  bool idle() const;
  /// Whether the last operation of each client succeeded. Those who begin with a server on one of
  /// these nodes do not count: what that one does with a put they can't know.
  bool serves_all_but(const std::set<std::string>& nodes) const;
  /// An operation that has not ended at its deadline; null: there is none.
  const ClientOperation* overdue() const;
  std::uint64_t answered() const { return answered_; }
  std::uint64_t succeeded() const { return succeeded_; }
  const std::vector<std::string>& hosts() const { return hosts_; }

 private:
  struct Caller {
    std::unique_ptr<SimulatedClient> client;
    std::string first;  ///< the node of the server that it asks first
    bool succeeded = false;
    std::uint64_t left = 0;
    bool busy = false;
    std::size_t operation = 0;  ///< under way, while it is busy
    Nanoseconds deadline{0};    ///< of it, by the schedule
  };
  void next_later(Caller& caller);
  void next(Caller& caller);
  void put(Caller& caller, const std::string& key);
  void get(Caller& caller, const std::string& key);
  void remove(Caller& caller, const std::string& key);
  void begin_operation(Caller& caller, ClientOperation::Kind kind, const std::string& key,
                       std::uint64_t value);
  void end_operation(Caller& caller, ClientOperation::Outcome outcome, std::uint64_t value = 0);
  ClientOperation::Outcome outcome_of(const Error& error, ClientOperation::Kind kind) const;
  std::uint64_t number_of(const std::string& value) const;
  Clock::time_point deadline(Caller& caller) const;

  SimulatedCluster& cluster_;
  const RunOptions& options_;
  History& history_;
  std::mt19937_64 random_;
  Seams seams_;
  std::vector<std::unique_ptr<Caller>> callers_;
  std::vector<std::string> hosts_;
  std::uint64_t last_value_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t succeeded_ = 0;
};

}  // namespace rakv::simulation
