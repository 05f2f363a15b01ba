// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kv/program/node_process.h"
#include "tests/simulation/runtime.h"
#include "tests/support/memory_disk.h"

namespace rakv::simulation {

/// The cookie of all nodes, and their epmd.
inline constexpr char kCookie[] = "simulation";
distribution::epmd::Options epmd_options();

/// A node NAME@NAME on a host of its own, with a disk that outlives it.
class SimulatedNode {
 public:
  SimulatedNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace, std::string name,
                std::uint64_t seed);
  ~SimulatedNode();

  /// Starts the process on what is on the disk.
  void start();
  /// Ends it as a power cut does, or as kill -9 does with CrashMode::keep_everything.
  void kill(raftlog::CrashMode mode);
  bool runs() const { return life_ != nullptr; }
  /// Whether it has said that it serves.
  bool serves() const { return runs() && life_->serves; }
  kv::NodeProcess& process() { return *life_->process; }
  /// The server kv; null when it does not run.
  member::Member* member();
  const std::string& name() const { return name_; }

 private:
  struct Life {
    std::shared_ptr<Runtime> runtime;
    std::optional<kv::NodeProcess> process;
    bool serves = false;
    bool wal_is_due = false;
  };
  void run_wal_later();
  kv::NodeProcessOptions options() const;

  Schedule& schedule_;
  SimulatedNetwork& network_;
  Trace& trace_;
  std::string host_;
  std::string name_;
  std::uint64_t seed_;
  std::uint64_t lives_ = 0;
  std::unique_ptr<raftlog::MemoryDisk> disk_ = std::make_unique<raftlog::MemoryDisk>();
  std::unique_ptr<Life> life_;
};

}  // namespace rakv::simulation
