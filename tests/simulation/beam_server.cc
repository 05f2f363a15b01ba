// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_server.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"
#include "tests/simulation/beam_transfer.h"

namespace rakv::simulation {

using namespace beam;
using raft::Role;

namespace {

// ra_server_proc:election_timeout_action/2, with ra's defaults.
constexpr std::uint64_t kBroadcastMs = 100;
constexpr std::uint64_t kElectionMult = 5;
constexpr std::uint64_t kPollMs = 1000;
constexpr std::uint64_t kTickMs = 1000;
constexpr std::uint64_t kReceiveSnapshotMs = 30'000;
constexpr char kStateTimer[] = "state";
constexpr char kTickTimer[] = "tick";
constexpr char kRetryTimer[] = "retry ";

}  // namespace

std::string beam_record(const raft::ServerId& self, const Message& message) {
  etf::Writer out;
  const auto share = [&](const SharedBytes&, std::string_view part) { out.append(part); };
  struct Write {
    etf::Writer& out;
    const raft::ServerId& self;
    wire::Share share;
    void operator()(const raft::AppendEntriesRpc& rpc) const {
      wire::write_append_entries_rpc(out, rpc, share);
    }
    void operator()(const raft::AppendEntriesReply& reply) const {
      wire::write_reply_sender(out, self);
      wire::write_append_entries_reply(out, reply);
    }
    void operator()(const raft::HeartbeatRpc& rpc) const { wire::write_heartbeat_rpc(out, rpc); }
    void operator()(const raft::HeartbeatReply& reply) const {
      wire::write_reply_sender(out, self);
      wire::write_heartbeat_reply(out, reply);
    }
    void operator()(const raft::InfoRpc& rpc) const { wire::write_info_rpc(out, rpc); }
    void operator()(const raft::InfoReply& reply) const { wire::write_info_reply(out, reply); }
  };
  std::visit(Write{out, self, share}, message);
  return out.take();
}

BeamServer::BeamServer(BeamDisk& disk, BeamSeams seams, BeamWitness& witness, Options options)
    : disk_(disk), seams_(std::move(seams)), options_(options) {
  rules_ = std::make_unique<BeamRules>(disk, BeamRules::Sources{seams_.now_ms, seams_.make_token},
                                       witness);
}

/// What was asked for may still be answered.
BeamServer::~BeamServer() { *alive_ = false; }

void BeamServer::start() {
  for (const auto& [member, peer] : rules_->cluster()) {
    if (member != rules_->id()) seams_.connect(member.node());
  }
  seams_.set_timer(kTickTimer, kTickMs);
  if (!rules_->is_new())
    set_election_timer(seams_.draw(kBroadcastMs * kElectionMult) + kBroadcastMs);
  seams_.wake_wal();
}

// --- what happens

void BeamServer::run(const std::function<void()>& what) {
  if (ended_) return;
  try {
    what();
  } catch (const BeamCrash&) {
    end("crash");
  }
  if (!ended_) seams_.wake_wal();
}

void BeamServer::end(const std::string& reason) {
  if (std::exchange(ended_, true)) return;
  *alive_ = false;
  seams_.ended(reason);
}

void BeamServer::on_call(std::string_view from, std::string_view request) {
  run([&] { take_call(from, request); });
}

void BeamServer::on_cast(std::string_view request) {
  run([&] { take_cast(request); });
}

void BeamServer::on_written(const std::vector<BeamDisk::Written>& written) {
  run([&] {
    for (const BeamDisk::Written& each : written) {
      if (!ended_) process({LogWritten{each.term, each.indexes}, {}, {}});
    }
  });
}

void BeamServer::on_down(std::uint64_t monitor, bool noconnection) {
  if (leader_monitor_ != monitor) return;
  run([&] {
    leader_monitor_.reset();
    switch (rules_->role()) {
      case Role::follower:
      case Role::terminating_follower:
        if (!noconnection) rules_->clear_leader();
        return set_election_timer(noconnection
                                      ? seams_.draw(kBroadcastMs * kElectionMult) + kBroadcastMs
                                      : seams_.draw(kBroadcastMs));
      case Role::receive_snapshot:
        return process({ReceiveSnapshotTimeout{}, {}, {}});
      case Role::await_condition: {
        Queue next;
        rules_->become(Role::follower);
        change_state(Role::await_condition, next);
        return drain(std::move(next));
      }
      default:
        return;
    }
  });
}

void BeamServer::on_node_status(const std::string& node, bool up) {
  run([&] {
    const auto& leader = rules_->leader();
    if (!leader || leader->node() != node) return;
    const Role role = rules_->role();
    if (role == Role::follower && !up) return start_election_timer_long();
    if (role == Role::follower && election_timer_set_) {
      election_timer_set_ = false;
      seams_.cancel_timer(kStateTimer);
    } else if (role == Role::await_condition && !up) {
      Queue next;
      rules_->become(Role::follower);
      change_state(Role::await_condition, next);
      drain(std::move(next));
    }
  });
}

void BeamServer::on_node_up(const std::string& node) {
  run([&] { rules_->node_up(node); });
}

void BeamServer::on_timer(const std::string& name) {
  run([&] {
    if (name == kTickTimer) {
      seams_.set_timer(kTickTimer, kTickMs);
      Queue queue;
      queue.push_back({std::nullopt, std::nullopt, true});
      return drain(std::move(queue));
    }
    if (name != kStateTimer) {
      const std::string_view peer = std::string_view(name).substr(sizeof kRetryTimer - 1);
      for (const auto& [member, known] : rules_->cluster()) {
        if (to_string(member) == peer && rules_->role() == Role::leader)
          return process({SnapshotRetry{member}, {}, {}});
      }
      return;
    }
    switch (rules_->role()) {
      case Role::await_condition:
        return process({AwaitConditionTimeout{}, {}, {}});
      case Role::receive_snapshot:
        return process({ReceiveSnapshotTimeout{}, {}, {}});
      default:
        return process({ElectionTimeout{}, {}, {}});
    }
  });
}

// --- gen_statem

void BeamServer::process(Event event) {
  Queue queue;
  queue.push_back({std::move(event), std::nullopt, false});
  drain(std::move(queue));
}

void BeamServer::drain(Queue queue) {
  while (!queue.empty() && !ended_) {
    Next now = std::move(queue.front());
    queue.pop_front();
    Queue next;
    if (now.event) {
      next = step(*now.event);
    } else if (now.call) {
      take_call(now.call->from, now.call->request);
    } else {
      next = step_tick();
    }
    queue.insert(queue.begin(), std::make_move_iterator(next.begin()),
                 std::make_move_iterator(next.end()));
  }
}

BeamServer::Queue BeamServer::step(const Event& event) {
  const Role before = rules_->role();
  const auto leader_before = rules_->leader();
  if (std::holds_alternative<ElectionTimeout>(event.body)) election_timer_set_ = false;
  Effects effects = rules_->handle(event);
  Queue next;
  carry_out(std::move(effects), before, next);
  const Role after = rules_->role();
  const bool follows = before == Role::follower || before == Role::terminating_follower;
  if ((follows && (after == before || after == Role::await_condition)) ||
      (after == Role::follower &&
       (before == Role::await_condition || before == Role::receive_snapshot)))
    follow_leader(leader_before);
  // handle_raft_state/3 gives the name of a function for the state: a follower knows nobody then.
  answer_pending_queries(before == Role::leader ? before : Role::candidate);
  if (!rules_->stops().empty()) {
    end(rules_->stops());
    return {};
  }
  if (after != before) {
    change_state(before, next);
  } else if (after == Role::candidate) {
    set_election_timer(seams_.draw(kPollMs) + kBroadcastMs);
  } else if (after == Role::pre_vote) {
    start_election_timer_long();
  } else if (after == Role::receive_snapshot &&
             std::holds_alternative<raft::InstallSnapshotRpc>(event.body)) {
    seams_.set_timer(kStateTimer, kReceiveSnapshotMs);
  }
  if (after == Role::terminating_leader || after == Role::terminating_follower) after_terminating();
  return next;
}

BeamServer::Queue BeamServer::step_tick() {
  Queue next;
  const Role role = rules_->role();
  if (role == Role::leader || role == Role::terminating_leader)
    carry_out(rules_->tick(), role, next);
  if (role == Role::terminating_leader || role == Role::terminating_follower) after_terminating();
  return next;
}

/// The deletion is carried out once all have heard of it, or, at a follower, once it is durable.
void BeamServer::after_terminating() {
  if (rules_->role() == Role::terminating_follower) {
    if (rules_->is_fully_persisted()) end("delete");
    return;
  }
  Queue none;
  carry_out(rules_->make_rpcs(), Role::leader, none);
  if (rules_->is_fully_replicated()) end("delete");
}

void BeamServer::change_state(Role before, Queue& next) {
  const Role role = rules_->role();
  election_timer_set_ = false;
  seams_.cancel_timer(kStateTimer);
  enter(before);
  if (role == Role::leader) {
    if (before != Role::await_condition) next.push_front({std::nullopt, std::nullopt, true});
    for (Held& held : std::exchange(held_, {}))
      next.push_back({std::nullopt, std::move(held), false});
  }
  for (Held& held : std::exchange(postponed_, {}))
    next.push_back({std::nullopt, std::move(held), false});
}

void BeamServer::enter(Role before) {
  switch (rules_->role()) {
    case Role::follower:
      low_priority_.clear();
      if (!rules_->is_new()) start_election_timer_long();
      return;
    case Role::pre_vote:
      if (leader_monitor_) seams_.demonitor(*std::exchange(leader_monitor_, std::nullopt));
      return start_election_timer_long();
    case Role::candidate:
      return set_election_timer(seams_.draw(kBroadcastMs * kElectionMult) + kBroadcastMs);
    case Role::leader:
      if (before != Role::await_condition) low_priority_.clear();
      return;
    case Role::await_condition:
      return seams_.set_timer(kStateTimer, options_.await_condition_ms);
    case Role::receive_snapshot:
      return seams_.set_timer(kStateTimer, kReceiveSnapshotMs);
    default:
      return;
  }
}

void BeamServer::set_election_timer(std::uint64_t milliseconds) {
  if (std::exchange(election_timer_set_, true)) return;
  seams_.set_timer(kStateTimer, milliseconds);
}

void BeamServer::start_election_timer_long() {
  set_election_timer(seams_.draw(kBroadcastMs * kElectionMult * 2) + kPollMs);
}

// --- effects

void BeamServer::carry_out(Effects effects, Role role, Queue& next) {
  for (Effect& effect : effects) {
    if (auto* send = std::get_if<Send>(&effect)) {
      carry_out(*send);
    } else if (auto* election = std::get_if<SendElectionTimeout>(&effect)) {
      seams_.cast(election->to, etf::Writer().atom("election_timeout").view());
    } else if (auto* answer = std::get_if<Reply>(&effect)) {
      seams_.reply(answer->from, answer->term);
    } else if (auto* reply = std::get_if<CommandReply>(&effect)) {
      carry_out(*reply, role);
    } else if (auto* notify = std::get_if<Notify>(&effect)) {
      if (role == Role::leader || role == Role::terminating_leader) carry_out(*notify);
    } else if (auto* votes = std::get_if<RequestVotes>(&effect)) {
      carry_out(*votes);
    } else if (auto* event = std::get_if<NextEvent>(&effect)) {
      next.push_back({std::move(event->event), std::nullopt, false});
    } else if (std::holds_alternative<RecordLeaderMessage>(effect)) {
      if (role != Role::follower) continue;
      election_timer_set_ = false;
      seams_.cancel_timer(kStateTimer);
    } else if (std::holds_alternative<StartElectionTimeout>(effect)) {
      start_election_timer_long();
    } else if (auto* snapshot = std::get_if<SendSnapshot>(&effect)) {
      begin_transfer(snapshot->peer);
    } else if (auto* retry = std::get_if<StartSnapshotRetry>(&effect)) {
      seams_.set_timer(kRetryTimer + to_string(retry->peer), retry->milliseconds);
    } else if (auto* aux = std::get_if<RunAux>(&effect)) {
      run_aux(aux->from, aux->command, true);
    } else if (auto* query = std::get_if<RunQuery>(&effect)) {
      etf::Writer result;
      result.tuple(3).atom("ok");
      if (!write_query_result(query->query, result)) throw BeamCrash("a query that raises");
      wire::write_server_id(result, rules_->id());
      seams_.reply(query->from, result.view());
    } else if (auto* write = std::get_if<WriteSnapshot>(&effect)) {
      seams_.background([this, alive = alive_, snapshot = std::move(write->snapshot)] {
        if (*alive) run([&] { process({SnapshotWritten{snapshot}, {}, {}}); });
      });
    }
  }
}

void BeamServer::carry_out(const Send& send) {
  seams_.cast(send.to, beam_record(rules_->id(), send.message));
}

void BeamServer::carry_out(const RequestVotes& request) {
  etf::Writer record;
  if (const auto* vote = std::get_if<raft::RequestVoteRpc>(&request.rpc)) {
    wire::write_request_vote_rpc(record, *vote);
  } else {
    const auto& pre_vote = std::get<beam::PreVoteRpc>(request.rpc);
    wire::write_pre_vote_rpc(record, pre_vote.rpc, pre_vote.token);
  }
  // The answer comes as a cast of a process of its own: it does not say whose it is.
  seams_.call(request.peer, record.take(), kPollMs,
              [this, alive = alive_](const std::optional<std::string>& answer) {
                if (*alive && answer) on_cast(*answer);
              });
}

bool BeamServer::answers_here(const CommandReply& reply, Role role) const {
  const wire::ReplyMode mode = wire::parse_reply_mode(reply.mode);
  const bool leads = role == Role::leader || role == Role::terminating_leader;
  switch (mode.reply_from) {
    case wire::ReplyMode::ReplyFrom::leader:
      return leads;
    case wire::ReplyMode::ReplyFrom::member:
      return mode.member == rules_->id() || (leads && !rules_->cluster().contains(mode.member));
    case wire::ReplyMode::ReplyFrom::local:
      break;
  }
  etf::Cursor caller(reply.from);
  const auto pid = caller.tuple(2) ? caller.pid() : std::nullopt;
  if (!pid) return leads;
  if (pid->node == rules_->id().node())
    return leads || rules_->membership() == raft::Membership::voter;
  return leads &&
         std::none_of(rules_->cluster().begin(), rules_->cluster().end(), [&](const auto& member) {
           return member.first.node() == pid->node && member.second.config.is_voter();
         });
}

void BeamServer::carry_out(const CommandReply& reply, Role role) {
  if (answers_here(reply, role)) seams_.reply(reply.from, reply.term);
}

void BeamServer::carry_out(const Notify& notify) {
  etf::Writer event;
  event.tuple(3).atom("ra_event");
  wire::write_server_id(event, rules_->id());
  event.tuple(2).atom("applied").list(1).tuple(2).raw(notify.correlation).raw(notify.reply).nil();
  seams_.send(notify.pid, event.view());
}

// --- the leader, as a follower sees it

/// follower_leader_change/2.
void BeamServer::follow_leader(const std::optional<raft::ServerId>& before) {
  const auto leader = rules_->leader();
  if (!leader || (leader == before && leader_monitor_)) return;
  if (leader_monitor_) seams_.demonitor(*leader_monitor_);
  leader_monitor_ = seams_.monitor(*leader);
  if (leader->node() != rules_->id().node()) seams_.watch_node(leader->node());
  etf::Writer redirect;
  wire::write_redirect(redirect, *leader);
  for (const Held& held : std::exchange(held_, {})) seams_.reply(held.from, redirect.view());
  for (const std::string& caller : rules_->take_waiting_readers())
    seams_.reply(caller, redirect.view());
}

// --- snapshots for others

void BeamServer::begin_transfer(const raft::ServerId& peer) {
  if (!seams_.is_connected(peer.node()))
    return rules_->set_status(peer, raft::PeerStatus::disconnected, 0);
  const auto found = rules_->cluster().find(peer);
  const std::uint64_t failures = found->second.snapshot_failures;
  const bool retries = found->second.status == raft::PeerStatus::snapshot_backoff;
  rules_->set_status(peer, raft::PeerStatus::sending_snapshot, retries ? failures : 0);
  BeamTransfer::begin(
      seams_, *rules_, peer,
      [this, alive = alive_, peer](BeamTransfer::Outcome outcome) {
        if (!*alive) return;
        if (outcome.answer) {
          run([&] {
            etf::Writer cast;
            cast.tuple(2);
            wire::write_server_id(cast, peer);
            cast.raw(*outcome.answer);
            take_cast(cast.view());
          });
        }
        if (*alive) transfer_ended(peer, outcome.in_order);
      },
      alive_);
}

void BeamServer::transfer_ended(const raft::ServerId& peer, bool in_order) {
  run([&] {
    const Role role = rules_->role();
    if (role != Role::leader && role != Role::await_condition) return;
    Queue next;
    carry_out(rules_->snapshot_sender_ended(peer, in_order), role, next);
    drain(std::move(next));
  });
}

}  // namespace rakv::simulation
