// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/random_run.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/core/text.h"
#include "tests/simulation/answer_judge.h"

namespace rakv::simulation {
namespace {

/// Bounds of what follows the faults, in virtual time. Snapshots that were interrupted are sent
/// again after up to a minute, members wait for entries of a leader for half a minute.
constexpr Nanoseconds kLeaderTime = std::chrono::seconds(60);
constexpr Nanoseconds kConvergenceTime = std::chrono::seconds(180);
constexpr Nanoseconds kServiceTime = std::chrono::seconds(60);
constexpr Nanoseconds kReadTime = std::chrono::seconds(20);
/// Each second a node measures the room on its disk, and until then it takes no writes.
constexpr Nanoseconds kMeasureTime = std::chrono::seconds(2);
constexpr std::uint64_t kFinalOperations = 6;
constexpr Nanoseconds kNudgePause = std::chrono::seconds(5);
/// Of a client's last operations, however little it had before: a connection to a node that has
/// just come back takes a second.
constexpr std::uint64_t kFinalDeadlineMs = 5000;

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

/// The last of the hosts.
std::set<std::string> beam_hosts(const RunOptions& options) {
  std::set<std::string> beams;
  const std::vector<std::string> hosts = host_names(options.nodes);
  for (std::uint64_t i = 0; i < std::min(options.beam_nodes, options.nodes); ++i)
    beams.insert(hosts[hosts.size() - 1 - i]);
  return beams;
}

}  // namespace

RandomRun::RandomRun(const RunOptions& options)
    : options_(options),
      random_(options.seed),
      cluster_(random_(), host_names(options.nodes), limits(options), beam_hosts(options)),
      state_judge_(cluster_, [this](const std::string& what) { fail(what); }),
      durability_judge_(cluster_, history_, state_judge_,
                        [this](const std::string& what) { fail(what); }) {}

void RandomRun::fail(const std::string& what) {
  if (failed()) return;
  if (const auto& broken = cluster_.promises.broken()) {
    ended_by_ra_ = true;
    ++report_.counts["ended by ra: " + *broken];
    return cluster_.trace.line("ENDED BY RA (" + *broken + ") " + what);
  }
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
  if (options_.beam_nodes > 0) {
    ++report_.counts["runs with members as on a BEAM"];
    report_.counts["leaders as on a BEAM"] = state_judge_.beam_leaders();
  }
  if (cluster_.promises.broken()) ++report_.counts["ra broke: " + *cluster_.promises.broken()];
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
    return fail("an operation did not end after its deadline");
  const Nanoseconds now = cluster_.schedule.now();
  run_until([] { return false; }, std::max(now, injector_->still_until()) - now + kMeasureTime);
}

bool RandomRun::converged() {
  SimulatedNode* const leader = cluster_.leader();
  if (leader == nullptr) return false;
  const MemberView leading = *leader->view();
  return std::all_of(cluster_.nodes().begin(), cluster_.nodes().end(), [&](const auto& each) {
    const auto member = each.second->view();
    return member && member->applied == leading.last && member->leader == leading.id &&
           leading.cluster.contains(member->id);
  });
}

std::string RandomRun::states() {
  std::string text;
  for (const auto& [host, node] : cluster_.nodes()) {
    text += "\n" + node->name() + ": ";
    if (const member::Member* const member = node->member()) {
      text += raft::describe(member->core());
    } else if (const auto view = node->view()) {
      text += "as a BEAM, " + std::string(to_string(view->role)) + " in term " +
              std::to_string(view->term.value()) + " of " +
              (view->leader ? to_string(*view->leader) : "nobody") + ", last " +
              std::to_string(view->last.value()) + ", commit " +
              std::to_string(view->commit.value()) + ", applied " +
              std::to_string(view->applied.value()) + ", " + std::to_string(view->cluster.size()) +
              " members\n";
    } else {
      text += "no server\n";
    }
  }
  return text;
}

void RandomRun::converge() {
  if (!run_until([this] { return cluster_.leader() != nullptr; }, kLeaderTime))
    return fail("no leader after all was made whole:" + states());
  // A leader on a BEAM sends again what was lost only once somebody writes.
  const bool nudges = options_.beam_nodes > 0;
  for (Nanoseconds waited{0}; waited < kConvergenceTime && !failed(); waited += kNudgePause) {
    if (run_until([this] { return converged(); }, nudges ? kNudgePause : kConvergenceTime)) return;
    if (!nudges) break;
    workload_->begin(1);
  }
  fail("the members do not agree after all was made whole:" + states());
}

void RandomRun::serve_everybody() {
  const std::uint64_t succeeded = workload_->succeeded();
  options_.deadline_ms = std::max(options_.deadline_ms, kFinalDeadlineMs);
  workload_->begin(kFinalOperations);
  if (!run_until([this] { return workload_->idle(); }, kServiceTime))
    return fail("clients are not answered after all was made whole");
  if (workload_->succeeded() - succeeded < options_.clients * kFinalOperations)
    fail("clients are not served after all was made whole");
  if (!failed()) look_at_answers();
  if (!run_until([this] { return converged(); }, kConvergenceTime))
    fail("the members do not agree at the end:" + states());
}

void RandomRun::look_at_answers() {
  if (!run_until([this] { return cluster_.leader() != nullptr; }, kLeaderTime))
    return fail("no leader after all was made whole:" + states());
  if (cluster_.leader()->member() == nullptr) return;  // it is as on a BEAM
  AnswerJudge answers(
      cluster_,
      [this](const std::function<bool()>& done, Nanoseconds time) { return run_until(done, time); },
      [this](const std::string& what) { fail(what); });
  answers.ask();
  if (!failed()) answers.ask_and_leave();
}

void RandomRun::compare_machines() {
  const std::vector<std::uint64_t> live = cluster_.leader()->view()->live;
  for (const auto& [host, node] : cluster_.nodes()) {
    if (node->view()->live != live) fail(node->name() + " has another state than the leader");
  }
}

void RandomRun::read_all_entries() {
  const auto waiting = std::make_shared<std::size_t>(0);
  for (const auto& [host, node] : cluster_.nodes()) {
    const std::vector<std::uint64_t> live = node->view()->live;
    if (BeamNode* const beam = node->beam()) {
      for (const std::uint64_t index : live) {
        if (beam->rules()->log().read(raft::Index(index)) == nullptr)
          fail(node->name() + " does not have its entry " + std::to_string(index));
      }
      continue;
    }
    for (const std::uint64_t index : live) {
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
