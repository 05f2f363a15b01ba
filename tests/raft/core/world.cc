// SPDX-License-Identifier: Apache-2.0
#include "tests/raft/core/world.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "raft/core/text.h"

namespace rakv::raft::test {

ServerId server(const std::string& node) { return ServerId("kv", node); }

namespace {

/// The machine is a running hash of what was applied, so that equal states mean equal histories.
std::uint64_t mix(std::uint64_t machine, const Entry& entry) {
  const std::uint64_t value = entry.index.value() * 1000003 + entry.term.value() * 10007 +
                              std::hash<std::string_view>{}(entry.payload.view());
  return (machine ^ value) * 0x9E3779B97F4A7C15ULL + 1;
}

struct EventName {
  std::string operator()(const event::AppendEntries&) const { return "append_entries"; }
  std::string operator()(const event::AppendEntriesReplied&) const {
    return "append_entries reply";
  }
  std::string operator()(const event::VoteRequested&) const { return "request_vote"; }
  std::string operator()(const event::VoteReplied&) const { return "vote"; }
  std::string operator()(const event::PreVoteRequested&) const { return "pre_vote"; }
  std::string operator()(const event::PreVoteReplied&) const { return "pre-vote"; }
  std::string operator()(const event::Heartbeat&) const { return "heartbeat"; }
  std::string operator()(const event::HeartbeatReplied&) const { return "heartbeat reply"; }
  std::string operator()(const event::InfoRequested&) const { return "info"; }
  std::string operator()(const event::InfoReplied&) const { return "info reply"; }
  std::string operator()(const event::InstallSnapshot& e) const {
    return "install_snapshot {" + std::to_string(e.rpc.chunk_number) + "," +
           std::string(to_string(e.rpc.flag)) + "}";
  }
  std::string operator()(const event::InstallSnapshotReplied&) const { return "snapshot reply"; }
  std::string operator()(const event::SnapshotTransferEnded& e) const {
    return e.outcome == event::TransferOutcome::finished ? "transfer finished" : "transfer failed";
  }
  std::string operator()(const event::ElectionRequested&) const { return "election_timeout"; }
  template <class Other>
  std::string operator()(const Other&) const {
    return "event";
  }
};

}  // namespace

void World::add(const std::string& name, const std::vector<std::string>& members,
                Membership membership) {
  Member& member = members_[name];
  member.state.id = server(name);
  member.state.uid = "uid_" + name;
  member.state.membership = membership;
  member.state.options = options;
  for (const std::string& other : members) member.state.cluster[server(other)];
  member.snapshot.cluster = member.state.cluster;
  start_core(name);
}

bool World::alive(const std::string& name) const {
  const auto found = members_.find(name);
  return found != members_.end() && found->second.core != nullptr;
}

void World::start_core(const std::string& name, std::optional<Index> durable) {
  Member& member = members_.at(name);
  CoreState state = member.state;
  state.cluster = member.snapshot.cluster;
  const IndexTerm snapshot{member.snapshot.index, member.snapshot.term};
  std::vector<LogShape::Run> runs;
  Index last = snapshot.index;
  for (const auto& [index, entry] : member.log) {
    if (index <= snapshot.index) continue;
    if (runs.empty() || runs.back().term != entry.term) runs.push_back({index, entry.term});
    last = index;
    if (entry.kind != EntryKind::user && entry.kind != EntryKind::unknown) {
      state.special_entries.push_back(
          {{index, entry.term}, entry.kind, entry.cluster, entry.machine_version});
    }
  }
  state.log = LogShape(snapshot, std::move(runs), last,
                       std::max(snapshot.index, std::min(durable.value_or(last), last)));
  state.last_applied = std::max(snapshot.index, std::min(member.persisted_applied, last));
  if (state.amnesia) state.last_applied = snapshot.index;
  member.machine = member.snapshot_machine;
  for (Index index = snapshot.index + 1; index <= state.last_applied; ++index) {
    member.machine = mix(member.machine, member.log.at(index));
  }
  member.core = std::make_unique<Core>(std::move(state));
  member.invariants = std::make_unique<MemberInvariants>();
}

void World::crash(const std::string& name, std::size_t keep) {
  Member& member = members_.at(name);
  const Index durable = member.core->log().last_written().index;
  member.log.erase(member.log.upper_bound(durable + keep), member.log.end());
  // Nothing was written over the old suffix yet.
  if (keep == 0 && !member.old_suffix.empty() && member.old_suffix.begin()->first == durable + 1)
    member.log.merge(member.old_suffix);
  member.old_suffix.clear();
  // Of a store under way nobody knows whether it was in time.
  const auto stores = std::exchange(member.disk_stores, {});
  if (stores && keep % 2 == 0) {
    member.state.current_term = stores->term;
    member.state.voted_for = stores->voted_for;
  }
  end_core(name);
}

void World::end_core(const std::string& name) {
  Member& member = members_.at(name);
  member.core.reset();
  member.storing.reset();
  member.held.clear();
  member.timer_armed = member.condition_timer = member.receive_timer = member.flush_scheduled =
      false;
  member.retry_timers.clear();
  member.incoming_live.clear();
  member.incoming_meta.reset();
  member.monitored.reset();
  for (const Event& event : own_[name]) {
    if (const auto* call = std::get_if<event::InstallSnapshot>(&event)) fail_call(call->call);
  }
  own_[name].clear();
  for (auto& [link, queue] : links_) {
    if (link.first == name || link.second == name) {
      while (!queue.empty()) drop(link.first, link.second);
    }
  }
  own_[name].clear();
  // Whoever called it hears of its end.
  std::vector<CallToken> open;
  for (const auto& [token, call] : calls_) {
    if (call.callee == name) open.push_back(token);
  }
  for (const CallToken token : open) fail_call(token);
  announce_down(name);
}

std::vector<std::string> World::restart_inside(const std::string& name) {
  Member& member = members_.at(name);
  const Index durable = member.core->log().last_written().index;
  if (member.disk_stores) {
    member.state.current_term = member.disk_stores->term;
    member.state.voted_for = member.disk_stores->voted_for;
  }
  end_core(name);
  start_core(name, durable);
  std::vector<std::string> lines;
  Effects effects;
  member.core->start(effects);
  std::deque<Effect> first(effects.begin(), effects.end());
  // The new member waits for the store that the old one began.
  member.storing = member.disk_stores;
  if (member.storing) {
    member.held = std::move(first);
  } else {
    carry_out_all(name, std::move(first), lines);
  }
  return lines;
}

void World::break_link(const std::string& one, const std::string& other) {
  broken_.insert(std::minmax(one, other));
  for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
    while (!links_[{from, to}].empty()) drop(from, to);
    if (!alive(to)) continue;
    if (members_.at(to).monitored == server(from)) {
      members_.at(to).monitored.reset();
      step(to, event::LeaderDown{server(from), event::DownReason::noconnection});
    }
    if (alive(to)) step(to, event::NodeDown{from});
  }
}

