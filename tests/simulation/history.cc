// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/history.h"

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

namespace rakv::simulation {
namespace {

using Kind = ClientOperation::Kind;
using Outcome = ClientOperation::Outcome;

/// What is linearized so far, and the value that the key has then; 0: none.
struct Configuration {
  std::vector<std::uint64_t> linearized;
  std::uint64_t value = 0;
  friend bool operator==(const Configuration&, const Configuration&) = default;
};
struct ConfigurationHash {
  std::size_t operator()(const Configuration& configuration) const {
    std::uint64_t hash = configuration.value * 0x9E3779B97F4A7C15U;
    for (const std::uint64_t word : configuration.linearized)
      hash = (hash ^ word) * 0x9E3779B97F4A7C15U + (hash >> 29);
    return hash;
  }
};

/// The value after the operation; nothing when it can't happen here.
std::optional<std::uint64_t> apply(const ClientOperation& operation, std::uint64_t value) {
  switch (operation.kind) {
    case Kind::put:
      return operation.value;
    case Kind::get:
      if (value != (operation.outcome == Outcome::done ? operation.value : 0)) return std::nullopt;
      return value;
    case Kind::remove:
      if (operation.outcome == Outcome::done && value == 0) return std::nullopt;
      if (operation.outcome == Outcome::not_found && value != 0) return std::nullopt;
      return 0;
  }
  return std::nullopt;
}

/// What says nothing of the key: what was refused, gets without answer, and puts without answer
/// whose value nobody saw and nobody can have removed.
std::vector<ClientOperation> relevant(std::vector<ClientOperation> operations) {
  std::set<std::uint64_t> read;
  bool removed = false;
  for (const ClientOperation& each : operations) {
    if (each.kind == Kind::get && each.outcome == Outcome::done) read.insert(each.value);
    if (each.kind == Kind::remove && each.outcome == Outcome::done) removed = true;
  }
  std::erase_if(operations, [&](const ClientOperation& each) {
    if (each.outcome == Outcome::refused) return true;
    if (each.outcome != Outcome::open) return false;
    return each.kind == Kind::get ||
           (each.kind == Kind::put && !removed && !read.contains(each.value));
  });
  return operations;
}

/// Calls and returns in their order, as a doubly linked list out of which operations are taken.
class EventList {
 public:
  struct Event {
    std::uint64_t moment = 0;
    std::size_t operation = 0;
    bool call = false;
    std::size_t before = 0;
    std::size_t after = 0;
    std::size_t answer = 0;  ///< of a call: its return; 0 when it has none
  };

  explicit EventList(const std::vector<ClientOperation>& operations) : events_(1) {
    for (std::size_t i = 0; i < operations.size(); ++i) {
      events_.push_back({.moment = operations[i].invoked, .operation = i, .call = true});
      if (operations[i].outcome != Outcome::open)
        events_.push_back({.moment = operations[i].answered, .operation = i});
    }
    std::sort(events_.begin() + 1, events_.end(),
              [](const Event& left, const Event& right) { return left.moment < right.moment; });
    std::vector<std::size_t> calls(operations.size());
    for (std::size_t at = 0; at < events_.size(); ++at) {
      Event& event = events_[at];
      event.before = at == 0 ? events_.size() - 1 : at - 1;
      event.after = at + 1 == events_.size() ? 0 : at + 1;
      if (at == 0) continue;
      if (event.call) {
        calls[event.operation] = at;
      } else {
        events_[calls[event.operation]].answer = at;
      }
    }
  }

  const Event& at(std::size_t place) const { return events_[place]; }
  std::size_t first() const { return events_[0].after; }  ///< 0: the list is empty
  void lift(std::size_t call) {
    unlink(call);
    if (events_[call].answer != 0) unlink(events_[call].answer);
  }
  void put_back(std::size_t call) {
    if (events_[call].answer != 0) link(events_[call].answer);
    link(call);
  }

 private:
  void unlink(std::size_t place) {
    events_[events_[place].before].after = events_[place].after;
    events_[events_[place].after].before = events_[place].before;
  }
  void link(std::size_t place) {
    events_[events_[place].before].after = place;
    events_[events_[place].after].before = place;
  }

