// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "kv/machine.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"
#include "raft/wire/messages.h"
#include "raft/wire/tagged.h"
#include "tests/simulation/beam_server.h"

// What clients and members say to a server on a BEAM: the clauses of ra_server_proc's states that
// do not go to ra_server.

namespace rakv::simulation {

using namespace beam;
using raft::Role;
namespace request = wire::request;

namespace {

constexpr std::size_t kFlushedAtOnce = 16;

/// The name that clients are told: a member that ends is what it was before.
std::string_view state_name(Role role) {
  if (role == Role::terminating_leader) return "leader";
  if (role == Role::terminating_follower) return "follower";
  return to_string(role);
}

bool leads(Role role) { return role == Role::leader || role == Role::terminating_leader; }

/// What a cast between members is here.
std::optional<Body> body_of(raft::Event event) {
  namespace from = raft::event;
  if (auto* e = std::get_if<from::AppendEntries>(&event)) return e->rpc;
  if (auto* e = std::get_if<from::AppendEntriesReplied>(&event))
    return beam::AppendEntriesReply{e->from, e->reply};
  if (auto* e = std::get_if<from::Heartbeat>(&event)) return e->rpc;
  if (auto* e = std::get_if<from::HeartbeatReplied>(&event))
    return beam::HeartbeatReply{e->from, e->reply};
  if (auto* e = std::get_if<from::InfoRequested>(&event)) return e->rpc;
  if (auto* e = std::get_if<from::InfoReplied>(&event)) return e->reply;
  if (auto* e = std::get_if<from::InstallSnapshotReplied>(&event))
    return beam::InstallSnapshotResult{e->from, e->result};
  if (std::holds_alternative<from::ElectionRequested>(event)) return ElectionTimeout{};
  return std::nullopt;
}

struct Members final : member::AuxContext {
  explicit Members(const BeamCluster& members) : cluster(members) {}
  void write_members(etf::Writer& writer) const override {
    writer.list(cluster.size());
    for (const auto& [member, peer] : cluster) wire::write_server_id(writer, member);
    writer.nil();
  }
  const BeamCluster& cluster;
};

}  // namespace

// --- messages

void BeamServer::take_cast(std::string_view cast) {
  const wire::AddressedRequest addressed = wire::unwrap_cast(cast);
  if (addressed.for_leader && !leads(rules_->role())) return;
  const std::string_view term = addressed.term;
  if (auto decoded = wire::decode_peer_cast(term); decoded && *decoded) {
    if (auto body = body_of(std::move(**decoded))) process({std::move(*body), {}, {}});
    return;
  }
  // The decoder takes no entries with a gap, which end a member on a BEAM: ra_log:write/2.
  if (wire::Tagged(term).is("append_entries_rpc", 7)) throw BeamCrash("integrity_error");
  if (const auto answer = wire::decode_peer_reply(term); answer && *answer) {
    if (const auto* vote = std::get_if<raft::RequestVoteResult>(&**answer))
      return process({*vote, {}, {}});
    if (const auto* vote = std::get_if<wire::PreVoteAnswer>(&**answer))
      return process({beam::PreVoteResult{vote->result, std::string(vote->token)}, {}, {}});
    return process({Unknown{}, {}, {}});
  }
  if (take_peer_call({}, term)) return;
  if (wire::Tagged(term).is("command", 3)) return take_command({}, term);
  process({Unknown{}, {}, {}});
}

bool BeamServer::take_peer_call(std::string_view from, std::string_view term) {
  const auto decoded = wire::decode_peer_call(term);
  if (!decoded || !*decoded) return false;
  Event event{Unknown{}, std::string(from), std::string(term)};
  if (const auto* vote = std::get_if<raft::RequestVoteRpc>(&**decoded)) {
    event.body = *vote;
  } else if (const auto* pre_vote = std::get_if<wire::PreVoteCall>(&**decoded)) {
    event.body = beam::PreVoteRpc{pre_vote->rpc, std::string(pre_vote->token)};
  } else {
    event.body = std::get<raft::InstallSnapshotRpc>(**decoded);
  }
  process(std::move(event));
  return true;
}

void BeamServer::take_unknown(std::string_view from, std::string_view term) {
  process({Unknown{}, std::string(from), std::string(term)});
}

void BeamServer::take_call(std::string_view from, std::string_view call) {
  const wire::AddressedRequest addressed = wire::unwrap_call(call);
  const Role role = rules_->role();
  if (addressed.for_leader && !leads(role)) return redirect_or_hold(from, call);
  const std::string_view term = addressed.term;
  if (take_peer_call(from, term)) return;
  const wire::ClientRequest asked = wire::decode_client_request(term);
  if (std::holds_alternative<request::Command>(asked)) {
    take_command(from, term);
  } else if (std::holds_alternative<request::Ping>(asked)) {
    seams_.reply(from, etf::Writer().tuple(2).atom("pong").atom(state_name(role)).view());
  } else if (std::holds_alternative<request::TriggerElection>(asked)) {
    trigger_election(from, term);
  } else if (const auto* state = std::get_if<request::StateQuery>(&asked)) {
    query_state(from, state->what);
  } else if (const auto* local = std::get_if<request::LocalQuery>(&asked)) {
    query_locally(from, local->query, local->condition);
  } else if (const auto* aux = std::get_if<request::AuxCommand>(&asked)) {
    run_aux(from, aux->command, false);
  } else if (const auto* query = std::get_if<request::ConsistentQuery>(&asked);
             query && leads(role)) {
    process({ConsistentRead{false, std::string(query->query)}, std::string(from), {}});
  } else if (const auto* read = std::get_if<request::ConsistentAux>(&asked); read && leads(role)) {
    process({ConsistentRead{true, std::string(read->command)}, std::string(from), {}});
  } else if (const auto* transfer = std::get_if<request::TransferLeadership>(&asked);
             transfer && leads(role)) {
    process({TransferLeadership{transfer->target.value_or(raft::ServerId())}, std::string(from),
             std::string(term)});
  } else if (std::holds_alternative<request::ForceMemberChange>(asked)) {
    process({ForceMemberChange{}, std::string(from), std::string(term)});
  } else {
    take_unknown(from, term);
  }
}

/// maybe_redirect/3, and what candidates do.
void BeamServer::redirect_or_hold(std::string_view from, std::string_view call) {
  const Role role = rules_->role();
  const bool asks_itself = role == Role::candidate || role == Role::pre_vote;
  if (asks_itself || !leader_monitor_ || !rules_->leader()) {
    // The wrapping goes: what is inside is served once this member leads.
    held_.push_back({std::string(from), std::string(wire::unwrap_call(call).term)});
    return;
  }
  etf::Writer redirect;
  wire::write_redirect(redirect, *rules_->leader());
  seams_.reply(from, redirect.view());
}

void BeamServer::trigger_election(std::string_view from, std::string_view term) {
  const Role role = rules_->role();
  if (role == Role::receive_snapshot) return take_unknown(from, term);
  seams_.reply(from, etf::Writer().atom("ok").view());
  if (role == Role::follower || role == Role::await_condition) process({ElectionTimeout{}, {}, {}});
}

// --- commands

void BeamServer::take_command(std::string_view from, std::string_view term) {
  const wire::ClientRequest asked = wire::decode_client_request(term);
  const auto* given = std::get_if<request::Command>(&asked);
  if (given == nullptr) return take_unknown(from, term);
  Command command;
  switch (given->kind) {
    case request::Command::Kind::user:
      command.data = given->data;
      break;
    case request::Command::Kind::join:
      command.kind = Command::Kind::join;
      command.bare_id = !given->voter_status.has_value();
      break;
    case request::Command::Kind::leave:
      command.kind = Command::Kind::leave;
      break;
    case request::Command::Kind::delete_cluster:
      command.kind = Command::Kind::delete_cluster;
      break;
    case request::Command::Kind::unsupported:
      return take_unknown(from, term);
  }
  command.server = given->server;
  command.voter_status = given->voter_status;
  command.mode = given->mode;
  command.from = from;
  const bool low =
      given->priority == raft::event::Priority::low && given->kind == request::Command::Kind::user;
  if (leads(rules_->role())) {
    leader_takes_command(from, command, low);
  } else {
    other_takes_command(from, term, command, low);
  }
}

void BeamServer::leader_takes_command(std::string_view from, const Command& command, bool low) {
  if (rules_->role() == Role::terminating_leader) return;
  if (const auto refused = wire::invalid_reply_mode(command.mode)) {
    if (!from.empty())
      seams_.reply(from, etf::Writer().tuple(2).atom("error").raw(*refused).view());
    return;
  }
  if (!low) return process({command, std::string(from), {}});
  if (low_priority_.empty()) {
    seams_.later([this, alive = alive_] {
      if (*alive) run([&] { flush_low_priority(); });
    });
  }
  low_priority_.push_back(command);
}

void BeamServer::flush_low_priority() {
  if (!leads(rules_->role()) || low_priority_.empty()) return;
  Commands taken;
  while (!low_priority_.empty() && taken.commands.size() < kFlushedAtOnce) {
    taken.commands.push_back(std::move(low_priority_.front()));
    low_priority_.pop_front();
  }
  process({std::move(taken), {}, {}});
  if (low_priority_.empty() || ended_) return;
  seams_.later([this, alive = alive_] {
    if (*alive) run([&] { flush_low_priority(); });
  });
}

void BeamServer::other_takes_command(std::string_view from, std::string_view term,
                                     const Command& command, bool low) {
  const Role role = rules_->role();
  const bool follows = role == Role::follower || role == Role::receive_snapshot ||
                       role == Role::terminating_follower;
  const wire::ReplyMode mode = wire::parse_reply_mode(command.mode);
  if (mode.kind == wire::ReplyMode::Kind::noreply && (follows || role == Role::await_condition)) {
    if (!follows || !rules_->leader()) return;
    etf::Writer passed_on;
    wire::write_user_command(passed_on,
                             low ? raft::event::Priority::low : raft::event::Priority::normal,
                             command.data, etf::Writer().atom("noreply").view());
    return seams_.cast(*rules_->leader(), passed_on.view());
  }
  if (from.empty() && wire::parse_notify(command.mode).kind == wire::ReplyMode::Kind::notify)
    return reject(command.mode, rules_->leader());
  if (role == Role::await_condition) {
    postponed_.push_back({std::string(from), std::string(term)});
    return;
  }
  take_unknown(from, term);
}

/// reject_command/3; in await_condition nobody is named.
void BeamServer::reject(std::string_view mode, const std::optional<raft::ServerId>& leader) {
  const bool waits = rules_->role() == Role::await_condition;
  if (!waits && (!leader || *leader == rules_->id())) return;
  const wire::ReplyMode notify = wire::parse_notify(mode);
  etf::Writer event;
  event.tuple(3).atom("ra_event");
  wire::write_server_id(event, rules_->id());
  event.tuple(2).atom("rejected").tuple(3).atom("not_leader");
  if (waits) {
    event.atom("undefined");
  } else {
    wire::write_server_id(event, *leader);
  }
  event.raw(notify.correlation);
  seams_.send(notify.pid, event.view());
}

// --- queries

void BeamServer::run_aux(std::string_view from, std::string_view command, bool wraps) {
  etf::Writer reply;
  if (wraps) reply.tuple(2).atom("wrap_reply");
  const member::AuxResult result =
      rules_->machine().handle_aux(command, Members(rules_->cluster()), reply);
  if (result.replies) seams_.reply(from, reply.view());
  if (!result.takes_snapshot) return;
  Queue next;
  carry_out(rules_->take_snapshot(), rules_->role(), next);
  drain(std::move(next));
}

bool BeamServer::write_query_result(std::string_view query, etf::Writer& out) {
  etf::Cursor cursor(query);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 3U || !cursor.is_atom("ra_lib"))
    return false;
  if (cursor.is_atom("ignore")) {
    out.atom("ok");
  } else if (cursor.is_atom("id")) {
    rules_->machine().write_state(out);
  } else {
    return false;
  }
  return true;
}