void World::mend_link(const std::string& one, const std::string& other) {
  broken_.erase(std::minmax(one, other));
  if (alive(one)) step(one, event::NodeUp{other});
  if (alive(other)) step(other, event::NodeUp{one});
}

/// Entries from `from` on are about to go.
void World::keep_old_suffix(Member& member, Index from) {
  const Index durable = member.core->log().snapshot().index;
  member.old_suffix.clear();
  for (auto entry = member.log.lower_bound(from); entry != member.log.end(); ++entry) {
    if (entry->first > durable) member.old_suffix.insert(*entry);
  }
}

void World::forget(const std::string& name, Index last, bool term_lost) {
  Member& member = members_.at(name);
  if (last < member.snapshot.index) {
    member.snapshot = {};
    member.snapshot.cluster = member.state.cluster;
    member.snapshot_machine = 0;
    member.live.clear();
    member.log.clear();
  }
  member.log.erase(member.log.upper_bound(last), member.log.end());
  term_lost = term_lost || (member.state.amnesia && member.state.amnesia->term_lost);
  member.state.amnesia = Amnesia{term_lost};
  if (!term_lost) return;
  member.state.voted_for.reset();
  member.state.current_term =
      member.log.empty() ? member.snapshot.term : member.log.rbegin()->second.term;
}