  std::vector<Event> events_;  ///< the first is the list's beginning and end
};

std::string why_not(const std::vector<ClientOperation>& operations, std::size_t stuck_at) {
  std::string why = "not linearizable: no order explains " + to_string(operations[stuck_at]) +
                    " after what came before; all of the key:";
  for (const ClientOperation& each : operations) why += "\n  " + to_string(each);
  return why;
}

}  // namespace

std::string to_string(const ClientOperation& operation) {
  std::string text = std::to_string(operation.invoked) + ".." +
                     (operation.answered == 0 ? "" : std::to_string(operation.answered)) + " ";
  const char* const kinds[] = {"put ", "get ", "remove "};
  text += kinds[static_cast<std::size_t>(operation.kind)] + operation.key;
  if (operation.value != 0) text += " " + std::to_string(operation.value);
  const char* const outcomes[] = {" open", " done", " not_found", " refused"};
  return text + outcomes[static_cast<std::size_t>(operation.outcome)];
}

std::size_t History::invoke(Kind kind, std::string key, std::uint64_t value) {
  operations_.push_back(
      {.kind = kind, .key = std::move(key), .value = value, .invoked = ++moment_});
  return operations_.size() - 1;
}

void History::answer(std::size_t number, Outcome outcome, std::uint64_t value) {
  ClientOperation& operation = operations_[number];
  operation.outcome = outcome;
  operation.answered = ++moment_;
  if (operation.kind == Kind::get) operation.value = value;
}

std::map<std::string, std::vector<ClientOperation>> History::by_key() const {
  std::map<std::string, std::vector<ClientOperation>> keys;
  for (const ClientOperation& each : operations_) keys[each.key].push_back(each);
  return keys;
}

bool History::may_be_superseded(std::size_t put) const {
  const ClientOperation& own = operations_[put];
  return std::any_of(operations_.begin(), operations_.end(), [&](const ClientOperation& other) {
    if (&other == &own || other.kind == Kind::get || other.key != own.key) return false;
    const bool before =
        other.answered != 0 && other.outcome != Outcome::open && other.answered < own.invoked;
    return !before && other.outcome != Outcome::refused;
  });
}

LinearizabilityVerdict check_linearizable(std::vector<ClientOperation> operations,
                                          std::size_t limit) {
  operations = relevant(std::move(operations));
  EventList events(operations);
  std::size_t left = static_cast<std::size_t>(
      std::count_if(operations.begin(), operations.end(),
                    [](const auto& each) { return each.outcome != Outcome::open; }));
  std::unordered_set<Configuration, ConfigurationHash> seen;
  Configuration now{std::vector<std::uint64_t>((operations.size() + 63) / 64), 0};
  std::vector<std::pair<std::size_t, std::uint64_t>> calls;  // and the value before
  std::size_t stuck_at = 0;
  std::size_t deepest = 0;
  std::size_t place = events.first();
  while (left > 0) {
    if (place != 0 && events.at(place).call) {
      const std::size_t number = events.at(place).operation;
      const auto value = apply(operations[number], now.value);
      if (value) {
        Configuration next = now;
        next.linearized[number / 64] |= std::uint64_t{1} << (number % 64);
        next.value = *value;
        if (seen.insert(next).second) {
          if (seen.size() > limit) return {.linearizable = true, .decided = false, .why = ""};
          calls.emplace_back(place, now.value);
          now = std::move(next);
          events.lift(place);
          if (operations[number].outcome != Outcome::open) --left;
          place = events.first();
          continue;
        }
      }
      place = events.at(place).after;
      continue;
    }
    // The operation that returns here, or one at the end, has not happened: another order.
    if (place != 0 && calls.size() >= deepest) {
      deepest = calls.size();
      stuck_at = events.at(place).operation;
    }
    if (calls.empty())
      return {.linearizable = false, .decided = true, .why = why_not(operations, stuck_at)};
    const auto [call, value] = calls.back();
    calls.pop_back();
    const std::size_t number = events.at(call).operation;
    now.linearized[number / 64] &= ~(std::uint64_t{1} << (number % 64));
    now.value = value;
    events.put_back(call);
    if (operations[number].outcome != Outcome::open) ++left;
    place = events.at(call).after;
  }
  return {};
}

}  // namespace rakv::simulation
