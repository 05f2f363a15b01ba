// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "kv/machine.h"
#include "raft/wire/entry.h"
#include "tests/simulation/beam_rules.h"

// ra_server:apply_to/4, apply_with/2, append_log_leader/3 and what they need of configurations.

namespace rakv::simulation {

using namespace beam;
using raft::EntryKind;
using raft::Index;

void BeamRules::apply_to(Index until, bool recovers) {
  until = std::min(until, log_.last().index);
  while (applied_ < until && !deletes_) {
    const Index index = applied_ + 1;
    const raft::Entry* const entry = log_.read(index);
    if (entry == nullptr) throw BeamCrash("an entry that is to be applied is missing");
    const wire::EntryView view = wire::parse_entry(entry->payload.view());
    switch (view.kind) {
      case EntryKind::user:
        apply_user(*entry, recovers);
        break;
      case EntryKind::noop:
        if (entry->term == term()) permitted_ = true;
        break;
      case EntryKind::cluster_change:
        if (!recovers) command_reply(view.from, view.mode, etf::Writer().atom("ok").take());
        if (index > cluster_at_.index && entry->term >= cluster_at_.term)
          adopt(*view.cluster, {index, entry->term});
        permitted_ = true;
        break;
      case EntryKind::cluster_delete:
        if (!recovers) {
          command_reply(view.from, view.mode, etf::Writer().atom("ok").take());
          deletes_ = true;
        }
        break;
      case EntryKind::unknown:
        break;
    }
    applied_ = index;
  }
}

/// A command that ra_kv:apply/3 has no clause for ends the server.
void BeamRules::apply_user(const raft::Entry& entry, bool recovers) {
  const wire::EntryView view = wire::parse_entry(entry.payload.view());
  if (!kv::parse_command(view.data)) throw BeamCrash("function_clause: ra_kv:apply/3");
  member::CommandMeta meta;
  meta.index = entry.index.value();
  meta.term = entry.term.value();
  meta.system_time_ms = view.ts.value_or(0);
  meta.from = view.from;
  meta.reply_mode = view.mode;
  etf::Writer reply;
  machine_.apply(meta, view.data, &reply);
  if (!recovers) command_reply(view.from, view.mode, reply.take());
}

/// add_reply/5.
void BeamRules::command_reply(std::string_view from, std::string_view mode, std::string reply) {
  const wire::ReplyMode parsed = wire::parse_reply_mode(mode);
  if (parsed.kind == wire::ReplyMode::Kind::await_consensus && !from.empty()) {
    etf::Writer wrapped;
    wrapped.tuple(2).atom("wrap_reply").raw(reply);
    emit(CommandReply{std::string(from), std::string(mode), wrapped.take()});
  } else if (parsed.kind == wire::ReplyMode::Kind::notify && !parsed.has_options) {
    emit(Notify{std::string(parsed.pid), std::string(parsed.correlation), std::move(reply)});
  }
}

// --- appending as leader

void BeamRules::append(raft::Term term, SharedBytes payload) {
  log_.append(wire::to_core_entry(log_.next_index(), term, std::move(payload)));
}

std::optional<std::string> BeamRules::append_command(const Command& command) {
  switch (command.kind) {
    case Command::Kind::user:
      append(term(),
             wire::encode_user(sources_.now_ms(), command.from, command.data, command.mode));
      return std::nullopt;
    case Command::Kind::noop:
      append(term(), wire::encode_noop(sources_.now_ms(), 0));
      return std::nullopt;
    case Command::Kind::delete_cluster:
      append(term(), wire::encode_cluster_delete(sources_.now_ms(), command.from, command.mode));
      return std::nullopt;
    case Command::Kind::join:
      if (!permitted_) return "cluster_change_not_permitted";
      return append_join(command);
    case Command::Kind::leave:
      break;
  }
  if (!permitted_) return "cluster_change_not_permitted";
  if (!cluster_.contains(command.server)) return "not_member";
  BeamCluster rest = cluster_;
  rest.erase(command.server);
  append_cluster_change(std::move(rest), &command);
  return std::nullopt;
}

std::optional<std::string> BeamRules::append_join(const Command& command) {
  const auto known = cluster_.find(command.server);
  if (command.bare_id && known != cluster_.end()) return "already_member";
  raft::VoterStatus status = command.voter_status.value_or(raft::VoterStatus{});
  if (status.membership == raft::Membership::promotable) {
    if (!status.uid) throw BeamCrash("case_clause: missing_uid");
    if (!status.target) status.target = log_.next_index();
  }
  if (known != cluster_.end() && known->second.config.voter_status == status)
    return "already_member";
  BeamCluster grown = cluster_;
  grown[command.server].config.voter_status = status;
  append_cluster_change(std::move(grown), &command);
  return std::nullopt;
}

/// Without a command: the forced shrink.
void BeamRules::append_cluster_change(BeamCluster cluster, const Command* command) {
  const Index index = log_.next_index();
  const raft::Cluster plain = configs(cluster);
  append(term(), command == nullptr ? wire::encode_forced_cluster_change(plain, nullptr)
                                    : wire::encode_cluster_change(sources_.now_ms(), command->from,
                                                                  plain, nullptr, command->mode));
  previous_cluster_ = Previous{cluster_at_, cluster_};
  cluster_ = std::move(cluster);
  permitted_ = false;
  cluster_at_ = {index, term()};
}

// --- configurations

void BeamRules::adopt(const raft::Cluster& cluster, raft::IndexTerm at) {
  cluster_ = make_cluster(cluster);
  outside_ = false;
  membership_ = membership_in(cluster);
  cluster_at_ = at;
}

/// get_membership/4: it counts only if it is for this very server.
raft::Membership BeamRules::membership_in(const raft::Cluster& cluster) const {
  const auto own = cluster.find(id());
  if (own == cluster.end() || !own->second.voter_status ||
      own->second.voter_status->uid != disk_.config.uid)
    return membership_;
  return own->second.voter_status->membership.value_or(membership_);
}

raft::Cluster BeamRules::configs(const BeamCluster& cluster) {
  raft::Cluster plain;
  for (const auto& [member, peer] : cluster) plain[member] = peer.config;
  return plain;
}

BeamCluster BeamRules::make_cluster(const raft::Cluster& cluster) {
  BeamCluster made;
  for (const auto& [member, config] : cluster) made[member].config = config;
  return made;
}

/// append_self/2: who starts, or takes a snapshot in, is a member, whatever that says.
void BeamRules::append_self() {
  outside_ = !cluster_.contains(id());
  cluster_[id()];
}

}  // namespace rakv::simulation
