// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/judges.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "cnode/base/executor.h"
#include "tests/simulation/workload.h"

namespace rakv::simulation {
namespace {

std::uint64_t entry_sum(std::uint64_t term, std::string_view payload) {
  return checksum(payload, checksum(std::to_string(term)));
}

}  // namespace

// --- the members' states

StateJudge::StateJudge(SimulatedCluster& cluster, std::string server, std::string mark,
                       Violation violation)
    : cluster_(cluster),
      server_(std::move(server)),
      mark_(std::move(mark)),
      violation_(std::move(violation)) {}

member::Member* StateJudge::member_of(SimulatedNode& node) const {
  member::Member* const member = node.member(server_);
  return member != nullptr && is_judged(member->uid()) ? member : nullptr;
}

bool StateJudge::is_committed(const raft::Entry& entry) const {
  const auto known = entries_.find(entry.index.value());
  return known != entries_.end() &&
         known->second == entry_sum(entry.term.value(), entry.payload.view());
}

void StateJudge::look() {
  for (const auto& [host, node] : cluster_.nodes()) {
    if (BeamNode* const beam = node->beam()) {
      look_at_beam(host, *beam);
      continue;
    }
    member::Member* member = member_of(*node);
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
           member.log().term_vote_stored(),
           core.log().last().index,
           core.commit_index(),
           core.last_applied(),
           member.last_applied()};
  Seen& before = seen_[host];
  if (now == before) return;
  const bool started = before.process != now.process;
  if (started) {
    members_[host] = {};
    look_at_start(member);
  }
  written_[member.uid()] = core.log().last_written().index;
  const auto leads = [](const Seen& seen) {
    return seen.role == raft::Role::leader && seen.stored;
  };
  if (leads(now) && !leads(before)) {
    ++terms_;
    note_leader(core.id(), now.term);
  }
  committed_ = std::max(committed_, now.commit);
  const raft::Index compared = started ? raft::Index(0) : before.applied;
  before = now;
  if (const auto broken = members_[host].check(core)) violation_(*broken);
  if (const auto broken = now.stored ? invariants_.check(core) : std::nullopt) violation_(*broken);
  if (member.last_applied() > core.last_applied())
    violation_(to_string(core.id()) + ": the machine is beyond what the core has applied");
  compare_entries(member, compared);
}

void StateJudge::look_at_start(const member::Member& member) {
  const auto before = written_.find(member.uid());
  if (before == written_.end() || member.core().has_amnesia()) return;
  const raft::Index last = member.core().log().last().index;
  if (last >= before->second) return;
  violation_(to_string(member.id()) + " has lost what it had written, up to " +
             std::to_string(before->second.value()) + " of which it has " +
             std::to_string(last.value()) + ", and does not know it");
}

void StateJudge::compare_entries(member::Member& member, raft::Index from) {
  for (std::uint64_t index = from.value() + 1; index <= member.last_applied().value(); ++index) {
    const raftlog::StoredEntry* entry = member.log().fetch(index);
    if (entry == nullptr) continue;
    compare_entry(member.id(), index, entry_sum(entry->term, entry->payload.view()));
  }
}

void StateJudge::compare_entry(const raft::ServerId& id, std::uint64_t index, std::uint64_t sum) {
  const auto [known, fresh] = entries_.emplace(index, sum);
  if (fresh || known->second == sum) return;
  violation_(to_string(id) + ": another entry is applied at " + std::to_string(index) +
             " than on other members");
}

void StateJudge::note_leader(const raft::ServerId& id, raft::Term term) {
  const auto [known, fresh] = leaders_.emplace(term, id);
  if (fresh || known->second == id) return;
  violation_("two leaders in term " + std::to_string(term.value()) + ": " +
             to_string(known->second) + " and " + to_string(id));
}

void StateJudge::look_at_beam(const std::string& host, BeamNode& node) {
  const BeamRules* const rules = node.rules(server_);
  if (rules == nullptr) {
    seen_.erase(host);
    return;
  }
  const raft::Index last = rules->log().last().index;
  const raft::Index commit = std::min(rules->commit_index(), last);
  const auto start = static_cast<std::uint32_t>(node.starts(server_));
  Seen now{{start, 0}, rules->term(), rules->role(),         true,
           last,       commit,        rules->last_applied(), rules->last_applied()};
  Seen& before = seen_[host];
  if (now == before) return;
  const bool started = before.process != now.process;
  if (!started && now.applied < before.applied)
    violation_(to_string(rules->id()) + ": the applied index fell");
  if (!started && now.term < before.term) violation_(to_string(rules->id()) + ": the term fell");
  const bool led = !started && before.role == raft::Role::leader;
  const std::uint64_t from = started ? 0 : before.applied.value();
  before = now;
  committed_ = std::max(committed_, now.applied);
  for (std::uint64_t index = from + 1; index <= now.applied.value(); ++index) {
    const raft::Entry* const entry = rules->log().read(raft::Index(index));
    if (entry != nullptr)
      compare_entry(rules->id(), index, entry_sum(entry->term.value(), entry->payload.view()));
  }
  if (now.role != raft::Role::leader || led) return;
  ++terms_;
  ++beam_leaders_;
  note_leader(rules->id(), now.term);
  look_at_beam_leader(*rules);
}

void StateJudge::look_at_beam_leader(const BeamRules& rules) {
  const auto snapshot = rules.log().snapshot();
  for (const auto& [index, sum] : entries_) {
    if (snapshot && index <= snapshot->index.value()) continue;
    const raft::Entry* const entry = rules.log().read(raft::Index(index));
    if (entry != nullptr && entry_sum(entry->term.value(), entry->payload.view()) == sum) continue;
    return violation_(to_string(rules.id()) + " leads without the committed entry " +
                      std::to_string(index));
  }
}

std::optional<raft::Cluster> StateJudge::committed_cluster() const {
  for (const auto& [host, node] : cluster_.nodes()) {
    if (BeamNode* const beam = node->beam()) {
      // ra knows the newest configuration only.
      const BeamRules* const rules = beam->rules(server_);
      const bool knows = rules != nullptr && rules->last_applied() >= committed_ &&
                         rules->cluster_at().index <= committed_;
      if (knows) return node->view(server_)->cluster;
      continue;
    }
    const member::Member* member = member_of(*node);
    if (member == nullptr || member->core().commit_index() < committed_) continue;
    return member->core().cluster_at(committed_);
  }
  return std::nullopt;
}

std::vector<raft::Cluster> StateJudge::clusters_in_force() const {
  std::vector<raft::Cluster> clusters;
  if (auto committed = committed_cluster()) clusters.push_back(std::move(*committed));
  for (const auto& [host, node] : cluster_.nodes()) {
    if (node->beam() == nullptr && member_of(*node) == nullptr) continue;
    auto view = node->view(server_);
    if (!view || view->last < committed_) continue;
    clusters.push_back(std::move(view->cluster));
    if (view->committed_cluster) clusters.push_back(std::move(*view->committed_cluster));
  }
  return clusters;
}

// --- the disks

bool DurabilityJudge::has_bytes(const SimulatedNode& node, const std::string& bytes) const {
  bool found = false;
  node.visit_durable(
      [&](const std::string& file) { found = found || file.find(bytes) != std::string::npos; });
  return found;
}

bool DurabilityJudge::is_majority(const std::set<std::string>& nodes) const {
  const auto has_majority = [&](const raft::Cluster& cluster) {
    std::size_t voters = 0;
    std::size_t having = 0;
    for (const auto& [id, config] : cluster) {
      if (!config.is_voter()) continue;
      ++voters;
      having += nodes.contains(id.node()) || id.node() == cluster_.damaged ? 1 : 0;
    }
    return having > voters / 2;
  };
  const std::vector<raft::Cluster> clusters = states_.clusters_in_force();
  return clusters.empty() || std::any_of(clusters.begin(), clusters.end(), has_majority);
}

std::string DurabilityJudge::describe_holders(const std::set<std::string>& nodes) const {
  std::string text = ", on";
  for (const std::string& node : nodes) text += " " + node;
  text += nodes.empty() ? " none" : "";
  for (const raft::Cluster& cluster : states_.clusters_in_force()) {
    text += "; members may be";
    for (const auto& [id, config] : cluster)
      text += " " + id.node() + (config.is_voter() ? "" : " (no voter)");
  }
  return text;
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
  violation_("an acknowledged write is not on a majority of disks: " + to_string(put) +
             " at index " + std::to_string(index) + describe_holders(having));
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

void DurabilityJudge::rehearse(const SimulatedNode& node,
                               const std::map<std::size_t, std::uint64_t>& wanted,
                               std::map<std::size_t, std::set<std::string>>& having) {
  const RecoveredDisk recovered(node);
  if (!recovered.system)
    return violation_(node.name() +
                      " could not be started after a power cut: " + recovered.failure);
  if (!recovered.system->broken_servers().empty())
    return violation_(node.name() + " would have a broken server after a power cut");
  raftlog::MemberLog* log = recovered.system->find_by_name(states_.server());
  if (log == nullptr || !states_.is_judged(log->uid())) return;
  if (log->amnesia()) return violation_(node.name() + " would take a power cut for a loss");
  for (const auto& [operation, index] : wanted) {
    const auto entry = log->read_blocking(index);
    const std::string mark = value_mark(history_.operation(operation).value);
    if (entry && entry->payload.view().find(mark) != std::string_view::npos)
      having[operation].insert(node.name());
  }
}

void DurabilityJudge::rehearse_beam(const BeamNode& node,
                                    const std::map<std::size_t, std::uint64_t>& wanted,
                                    std::map<std::size_t, std::set<std::string>>& having) {
  const std::unique_ptr<BeamDisk> left = node.after_power_cut(states_.server());
  if (!left) return;
  const BeamLog log(*left);
  for (const auto& [operation, index] : wanted) {
    const raft::Entry* const entry = log.read(raft::Index(index));
    const std::string mark = value_mark(history_.operation(operation).value);
    if (entry != nullptr && entry->payload.view().find(mark) != std::string_view::npos)
      having[operation].insert(node.name());
  }
}

void DurabilityJudge::rehearse_power_cut() {
  ++rehearsals_;
  const auto wanted = current();
  std::map<std::size_t, std::set<std::string>> having;
  for (const auto& [host, node] : cluster_.nodes()) {
    if (node->name() == cluster_.damaged) continue;
    if (const BeamNode* const beam = std::as_const(*node).beam()) {
      rehearse_beam(*beam, wanted, having);
    } else {
      rehearse(*node, wanted, having);
    }
  }
  for (const auto& [operation, index] : wanted) {
    if (is_majority(having[operation])) continue;
    violation_("after a power cut a majority would not have an acknowledged write: " +
               to_string(history_.operation(operation)) + " at index " + std::to_string(index) +
               describe_holders(having[operation]));
  }
}

}  // namespace rakv::simulation
