// SPDX-License-Identifier: Apache-2.0
#include "tests/raft/core/timed_cluster.h"

#include <iostream>

#include "raft/core/election_timer.h"
#include "raft/core/text.h"
#include "tests/raft/core/world.h"

namespace rakv::raft::test {

namespace {
constexpr Millis kBroadcast = 100;
constexpr Millis kPoll = 1000;
constexpr Millis kRaCallTimeout = 1000;
constexpr Millis kCallTimeout = 5000;
constexpr std::uint64_t kEntries = 5;
}  // namespace

TimedCluster::TimedCluster(std::uint64_t seed, std::size_t size, Slowness slowness,
                           const std::vector<std::size_t>& as_ra)
    : random_(seed), slowness_(slowness), nodes_(size) {
  for (const std::size_t ra : as_ra) nodes_[ra].ra = true;
  for (std::size_t i = 0; i < size; ++i) {
    CoreState state;
    state.id = id(i);
    state.uid = "uid";
    for (std::size_t other = 0; other < size; ++other) state.cluster[id(other)];
    state.current_term = Term(1);
    state.log = LogShape({}, {{Index(1), Term(1)}}, Index(kEntries));
    state.last_applied = Index(kEntries);
    state.options.ra_elections = nodes_[i].ra;
    nodes_[i].core = std::make_unique<Core>(std::move(state));
  }
}

ServerId TimedCluster::id(std::size_t node) const {
  return server(std::string(1, static_cast<char>('a' + node)));
}

std::size_t TimedCluster::index(const ServerId& id) const {
  return static_cast<std::size_t>(id.node().front() - 'a');
}

void TimedCluster::after(Millis delay, std::function<void()> what) {
  due_.push({now_ + delay, order_++, std::move(what)});
}

void TimedCluster::lose_leader(std::size_t leader, Millis apart) {
  nodes_[leader].alive = false;
  std::uniform_int_distribution<Millis> draw(0, apart);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (i == leader) continue;
    give(i, event::AppendEntries{
                {Term(1), id(leader), Index(kEntries), Index(kEntries), Term(1), {}}});
    after(draw(random_), [this, i, leader] {
      give(i, event::LeaderDown{id(leader), event::DownReason::noconnection});
      give(i, event::NodeDown{id(leader).node()});
    });
  }
}

void TimedCluster::restart_all(Millis apart) {
  std::uniform_int_distribution<Millis> draw(0, apart);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i].alive = false;
    after(draw(random_), [this, i] {
      nodes_[i].alive = true;
      nodes_[i].entered = true;
      Effects effects;
      nodes_[i].core->start(effects);
      for (Effect& effect : effects) carry_out(i, effect);
    });
  }
}

std::optional<Millis> TimedCluster::time_to_leader(Millis limit) {
  while (!due_.empty() && !elected_ && due_.top().at <= limit) {
    Due next = due_.top();
    due_.pop();
    now_ = next.at;
    next.what();
  }
  return elected_;
}

void TimedCluster::give(std::size_t node, Event event) {
  if (!nodes_[node].alive) return;
  nodes_[node].events.push_back(std::move(event));
  run(node);
}

namespace {

/// ra_server:update_term/2 and update_term_and_voted_for/3: a member that hears of a higher term
/// and gives its vote in it stores twice, and its state and timer change in between.
Effects with_ras_stores(Effects effects, Term before, const ServerId& self) {
  const effect::PersistTermVote* store = nullptr;
  for (const Effect& any : effects) {
    if (const auto* found = std::get_if<effect::PersistTermVote>(&any)) store = found;
  }
  if (store == nullptr || store->term == before || !store->voted_for || store->voted_for == self)
    return effects;
  Effects first{effect::PersistTermVote{store->term, {}}};
  Effects second;
  for (Effect& any : effects) {
    const bool of_state = std::holds_alternative<effect::RoleChanged>(any) ||
                          std::holds_alternative<effect::SetElectionTimer>(any);
    (of_state ? first : second).push_back(std::move(any));
  }
  for (Effect& any : second) first.push_back(std::move(any));
  return first;
}

}  // namespace

Effects TimedCluster::step(std::size_t i, Event event) {
  Node& node = nodes_[i];
  const Term before = node.core->current_term();
  const Role role = node.core->role();
  const auto* append = std::get_if<event::AppendEntries>(&event);
  // ra_server:handle_candidate/2 takes back its vote.
  const bool takes_back =
      append != nullptr && role == Role::candidate && append->rpc.term == before;
  Effects effects;
  node.core->step(std::move(event), effects);
  if (!node.ra) return effects;
  if (takes_back) effects.insert(effects.begin(), effect::PersistTermVote{before, {}});
  return with_ras_stores(std::move(effects), before, node.core->id());
}

/// As the member's shell does: effects in order, everything after a store waits for it.
void TimedCluster::run(std::size_t i) {
  Node& node = nodes_[i];
  while (!node.storing) {
    if (!node.effects.empty()) {
      Effect effect = std::move(node.effects.front());
      node.effects.pop_front();
      carry_out(i, effect);
      continue;
    }
    if (node.events.empty()) return;
    Event event = std::move(node.events.front());
    node.events.pop_front();
    for (Effect& effect : step(i, std::move(event))) node.effects.push_back(std::move(effect));
    if (node.core->role() == Role::leader && node.core->commit_index() > Index(kEntries))
      elected_ = now_;
  }
}

