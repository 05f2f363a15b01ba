// SPDX-License-Identifier: Apache-2.0
#include "raft/member/member.h"

#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "raft/member/overview.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::member {
std::string print_server_id(const raft::ServerId& id) {
  etf::Writer writer;
  wire::write_server_id(writer, id);
  return etf::print_text(writer.view());
}

std::string exit_reason(std::string_view reason_atom) {
  etf::Writer reason;
  if (reason_atom == "delete") {
    reason.tuple(2).atom("shutdown").atom("delete");
  } else {
    reason.atom(reason_atom);
  }
  return reason.take();
}

Member::Member(MemberServices& services, raftlog::MemberLog& log,
               std::shared_ptr<Counters> counters, MemberOptions options, RecoveredMember recovered)
    : services_(services),
      log_(log),
      counters_(std::move(counters)),
      options_(std::move(options)),
      id_(recovered.core.id),
      log_id_(options_.friendly_name.empty() ? print_server_id(id_) : options_.friendly_name),
      core_(std::move(recovered.core)),
      pid_(recovered.pid),
      begun_role_(core_.role()),
      peer_context_(peer_context()),
      calls_(
          [this](std::string_view from, std::string_view term) {
            services_.node.reply(pid_, from,
                                 [&](distribution::OutMessage& out) { out.text.append(term); });
          },
          services.node.memory(), call_charges()),
      event_formatter_(
          options_.event_formatter.empty()
              ? nullptr
              : std::make_unique<EventFormatter>(peer_context_, options_.event_formatter, id_)),
      notifications_(notification_seams()),
      applier_(applier_seams(), std::move(recovered.machine), core_.last_applied()),
      own_snapshots_(own_snapshot_seams(), options_.min_snapshot_interval,
                     recovered.snapshot_bytes),
      commands_(command_seams()),
      queries_(query_seams()),
      entry_repair_(peer_context_, [this]() -> const StateMachine& { return applier_.machine(); }),
      held_reads_(services.io),
      entry_reads_(entry_read_seams()),
      peers_(peer_seams()),
      peer_watch_(peer_watch_seams(), services.node.name()),
      voters_(services.io, peer_context_, [this] { core_timers_.standing_changed(); }),
      deletion_(peer_context_, voters_, [this] { end(raft::effect::StopReason::deleted); }),
      snapshot_receiver_(
          log, [this] { return applier_.machine().fresh(); },
          services.node.charge(&MemoryAccounts::snapshots)),
      term_vote_(services.io, term_vote_seams()),
      core_timers_(services.io,
                   {[this] { return voters_.takes_part(); },
                    [this](raft::Event event) { step(std::move(event)); }},
                   options_.broadcast_time_ms),
      farewell_(services.io, farewell_seams()),
      tick_timer_(services.io) {}

Member::~Member() {
  *alive_ = false;
  // One that was stopped has left the log, and its successor may be there already.
  if (!stopped_) log_.set_observer(nullptr);
  services_.node.unsubscribe(*this);
}

void Member::warn_of_amnesia() const {
  spdlog::error("{}: this server may have lost what it acknowledged: {}", log_id_,
                log_.amnesia()->reason);
  if (core_.cluster().size() > 1) {
    spdlog::error("{}: it neither votes nor leads until it has caught up with a leader", log_id_);
    return;
  }
  spdlog::error(
      "{}: it is alone in its cluster, so nobody can give back what is lost, and it does not lead. "
      "Stop the node and restore its data directory from a copy; or, if what is lost may stay "
      "lost, "
      "call ra_server_proc:force_shrink_members_to_current_member({}) from an Erlang node",
      log_id_, log_id_);
}

void Member::go_live() {
  if (log_.amnesia()) warn_of_amnesia();
  spdlog::info("{}: recovered, term {}, last applied {}, last index {}", log_id_,
               core_.current_term().value(), last_applied().value(), log_.last().index);
  services_.node.hand_over(pid_, *this);
  shown_.memory_table = services_.node.make_reference();
  shown_.counter = services_.node.make_reference();
  log_.set_observer(this);
  services_.node.subscribe(*this);
  if (log_.empty()) {
    // Every log of ra begins with a dummy at index 0 (ra_log:maybe_append_first_entry); it is never
    // sent.
    etf::Writer undefined;
    undefined.version().atom("undefined");
    log_.append(raftlog::StoredEntry{0, 0, SharedBytes::copy_of(undefined.view())});
  }
  raft::effect::ClusterChanged cluster;
  carry_out(cluster);
  voters_.start();
  // What this member's predecessor was about to promise when it ended, in this process: it counts
  // from here on, and nothing is answered before it is on disk.
  if (!log_.term_vote_stored())
    effects_.push_back(raft::effect::PersistTermVote{core_.current_term(), core_.voted_for()});
  core_.start(effects_);
  run_effects();
  tick_timer_.expires_after(std::chrono::milliseconds(options_.tick_timeout_ms));
  tick();
}

