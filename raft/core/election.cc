// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "raft/core/core.h"

// Pre-votes, votes and the way to leadership (Raft dissertation 3.4, 3.6, 9.6;
// ra_server:call_for_election).
//
// Stricter than ra where peers can't see it: votes are counted by distinct voters, not by number of
// replies.
//
// What keeps slow links and disks from making elections endless is in rivals.cc.

namespace rakv::raft {

namespace {
constexpr std::uint64_t kProtocolVersion = 1;
/// Answers to pre-votes so many rounds back count, if the term is the same.
constexpr std::uint64_t kLateRounds = 2;
}  // namespace

/// Adds a granted vote; true when that makes the quorum (dissertation 3.4).
bool Core::record_vote(Ballot& ballot, const ServerId& voter) {
  if (!cluster_.is_voter(voter)) return false;
  if (std::find(ballot.granted.begin(), ballot.granted.end(), voter) != ballot.granted.end())
    return false;
  ballot.granted.push_back(voter);
  return ballot.granted.size() >= cluster_.majority();
}

/// Not even if all members that may still answer grant it.
bool Core::is_lost(const Ballot& ballot) const {
  const auto has = [](const std::vector<ServerId>& ids, const ServerId& id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  const std::size_t possible = cluster_.count_voters([&](const ServerId& id) {
    return !has(ballot.refused, id) && (id == id_ || has(ballot.granted, id) || is_reachable(id));
  });
  return possible < cluster_.majority();
}

PreVoteRpc Core::pre_vote_rpc() const {
  const IndexTerm last = log_.last();
  return {kProtocolVersion, machine_version_, current_term_, id_, last.index, last.term};
}

/// Would a majority vote for this member? (Dissertation 9.6.) Diverges as ra does: followers that
/// know a leader answer all the same (4.2.3 has them refuse); the leader shows itself instead.
void Core::call_pre_vote() {
  // As ra: the vote of the *present* term goes to oneself, so that nobody else gets it meanwhile.
  // Not waiting for the disk as ra does: nobody is asked for a vote in this term, so nothing rests
  // on it, and the longer this state lasts the likelier two followers collide in it.
  if (options_.ra_elections) set_term_and_vote(current_term_, id_);
  voted_for_ = id_;
  ++attempts_;
  leader_.reset();
  drop_monitor();
  set_role(PreVote{{++last_round_, {}, {}}});
  arm_election_timer(effect::ElectionTimer::long_);
  const PreVoteRpc rpc = pre_vote_rpc();
  for (const auto& [id, config] : *cluster_.members) {
    if (id != id_) emit(effect::CallPreVote{id, last_round_, rpc});
  }
  if (record_vote(std::get<PreVote>(role_).ballot, id_)) call_election();
}

/// A higher term, its own vote, and votes asked of all (dissertation 3.4). Diverges: the term may
/// be higher by more than one (rivals.cc).
void Core::call_election() {
  // Its pre-votes are only a way to be noticed by the leader: whatever they bring, it does not
  // lead.
  if (amnesia_) return;
  set_term_and_vote(current_term_ + terms_ahead(), id_);
  leader_.reset();
  drop_monitor();
  set_role(Candidate{{++last_round_, {}, {}}});
  arm_election_timer(effect::ElectionTimer::patient);
  const RequestVoteRpc rpc{current_term_, id_, log_.last().index, log_.last().term};
  for (const auto& [id, config] : *cluster_.members) {
    if (id != id_) emit(effect::CallRequestVote{id, last_round_, rpc});
  }
  if (record_vote(std::get<Candidate>(role_).ballot, id_)) become_leader();
}

/// The first entry of its term is a noop, so that the entries before it can be committed
/// (dissertation 3.6.2, 6.4).
void Core::become_leader() {
  leader_ = id_;
  forget_elections();
  set_role(Leader{});
  Leader& leader = std::get<Leader>(role_);
  leader.term = current_term_;
  leader.noop_index = log_.next();
  cluster_change_permitted_ = false;
  sync_peers();
  for (auto& [id, peer] : leader.peers) peer.next_index = log_.next();
  // The order on the wire is ra's: questions about machine versions, an immediate tick, then the
  // noop.
  send_infos();
  leader_tick();
  Entry noop;
  noop.kind = EntryKind::noop;
  noop.origin = EntryOrigin::leader;
  noop.machine_version = effective_machine_version_;
  append_own(noop);
  std::vector<Entry> entries;
  entries.push_back(std::move(noop));
  emit_appended(std::move(entries));
  replicate(true);
  execute_held();
}

// --- what starts an election
// ------------------------------------------------------------------------------------------

void Core::election_wanted() {
  if (!log_up_ && cluster_.members->size() > 1) {
    if (role() == Role::follower) arm_election_timer(effect::ElectionTimer::long_);
    if (role() == Role::pre_vote || role() == Role::candidate) become_follower();
    return;
  }
  switch (role()) {
    case Role::follower:
    case Role::await_condition:
      if (membership_ != Membership::voter) break;
      if (cluster_.joins_later) {
        // Its own vote counts in no configuration that its log has. It votes for others, and waits
        // for a leader that sends it the entry by which it joins.
        arm_election_timer(effect::ElectionTimer::long_);
        break;
      }
      if (others_stand_in_vain() && !amnesia_) {
        ++attempts_;
        call_election();
        break;
      }
      [[fallthrough]];
    case Role::pre_vote:
      call_pre_vote();
      break;
    case Role::candidate:
      ++attempts_;
      call_election();
      break;
    default:
      break;
  }
}

/// This member could not write what a leader must; others may. But they may watch this one, as the
/// leader that it was, and wait: a pre-vote that can't win sets their timers, of BEAM members too.
void Core::let_others_stand() {
  if (membership_ != Membership::voter) return;
  PreVoteRpc rpc = pre_vote_rpc();
  rpc.last_log_index = Index(0);
  rpc.last_log_term = Term(0);
  for (const auto& [id, config] : *cluster_.members) {
    if (id != id_) emit(effect::CallPreVote{id, last_round_, rpc});
  }
}

void Core::on(event::ElectionTimeout& event) {
  // A timer that was cancelled or set anew while its event was already under way does not count.
  if (!timer_armed_ || (event.number && *event.number != timer_number_)) return;
  timer_armed_ = false;
  timer_armed_outside_ = false;
  if (!log_up_ && role() == Role::follower) let_others_stand();
  election_wanted();
}

void Core::on(event::ElectionRequested&) { election_wanted(); }

void Core::on(event::TriggerElectionRequested& event) {
  if (role() == Role::receive_snapshot) {
    emit(effect::DropCall{event.token});
    return;
  }
  emit(effect::AnswerOk{event.token});
  if (role() == Role::follower || role() == Role::await_condition) election_wanted();
}

// --- asking voters
// ----------------------------------------------------------------------------------------------------

/// The election restriction (dissertation 3.6.1).
bool Core::is_up_to_date(Index last_index, Term last_term) const {
  const IndexTerm own = log_.last();
  return last_term > own.term || (last_term == own.term && last_index >= own.index);
}

/// For every state but leader; a follower that declines because of its longer log says nothing.
void Core::process_pre_vote(CallToken call, const PreVoteRpc& rpc) {
  if (rpc.term < current_term_) {
    emit(effect::ReplyPreVote{call, {current_term_, false}});
    return;
  }
  adopt_term(rpc.term);
  note_log_of(rpc.candidate, rpc.last_log_index, rpc.last_log_term);
  const bool follows = role() == Role::follower || role() == Role::terminating_follower;
  if (!is_up_to_date(rpc.last_log_index, rpc.last_log_term)) {
    if (!follows) {
      emit(effect::ReplyPreVote{call, {current_term_, false}});
      return;
    }
    emit(effect::DropCall{call});
    const bool undisturbed = attempts_ == 0 && rivals_.asked_in.empty() && !gave_way_to_;
    if (!monitored_ && timer_armed_ && undisturbed && !options_.ra_elections) {
      // No leader here either, and that candidate can't win: its turn is this member's.
      restart_election_timer(effect::ElectionTimer::really_short);
    } else {
      arm_election_timer(effect::ElectionTimer::long_);
    }
    return;
  }
  if (rpc.protocol_version > kProtocolVersion) {
    emit(effect::ReplyPreVote{call, {current_term_, false}});
    return;
  }
  const bool version_fits = rpc.machine_version == effective_machine_version_ ||
                            (rpc.machine_version >= effective_machine_version_ &&
                             rpc.machine_version <= machine_version_);
  emit(effect::ReplyPreVote{call, {current_term_, version_fits}});
  if (version_fits) {
    // A cluster that never had a leader, and this member hears of it: if the one who asks can't
    // lead (raft/core/amnesia.cc), somebody else must. Whoever has an empty log wins with those
    // only that have nothing either.
    const bool may_be_first = role() == Role::follower && is_new() &&
                              rpc.last_log_index == Index(0) && cluster_.contains(rpc.candidate);
    if (may_be_first) arm_election_timer(effect::ElectionTimer::patient);
    give_way(rpc);
  } else if (follows) {
    arm_election_timer(effect::ElectionTimer::long_);
  }
}

void Core::on(event::PreVoteRequested& event) {
  const PreVoteRpc& rpc = event.rpc;
  switch (role()) {
    case Role::leader:
    case Role::terminating_leader:
      if (rpc.term <= current_term_) {
        // Silence, and proof of leadership instead.
        emit(effect::DropCall{event.call});
        probe_peers(false);
        send_heartbeats();
        return;
      }
      if (!leader_data()->peers.contains(rpc.candidate) || role() == Role::terminating_leader) {
        emit(effect::DropCall{event.call});
        return;
      }
      [[fallthrough]];
    case Role::candidate:
      yields_to(rpc.term);
      break;
    default:
      break;
  }
  if (role() == Role::follower && membership_ != Membership::voter) {
    emit(effect::DropCall{event.call});
    return;
  }
  if (is_up_to_date(rpc.last_log_index, rpc.last_log_term)) note_candidate(rpc.candidate);
  if (amnesia_) {
    adopt_term(rpc.term);
    emit(effect::ReplyPreVote{event.call, {current_term_, false}});
    return;
  }
  process_pre_vote(event.call, rpc);
}

/// One vote for a term, first come first served (dissertation 3.4), durable before it is given
/// (3.8).
void Core::follower_vote(CallToken call, const RequestVoteRpc& rpc) {
  if (membership_ != Membership::voter) {
    emit(effect::DropCall{call});
    return;
  }
  const bool taken = rpc.term == current_term_ && voted_for_ && *voted_for_ != rpc.candidate;
  const bool again = asks_again(rpc);
  if (amnesia_) adopt_term(rpc.term);
  if (rpc.term < current_term_ || taken || amnesia_) {
    if (again) ++rivals_.asked_in_vain;
    emit(effect::ReplyVote{call, {current_term_, false}});
    return;
  }
  note_log_of(rpc.candidate, rpc.last_log_index, rpc.last_log_term);
  const bool grants = is_up_to_date(rpc.last_log_index, rpc.last_log_term);
  if (grants) {
    set_term_and_vote(rpc.term, rpc.candidate);
  } else {
    adopt_term(rpc.term);
  }
  await_leader(grants, again);
  emit(effect::ReplyVote{call, {current_term_, grants}});
}

// Whoever steps down for a vote stores the new term together with the vote: a store may take long.
void Core::on(event::VoteRequested& event) {
  const RequestVoteRpc& rpc = event.rpc;
  const bool newer = rpc.term > current_term_;
  switch (role()) {
    case Role::follower:
    case Role::terminating_follower:
      break;
    case Role::leader:
      if (newer && !leader_data()->peers.contains(rpc.candidate)) {
        emit(effect::DropCall{event.call});
        return;
      }
      [[fallthrough]];
    case Role::candidate:
      if (!newer) {
        emit(effect::ReplyVote{event.call, {current_term_, false}});
        return;
      }
      leader_.reset();
      if (role() == Role::leader) note_deposed();
      become_follower();
      break;
    case Role::terminating_leader:
      emit(effect::ReplyVote{event.call, {current_term_, false}});
      return;
    case Role::pre_vote:
      if (!newer) {
        reject(event.call, effect::RejectReason::unsupported_call);
        return;
      }
      leader_.reset();
      become_follower();
      break;
    case Role::await_condition:
      become_follower();
      break;
    case Role::receive_snapshot:
      if (!newer || std::get<ReceiveSnapshot>(role_).completing) {
        emit(effect::ReplyVote{event.call, {current_term_, false}});
        return;
      }
      abort_receive();
      break;
  }
  follower_vote(event.call, rpc);
}

// --- counting
// ---------------------------------------------------------------------------------------------------------

void Core::on(event::PreVoteReplied& event) {
  auto* state = std::get_if<PreVote>(&role_);
  if (state == nullptr) return;
  if (yields_to(event.result.term)) return;
  const std::uint64_t late = options_.ra_elections ? 0 : kLateRounds;
  if (!event.result.granted || event.result.term != current_term_ ||
      event.round + late < state->ballot.round || membership_ != Membership::voter) {
    return;
  }
  if (record_vote(state->ballot, event.from)) call_election();
}

void Core::on(event::VoteReplied& event) {
  auto* state = std::get_if<Candidate>(&role_);
  if (state == nullptr) return;
  if (yields_to(event.result.term)) return;
  if (event.result.term != current_term_ || event.round != state->ballot.round) return;
  if (!event.result.granted) {
    state->ballot.refused.push_back(event.from);
    if (!is_lost(state->ballot) || options_.ra_elections) return;
    if (attempts_ <= 1) {
      restart_election_timer(effect::ElectionTimer::in_turn);
    } else {
      // The others may have more in their logs; a pre-vote will show.
      rivals_.asked_in_vain = 0;
      become_follower();
    }
    return;
  }
  if (record_vote(state->ballot, event.from)) become_leader();
}

}  // namespace rakv::raft
