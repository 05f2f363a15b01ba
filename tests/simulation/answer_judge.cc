// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/answer_judge.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/client_requests.h"

namespace rakv::simulation {
namespace {

constexpr std::uint64_t kWhenApplied = 1;
constexpr std::uint64_t kWhenAppended = 2;
constexpr std::uint64_t kNotified = 3;
/// For what takes a connection, a majority, and a tick of the leader.
constexpr Nanoseconds kAnswerPatience = std::chrono::seconds(10);
/// Longer than a connection needs to end.
constexpr Nanoseconds kStandstill = std::chrono::milliseconds(500);
/// In which a second answer would come.
constexpr Nanoseconds kAWhile = std::chrono::seconds(2);

/// A put of a key that no other client has.
std::string command() {
  const std::string value = etf::Writer().atom("answers").take();
  etf::Writer put;
  put.tuple(4).atom("put").atom("answers").raw(value).map(2);
  put.atom("size").u64(*etf::external_size(value)).atom("hash").u64(*etf::phash2(value));
  return put.take();
}

}  // namespace

AnswerJudge::AnswerJudge(SimulatedCluster& cluster, RunUntil run_until, Violation violation)
    : cluster_(cluster),
      run_until_(std::move(run_until)),
      violation_(std::move(violation)),
      leader_(*cluster.leader()),
      node_(cluster.client().node()),
      pid_(node_.spawn(*this)) {}

AnswerJudge::~AnswerJudge() { node_.terminate(pid_, etf::Writer().atom("normal").view()); }

/// `{Tag, Answer}`, or `{ra_event, Leader, {applied, [{Tag, Answer}]}}`.
void AnswerJudge::on_message(std::string_view message) {
  heard_.push_back(etf::print_text(message));
}

std::uint64_t AnswerJudge::heard(std::uint64_t tag) const {
  const std::string answer = "{" + std::to_string(tag) + ",";
  return static_cast<std::uint64_t>(
      std::count_if(heard_.begin(), heard_.end(), [&](const std::string& message) {
        return message.starts_with(answer) ||
               message.find("{applied,[" + answer) != std::string::npos;
      }));
}

bool AnswerJudge::connect() {
  return run_until_(
      [this] {
        if (node_.is_connected(leader_.name())) return true;
        node_.connect(leader_.name(), nullptr);
        cluster_.client().turn();
        return false;
      },
      kAnswerPatience);
}

void AnswerJudge::send(std::uint64_t tag, std::string_view kind, const std::string& mode) {
  node_.send_to_name(pid_, leader_.name(), "kv", [&](distribution::OutMessage& out) {
    etf::Writer writer(out.text);
    if (kind == "$gen_call") {
      writer.tuple(3).atom(kind).tuple(2).pid(pid_).u64(tag);
      wire::write_leader_call(writer);
    } else {
      writer.tuple(2).atom(kind);
    }
    wire::write_user_command(writer, raft::event::Priority::normal, command(), mode);
  });
  cluster_.client().turn();
}

void AnswerJudge::ask() {
  if (!connect()) return violation_("a client can't connect with the leader");
  send(kWhenApplied, "$gen_call", etf::Writer().atom("await_consensus").take());
  send(kWhenAppended, "$gen_call", etf::Writer().atom("after_log_append").take());
  run_until_([this] { return heard(kWhenApplied) > 0 && heard(kWhenAppended) > 0; },
             kAnswerPatience);
  run_until_([] { return false; }, kAWhile);
  for (const std::uint64_t tag : {kWhenApplied, kWhenAppended}) {
    if (heard(tag) != 1)
      violation_("a caller was answered " + std::to_string(heard(tag)) + " times");
  }
}

void AnswerJudge::ask_and_leave() {
  if (!connect()) return violation_("a client can't connect with the leader");
  const raft::Core& core = leader_.member()->core();
  const raft::Term term = core.current_term();
  const raft::Index last = core.log().last().index;
  // Nothing is committed before the leader knows that the client is gone.
  for (const auto& [host, node] : cluster_.nodes())
    node->wal_pace.stands_until =
        cluster_.schedule.now() + kStandstill + 4 * cluster_.network.options().longest;
  etf::Writer mode;
  send(kNotified, "$gen_cast", mode.tuple(3).atom("notify").u64(kNotified).pid(pid_).take());
  if (!run_until_([&] { return core.log().last().index > last; }, kAnswerPatience)) return;
  cluster_.network.reset(cluster_.client().host(), leader_.host());
  run_until_([] { return false; }, kAWhile);
  if (!connect()) return violation_("a client can't connect with the leader again");
  run_until_([this] { return heard(kNotified) > 0; }, kAnswerPatience);
  run_until_([] { return false; }, kAWhile);
  const member::Member* const member = leader_.member();
  if (member == nullptr || member->core().current_term() != term) return;
  if (heard(kNotified) != 1)
    violation_("a client was notified " + std::to_string(heard(kNotified)) +
               " times of a command that was appended while it was connected");
}

}  // namespace rakv::simulation