/// Whoever monitors this member hears of its end.
void World::announce_down(const std::string& name) {
  for (auto& [other, peer] : members_) {
    if (peer.core != nullptr && peer.monitored == server(name)) {
      peer.monitored.reset();
      own_[other].push_back(event::LeaderDown{server(name), event::DownReason::other});
    }
  }
}

std::vector<std::string> World::restart(const std::string& name) {
  start_core(name);
  Effects effects;
  members_.at(name).core->start(effects);
  std::vector<std::string> lines;
  for (Effect& effect : effects) {
    lines.push_back(to_string(effect));
    carry_out(name, effect);
  }
  return lines;
}

std::vector<std::string> World::step(const std::string& name, Event event) {
  std::vector<std::string> lines;
  std::deque<Event>& queue = own_[name];
  if (alive(name) && members_.at(name).storing) {
    queue.push_back(std::move(event));
    return {"waits"};
  }
  queue.push_front(std::move(event));
  while (!queue.empty() && alive(name) && !members_.at(name).storing) {
    Event next = std::move(queue.front());
    queue.pop_front();
    Member& member = members_.at(name);
    if (std::holds_alternative<event::ElectionTimeout>(next)) member.timer_armed = false;
    if (std::holds_alternative<event::ConditionTimeout>(next)) member.condition_timer = false;
    if (std::holds_alternative<event::ReceiveSnapshotTimeout>(next)) member.receive_timer = false;
    if (std::holds_alternative<event::FlushLowPriority>(next)) member.flush_scheduled = false;
    Effects effects;
    member.core->step(std::move(next), effects);
    if (auto wrong = member.invariants->check(*member.core)) note(*wrong);
    if (carry_out_all(name, std::deque<Effect>(effects.begin(), effects.end()), lines))
      after_effects(name, lines);
  }
  return lines;
}

/// False if the rest waits for a store, or the member crashed on the way.
bool World::carry_out_all(const std::string& name, std::deque<Effect> effects,
                          std::vector<std::string>& lines) {
  Member& member = members_.at(name);
  while (!effects.empty()) {
    if (crash_after_effects && (*crash_after_effects)-- == 0) {
      crash_after_effects.reset();
      interrupted.insert(name);
      crash(name);
      return false;
    }
    Effect effect = std::move(effects.front());
    effects.pop_front();
    lines.push_back(to_string(effect));
    carry_out(name, effect);
    if (!member.storing) continue;
    member.held = std::move(effects);
    return false;
  }
  return true;
}

void World::after_effects(const std::string& name, std::vector<std::string>& lines) {
  Member& member = members_.at(name);
  // Not before: what a crash or a store cuts off has not happened.
  if (checks_cluster) {
    if (auto wrong = cluster_invariants.check(*member.core)) note(*wrong);
  }
  if (member.core->stopped()) {
    member.core.reset();
    announce_down(name);
  }
  if (pending_installs_.erase(name) > 0 && alive(name)) {
    for (std::string& line : finish_install(name, true)) lines.push_back(std::move(line));
  }
}

std::vector<std::string> World::finish_store(const std::string& name) {
  std::vector<std::string> lines;
  Member& member = members_.at(name);
  const auto stored = std::exchange(member.disk_stores, {});
  if (!stored) return lines;
  member.state.current_term = stored->term;
  member.state.voted_for = stored->voted_for;
  if (!std::exchange(member.storing, {})) return lines;
  if (carry_out_all(name, std::exchange(member.held, {}), lines)) after_effects(name, lines);
  std::deque<Event> waiting = std::exchange(own_[name], {});
  for (Event& event : waiting) {
    if (!alive(name)) break;
    for (std::string& line : step(name, std::move(event))) lines.push_back(std::move(line));
  }
  return lines;
}

