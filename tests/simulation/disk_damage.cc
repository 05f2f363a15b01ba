// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/disk_damage.h"

#include <algorithm>

#include "kv/program/takeover_conditions.h"
#include "raft/log/offline/repair.h"

namespace rakv::simulation {
namespace {

/// A segment of a version that nobody knows may be one of a later ra: repair leaves it to a person.
bool tells_a_version(const std::string& path, std::size_t at) {
  return path.ends_with(".segment") && (at == 4 || at == 5);
}

}  // namespace

DiskDamage::DiskDamage(SimulatedCluster& cluster, std::uint64_t seed)
    : cluster_(cluster), random_(seed) {
  std::vector<SimulatedNode*> candidates;
  for (const auto& [host, node] : cluster.nodes()) {
    if (node->beam() == nullptr) candidates.push_back(node.get());
  }
  const bool spares_one =
      std::all_of(cluster.names().begin(), cluster.names().end(),
                  [&](const std::string& name) { return cluster.servers(name).size() >= 3; });
  if (spares_one && !candidates.empty()) node_ = candidates[random_() % candidates.size()];
}

SimulatedNode* DiskDamage::flip() {
  std::vector<std::pair<std::string, std::size_t>> files;
  if (node_ != nullptr) {
    node_->disk().visit_durable([&](const std::string& path, const std::string& bytes) {
      if (!bytes.empty() && !path.ends_with("/config")) files.emplace_back(path, bytes.size());
    });
  }
  if (files.empty()) return nullptr;
  const auto& [path, size] = files[random_() % files.size()];
  const std::size_t at = random_() % size;
  if (tells_a_version(path, at)) return nullptr;
  cluster_.trace.line(node_->name() + " has a bit flipped in " + path + " at " +
                      std::to_string(at));
  node_->disk().flip(path, at, static_cast<char>(1U << random_() % 8));
  cluster_.damaged = node_->name();
  return node_;
}

void DiskDamage::repair(SimulatedNode& node) {
  if (&node != node_ || node.runs()) return;
  cluster_.trace.line(node.name() + " is repaired");
  const auto repaired =
      raftlog::repair(node.disk(), node.directory(), [&node](const raftlog::ServerConfig& config) {
        return kv::can_take_over(config, node.name());
      });
  if (!repaired) return cluster_.trace.line("it can't be repaired: " + repaired.error().message);
  for (const raftlog::SetAside& each : repaired->set_aside)
    cluster_.trace.line("set aside: " + each.path + ": " + each.why);
}

}  // namespace rakv::simulation