void Member::stop(std::string_view reason_atom) {
  if (stopped_) return;
  stopped_ = true;
  applier_.stop();
  own_snapshots_.stop();
  refresh_counters(*this);  // they outlive the member
  note_last_applied();
  services_.node.terminate(pid_, exit_reason(reason_atom));
  core_timers_.stop();
  tick_timer_.cancel();
  term_vote_.stop();
  farewell_.stop();
  peers_.stop();
  log_.set_observer(nullptr);
  services_.node.unsubscribe(*this);
}

void Member::trigger_election() { step(raft::event::TriggerElectionRequested{}); }

// --- events and effects
// -----------------------------------------------------------------------------------------------

void Member::step(raft::Event event, ByteCharge charge) {
  if (stopped_) return;
  if (blocked()) {
    if (const auto given_up = events_.push_while_blocked(std::move(event), std::move(charge)))
      calls_.pending().remove(*given_up);
    return;
  }
  events_.push(std::move(event), std::move(charge));
  run_effects();
}

namespace {

template <class Part, class Effect>
concept CarriesOut = requires(Part& part, Effect& effect) {
  part.carry_out(effect);
};

}  // namespace

/// Each effect is carried out by the one part whose business it is, or here.
template <class Effect>
void Member::hand_out(Effect& effect) {
  const auto offer = [&](auto& member, auto&... parts) {
    constexpr int takers = (CarriesOut<decltype(parts), Effect> + ...);
    static_assert(takers <= 1, "an effect belongs to one part");
    if constexpr (takers == 0) {
      member.carry_out(effect);
    } else {
      const auto give = [&](auto& part) {
        if constexpr (CarriesOut<decltype(part), Effect>) part.carry_out(effect);
      };
      (give(parts), ...);
    }
  };
  offer(*this, term_vote_, core_timers_, calls_, commands_, queries_, applier_, peers_, farewell_);
}

void Member::run_effects() {
  if (running_) return;
  running_ = true;
  while (!stopped_ && !blocked()) {
    if (next_effect_ < effects_.size()) {
      // The list may not grow meanwhile: no event is handled before all effects of the one before
      // are done.
      raft::Effect& effect = effects_[next_effect_++];
      std::visit([this](auto& kind) { hand_out(kind); }, effect);
      continue;
    }
    effects_.clear();
    next_effect_ = 0;
    if (events_.empty()) break;
    EventQueue::Queued next = events_.pop();
    core_.step(std::move(next.event), effects_);
#ifndef NDEBUG
    const std::optional<std::string> violation = invariants_.check(core_);
    RAKV_CHECK_MSG(!violation, *violation);
#endif
  }
  running_ = false;
}

void Member::resume() {
  RAKV_CHECK(waiting_ > 0);
  --waiting_;
  run_effects();
}

void Member::carry_out(raft::effect::AppendToLog& effect) {
  counters_->add(Counter::write_ops);
  std::vector<raftlog::StoredEntry> entries;
  entries.reserve(effect.entries.size());
  const std::int64_t now = services_.system_time_ms();
  for (raft::Entry& entry : effect.entries) {
    if (entry.origin != raft::EntryOrigin::given) {
      if (entry.origin == raft::EntryOrigin::leader) counters_->add(Counter::commands);
      const PendingCalls::Call* call = calls_.pending().find(entry.token);
      entry.payload = wire::encode_core_entry(entry, now, call != nullptr ? call->from : "",
                                              call != nullptr ? call->request : "", core_.peers());
    }
    entries.push_back({entry.index.value(), entry.term.value(), std::move(entry.payload)});
  }
  shown_.last_wal_write_ms = now;
  log_.append(std::move(entries));
}

void Member::carry_out(raft::effect::TruncateLog& effect) {
  log_.truncate_after(effect.last.value());
}

void Member::carry_out(raft::effect::ScheduleFlush&) {
  boost::asio::post(services_.io, [this, alive = alive_] {
    if (!*alive) return;
    counters_->add(Counter::command_flushes);
    step(raft::event::FlushLowPriority{});
  });
}

void Member::tick() {
  tick_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive || stopped_) return;
    note_last_applied();
    const std::uint64_t commit = core_.commit_index().value();
    const std::uint64_t committed = commit - std::min(commit, commit_at_last_tick_);
    shown_.last_commit_rate =
        static_cast<double>(committed) * 1000.0 / static_cast<double>(options_.tick_timeout_ms);
    shown_.commit_rate = shown_.commit_rate * 0.9 + shown_.last_commit_rate * 0.1;
    commit_at_last_tick_ = commit;
    voters_.tick();
    deletion_.tick();
    notifications_.retry();
    own_snapshots_.take_when_durable();
    peers_.on_written();  // what held them back may have been other servers' entries
    ask_again();
    tick_timer_.expires_at(tick_timer_.expiry() +
                           std::chrono::milliseconds(options_.tick_timeout_ms));
    tick();
    step(raft::event::Tick{});
  });
}

