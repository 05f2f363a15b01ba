// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulated_client.h"

#include <utility>

#include "tests/simulation/simulated_node.h"

namespace rakv::simulation {

SimulatedClient::SimulatedClient(Schedule& schedule, SimulatedNetwork& network, std::string host,
                                 std::uint64_t seed, std::vector<raft::ServerId> servers,
                                 std::vector<raft::ServerId> readers)
    : host_(std::move(host)), random_(seed) {
  Runtime::Options runtime;
  runtime.host = host_;
  runtime.seed = seed;
  runtime_ = Runtime::make(schedule, network, runtime);
  node::NodeOptions options;
  options.name = host_ + "@" + host_;
  options.cookie = kCookie;
  options.visible = false;
  options.epmd = epmd_options();
  node_.emplace(runtime_->io(), options);
  kv::ClientOptions client;
  client.servers = std::move(servers);
  if (!readers.empty()) {
    client.read_at = [this, readers = std::move(readers)](std::uint64_t, const raft::ServerId&) {
      return readers[random_() % readers.size()];
    };
  }
  client_.emplace(runtime_->io(), *node_, client);
  node_->start([this](const Result<void>& started) { ready_ = started.has_value(); });
  runtime_->turn();
}

SimulatedClient::~SimulatedClient() {
  runtime_->switch_off();
  client_.reset();
  node_.reset();
}

}  // namespace rakv::simulation
