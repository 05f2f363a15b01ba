// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "raft/core/core.h"

// Other candidates: when to let them go first, and when they stand in vain. All of this diverges
// from the dissertation, whose random timers (3.4, 9.3) are enough where answers come in time.
// Safety rests on terms and votes alone, so none of it can break that.
//
// When links or disks are slow, everybody stands before anybody is heard, and timers end before
// answers come. So
// - whoever hears of another's pre-vote in time lets it go first, once, and so does one of two that
//   stand at the same time (give_way);
// - a vote given sets the timer anew: its taker gets time to win;
// - candidates wait longer than ra's, but no longer than they can win; each failure widens the
//   draw;
// - an answer to the pre-vote before counts, too;
// - a candidate that asks again and again, from term to term, can't win: its log is short, or
//   answers take longer than its timer (ra's can be as short as 101 ms) or than its call (ra's
//   1000 ms), while each vote costs two stores there. To win against it this member skips the
//   pre-vote, which its ever higher terms refuse, and takes a term that the other won't have
//   reached when it is heard; of two that do so at once the one whose turn is earlier goes higher;
// - whoever comes with such a term, or asks for the first time, gets time to win instead of being
//   outbid;
// - but those who have more in their logs are not outbid: they don't vote for this member. If
//   nobody can win without them, it waits for them.

namespace rakv::raft {

namespace {
/// So many votes were asked for by candidates that had asked before, and still no leader.
constexpr std::uint32_t kVotesInVain = 3;
constexpr std::uint64_t kTermsAheadMax = 16;
}  // namespace

void Core::forget_elections() {
  attempts_ = 0;
  gave_way_to_.reset();
  rivals_ = {};
}

/// Who asks for votes shows how much its log has.
void Core::note_log_of(const ServerId& candidate, Index last_index, Term last_term) {
  if (is_up_to_date(last_index, last_term) && IndexTerm{last_index, last_term} != log_.last()) {
    rivals_.longer_logs.insert(candidate);
  } else {
    rivals_.longer_logs.erase(candidate);
  }
}

/// Not if so many are away or have more in their logs that the others are no majority.
bool Core::may_win() const {
  const std::size_t possible = cluster_.count_voters([this](const ServerId& id) {
    return !rivals_.longer_logs.contains(id) && (id == id_ || is_reachable(id));
  });
  return possible >= cluster_.majority();
}

bool Core::others_stand_in_vain() const {
  return rivals_.asked_in_vain >= kVotesInVain && !options_.ra_elections && may_win();
}

/// By how much the term of a candidacy is higher than the present one.
std::uint64_t Core::terms_ahead() const {
  if (!others_stand_in_vain()) return 1;
  const std::uint64_t after_it = cluster_.members->size() - election_turn();
  return std::min<std::uint64_t>(rivals_.asked_in_vain + 1, kTermsAheadMax) + after_it;
}

/// It had won, and somebody asks for votes all the same.
void Core::note_deposed() { rivals_.asked_in_vain = kVotesInVain; }

/// Has it asked before, in a term shortly below this one?
bool Core::asks_again(const RequestVoteRpc& rpc) {
  const auto [asked, first] = rivals_.asked_in.try_emplace(rpc.candidate, rpc.term);
  const Term before = std::exchange(asked->second, rpc.term);
  return !first && rpc.term <= before + kVotesInVain;
}

/// A candidate asked for this member's vote: whoever led before does not any more. One that got it
/// is given time to win; one that did not is not waited for, and shows that it disturbs.
void Core::await_leader(bool granted, bool again) {
  const bool outbids = !again && rivals_.asked_in_vain > 0;
  if (granted && !again) {
    rivals_.asked_in_vain = 0;
  } else {
    rivals_.asked_in_vain += granted ? 1 : 2;
  }
  if (role() != Role::follower || is_new() || options_.ra_elections) return;
  const bool runs = timer_armed_ && !timer_to_set_;
  if (runs && !granted) return;
  if (others_stand_in_vain()) {
    restart_election_timer(effect::ElectionTimer::short_);
  } else {
    restart_election_timer(outbids || !may_win() ? effect::ElectionTimer::patient
                                                 : effect::ElectionTimer::long_);
  }
}

/// A pre-vote was granted. Its sender goes first, once: it may be unable to win, and it asks again
/// and again then. Of two that stand at the same time it is the one with more in its log, then the
/// one whose turn is earlier.
void Core::give_way(const PreVoteRpc& rpc) {
  if (gave_way_to_ || (attempts_ > 1 && may_win()) || options_.ra_elections) return;
  if (role() == Role::follower && timer_armed_) {
    gave_way_to_ = rpc.candidate;
    restart_election_timer(effect::ElectionTimer::patient);
  } else if (role() == Role::pre_vote) {
    const bool has_more = IndexTerm{rpc.last_log_index, rpc.last_log_term} != log_.last();
    if (!has_more && id_ < rpc.candidate) return;
    gave_way_to_ = rpc.candidate;
    become_follower(effect::ElectionTimer::patient);
  }
}

}  // namespace rakv::raft