/// The leader does not know what found no room here, and once it has a refusal its next messages
/// say nothing new to this member: it waits for what was dropped.
void Member::ask_again() {
  if (!entries_dropped_ || overloaded() || blocked()) return;
  entries_dropped_ = false;
  step(raft::event::ConditionTimeout{});
}

/// What a restart may take as committed: applied here and durable here. The machine's own place,
/// not the core's: what the core wants applied may still have to overwrite entries of the log,
/// after a term that is being stored.
void Member::note_last_applied() {
  services_.log_system.note_last_applied(
      log_.uid(), std::min(last_applied().value(), log_.last_written().index));
}

void Member::check_waiting_queries() {
  queries_.check_waiting();
  farewell_.end_when_seen();
}

/// Not at once: the member must not go while one of its functions runs.
void Member::end(raft::effect::StopReason reason) {
  boost::asio::post(services_.io, [this, reason, alive = alive_] {
    if (*alive && !stopped_) services_.on_stopped(id_.name(), reason);
  });
}

void Member::carry_out(raft::effect::MonitorLeader& effect) {
  peer_watch_.monitor_leader(effect.leader);
  const bool up = services_.node.status(effect.leader.node()) == node::NodeStatus::up;
  events_.push(raft::event::SuspicionChanged{effect.leader.node(), up});
}

void Member::carry_out(raft::effect::DemonitorLeader&) { peer_watch_.demonitor_leader(); }

// In ra's words, so that one grep finds both kinds of members.
void Member::carry_out(raft::effect::RoleChanged& effect) {
  begun_role_ = effect.to;
  spdlog::info("{}: {} -> {} in term: {} machine version: {}, last applied {}", log_id_,
               to_string(effect.from), to_string(effect.to), core_.current_term().value(),
               core_.machine_version(), last_applied().value());
  if (effect.to == raft::Role::pre_vote) counters_->add(Counter::pre_vote_elections);
  if (effect.to == raft::Role::candidate) counters_->add(Counter::elections);
  if (effect.to == raft::Role::leader) notifications_.forget_undelivered();
}

void Member::carry_out(raft::effect::LeaderChanged& effect) {
  if (effect.leader && *effect.leader != id_) {
    spdlog::info("{}: detected a new leader {} in term {}", log_id_, to_string(*effect.leader),
                 core_.current_term().value());
  }
  services_.on_leader_or_cluster_change(*this);
  voters_.look_again();
  voters_.tick();
}

void Member::carry_out(raft::effect::ClusterChanged&) {
  peer_watch_.set_cluster(core_.cluster());
  services_.on_leader_or_cluster_change(*this);
  voters_.look_again();
  voters_.tick();
}

void Member::carry_out(raft::effect::AmnesiaEnded&) {
  spdlog::info("{}: caught up with what it may have lost, and votes again", log_id_);
  log_.end_amnesia([log_id = log_id_](const Result<void>& stored) {
    if (stored) return;
    spdlog::error(
        "{}: could not record that the server caught up; it will not vote after a restart: {}",
        log_id, stored.error().message);
  });
}

void Member::carry_out(raft::effect::BadMessage& effect) {
  spdlog::warn("{}: ignored a message from {}: {}", log_id_, to_string(effect.from), effect.what);
}

// --- what the node and the log report
// -----------------------------------------------------------------------------------

void Member::on_down(const etf::Reference& monitor, std::string_view reason) {
  if (std::optional<raft::event::LeaderDown> down = peer_watch_.on_down(monitor, reason))
    step(std::move(*down));
}

// erlang:exit(Pid, Reason): a crash of the server. Its supervisor, services_, starts it again from
// its log, as ra's does.
void Member::on_exit_signal(const etf::PidView&, std::string_view reason) {
  etf::Cursor cursor(reason);
  if (cursor.is_atom("normal")) return;
  spdlog::warn("{}: exit signal {}, the server crashes", log_id_, etf::print_brief(reason));
  services_.on_crash(id_.name(), cursor.is_atom("kill") ? "killed" : "shutdown");
}

void Member::written(raftlog::MemberLog& log, raftlog::Term, raftlog::IndexRange) {
  const raftlog::Position durable = log.last_written();
  step(raft::event::Written{raft::Term{durable.term}, raft::Index{durable.index}});
  snapshot_receiver_.on_written();
  peers_.on_written();
  own_snapshots_.take_when_durable();
}

void Member::on_node_up(const std::string& node) {
  voters_.node_up(node);
  if (!blocked() || concerns_members(node)) step(raft::event::NodeUp{node});
  peers_.pump(node);
}

void Member::on_node_down(const std::string& node) {
  forget_callers_of(node);
  if (!blocked() || concerns_members(node)) step(raft::event::NodeDown{node});
  peers_.pump(node);
}

void Member::on_node_status(const std::string& node, node::NodeStatus status) {
  if (blocked() && !concerns_members(node)) return;
  step(raft::event::SuspicionChanged{node, status == node::NodeStatus::up});
}

}  // namespace rakv::member
