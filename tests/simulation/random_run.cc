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
/// How long a minority is broken at most, besides what two operations may take.
constexpr Nanoseconds kMinorityTime = std::chrono::seconds(30);
/// After which a connection whose other end says nothing is closed (net_ticktime), and more.
constexpr Nanoseconds kSilenceTime = std::chrono::seconds(80);
constexpr Nanoseconds kReadTime = std::chrono::seconds(20);
/// Each second a node measures the room on its disk, and until then it takes no writes.
constexpr Nanoseconds kMeasureTime = std::chrono::seconds(2);
/// A cluster that is being deleted goes, and is there again.
constexpr Nanoseconds kReplacementTime = std::chrono::seconds(120);
/// Between two looks whether the nodes of new clients have started.
constexpr Nanoseconds kClientStartTime = std::chrono::milliseconds(200);
constexpr std::uint64_t kFinalOperations = 6;
constexpr std::uint64_t kOtherNodes = 3;
constexpr Nanoseconds kNudgePause = std::chrono::seconds(5);
/// Of a client's last operations, however little it had before: a connection to a node that has
/// just come back takes a second.
constexpr std::uint64_t kFinalDeadlineMs = 5000;
/// One way each: a question to epmd and a handshake, to each server in turn.
constexpr std::uint64_t kConnectionTrips = 12;

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

