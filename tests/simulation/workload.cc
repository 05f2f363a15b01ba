// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/workload.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"

namespace rakv::simulation {
namespace {

using Kind = ClientOperation::Kind;
using Outcome = ClientOperation::Outcome;

/// After its deadline an operation may take so long to be answered: clocks differ by 1 %.
constexpr Nanoseconds kLatestAnswer = std::chrono::seconds(1);
constexpr std::size_t kMarkDigits = 12;

std::string encoded_key(const std::string& key) { return etf::Writer().binary(key).take(); }

}  // namespace

std::string value_mark(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  return "value:" + std::string(kMarkDigits - digits.size(), '0') + digits + ";";
}

std::string workload_value(std::uint64_t number, const RunOptions& options) {
  std::mt19937_64 random(options.seed + number);
  std::string text = value_mark(number);
  const std::size_t size = random() % 5 == 0 ? 1 + random() % options.large_bytes : 0;
  // Zeros in a row look like a part of a file that was never written.
  const bool zeros = number % 3 == 0;
  while (text.size() < size) text += zeros ? '\0' : static_cast<char>(random());
  return etf::Writer().binary(text).take();
}

Workload::Workload(SimulatedCluster& cluster, const RunOptions& options, History& history,
                   std::uint64_t seed, Seams seams)
    : cluster_(cluster),
      options_(options),
      history_(history),
      random_(seed),
      seams_(std::move(seams)),
      last_value_(seams_.first_value) {
  for (std::uint64_t i = 0; i < options.clients; ++i) {
    std::vector<raft::ServerId> servers = cluster.servers(seams_.cluster);
    std::rotate(servers.begin(), servers.begin() + static_cast<long>(i % servers.size()),
                servers.end());
    hosts_.push_back(seams_.hosts + std::to_string(i));
    callers_.push_back(std::make_unique<Caller>());
    callers_.back()->first = servers.front().node();
    // Every other one reads like ra_kv:get/3 on a member's node, which may be a follower's.
    std::vector<raft::ServerId> readers;
    for (const raft::ServerId& server : servers) {
      if (i % 2 == 1 && cluster.node_of(server).beam() == nullptr) readers.push_back(server);
    }
    callers_.back()->client =
        std::make_unique<SimulatedClient>(cluster.schedule, cluster.network, hosts_.back(),
                                          random_(), std::move(servers), std::move(readers));
  }
}

bool Workload::ready() const {
  return std::all_of(callers_.begin(), callers_.end(),
                     [](const auto& caller) { return caller->client->ready(); });
}

void Workload::begin(std::uint64_t operations) {
  for (const auto& caller : callers_) {
    caller->left = operations;
    if (!caller->busy) next_later(*caller);
  }
}

void Workload::stop() {
  for (const auto& caller : callers_) caller->left = 0;
}

bool Workload::idle() const {
  return std::all_of(callers_.begin(), callers_.end(),
                     [](const auto& caller) { return !caller->busy && caller->left == 0; });
}

bool Workload::serves_all_but(const std::set<std::string>& nodes) const {
  return std::all_of(callers_.begin(), callers_.end(), [&](const auto& caller) {
    return caller->succeeded || nodes.contains(caller->first);
  });
}

const ClientOperation* Workload::overdue() const {
  for (const auto& caller : callers_) {
    if (caller->busy && cluster_.schedule.now() > caller->deadline + kLatestAnswer)
      return &history_.operation(caller->operation);
  }
  return nullptr;
}

void Workload::next_later(Caller& caller) {
  const auto pause = std::chrono::microseconds(random_() % (options_.think_ms * 1000 + 1));
  cluster_.schedule.after(pause, [this, &caller] {
    if (!caller.busy) next(caller);
  });
}

void Workload::next(Caller& caller) {
  if (caller.left == 0) return;
  --caller.left;
  const std::string key = "key" + std::to_string(random_() % options_.keys);
  const std::uint64_t choice = random_() % 20;
  if (choice < 10) {
    put(caller, key);
  } else if (choice < 18) {
    get(caller, key);
  } else {
    remove(caller, key);
  }
  caller.client->turn();
}

Clock::time_point Workload::deadline(Caller& caller) const {
  return caller.client->in(std::chrono::milliseconds(options_.deadline_ms));
}

void Workload::begin_operation(Caller& caller, Kind kind, const std::string& key,
                               std::uint64_t value) {
  caller.busy = true;
  caller.operation = history_.invoke(kind, key, value);
  caller.deadline = cluster_.schedule.now() + std::chrono::milliseconds(options_.deadline_ms);
  cluster_.trace.line(caller.client->host() + " asks " +
                      to_string(history_.operation(caller.operation)));
}

void Workload::end_operation(Caller& caller, Outcome outcome, std::uint64_t value) {
  history_.answer(caller.operation, outcome, value);
  cluster_.trace.line(caller.client->host() + " was told " +
                      to_string(history_.operation(caller.operation)));
  caller.busy = false;
  ++answered_;
  caller.succeeded = outcome == Outcome::done || outcome == Outcome::not_found;
  if (caller.succeeded) ++succeeded_;
  next_later(caller);
}

Outcome Workload::outcome_of(const Error& error, Kind kind) const {
  if (error.code == ErrorCode::not_found && kind != Kind::put) return Outcome::not_found;
  if (error.code == ErrorCode::timeout && kind != Kind::get) return Outcome::open;
  // A node that ends in the middle of a handshake is taken for one with another cookie.
  if (error.code != ErrorCode::unavailable && error.code != ErrorCode::refused)
    seams_.violation("a client was told: " + error.message);
  return Outcome::refused;
}

void Workload::put(Caller& caller, const std::string& key) {
  const std::uint64_t number = ++last_value_;
  begin_operation(caller, Kind::put, key, number);
  caller.client->client().put(
      encoded_key(key), workload_value(number, options_), deadline(caller),
      [this, &caller](const Result<kv::CommittedPosition>& written) {
        const std::size_t operation = caller.operation;
        end_operation(caller, written ? Outcome::done : outcome_of(written.error(), Kind::put));
        if (written) seams_.acknowledged(operation, written->index);
      });
}

void Workload::remove(Caller& caller, const std::string& key) {
  begin_operation(caller, Kind::remove, key, 0);
  caller.client->client().remove(
      encoded_key(key), deadline(caller),
      [this, &caller](const Result<kv::CommittedPosition>& removed) {
        end_operation(caller, removed ? Outcome::done : outcome_of(removed.error(), Kind::remove));
      });
}

void Workload::get(Caller& caller, const std::string& key) {
  begin_operation(caller, Kind::get, key, 0);
  caller.client->client().get(
      encoded_key(key), deadline(caller), [this, &caller](const Result<kv::StoredValue>& stored) {
        if (!stored) return end_operation(caller, outcome_of(stored.error(), Kind::get));
        const std::uint64_t number = number_of(stored->value);
        if (number == 0) seams_.violation("a client got a value that nobody put");
        end_operation(caller, Outcome::done, number);
      });
}

std::uint64_t Workload::number_of(const std::string& value) const {
  etf::Cursor cursor(value);
  const auto text = cursor.kind() == etf::TermKind::binary ? cursor.binary() : std::nullopt;
  const std::size_t at = value_mark(0).find('0');
  if (!text || text->size() < at + kMarkDigits) return 0;
  std::uint64_t number = 0;
  const char* const digits = text->data() + at;
  if (std::from_chars(digits, digits + kMarkDigits, number).ec != std::errc()) return 0;
  return workload_value(number, options_) == value ? number : 0;
}

}  // namespace rakv::simulation
