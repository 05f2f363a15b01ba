// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/judges.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "cnode/base/executor.h"
#include "tests/simulation/workload.h"

namespace rakv::simulation {

// --- the members' states

void StateJudge::look() {
  for (const auto& [host, node] : cluster_.nodes()) {
    member::Member* member = node->member();
    if (member == nullptr) {
      seen_.erase(host);
      continue;
    }
    look_at(host, *member);
  }
}

void StateJudge::look_at(const std::string& host, member::Member& member) {
  const raft::Core& core = member.core();
  Seen now{{member.pid().id, member.pid().creation},
           core.current_term(),
           core.role(),
           core.log().last().index,
           core.commit_index(),
           core.last_applied(),
           member.last_applied()};
  Seen& before = seen_[host];
  if (now == before) return;
  const bool started = before.process != now.process;
  if (started) members_[host] = {};
  if (now.role == raft::Role::leader && before.role != raft::Role::leader) ++terms_;
  committed_ = std::max(committed_, now.commit);
  const raft::Index compared = started ? raft::Index(0) : before.applied;
  before = now;
  if (const auto broken = members_[host].check(core)) violation_(*broken);
  if (const auto broken = invariants_.check(core)) violation_(*broken);
  if (member.last_applied() > core.last_applied())
    violation_(to_string(core.id()) + ": the machine is beyond what the core has applied");
  compare_entries(member, compared);
}

void StateJudge::compare_entries(member::Member& member, raft::Index from) {
  for (std::uint64_t index = from.value() + 1; index <= member.last_applied().value(); ++index) {
    const raftlog::StoredEntry* entry = member.log().fetch(index);
    if (entry == nullptr) continue;
    const std::uint64_t sum =
        checksum(entry->payload.view(), checksum(std::to_string(entry->term)));
    const auto [known, fresh] = entries_.emplace(index, sum);
    if (!fresh && known->second != sum) {
      violation_(to_string(member.id()) + ": another entry is applied at " + std::to_string(index) +
                 " than on other members");
    }
  }
}

const raft::Cluster* StateJudge::committed_cluster() const {
  for (const auto& [host, node] : cluster_.nodes()) {
    const member::Member* member = node->member();
    if (member == nullptr || member->core().commit_index() < committed_) continue;
    return &member->core().cluster_at(committed_);
  }
  return nullptr;
}

// --- the disks

bool DurabilityJudge::has_bytes(const SimulatedNode& node, const std::string& bytes) const {
  bool found = false;
  node.disk().visit_durable([&](const std::string&, const std::string& file) {
    found = found || file.find(bytes) != std::string::npos;
  });
  return found;
}

bool DurabilityJudge::is_majority(const std::set<std::string>& nodes) const {
  const raft::Cluster* const members = states_.committed_cluster();
  if (members == nullptr) return true;
  std::size_t voters = 0;
  std::size_t having = 0;
  for (const auto& [id, config] : *members) {
    if (!config.is_voter()) continue;
    ++voters;
    having += nodes.contains(id.node()) ? 1 : 0;
  }
  return having > voters / 2;
}

void DurabilityJudge::acknowledged(std::size_t operation, std::uint64_t index) {
  acknowledged_[operation] = index;
  const ClientOperation& put = history_.operation(operation);
  const std::string mark = value_mark(put.value);
  std::set<std::string> having;
  for (const auto& [host, node] : cluster_.nodes()) {
    if (has_bytes(*node, mark)) having.insert(node->name());
  }
  if (is_majority(having) || history_.may_be_superseded(operation)) return;
  violation_("an acknowledged write is on " + std::to_string(having.size()) +
             " disks only: " + to_string(put) + " at index " + std::to_string(index));
}

std::map<std::size_t, std::uint64_t> DurabilityJudge::current() const {
  std::map<std::size_t, std::uint64_t> left;
  for (const auto& [operation, index] : acknowledged_) {
    if (!history_.may_be_superseded(operation)) left.emplace(operation, index);
  }
  return left;
}

namespace {

/// A log system over what a power cut leaves of a disk.
struct RecoveredDisk {
  explicit RecoveredDisk(const SimulatedNode& node) : disk(node.disk().clone()) {
    disk->crash(raftlog::CrashMode::lose_unsynced);
    raftlog::LogSystemOptions options;
    options.wal_thread = false;
    options.reserve_bytes = 0;
    options.wal.salt_seed = 1;
    options.now = [] { return std::chrono::milliseconds(0); };
    auto opened = raftlog::LogSystem::open(node.directory(), *disk, executor, executor, options);
    if (opened) {
      system = std::move(*opened);
    } else {
      failure = opened.error().message;
    }
  }

  ManualExecutor executor;
  std::unique_ptr<raftlog::MemoryDisk> disk;
  std::unique_ptr<raftlog::LogSystem> system;
  std::string failure;
};

}  // namespace

void DurabilityJudge::rehearse_power_cut() {
  ++rehearsals_;
  const auto wanted = current();
  std::map<std::size_t, std::set<std::string>> having;
  for (const auto& [host, node] : cluster_.nodes()) {
    const RecoveredDisk recovered(*node);
    if (!recovered.system)
      return violation_(node->name() +
                        " could not be started after a power cut: " + recovered.failure);
    if (!recovered.system->broken_servers().empty())
      return violation_(node->name() + " would have a broken server after a power cut");
    raftlog::MemberLog* log = recovered.system->find_by_name("kv");
    if (log == nullptr) continue;
    if (log->amnesia()) return violation_(node->name() + " would take a power cut for a loss");
    for (const auto& [operation, index] : wanted) {
      const auto entry = log->read_blocking(index);
      const std::string mark = value_mark(history_.operation(operation).value);
      if (entry && entry->payload.view().find(mark) != std::string_view::npos)
        having[operation].insert(node->name());
    }
  }
  for (const auto& [operation, index] : wanted) {
    if (is_majority(having[operation])) continue;
    violation_("after a power cut an acknowledged write would be on " +
               std::to_string(having[operation].size()) + " members: " +
               to_string(history_.operation(operation)) + " at index " + std::to_string(index));
  }
}

}  // namespace rakv::simulation