void World::note(const std::string& violation) {
  if (violation_.empty()) violation_ = violation;
}

// --- links
// ------------------------------------------------------------------------------------------------------------

void World::post(const std::string& from, const ServerId& to, Event event) {
  links_[{from, to.node()}].push_back(std::move(event));
}

std::vector<std::pair<std::string, std::string>> World::busy_links() const {
  std::vector<std::pair<std::string, std::string>> busy;
  for (const auto& [link, queue] : links_) {
    if (!queue.empty()) busy.push_back(link);
  }
  return busy;
}

std::string World::peek(const std::string& from, const std::string& to) const {
  const auto found = links_.find({from, to});
  if (found == links_.end() || found->second.empty()) return "nothing";
  return std::visit(EventName{}, found->second.front());
}

std::optional<std::vector<std::string>> World::deliver(const std::string& from,
                                                       const std::string& to) {
  std::deque<Event>& queue = links_[{from, to}];
  if (queue.empty()) return std::nullopt;
  if (!alive(to) || is_broken(from, to)) {
    drop(from, to);
    return std::nullopt;
  }
  Event event = std::move(queue.front());
  queue.pop_front();
  return step(to, std::move(event));
}

void World::drop(const std::string& from, const std::string& to) {
  std::deque<Event>& queue = links_[{from, to}];
  if (queue.empty()) return;
  Event event = std::move(queue.front());
  queue.pop_front();
  if (const auto* call = std::get_if<event::InstallSnapshot>(&event)) fail_call(call->call);
  // The end of a transfer is the sender's own knowledge, whatever becomes of the link.
  if (std::holds_alternative<event::SnapshotTransferEnded>(event) && alive(to)) {
    own_[to].push_back(std::move(event));
  }
}

bool World::is_sending(const std::string& from, const ServerId& to, RoundId transfer) {
  const auto ends = [&](const Event& event) {
    const auto* ended = std::get_if<event::SnapshotTransferEnded>(&event);
    return ended != nullptr && ended->peer == to && ended->transfer == transfer;
  };
  const std::deque<Event>& coming = links_[{to.node(), from}];
  if (std::any_of(coming.begin(), coming.end(), ends)) return true;
  if (std::any_of(own_[from].begin(), own_[from].end(), ends)) return true;
  return std::any_of(calls_.begin(), calls_.end(), [&](const auto& entry) {
    const PeerCall& call = entry.second;
    return call.kind == PeerCall::Kind::snapshot && call.caller == from &&
           call.callee == to.node() && call.round == transfer;
  });
}

CallToken World::new_call(PeerCall call) {
  const CallToken token(next_call_++);
  calls_[token] = std::move(call);
  return token;
}

/// A peer's answer travels back on its link; a snapshot's last answer also ends the transfer.
void World::reply_to_call(CallToken token, Event reply) {
  const auto found = calls_.find(token);
  if (found == calls_.end()) return;
  const PeerCall call = found->second;
  calls_.erase(found);
  if (call.kind == PeerCall::Kind::snapshot) {
    const bool refused = std::holds_alternative<event::AppendEntriesReplied>(reply);
    if (!call.last && !refused) return;
    post(call.callee, server(call.caller), std::move(reply));
    post(call.callee, server(call.caller),
         event::SnapshotTransferEnded{server(call.callee), call.round,
                                      event::TransferOutcome::finished});
    return;
  }
  post(call.callee, server(call.caller), std::move(reply));
}

void World::fail_call(CallToken token) {
  const auto found = calls_.find(token);
  if (found == calls_.end()) return;
  const PeerCall call = found->second;
  calls_.erase(found);
  if (call.kind != PeerCall::Kind::snapshot) return;
  post(call.callee, server(call.caller),
       event::SnapshotTransferEnded{server(call.callee), call.round,
                                    event::TransferOutcome::failed});
}

// --- disk
// ---------------------------------------------------------------------------------------------------------------