void BeamServer::query_locally(std::string_view from, std::string_view query,
                               raft::IndexTerm condition) {
  if (condition == raft::IndexTerm{}) return answer_local_query(from, query, rules_->role());
  pending_queries_.push_back({std::string(from), std::string(query), condition});
  answer_pending_queries(rules_->role());
}

/// perform_pending_queries/2.
void BeamServer::answer_pending_queries(Role role) {
  for (const PendingQuery& waiting : std::exchange(pending_queries_, {})) {
    const raft::IndexTerm wanted = waiting.condition;
    const bool answers = wanted.index <= rules_->last_applied() &&
                         rules_->log().fetch_term_or_snapshot(wanted.index) == wanted.term;
    if (answers) {
      answer_local_query(waiting.from, waiting.query, role);
    } else {
      pending_queries_.push_back(waiting);
    }
  }
}

void BeamServer::answer_local_query(std::string_view from, std::string_view query, Role role) {
  etf::Writer answer;
  answer.tuple(3).atom("ok").tuple(2).tuple(2);
  answer.u64(rules_->last_applied().value()).u64(rules_->term().value());
  if (!write_query_result(query, answer)) {
    answer.clear();
    answer.tuple(2).atom("error").atom("undef");
    return seams_.reply(from, answer.view());
  }
  if (leads(role)) {
    wire::write_server_id(answer, rules_->id());
  } else if (role == Role::follower && rules_->leader()) {
    wire::write_server_id(answer, *rules_->leader());
  } else {
    answer.atom("not_known");
  }
  seams_.reply(from, answer.view());
}

