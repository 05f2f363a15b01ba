// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "kv/client.h"
#include "tests/simulation/runtime.h"

namespace rakv::simulation {

/// A client of the product on a host of its own: a hidden node and kv::Client.
class SimulatedClient {
 public:
  /// It reads entries at one of `readers`, by chance; at the leader without any.
  SimulatedClient(Schedule& schedule, SimulatedNetwork& network, std::string host,
                  std::uint64_t seed, std::vector<raft::ServerId> servers,
                  std::vector<raft::ServerId> readers = {});
  ~SimulatedClient();
  Clock::time_point in(Clock::duration time) { return node_->clock().now() + time; }
  kv::Client& client() { return *client_; }
  node::Node& node() { return *node_; }
  const std::string& host() const { return host_; }
  bool ready() const { return ready_; }
  /// Runs what was just asked for.
  void turn() { runtime_->turn(); }

 private:
  std::string host_;
  std::mt19937_64 random_;
  std::shared_ptr<Runtime> runtime_;
  std::optional<node::Node> node_;
  std::optional<kv::Client> client_;
  bool ready_ = false;
};

}  // namespace rakv::simulation