std::vector<std::string> World::written(const std::string& name, std::optional<Index> up_to) {
  Member& member = members_.at(name);
  const Index index = up_to.value_or(member.core->log().last().index);
  const Term term = member.core->log().term_at(index).value_or(Term(0));
  return step(name, event::Written{term, index});
}

std::vector<std::string> World::take_snapshot(const std::string& name, std::set<Index> live) {
  Member& member = members_.at(name);
  const Index at = member.core->last_applied();
  const Term term = member.core->log().term_at(at).value_or(Term(0));
  member.snapshot = {at, term, member.core->cluster_at(at), 0};
  member.snapshot_machine = member.machine;
  member.persisted_applied = std::max(member.persisted_applied, at);
  member.live = std::move(live);
  std::erase_if(member.log, [&](const auto& entry) {
    return entry.first <= at && !member.live.contains(entry.first);
  });
  return step(name, event::SnapshotTaken{at, term});
}

std::vector<std::string> World::finish_install(const std::string& name, bool ok) {
  Member& member = members_.at(name);
  if (member.incoming_meta == nullptr) return {};
  const std::shared_ptr<const SnapshotMeta> meta = std::exchange(member.incoming_meta, nullptr);
  const std::string data = std::exchange(member.incoming_data, {});
  if (ok) {
    member.snapshot = *meta;
    member.snapshot_machine = std::stoull(data);
    member.machine = member.snapshot_machine;
    member.persisted_applied = meta->index;
    // What was live before and what came with the transfer stays readable, and so does what is
    // above the snapshot if the log agrees with it; the rest makes way.
    const auto at = member.log.find(meta->index);
    const bool agrees = at != member.log.end() && at->second.term == meta->term;
    std::erase_if(member.log, [&](const auto& entry) {
      return !member.live.contains(entry.first) && !(agrees && entry.first > meta->index);
    });
    for (auto& [index, entry] : member.incoming_live) {
      member.live.insert(index);
      member.log[index] = entry;
    }
    const auto [known, fresh] = machines_.emplace(meta->index, member.machine);
    if (known->second != member.machine) note(name + " installed a snapshot with another history");
  }
  member.incoming_live.clear();
  return step(name, event::SnapshotInstalled{meta->index, ok});
}

// --- effects
// ------------------------------------------------------------------------------------------------------------

