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
constexpr std::uint64_t kOtherNodes = 3;
constexpr Nanoseconds kNudgePause = std::chrono::seconds(5);
/// Of a client's last operations, however little it had before: a connection to a node that has
/// just come back takes a second.
constexpr std::uint64_t kFinalDeadlineMs = 5000;

std::vector<std::string> host_names(std::uint64_t count) {
  std::vector<std::string> hosts;
  hosts.reserve(count);
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
      cluster_(random_(), host_names(options.nodes), limits(options), beam_hosts(options)) {
  if (options.clusters > 1)
    cluster_.add_cluster("other", host_names(std::min(options.nodes, kOtherNodes)));
}

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
    for (const auto& tested : tested_) tested->states().look();
  }
  return !failed();
}

void RandomRun::make_tested_clusters() {
  for (const std::string& name : cluster_.names()) {
    tested_.push_back(std::make_unique<TestedCluster>(
        cluster_, options_, name, tested_.size(), random_(),
        TestedCluster::Seams{[this](const std::string& what) { fail(what); },
                             [this] { injector_->note_acknowledged(); },
                             [this](const std::function<bool()>& done, Nanoseconds time) {
                               return run_until(done, time);
                             }}));
  }
  cluster_.promises.set_sight({[this](const std::string& name) -> SimulatedNode* {
                                 for (const auto& [host, node] : cluster_.nodes()) {
                                   if (node->name() == name) return node.get();
                                 }
                                 return nullptr;
                               },
                               [this](const std::string& name, const raft::Entry& entry) {
                                 return !of_all([&](TestedCluster& tested) {
                                   return tested.name() != name ||
                                          !tested.states().is_committed(entry);
                                 });
                               }});
}

RunReport RandomRun::run() {
  cluster_.form();
  make_tested_clusters();
  std::vector<std::string> clients;
  for (const auto& tested : tested_) {
    const std::vector<std::string>& hosts = tested->workload().hosts();
    clients.insert(clients.end(), hosts.begin(), hosts.end());
  }
  injector_ = std::make_unique<FaultInjector>(cluster_, tested_.front()->states(), options_,
                                              std::move(clients), random_());
  faults();
  if (!failed()) heal();
  if (!failed()) converge();
  if (!failed()) serve_everybody();
  for (const auto& tested : tested_) {
    if (!failed()) tested->compare_machines();
    if (!failed()) tested->read_all_entries();
  }
  if (!failed()) look_at_accounts();
  for (const auto& tested : tested_) {
    if (!failed()) tested->durability().rehearse_power_cut();
    if (!failed()) tested->check_histories(report_.counts);
  }
  count_what_happened();
  return report_;
}

void RandomRun::count_what_happened() {
  report_.trace_sum = cluster_.trace.sum();
  report_.events = cluster_.schedule.happened();
  report_.virtual_seconds = std::chrono::duration<double>(cluster_.schedule.now()).count();
  auto& counts = report_.counts;
  for (const auto& tested : tested_) {
    counts["operations"] += tested->workload().answered();
    counts["operations with success"] += tested->workload().succeeded();
    counts["leaders"] += tested->states().terms();
    counts["power cuts rehearsed"] += tested->durability().rehearsals();
    if (options_.beam_nodes > 0) counts["leaders as on a BEAM"] += tested->states().beam_leaders();
  }
  if (options_.beam_nodes > 0) ++counts["runs with members as on a BEAM"];
  if (options_.clusters > 1) ++counts["runs with two clusters"];
  if (cluster_.promises.broken()) ++counts["ra broke: " + *cluster_.promises.broken()];
  for (const auto& [kind, count] : injector_->counts())
    counts["fault " + std::string(to_string(kind))] = count;
}

bool RandomRun::of_all(const std::function<bool(TestedCluster&)>& holds) {
  return std::all_of(tested_.begin(), tested_.end(),
                     [&](const auto& tested) { return holds(*tested); });
}

bool RandomRun::all_lead() {
  return of_all([this](TestedCluster& one) { return cluster_.leader(one.name()) != nullptr; });
}

bool RandomRun::all_converged() {
  return of_all([](TestedCluster& one) { return one.converged(); });
}

bool RandomRun::all_idle() {
  return of_all([](TestedCluster& one) { return one.workload().idle(); });
}

void RandomRun::begin_operations(std::uint64_t operations) {
  for (const auto& tested : tested_) tested->workload().begin(operations);
}

std::string RandomRun::states() {
  std::string text;
  for (const auto& tested : tested_) text += tested->describe();
  return text;
}

void RandomRun::faults() {
  if (!run_until(
          [this] { return of_all([](TestedCluster& one) { return one.workload().ready(); }); },
          kReadTime))
    return fail("the clients do not start");
  injector_->begin();
  begin_operations(options_.operations);
  const ClientOperation* late = nullptr;
  const auto none_is_late = [&late](TestedCluster& one) {
    late = one.workload().overdue();
    return late == nullptr;
  };
  run_until([&] { return all_idle() || !of_all(none_is_late); },
            std::chrono::seconds(options_.fault_seconds));
  if (late != nullptr) fail("an operation did not end at its deadline: " + to_string(*late));
}

void RandomRun::heal() {
  for (const auto& tested : tested_) tested->workload().stop();
  injector_->heal();
  const Nanoseconds patience = std::chrono::milliseconds(options_.deadline_ms) * 2;
  if (!run_until([this] { return all_idle(); }, patience))
    return fail("an operation did not end after its deadline");
  const Nanoseconds now = cluster_.schedule.now();
  run_until([] { return false; }, std::max(now, injector_->still_until()) - now + kMeasureTime);
}

void RandomRun::converge() {
  if (!run_until([this] { return all_lead(); }, kLeaderTime))
    return fail("no leader after all was made whole:" + states());
  // A leader on a BEAM sends again what was lost only once somebody writes.
  const bool nudges = options_.beam_nodes > 0;
  for (Nanoseconds waited{0}; waited < kConvergenceTime && !failed(); waited += kNudgePause) {
    if (run_until([this] { return all_converged(); }, nudges ? kNudgePause : kConvergenceTime))
      return;
    if (!nudges) break;
    begin_operations(1);
  }
  fail("the members do not agree after all was made whole:" + states());
}

void RandomRun::serve_everybody() {
  options_.deadline_ms = std::max(options_.deadline_ms, kFinalDeadlineMs);
  std::map<const TestedCluster*, std::uint64_t> wanted;
  for (const auto& tested : tested_) {
    wanted[tested.get()] = tested->workload().succeeded() + options_.clients * kFinalOperations;
  }
  begin_operations(kFinalOperations);
  if (!run_until([this] { return all_idle(); }, kServiceTime))
    return fail("clients are not answered after all was made whole");
  if (!of_all([&](TestedCluster& one) { return one.workload().succeeded() >= wanted[&one]; }))
    fail("clients are not served after all was made whole");
  if (!failed()) look_at_answers();
  if (!run_until([this] { return all_converged(); }, kConvergenceTime))
    fail("the members do not agree at the end:" + states());
}

void RandomRun::look_at_answers() {
  if (!run_until([this] { return all_lead(); }, kLeaderTime))
    return fail("no leader after all was made whole:" + states());
  if (cluster_.leader()->member() == nullptr) return;  // it is as on a BEAM
  AnswerJudge answers(
      cluster_,
      [this](const std::function<bool()>& done, Nanoseconds time) { return run_until(done, time); },
      [this](const std::string& what) { fail(what); });
  answers.ask();
  if (!failed()) answers.ask_and_leave();
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

}  // namespace rakv::simulation
