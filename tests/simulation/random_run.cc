// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/random_run.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/core/text.h"

namespace rakv::simulation {
namespace {

/// Bounds of what follows the faults, in virtual time. Snapshots that were interrupted are sent
/// again after up to a minute, members wait for entries of a leader for half a minute.
constexpr Nanoseconds kLeaderTime = std::chrono::seconds(60);
constexpr Nanoseconds kConvergenceTime = std::chrono::seconds(180);
constexpr Nanoseconds kServiceTime = std::chrono::seconds(60);
constexpr Nanoseconds kReadTime = std::chrono::seconds(20);
constexpr std::uint64_t kFinalOperations = 6;

std::vector<std::string> host_names(std::uint64_t count) {
  std::vector<std::string> hosts;
  for (std::uint64_t i = 0; i < count; ++i) hosts.emplace_back(1, static_cast<char>('a' + i));
  return hosts;
}

NodeLimits limits(const RunOptions& options) {
  NodeLimits limits;
  limits.wal.max_size_bytes = options.wal_bytes;
  limits.wal.max_batch_entries = 64;
  limits.segment.max_entries = static_cast<std::uint32_t>(options.segment_entries);
  limits.segment.max_size_bytes = options.wal_bytes * 2;
  return limits;
}

std::vector<std::uint64_t> sorted_live_indexes(const member::Member& member) {
  std::vector<std::uint64_t> indexes = member.machine().live_indexes();
  std::sort(indexes.begin(), indexes.end());
  return indexes;
}

}  // namespace

RandomRun::RandomRun(const RunOptions& options)
    : options_(options),
      random_(options.seed),
      cluster_(random_(), host_names(options.nodes), limits(options)),
      state_judge_(cluster_, [this](const std::string& what) { fail(what); }),
      durability_judge_(cluster_, history_, state_judge_,
                        [this](const std::string& what) { fail(what); }) {}

void RandomRun::fail(const std::string& what) {
  if (failed()) return;
  report_.violation = what;
  cluster_.trace.line("VIOLATION " + what);
}

bool RandomRun::run_until(const std::function<bool()>& done, Nanoseconds time) {
  const Nanoseconds end = cluster_.schedule.now() + time;
  while (!failed() && !done()) {
    if (!cluster_.schedule.run_next(end)) return done();
    state_judge_.look();
  }
  return !failed();
}

RunReport RandomRun::run() {
  cluster_.form();
  workload_ = std::make_unique<Workload>(
      cluster_, options_, history_, random_(),
      Workload::Seams{[this](std::size_t operation, std::uint64_t index) {
                        durability_judge_.acknowledged(operation, index);
                        injector_->note_acknowledged();
                        if (random_() % 50 == 0) durability_judge_.rehearse_power_cut();
                      },
                      [this](const std::string& what) { fail(what); }});
  injector_ = std::make_unique<FaultInjector>(cluster_, state_judge_, options_, workload_->hosts(),
                                              random_());
  faults();
  if (!failed()) heal();
  if (!failed()) converge();
  if (!failed()) serve_everybody();
  if (!failed()) compare_machines();
  if (!failed()) read_all_entries();
  if (!failed()) look_at_accounts();
  if (!failed()) durability_judge_.rehearse_power_cut();
  if (!failed()) check_histories();
  report_.trace_sum = cluster_.trace.sum();
  report_.events = cluster_.schedule.happened();
  report_.virtual_seconds = std::chrono::duration<double>(cluster_.schedule.now()).count();
  report_.counts["operations"] = workload_->answered();
  report_.counts["operations with success"] = workload_->succeeded();
  report_.counts["leaders"] = state_judge_.terms();
  report_.counts["power cuts rehearsed"] = durability_judge_.rehearsals();
  for (const auto& [kind, count] : injector_->counts())
    report_.counts[std::string(to_string(kind))] = count;
  return report_;
}

void RandomRun::faults() {
  if (!run_until([this] { return workload_->ready(); }, kReadTime))
    return fail("the clients do not start");
  injector_->begin();
  workload_->begin(options_.operations);
  run_until([this] { return workload_->idle() || workload_->overdue() != nullptr; },
            std::chrono::seconds(options_.fault_seconds));
  if (const ClientOperation* late = workload_->overdue())
    fail("an operation did not end at its deadline: " + to_string(*late));
}

void RandomRun::heal() {
  workload_->stop();
  injector_->heal();
  const Nanoseconds patience = std::chrono::milliseconds(options_.deadline_ms) * 2;
  if (!run_until([this] { return workload_->idle(); }, patience))
    fail("an operation did not end after its deadline");
}

bool RandomRun::converged() {
  SimulatedNode* const leader = cluster_.leader();
  if (leader == nullptr) return false;
  const raft::Core& core = leader->member()->core();
  return std::all_of(cluster_.nodes().begin(), cluster_.nodes().end(), [&](const auto& each) {
    const member::Member* member = each.second->member();
    return member != nullptr && member->last_applied() == core.log().last().index &&
           member->core().leader() == core.id() && core.cluster().contains(member->id());
  });
}

std::string RandomRun::states() {
  std::string text;
  for (const auto& [host, node] : cluster_.nodes()) {
    const member::Member* member = node->member();
    text += "\n" + node->name() + ": " +
            (member == nullptr ? "no server\n" : raft::describe(member->core()));
  }
  return text;
}

void RandomRun::converge() {
  if (!run_until([this] { return cluster_.leader() != nullptr; }, kLeaderTime))
    return fail("no leader after all was made whole:" + states());
  if (!run_until([this] { return converged(); }, kConvergenceTime))
    fail("the members do not agree after all was made whole:" + states());
}

void RandomRun::serve_everybody() {
  const std::uint64_t succeeded = workload_->succeeded();
  workload_->begin(kFinalOperations);
  if (!run_until([this] { return workload_->idle(); }, kServiceTime))
    return fail("clients are not answered after all was made whole");
  if (workload_->succeeded() - succeeded < options_.clients * kFinalOperations)
    fail("clients are not served after all was made whole");
  if (!run_until([this] { return converged(); }, kConvergenceTime))
    fail("the members do not agree at the end:" + states());
}

void RandomRun::compare_machines() {
  const std::vector<std::uint64_t> live = sorted_live_indexes(*cluster_.leader()->member());
  for (const auto& [host, node] : cluster_.nodes()) {
    if (sorted_live_indexes(*node->member()) != live)
      fail(node->name() + " has another state than the leader");
  }
}

void RandomRun::read_all_entries() {
  const auto waiting = std::make_shared<std::size_t>(0);
  for (const auto& [host, node] : cluster_.nodes()) {
    for (const std::uint64_t index : sorted_live_indexes(*node->member())) {
      ++*waiting;
      node->member()->read_entry(index, std::chrono::seconds(10),
                                 [this, waiting, index, name = node->name()](
                                     const Result<std::vector<raftlog::StoredEntry>>& entries) {
                                   --*waiting;
                                   if (!entries)
                                     fail(name + " can't read its entry " + std::to_string(index) +
                                          ": " + entries.error().message);
                                 });
    }
    node->runtime().turn();
  }
  if (!run_until([&] { return *waiting == 0; }, kReadTime)) fail("an entry was never read");
}

/// When nobody asks for anything, nothing is held for anybody.
void RandomRun::look_at_accounts() {
  std::string held;
  const auto nothing_is_held = [&] {
    held.clear();
    for (const auto& [host, node] : cluster_.nodes()) {
      const MemoryAccounts& memory = node->runtime().memory();
      for (const ByteAccount* account :
           {&memory.incoming, &memory.outgoing, &memory.reading, &memory.waiting, &memory.queries,
            &memory.member_messages, &memory.notifications, &memory.snapshots}) {
        if (account->used() == 0) continue;
        held += " " + node->name() + " " + account->name() + " " + std::to_string(account->used());
      }
    }
    return held.empty();
  };
  if (!run_until(nothing_is_held, kReadTime)) fail("bytes are held for nobody:" + held);
}

void RandomRun::check_histories() {
  for (const auto& [key, operations] : history_.by_key()) {
    const LinearizabilityVerdict verdict = check_linearizable(operations);
    if (!verdict.decided) ++report_.counts["histories undecided"];
    if (!verdict.linearizable) fail(verdict.why);
  }
}

}  // namespace rakv::simulation