NetworkOptions wires(const RunOptions& options) {
  NetworkOptions wires;
  wires.shortest += std::chrono::milliseconds(options.far_ms);
  wires.longest += std::chrono::milliseconds(options.far_ms);
  return wires;
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
      cluster_(random_(), host_names(options.nodes), limits(options), beam_hosts(options),
               wires(options)) {
  for (const auto& [host, node] : cluster_.nodes())
    node->worker_pace.time += std::chrono::milliseconds(options.store_ms);
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

std::unique_ptr<TestedCluster> RandomRun::make_tested_cluster(const std::string& name,
                                                              const std::string& mark) {
  return std::make_unique<TestedCluster>(
      cluster_, options_, TestedCluster::Which{name, mark, tested_.size() + retired_.size()},
      random_(),
      TestedCluster::Seams{[this](const std::string& what) { fail(what); },
                           [this] { injector_->note_acknowledged(); },
                           [this](const std::function<bool()>& done, Nanoseconds time) {
                             return run_until(done, time);
                           }});
}

void RandomRun::make_replacement() {
  const bool wanted = options_.faults.contains(FaultKind::replacement);
  if (!wanted || tested_.size() < 2 || options_.beam_nodes > 0) return;
  replacement_ = std::make_unique<ClusterReplacement>(
      cluster_, tested_.back()->name(),
      ClusterReplacement::Seams{[this] {
                                  tested_.back()->workload().stop();
                                  return tested_.back()->workload().idle();
                                },
                                [this](const std::string& mark) { take_replacement(mark); },
                                [this](const std::string& what) { fail(what); }});
}

void RandomRun::take_replacement(const std::string& mark) {
  ++report_.counts["clusters made anew"];
  TestedCluster& old = *tested_.back();
  old.check_histories(report_.counts);
  auto made = make_tested_cluster(old.name(), mark);
  retired_.push_back(std::exchange(tested_.back(), std::move(made)));
  begin_when_ready(*tested_.back());
}

void RandomRun::begin_when_ready(TestedCluster& made) {
  if (failed() || faults_are_over_ || &made != tested_.back().get()) return;
  if (made.workload().ready()) return made.workload().begin(options_.operations);
  cluster_.schedule.after(kClientStartTime, [this, &made] { begin_when_ready(made); });
}

void RandomRun::make_tested_clusters() {
  for (const std::string& name : cluster_.names()) {
    const bool first = name == cluster_.names().front();
    tested_.push_back(make_tested_cluster(name, first ? "" : ClusterReplacement::first_mark(name)));
  }
  make_replacement();
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
                                              std::move(clients), replacement_.get(), random_());
  faults();
  if (!failed()) heal();
  if (!failed()) converge();
  if (!failed() && options_.minority != 0) serve_without_a_minority();
  if (!failed()) serve_everybody();
  for (const auto& tested : tested_) {
    if (!failed()) tested->compare_machines();
    if (!failed()) tested->read_all_entries();
  }
  if (!failed()) look_at_accounts();
  if (!failed()) look_at_turns();
  for (const auto& tested : tested_) {
    if (!failed()) tested->durability().rehearse_power_cut();
    if (!failed()) tested->check_histories(report_.counts);
  }
  count_what_happened();
  return report_;
}

/// A disk may stand still at any call, and whoever is served by the event loop would wait for it.
void RandomRun::look_at_turns() {
  for (const auto& [host, node] : cluster_.nodes()) {
    const std::uint64_t calls = node->runs() ? node->runtime().most_disk_calls() : 0;
    if (calls > 0)
      fail(node->name() + " made " + std::to_string(calls) +
           " calls to its disk in its event loop");
  }
}

void RandomRun::count_what_happened() {
  report_.trace_sum = cluster_.trace.sum();
  report_.events = cluster_.schedule.happened();
  report_.virtual_seconds = std::chrono::duration<double>(cluster_.schedule.now()).count();
  auto& counts = report_.counts;
  for (const auto& tested : retired_) {
    counts["operations"] += tested->workload().answered();
    counts["operations with success"] += tested->workload().succeeded();
  }
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
  faults_are_over_ = true;
  for (const auto& tested : tested_) tested->workload().stop();
  injector_->heal();
  const Nanoseconds patience = std::chrono::milliseconds(options_.deadline_ms) * 2;
  if (!run_until([this] { return all_idle(); }, patience))
    return fail("an operation did not end after its deadline");
  const Nanoseconds now = cluster_.schedule.now();
  run_until([] { return false; }, std::max(now, injector_->still_until()) - now + kMeasureTime);
  if (replacement_ && !run_until([this] { return replacement_->at_rest(); }, kReplacementTime))
    fail("a cluster that was deleted is not made anew:" + states());
  if (!run_until(
          [this] { return of_all([](TestedCluster& one) { return one.workload().ready(); }); },
          kReadTime))
    fail("the clients of a new cluster do not start");
}

void RandomRun::converge() {
  if (!run_until([this] { return all_lead(); }, kLeaderTime))
    return fail("no leader after all was made whole:" + states());
  // A leader on a BEAM sends again what was lost only once somebody writes.
  const bool nudges = options_.beam_nodes > 0;
  const Nanoseconds time = nudges ? kNudgePause : kConvergenceTime;
  for (Nanoseconds waited{0}; !run_until([this] { return all_converged(); }, time);) {
    if (failed()) return;
    if ((waited += time) >= kConvergenceTime)
      return fail("the members do not agree after all was made whole:" + states());
    begin_operations(1);
  }
  // A put on a connection to a machine that vanished is neither stored nor refused.
  if (options_.faults.contains(FaultKind::vanish)) run_until([] { return false; }, kSilenceTime);
}

void RandomRun::give_time() {
  options_.deadline_ms = std::max(
      options_.deadline_ms, kFinalDeadlineMs + kConnectionTrips * options_.far_ms * options_.nodes);
}

void RandomRun::serve_without_a_minority() {
  give_time();
  // Those who ask a broken server first take their whole time, again and again.
  const Nanoseconds time = kMinorityTime + 2 * std::chrono::milliseconds(options_.deadline_ms);
  const std::set<std::string> broken = injector_->break_minority(time);
  const Nanoseconds end = cluster_.schedule.now() + time;
  for (bool served = false; !served && !failed();) {
    if (cluster_.schedule.now() >= end)
      return fail("a majority alone does not serve its clients:" + states());
    begin_operations(1);
    if (!run_until([this] { return all_idle(); }, kServiceTime))
      return fail("clients are not answered by a majority alone");
    served = of_all([&](TestedCluster& one) { return one.workload().serves_all_but(broken); });
  }
  if (!failed()) heal();
  if (!failed()) converge();
}

void RandomRun::serve_everybody() {
  give_time();
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