void World::carry_out(const std::string& name, Effect& any) {
  Member& member = members_.at(name);
  const ServerId self = server(name);
  if (auto* persist = std::get_if<effect::PersistTermVote>(&any)) {
    if (stores_hang) {
      member.storing = member.disk_stores = *persist;
      return;
    }
    member.state.current_term = persist->term;
    member.state.voted_for = persist->voted_for;
  } else if (std::holds_alternative<effect::AmnesiaEnded>(any)) {
    member.state.amnesia.reset();
  } else if (auto* append = std::get_if<effect::AppendToLog>(&any)) {
    keep_old_suffix(member, append->entries.front().index);
    member.log.erase(member.log.lower_bound(append->entries.front().index), member.log.end());
    for (Entry& entry : append->entries) member.log[entry.index] = std::move(entry);
  } else if (auto* truncate = std::get_if<effect::TruncateLog>(&any)) {
    keep_old_suffix(member, truncate->last + 1);
    member.log.erase(member.log.upper_bound(truncate->last), member.log.end());
  } else if (auto* apply = std::get_if<effect::Apply>(&any)) {
    for (Index index = apply->first; index <= apply->last; ++index) {
      const auto entry = member.log.find(index);
      if (entry == member.log.end()) {
        note(name + " applies an entry that is not in its log");
        return;
      }
      member.machine = mix(member.machine, entry->second);
      const auto [known, fresh] = machines_.emplace(index, member.machine);
      if (known->second != member.machine) {
        note(name + " applied another history up to " + std::to_string(index.value()));
      }
      if (apply->leader && entry->second.token != CallToken(0))
        answers.emplace_back(entry->second.token, "applied");
    }
  } else if (std::holds_alternative<effect::SetElectionTimer>(any)) {
    member.timer_armed = true;
  } else if (std::holds_alternative<effect::CancelElectionTimer>(any)) {
    member.timer_armed = false;
  } else if (std::holds_alternative<effect::SetConditionTimer>(any)) {
    member.condition_timer = true;
  } else if (std::holds_alternative<effect::CancelConditionTimer>(any)) {
    member.condition_timer = false;
  } else if (std::holds_alternative<effect::SetReceiveSnapshotTimer>(any)) {
    member.receive_timer = true;
  } else if (std::holds_alternative<effect::CancelReceiveSnapshotTimer>(any)) {
    member.receive_timer = false;
  } else if (auto* retry = std::get_if<effect::SetSnapshotRetryTimer>(&any)) {
    member.retry_timers.insert(retry->peer);
  } else if (auto* no_retry = std::get_if<effect::CancelSnapshotRetryTimer>(&any)) {
    member.retry_timers.erase(no_retry->peer);
  } else if (std::holds_alternative<effect::ScheduleFlush>(any)) {
    member.flush_scheduled = true;
  } else if (auto* ready = std::get_if<effect::ReadReady>(&any)) {
    answers.emplace_back(ready->token,
                         "read at " + std::to_string(member.core->last_applied().value()));
  } else if (auto* rejected = std::get_if<effect::RejectCall>(&any)) {
    fail_call(rejected->token);
  } else if (auto* dropped = std::get_if<effect::DropCall>(&any)) {
    fail_call(dropped->token);
  } else if (auto* monitor = std::get_if<effect::MonitorLeader>(&any)) {
    member.monitored = monitor->leader;
    if (is_broken(name, monitor->leader.node())) {
      member.monitored.reset();
      own_[name].push_back(event::LeaderDown{monitor->leader, event::DownReason::noconnection});
      return;
    }
    if (members_.contains(monitor->leader.node()) && !alive(monitor->leader.node())) {
      member.monitored.reset();
      own_[name].push_back(event::LeaderDown{monitor->leader, event::DownReason::other});
    }
  } else if (std::holds_alternative<effect::DemonitorLeader>(any)) {
    member.monitored.reset();
  } else if (auto* send = std::get_if<effect::SendAppendEntries>(&any)) {
    AppendEntriesRpc rpc{send->term, self, send->commit, send->prev_index, send->prev_term, {}};
    for (Index index = send->first; index <= send->last; ++index) {
      const auto entry = member.log.find(index);
      if (entry == member.log.end()) {
        note(name + " sends an entry that is not in its log");
        return;
      }
      rpc.entries.push_back(entry->second);
      rpc.entries.back().token = CallToken(0);
      rpc.entries.back().origin = EntryOrigin::given;
    }
    post(name, send->to, event::AppendEntries{std::move(rpc)});
  } else if (auto* aer_reply = std::get_if<effect::SendAppendEntriesReply>(&any)) {
    post(name, aer_reply->to, event::AppendEntriesReplied{self, aer_reply->reply});
  } else if (auto* heartbeat = std::get_if<effect::SendHeartbeat>(&any)) {
    post(name, heartbeat->to, event::Heartbeat{{heartbeat->query_index, heartbeat->term, self}});
  } else if (auto* beat_reply = std::get_if<effect::SendHeartbeatReply>(&any)) {
    post(name, beat_reply->to, event::HeartbeatReplied{self, beat_reply->reply});
  } else if (auto* info = std::get_if<effect::SendInfo>(&any)) {
    post(name, info->to, event::InfoRequested{{self, info->term, {"machine_version"}}});
  } else if (auto* info_reply = std::get_if<effect::SendInfoReply>(&any)) {
    post(name, info_reply->to, event::InfoReplied{info_reply->reply});
  } else if (auto* vote = std::get_if<effect::CallRequestVote>(&any)) {
    const CallToken call = new_call({name, vote->to.node(), PeerCall::Kind::vote, vote->round});
    post(name, vote->to, event::VoteRequested{call, vote->rpc});
  } else if (auto* pre = std::get_if<effect::CallPreVote>(&any)) {
    const CallToken call = new_call({name, pre->to.node(), PeerCall::Kind::pre_vote, pre->round});
    post(name, pre->to, event::PreVoteRequested{call, pre->rpc});
  } else if (auto* vote_reply = std::get_if<effect::ReplyVote>(&any)) {
    const auto call = calls_.find(vote_reply->call);
    if (call == calls_.end()) return;
    reply_to_call(vote_reply->call,
                  event::VoteReplied{self, call->second.round, vote_reply->result});
  } else if (auto* pre_reply = std::get_if<effect::ReplyPreVote>(&any)) {
    const auto call = calls_.find(pre_reply->call);
    if (call == calls_.end()) return;
    reply_to_call(pre_reply->call,
                  event::PreVoteReplied{self, call->second.round, pre_reply->result});
  } else if (auto* election = std::get_if<effect::SendElectionTimeout>(&any)) {
    post(name, election->to, event::ElectionRequested{});
  } else if (auto* snapshot = std::get_if<effect::SendSnapshot>(&any)) {
    send_snapshot(name, *snapshot);
  } else if (auto* begin = std::get_if<effect::BeginSnapshot>(&any)) {
    member.incoming_meta.reset();
    member.incoming_data.clear();
    member.incoming_live.clear();
    (void)begin;
  } else if (auto* live = std::get_if<effect::AcceptLiveEntries>(&any)) {
    for (Entry& entry : live->entries) member.incoming_live[entry.index] = std::move(entry);
  } else if (auto* chunk = std::get_if<effect::AcceptChunk>(&any)) {
    member.incoming_data += chunk->data.view();
  } else if (auto* complete = std::get_if<effect::CompleteSnapshot>(&any)) {
    member.incoming_meta = complete->meta;
    if (installs_at_once) pending_installs_.insert(name);
  } else if (std::holds_alternative<effect::AbortSnapshot>(any)) {
    member.incoming_meta.reset();
    member.incoming_data.clear();
    member.incoming_live.clear();
  } else if (auto* installed = std::get_if<effect::ReplyInstallSnapshot>(&any)) {
    reply_to_call(installed->call, event::InstallSnapshotReplied{self, installed->result});
  } else if (auto* refused = std::get_if<effect::ReplyInstallSnapshotWithAppendEntries>(&any)) {
    reply_to_call(refused->call, event::AppendEntriesReplied{self, refused->reply});
  }
}