/// ra_server:state_query/2.
void BeamServer::query_state(std::string_view from, std::string_view what) {
  etf::Writer answer;
  answer.tuple(3).atom("ok");
  etf::Cursor cursor(what);
  const auto write_ids = [&](bool voters_only) {
    std::vector<raft::ServerId> ids;
    for (const auto& [member, peer] : rules_->cluster()) {
      if (!voters_only || peer.config.is_voter()) ids.push_back(member);
    }
    if (voters_only) std::reverse(ids.begin(), ids.end());
    answer.list(ids.size());
    for (const raft::ServerId& id : ids) wire::write_server_id(answer, id);
    answer.nil();
  };
  if (cursor.is_atom("members")) {
    write_ids(false);
  } else if (cursor.is_atom("voters")) {
    write_ids(true);
  } else if (cursor.is_atom("members_info")) {
    write_members_info(answer);
  } else if (cursor.is_atom("last_applied")) {
    answer.u64(rules_->last_applied().value());
  } else if (cursor.is_atom("machine")) {
    rules_->machine().write_state(answer);
  } else if (cursor.is_atom("leader")) {
    if (rules_->leader()) {
      wire::write_server_id(answer, *rules_->leader());
    } else {
      answer.atom("undefined");
    }
  } else {
    answer.tuple(2).atom("error").tuple(2).atom("unknown_query").raw(what);
  }
  wire::write_server_id(answer, rules_->id());
  seams_.reply(from, answer.view());
}