void TimedCluster::send(std::size_t from, const ServerId& to, Event event) {
  (void)from;
  after(slowness_.one_way, [this, to = index(to), event = std::move(event)] { give(to, event); });
}

void TimedCluster::answer(std::size_t from, CallToken token,
                          const std::function<Event(const Call&)>& make) {
  const auto found = calls_.find(token);
  if (found == calls_.end()) return;
  const Call call = found->second;
  calls_.erase(found);
  if (now_ + slowness_.one_way > call.deadline) return;
  send(from, id(call.caller), make(call));
}

/// ra's lengths: at most one timer is armed, changes of state cancel it, a later request does not
/// change it.
void TimedCluster::set_timer(std::size_t i, const effect::SetElectionTimer& wanted) {
  Node& node = nodes_[i];
  effect::SetElectionTimer timer = wanted;
  if (node.ra) {
    if (node.timer_armed && !node.entered) return;
    if (timer.length == effect::ElectionTimer::patient) timer.length = effect::ElectionTimer::long_;
    if (node.core->role() == Role::candidate) {
      timer.length = node.entered ? effect::ElectionTimer::short_ : effect::ElectionTimer::medium;
    } else if (timer.length == effect::ElectionTimer::in_turn) {
      timer.length = effect::ElectionTimer::short_;
    }
    node.entered = false;
  }
  node.timer_armed = true;
  const ElectionTimerRange range = range_of(timer, kBroadcast, kPoll);
  const std::uint64_t number = ++node.timer;
  const Millis length =
      std::uniform_int_distribution<Millis>(range.shortest_ms, range.longest_ms)(random_);
  after(length, [this, i, number, set = timer.number] {
    if (!nodes_[i].timer_armed || nodes_[i].timer != number) return;
    nodes_[i].timer_armed = false;
    give(i, event::ElectionTimeout{set});
  });
}

void TimedCluster::carry_out(std::size_t i, Effect& any) {
  Node& node = nodes_[i];
  if (trace) {
    std::cout << now_ << ' ' << id(i).node() << (node.ra ? "(ra)" : "") << ": " << to_string(any)
              << '\n';
  }
  if (std::holds_alternative<effect::PersistTermVote>(any)) {
    node.storing = true;
    after(slowness_.store, [this, i] {
      nodes_[i].storing = false;
      run(i);
    });
  } else if (auto* append = std::get_if<effect::AppendToLog>(&any)) {
    const event::Written written{append->entries.back().term, append->entries.back().index};
    after(slowness_.store, [this, i, written] { give(i, written); });
  } else if (auto* timer = std::get_if<effect::SetElectionTimer>(&any)) {
    set_timer(i, *timer);
  } else if (std::holds_alternative<effect::CancelElectionTimer>(any)) {
    node.timer_armed = false;
  } else if (std::holds_alternative<effect::RoleChanged>(any)) {
    node.entered = true;
    node.timer_armed = false;
  } else if (auto* monitor = std::get_if<effect::MonitorLeader>(&any)) {
    if (nodes_[index(monitor->leader)].alive) return;
  } else if (auto* vote = std::get_if<effect::CallRequestVote>(&any)) {
    const CallToken call(next_call_++);
    calls_[call] = {i, vote->round, now_ + (node.ra ? kRaCallTimeout : kCallTimeout)};
    send(i, vote->to, event::VoteRequested{call, vote->rpc});
  } else if (auto* pre = std::get_if<effect::CallPreVote>(&any)) {
    const CallToken call(next_call_++);
    calls_[call] = {i, pre->round, now_ + (node.ra ? kRaCallTimeout : kCallTimeout)};
    send(i, pre->to, event::PreVoteRequested{call, pre->rpc});
  } else if (auto* voted = std::get_if<effect::ReplyVote>(&any)) {
    answer(i, voted->call, [&](const Call& call) {
      return event::VoteReplied{id(i), call.round, voted->result};
    });
  } else if (auto* pre_voted = std::get_if<effect::ReplyPreVote>(&any)) {
    answer(i, pre_voted->call, [&](const Call& call) {
      return event::PreVoteReplied{id(i), call.round, pre_voted->result};
    });
  } else if (auto* append_rpc = std::get_if<effect::SendAppendEntries>(&any)) {
    AppendEntriesRpc rpc{append_rpc->term,      id(i), append_rpc->commit, append_rpc->prev_index,
                         append_rpc->prev_term, {}};
    for (Index at = append_rpc->first; at <= append_rpc->last; ++at) {
      Entry entry;
      entry.index = at;
      entry.term = node.core->log().term_at(at).value_or(Term(0));
      entry.kind = EntryKind::noop;
      rpc.entries.push_back(std::move(entry));
    }
    send(i, append_rpc->to, event::AppendEntries{std::move(rpc)});
  } else if (auto* reply = std::get_if<effect::SendAppendEntriesReply>(&any)) {
    send(i, reply->to, event::AppendEntriesReplied{id(i), reply->reply});
  } else if (auto* asked = std::get_if<effect::SendElectionTimeout>(&any)) {
    send(i, asked->to, event::ElectionRequested{});
  }
}

}  // namespace rakv::raft::test
