// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "raft/core/core.h"

// What a follower does with a leader's messages (dissertation 3.5; ra_server:handle_follower).
//
// Diverges from the dissertation as ra does: a message without entries ends the log at its place,
// and one refusal is all: the follower then waits for the leader to go back (await_condition.cc).
//
// Stricter than ra where leaders can't see it: acknowledgements name nothing that was not compared
// with this leader's log, nothing that is not durable, and committed entries are never overwritten:
// a message that asks for it is reported and ignored.

namespace rakv::raft {

AppendEntriesReply Core::append_entries_reply(bool success) const {
  const IndexTerm durable = log_.last_written();
  return {current_term_, success, log_.next(), durable.index, durable.term};
}

/// "Send again from after what I have applied."
AppendEntriesReply Core::rewind_reply() const {
  return {current_term_, false, last_applied_ + 1, last_applied_,
          log_.term_at(last_applied_).value_or(Term())};
}

void Core::bad_message(const ServerId& from, std::string what) {
  emit(effect::BadMessage{from, std::move(what)});
}

void Core::on(event::AppendEntries& event) {
  AppendEntriesRpc& rpc = event.rpc;
  const bool newer = rpc.term > current_term_;
  switch (role()) {
    case Role::follower:
      break;
    case Role::pre_vote:
      if (rpc.term < current_term_) return;
      adopt_term(rpc.term);
      become_follower();
      break;
    case Role::candidate:
      if (rpc.term >= current_term_) {
        adopt_term(rpc.term);
        become_follower();
      }
      break;
    case Role::leader:
    case Role::terminating_leader:
      if (rpc.term == current_term_) {
        bad_message(rpc.leader, "append_entries_rpc in the term in which this member leads");
        return;
      }
      yields_to(rpc.term);
      break;
    case Role::await_condition: {
      const auto& waiting = std::get<AwaitCondition>(role_);
      const bool ends = waiting.condition == Condition::transfer   ? newer
                        : waiting.condition == Condition::log_down ? false
                                                                   : ends_catch_up(waiting, rpc);
      if (!ends) return;
      become_follower();
      break;
    }
    case Role::receive_snapshot:
      if (!newer || std::get<ReceiveSnapshot>(role_).completing) return;
      abort_receive();
      break;
    case Role::terminating_follower:
      if (rpc.term == current_term_ && leader_ == rpc.leader) {
        emit(effect::SendAppendEntriesReply{rpc.leader, append_entries_reply(true)});
      }
      return;
  }
  if (rpc.term < current_term_) {
    emit(effect::SendAppendEntriesReply{rpc.leader, append_entries_reply(false)});
    return;
  }
  follower_append_entries(rpc);
}

namespace {

/// Entries must continue prev_index without gap, in terms that never fall nor exceed the leader's.
bool is_well_formed(const AppendEntriesRpc& rpc) {
  Index index = rpc.prev_index;
  Term term = rpc.prev_term;
  for (const Entry& entry : rpc.entries) {
    if (entry.index != index + 1 || entry.term < term || entry.term > rpc.term) return false;
    if (entry.kind == EntryKind::cluster_change && entry.cluster == nullptr) return false;
    ++index;
    term = entry.term;
  }
  return true;
}

}  // namespace

/// The consistency check (dissertation 3.5): the entry before the new ones must be there, with the
/// term that the leader has.
void Core::follower_append_entries(AppendEntriesRpc& rpc) {
  adopt_term(rpc.term);
  note_leader(rpc.leader);
  disarm_election_timer();
  if (!is_well_formed(rpc)) {
    bad_message(rpc.leader, "append_entries_rpc whose entries do not follow each other");
    return;
  }
  const std::optional<Term> prev_term = log_.term_at(rpc.prev_index);
  if (!prev_term) {
    await_catch_up(Condition::missing, rpc.leader, append_entries_reply(false));
    return;
  }
  if (*prev_term != rpc.prev_term) {
    await_catch_up(Condition::term_mismatch, rpc.leader, rewind_reply());
    return;
  }
  std::size_t known = 0;
  while (known < rpc.entries.size() &&
         log_.term_at(rpc.entries[known].index) == rpc.entries[known].term)
    ++known;
  if (known < rpc.entries.size()) {
    accept_entries(rpc, known);
  } else {
    confirm_known_entries(rpc, rpc.prev_index + known);
  }
}

/// Nothing new: everything up to `valid` agrees with the leader's log.
void Core::confirm_known_entries(const AppendEntriesRpc& rpc, Index valid) {
  const Index last = log_.last().index;
  if (last > valid && rpc.entries.empty()) {
    // No entries means: end your log here.
    if (valid < commit_index_) {
      bad_message(rpc.leader, "append_entries_rpc that would truncate committed entries");
      return;
    }
    log_.truncate(valid);
    emit(effect::TruncateLog{valid});
    forget_above(valid);
  } else if (last > valid) {
    // The tail is still unproved: acknowledge the proved part, so that the leader goes on from
    // there.
    const Index proved = std::max(last_applied_, valid);
    validated_ = std::max(validated_, proved);
    const Index durable = std::min(proved, log_.last_written().index);
    emit(effect::SendAppendEntriesReply{
        rpc.leader,
        {current_term_, true, proved + 1, durable, log_.term_at(durable).value_or(Term())}});
    return;
  }
  emit(effect::SendAppendEntriesReply{rpc.leader, append_entries_reply(true)});
  validated_to_end(rpc, rpc.entries.empty());
}

/// New entries, perhaps in place of others (dissertation 3.5). The acknowledgement waits until they
/// are durable (3.8).
void Core::accept_entries(AppendEntriesRpc& rpc, std::size_t known) {
  const Index first = rpc.entries[known].index;
  if (first <= commit_index_) {
    bad_message(rpc.leader, "append_entries_rpc that would overwrite committed entries");
    return;
  }
  if (!log_up_) {
    AwaitCondition state;
    state.condition = Condition::log_down;
    enter_await_condition(std::move(state), options_.await_condition_timeout_ms);
    return;
  }
  rpc.entries.erase(rpc.entries.begin(), rpc.entries.begin() + static_cast<std::ptrdiff_t>(known));
  forget_above(first - 1);
  for (const Entry& entry : rpc.entries) {
    log_.append(entry.index, entry.term);
    append_special(entry);
  }
  emit(effect::AppendToLog{std::move(rpc.entries)});
  validated_to_end(rpc, false);
}

/// The whole log agrees with the leader's now, so its commit index counts for it
/// (dissertation 3.5). `is_all`: the leader's log ended there, too.
void Core::validated_to_end(const AppendEntriesRpc& rpc, bool is_all) {
  validated_ = log_.last().index;
  commit_index_ = std::max(commit_index_, std::min(rpc.leader_commit, log_.last().index));
  if (amnesia_) note_validated(rpc.term, is_all);
  apply_committed();
}

void Core::await_catch_up(Condition condition, const ServerId& leader, AppendEntriesReply reply) {
  emit(effect::SendAppendEntriesReply{leader, reply});
  AwaitCondition state;
  state.condition = condition;
  state.reply_to = leader;
  state.reply = reply;
  enter_await_condition(std::move(state), options_.await_condition_timeout_ms);
}

/// The durable index moved.
void Core::acknowledge_written() {
  if (!leader_ || *leader_ == id_ || validated_ == Index(0)) return;
  AppendEntriesReply reply = append_entries_reply(true);
  reply.next_index = std::min(reply.next_index, std::max(validated_, log_.snapshot().index) + 1);
  reply.last_index = std::max(std::min(reply.last_index, validated_), log_.snapshot().index);
  reply.last_term = log_.term_at(reply.last_index).value_or(Term());
  emit(effect::SendAppendEntriesReply{*leader_, reply});
}

// --- heartbeats
// -------------------------------------------------------------------------------------------------------

/// A round for consistent reads (dissertation 6.4). Diverges: a heartbeat is a message of its own,
/// and an idle leader sends none.
/// A heartbeat carries no commit index, and whoever knows its leader by one does not ask for votes,
/// which the leader would answer with it. So a member that was started again, and whose leader does
/// not know of that, says with a refusal that it may have missed one (ra leaves it as it is until
/// the next command).
void Core::follower_heartbeat(const HeartbeatRpc& rpc) {
  bool may_miss_commit = false;
  if (rpc.term >= current_term_) {
    adopt_term(rpc.term);
    may_miss_commit = role() == Role::follower && !leader_ && commit_index_ < log_.last().index;
    note_leader(rpc.leader);
  }
  emit(effect::SendHeartbeatReply{rpc.leader, {rpc.query_index, current_term_}});
  if (may_miss_commit)
    emit(effect::SendAppendEntriesReply{rpc.leader, append_entries_reply(false)});
}

void Core::on(event::Heartbeat& event) {
  const HeartbeatRpc& rpc = event.rpc;
  switch (role()) {
    case Role::leader:
    case Role::terminating_leader:
      if (rpc.term == current_term_) {
        bad_message(rpc.leader, "heartbeat_rpc in the term in which this member leads");
        return;
      }
      if (yields_to(rpc.term) && role() == Role::terminating_leader) return;
      break;
    case Role::candidate:
    case Role::pre_vote:
      if (rpc.term >= current_term_) {
        adopt_term(rpc.term);
        become_follower();
      }
      break;
    case Role::await_condition:
    case Role::receive_snapshot:
      return;
    default:
      break;
  }
  follower_heartbeat(rpc);
}

// --- info
// -------------------------------------------------------------------------------------------------------------

/// As yields_to(); a snapshot of an older term's leader is not received on.
bool Core::see_info_term(Term term) {
  const auto* receiving = std::get_if<ReceiveSnapshot>(&role_);
  if (receiving != nullptr && !receiving->completing && term > current_term_) abort_receive();
  return yields_to(term);
}

void Core::reply_info(const InfoRpc& rpc, bool with_facts) {
  InfoReply reply{id_, current_term_, rpc.keys, std::nullopt};
  const bool asked =
      std::find(rpc.keys.begin(), rpc.keys.end(), "machine_version") != rpc.keys.end();
  if (with_facts && asked) reply.machine_version = machine_version_;
  emit(effect::SendInfoReply{rpc.from, std::move(reply)});
}

void Core::on(event::InfoRequested& event) {
  if (role() == Role::await_condition) return;
  see_info_term(event.rpc.term);
  const bool empty =
      role() == Role::candidate || role() == Role::pre_vote || role() == Role::receive_snapshot;
  reply_info(event.rpc, !empty);
}

void Core::on(event::InfoReplied& event) {
  const InfoReply& reply = event.reply;
  if (see_info_term(reply.term) || !leads()) return;
  Peer* peer = find_peer(reply.from);
  if (peer == nullptr) return;
  if (std::find(reply.keys.begin(), reply.keys.end(), "machine_version") != reply.keys.end())
    peer->config.machine_version = reply.machine_version;
}

}  // namespace rakv::raft
