// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/cluster_replacement.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::simulation {
namespace {

constexpr std::chrono::seconds kAskTime{5};
/// Between two attempts.
constexpr Nanoseconds kPause = std::chrono::milliseconds(500);
/// How long an operator waits for servers that can't be reached.
constexpr Nanoseconds kPatience = std::chrono::seconds(3);
/// Between two replacements: clients have time to write.
constexpr Nanoseconds kRest = std::chrono::seconds(4);
/// How long a deletion may take while all nodes serve.
constexpr Nanoseconds kDeletionTime = std::chrono::seconds(60);

}  // namespace

ClusterReplacement::ClusterReplacement(SimulatedCluster& nodes, std::string cluster, Seams seams)
    : nodes_(nodes),
      cluster_(std::move(cluster)),
      seams_(std::move(seams)),
      mark_(first_mark(cluster_)) {}

bool ClusterReplacement::is_there(const SimulatedNode& node) const {
  return node.serves() && node.is_registered(cluster_);
}

bool ClusterReplacement::is_old(const SimulatedNode& node) const {
  if (!is_there(node)) return false;
  const auto uid = node.uid_of(cluster_);
  return uid && uid->find(mark_) == std::string::npos;
}

void ClusterReplacement::begin() {
  if (!at_rest() || nodes_.schedule.now() < since_ + kRest) return;
  stage_ = Stage::resting;
}

bool ClusterReplacement::at_rest() {
  if (stage_ != Stage::none) return false;
  const auto& servers = nodes_.servers(cluster_);
  return std::all_of(servers.begin(), servers.end(), [this](const raft::ServerId& server) {
    const SimulatedNode& node = nodes_.node_of(server);
    return is_there(node) && !is_old(node);
  });
}

void ClusterReplacement::look() {
  const Nanoseconds now = nodes_.schedule.now();
  if (stage_ == Stage::resting && seams_.clients_rest()) {
    nodes_.trace.line("the cluster " + cluster_ + " is deleted");
    stage_ = Stage::deleting;
    since_ = now;
    return;
  }
  if (stage_ == Stage::resting || now < asked_at_ + kPause) return;
  asked_at_ = now;
  switch (stage_) {
    case Stage::deleting:
      return delete_all();
    case Stage::making:
      return make_all();
    default:
      return replace_old_ones();
  }
}

void ClusterReplacement::delete_all() {
  const auto& servers = nodes_.servers(cluster_);
  std::vector<SimulatedNode*> left;
  bool all_serve = true;
  for (const raft::ServerId& server : servers) {
    SimulatedNode& node = nodes_.node_of(server);
    all_serve = all_serve && node.serves();
    if (is_there(node)) left.push_back(&node);
  }
  if (left.empty()) {
    stage_ = Stage::making;
    mark_ = cluster_ + "G" + std::to_string(++makings_) + "AAAA";
    return;
  }
  const Nanoseconds now = nodes_.schedule.now();
  SimulatedNode* const leader = nodes_.leader(cluster_);
  // Without a leader there is nobody to ask; one that has applied the deletion goes by itself.
  if (now > since_ + kPatience && (!all_serve || leader == nullptr)) {
    for (SimulatedNode* node : left) {
      const auto standing = node->standing(cluster_);
      if (!all_serve || !standing || standing->first != raft::Role::terminating_leader)
        node->delete_server(cluster_);
    }
  }
  if (all_serve && now > since_ + kDeletionTime)
    seams_.violation("the deletion of " + cluster_ + " does not end");
  if (leader == nullptr) return;
  etf::Writer request;
  request.tuple(2).atom("leader_call").tuple(3).atom("command").atom("normal");
  request.tuple(3).atom("$ra_cluster").atom("delete").atom("await_consensus");
  nodes_.client().node().call(
      leader->name(), cluster_,
      [&](distribution::OutMessage& out) { out.text.append(request.view()); }, kAskTime,
      [](const node::CallResult&) {});
  nodes_.client().turn();
}

void ClusterReplacement::make_all() {
  std::size_t made = 0;
  const auto& servers = nodes_.servers(cluster_);
  for (const raft::ServerId& server : servers) {
    SimulatedNode& node = nodes_.node_of(server);
    if (is_old(node)) {
      node.delete_server(cluster_);
    } else if (node.serves() && !node.is_registered(cluster_)) {
      make(node);
    }
    made += is_there(node) && !is_old(node) ? 1 : 0;
  }
  if (made <= servers.size() / 2) return;
  SimulatedNode* const leader = nodes_.leader(cluster_);
  const bool leads = leader != nullptr && !is_old(*leader) && leader->view(cluster_) &&
                     leader->view(cluster_)->commit > raft::Index(0);
  if (leads) {
    nodes_.trace.line("the cluster " + cluster_ + " is there again");
    stage_ = Stage::none;
    since_ = nodes_.schedule.now();
    return seams_.made(mark_);
  }
  for (const raft::ServerId& server : servers) {
    SimulatedNode& node = nodes_.node_of(server);
    if (is_there(node) && !is_old(node)) {
      return node.trigger_election(cluster_);
    }
  }
}

void ClusterReplacement::replace_old_ones() {
  const Nanoseconds now = nodes_.schedule.now();
  for (const raft::ServerId& server : nodes_.servers(cluster_)) {
    SimulatedNode& node = nodes_.node_of(server);
    if (!node.serves()) continue;
    if (!node.is_registered(cluster_)) {
      make(node);
    } else if (is_old(node)) {
      const Nanoseconds since = old_seen_at_.emplace(node.name(), now).first->second;
      if (now > since + kPatience) node.delete_server(cluster_);
    } else {
      old_seen_at_.erase(node.name());
    }
  }
}

void ClusterReplacement::make(SimulatedNode& node) {
  node.make_server(cluster_, "UID" + node.host() + mark_, nodes_.servers(cluster_));
}

}  // namespace rakv::simulation
