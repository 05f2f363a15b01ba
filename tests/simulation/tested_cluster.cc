// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/tested_cluster.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "raft/core/text.h"
#include "tests/simulation/beam_node.h"

namespace rakv::simulation {
namespace {

constexpr Nanoseconds kAllEntriesTime = std::chrono::seconds(20);
constexpr std::chrono::seconds kEntryTime{10};
/// More than a run has puts.
constexpr std::uint64_t kValues = 1'000'000;

}  // namespace

TestedCluster::TestedCluster(SimulatedCluster& nodes, const RunOptions& options, Which which,
                             std::uint64_t seed, Seams seams)
    : nodes_(nodes),
      name_(std::move(which.name)),
      seams_(std::move(seams)),
      random_(seed),
      states_(nodes, name_, which.mark, seams_.violation),
      durability_(nodes, history_, states_, seams_.violation),
      workload_(nodes, options, history_, random_(),
                {.cluster = name_,
                 .hosts = name_ + (which.number < 2 ? "" : std::to_string(which.number)) + "client",
                 .first_value = which.number * kValues,
                 .acknowledged =
                     [this](std::size_t operation, std::uint64_t index) {
                       durability_.acknowledged(operation, index);
                       seams_.acknowledged();
                       if (random_() % 50 == 0) durability_.rehearse_power_cut();
                     },
                 .violation = seams_.violation}) {}

bool TestedCluster::converged() {
  SimulatedNode* const leader = nodes_.leader(name_);
  if (leader == nullptr) return false;
  const MemberView leading = *leader->view(name_);
  const auto servers = nodes_.servers(name_);
  return std::all_of(servers.begin(), servers.end(), [&](const raft::ServerId& server) {
    const auto member = nodes_.node_of(server).view(name_);
    return member && member->applied == leading.last && member->leader == leading.id &&
           leading.cluster.contains(member->id);
  });
}

std::string TestedCluster::describe() {
  std::string text;
  for (const raft::ServerId& server : nodes_.servers(name_)) {
    text += "\n" + to_string(server) + ": " + describe(nodes_.node_of(server));
  }
  return text;
}

std::string TestedCluster::describe(SimulatedNode& node) {
  if (const member::Member* const member = node.member(name_))
    return raft::describe(member->core());
  const auto view = node.view(name_);
  if (!view) return "no server\n";
  return "as a BEAM, " + std::string(to_string(view->role)) + " in term " +
         std::to_string(view->term.value()) + " of " +
         (view->leader ? to_string(*view->leader) : "nobody") + ", last " +
         std::to_string(view->last.value()) + ", commit " + std::to_string(view->commit.value()) +
         ", applied " + std::to_string(view->applied.value()) + ", " +
         std::to_string(view->cluster.size()) + " members\n";
}

void TestedCluster::compare_machines() {
  const std::vector<std::uint64_t> live = nodes_.leader(name_)->view(name_)->live;
  for (const raft::ServerId& server : nodes_.servers(name_)) {
    if (nodes_.node_of(server).view(name_)->live != live)
      seams_.violation(to_string(server) + " has another state than the leader");
  }
}

void TestedCluster::read_all_entries() {
  const auto waiting = std::make_shared<std::size_t>(0);
  for (const raft::ServerId& server : nodes_.servers(name_)) {
    SimulatedNode& node = nodes_.node_of(server);
    const std::vector<std::uint64_t> live = node.view(name_)->live;
    if (BeamNode* const beam = node.beam()) {
      for (const std::uint64_t index : live) {
        if (beam->rules(name_)->log().read(raft::Index(index)) == nullptr)
          seams_.violation(to_string(server) + " does not have its entry " + std::to_string(index));
      }
      continue;
    }
    for (const std::uint64_t index : live) {
      ++*waiting;
      node.member(name_)->read_entry(
          index, kEntryTime,
          [this, waiting, index, server](const Result<std::vector<raftlog::StoredEntry>>& entries) {
            --*waiting;
            if (entries) return;
            seams_.violation(to_string(server) + " can't read its entry " + std::to_string(index) +
                             ": " + entries.error().message);
          });
    }
    node.runtime().turn();
  }
  if (!seams_.run_until([&] { return *waiting == 0; }, kAllEntriesTime))
    seams_.violation("an entry was never read");
}

void TestedCluster::check_histories(std::map<std::string, std::uint64_t>& counts) {
  for (const auto& [key, operations] : history_.by_key()) {
    const LinearizabilityVerdict verdict = check_linearizable(operations);
    if (!verdict.decided) ++counts["histories undecided"];
    if (!verdict.linearizable) seams_.violation(verdict.why);
  }
}

}  // namespace rakv::simulation
