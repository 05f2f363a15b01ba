// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/cluster.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::simulation {
namespace {

constexpr std::chrono::seconds kCallTime{10};

std::string encoded(std::uint64_t value) { return etf::Writer().u64(value).take(); }
std::string encoded(std::string_view text) { return etf::Writer().binary(text).take(); }

}  // namespace

SimulatedCluster::SimulatedCluster(std::uint64_t seed, const std::vector<std::string>& hosts)
    : network(schedule, trace, seed, {}) {
  std::mt19937_64 random(seed);
  for (const std::string& host : hosts) {
    nodes_[host] = std::make_unique<SimulatedNode>(schedule, network, trace, host, random());
    servers_.push_back({"kv", nodes_[host]->name()});
  }
  client_ = std::make_unique<SimulatedClient>(schedule, network, random(), servers_);
}

bool SimulatedCluster::run_until(const std::function<bool()>& done, Nanoseconds time) {
  const Nanoseconds end = schedule.now() + time;
  while (!done()) {
    if (!schedule.run_next(end)) return done();
  }
  return true;
}

void SimulatedCluster::form() {
  for (auto& [host, node] : nodes_) node->start();
  const auto all_serve = [this] {
    return client_->ready() && std::all_of(nodes_.begin(), nodes_.end(),
                                           [](const auto& node) { return node.second->serves(); });
  };
  RAKV_CHECK_MSG(run_until(all_serve, kCallTime), "the nodes do not start");
  std::size_t started = 0;
  for (const raft::ServerId& server : servers_) {
    etf::Writer arguments;
    arguments.list(3).atom("default").binary("UID").map(6);
    arguments.atom("id");
    wire::write_server_id(arguments, server);
    arguments.atom("uid").binary("UID" + server.node().substr(0, server.node().find('@')) +
                                 "AAAAA");
    arguments.atom("cluster_name").atom("kv");
    arguments.atom("machine").tuple(3).atom("module").atom("ra_kv").map(0);
    arguments.atom("log_init_args").map(0);
    arguments.atom("initial_members").list(servers_.size());
    for (const raft::ServerId& member : servers_) wire::write_server_id(arguments, member);
    arguments.nil().nil();
    client_->node().apply(server.node(), "ra_server_sup_sup", "start_server_rpc", arguments.view(),
                          kCallTime, [&started, this](const node::ApplyResult& result) {
                            trace.line("started: " + etf::print_text(result.term));
                            ++started;
                          });
  }
  client_->turn();
  RAKV_CHECK_MSG(run_until([&] { return started == servers_.size(); }, 2 * kCallTime),
                 "the servers do not start");
  for (auto& [host, node] : nodes_)
    RAKV_CHECK_MSG(node->member() != nullptr, "no server on " + host);
  nodes_.begin()->second->member()->trigger_election();
  RAKV_CHECK_MSG(run_until([this] { return leader() != nullptr; }, kCallTime), "no leader");
}

SimulatedNode* SimulatedCluster::leader() {
  SimulatedNode* found = nullptr;
  raft::Term highest;
  for (auto& [host, node] : nodes_) {
    member::Member* member = node->member();
    if (member == nullptr || member->core().role() != raft::Role::leader) continue;
    if (found != nullptr && member->core().current_term() < highest) continue;
    highest = member->core().current_term();
    found = node.get();
  }
  return found;
}

bool SimulatedCluster::put(std::string_view key, std::uint64_t value) {
  std::optional<bool> result;
  client_->client().put(
      encoded(key), encoded(value), client_->in(kCallTime),
      [&](const Result<kv::CommittedPosition>& written) {
        trace.line("put " + std::string(key) + " " + std::to_string(value) + ": " +
                   (written ? std::to_string(written->index) : written.error().message));
        result = written.has_value();
      });
  client_->turn();
  run_until([&] { return result.has_value(); }, 3 * kCallTime);
  RAKV_CHECK_MSG(result, "a put was never answered");
  return *result;
}

std::string SimulatedCluster::get(std::string_view key) {
  std::optional<std::string> result;
  client_->client().get(
      encoded(key), client_->in(kCallTime), [&](const Result<kv::StoredValue>& stored) {
        if (stored) {
          result = etf::print_text(stored->value);
        } else {
          result = stored.error().code == ErrorCode::not_found ? "not_found"
                                                               : "error: " + stored.error().message;
        }
        trace.line("get " + std::string(key) + ": " + *result);
      });
  client_->turn();
  run_until([&] { return result.has_value(); }, 3 * kCallTime);
  RAKV_CHECK_MSG(result, "a get was never answered");
  return *result;
}

}  // namespace rakv::simulation