/// The whole transfer as the leader's sender process would send it: init and pre if there are live
/// entries, then the state in two chunks.
void World::send_snapshot(const std::string& name, const effect::SendSnapshot& send) {
  Member& member = members_.at(name);
  if (is_broken(name, send.to.node())) {
    own_[name].push_back(
        event::SnapshotTransferEnded{send.to, send.transfer, event::TransferOutcome::disconnected});
    return;
  }
  const auto meta = std::make_shared<const SnapshotMeta>(member.snapshot);
  if (meta->index != send.snapshot.index) note(name + " sends a snapshot it does not have");
  const auto post_chunk = [&](std::uint64_t number, ChunkFlag flag, std::vector<Entry> entries,
                              const std::string& data) {
    const CallToken call = new_call(
        {name, send.to.node(), PeerCall::Kind::snapshot, send.transfer, flag == ChunkFlag::last});
    post(name, send.to,
         event::InstallSnapshot{call,
                                {send.term, server(name), meta, number, flag, std::move(entries),
                                 SharedBytes::copy_of(data)}});
  };
  std::vector<Entry> live;
  for (const Index index : member.live) {
    if (index <= meta->index && member.log.contains(index)) live.push_back(member.log.at(index));
  }
  if (!live.empty()) {
    post_chunk(0, ChunkFlag::init, {}, "");
    post_chunk(0, ChunkFlag::pre, std::move(live), "");
  }
  const std::string data = std::to_string(member.snapshot_machine);
  post_chunk(1, ChunkFlag::next, {}, data.substr(0, data.size() / 2));
  post_chunk(2, ChunkFlag::last, {}, data.substr(data.size() / 2));
}

}  // namespace rakv::raft::test