void BeamServer::write_members_info(etf::Writer& out) {
  const bool leads_now = rules_->leader() == rules_->id();
  const auto write_own = [&](const BeamPeer& own) {
    raft::VoterStatus status = own.config.voter_status.value_or(raft::VoterStatus{});
    status.membership = rules_->membership();
    out.map(leads_now ? 5 : 3);
    if (leads_now) out.atom("next_index").u64(rules_->commit_index().value() + 1);
    if (leads_now) out.atom("status").atom("normal");
    out.atom("match_index").u64(rules_->commit_index().value());
    out.atom("query_index").u64(rules_->query_index());
    out.atom("voter_status");
    wire::write_voter_status(out, status);
  };
  out.map(rules_->cluster().size());
  for (const auto& [member, peer] : rules_->cluster()) {
    wire::write_server_id(out, member);
    if (member == rules_->id()) {
      write_own(peer);
    } else if (!leads_now) {
      out.map(0);
    } else {
      raft::Peer shown{peer.config,
                       peer.next_index,
                       peer.match_index,
                       peer.query_index,
                       peer.commit_index_sent,
                       peer.status,
                       0,
                       {}};
      if (!shown.config.voter_status)
        shown.config.voter_status = raft::VoterStatus{raft::Membership::voter, {}, {}};
      wire::write_peer(out, shown);
    }
  }
}

// --- reads

std::string beam_read_entry(const BeamRules& rules, std::uint64_t index, std::string_view members) {
  etf::Writer out;
  const raft::Entry* const entry = rules.log().read(raft::Index(index));
  const wire::EntryView view =
      entry == nullptr ? wire::EntryView{} : wire::parse_entry(entry->payload.view());
  const auto put = kv::parse_command(view.data);
  if (view.kind != raft::EntryKind::user || !put || put->kind != kv::KvCommand::Kind::put) {
    // A leak of what ra_kv:read_entry/4 has inside.
    out.tuple(2).atom("ok").tuple(2).map(0).atom("undefined");
    return out.take();
  }
  etf::Cursor meta(view.meta);
  const std::uint32_t pairs = meta.map().value_or(0);
  out.tuple(3).atom("ok").map(pairs + 3).append(meta.rest());
  out.atom("index").u64(index).atom("members").raw(members);
  out.atom("term").u64(entry->term.value()).raw(put->value);
  return out.take();
}

}  // namespace rakv::simulation
