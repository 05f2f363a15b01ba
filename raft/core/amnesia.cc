// SPDX-License-Identifier: Apache-2.0
#include "raft/core/core.h"

// Diverges from the dissertation, where a disk keeps what was written (3.8).
//
// A member whose disk may have lost what it had acknowledged neither votes nor leads until it has
// it again. It follows, acknowledges what it has now, and its pre-votes only make the leader notice
// it.
//
// When has it caught up? Let X be the member, T its stored term, and E an entry that was committed
// with an acknowledgement of X which X has forgotten. X may only help to elect leaders that have E.
//
// 1. X's log has a durable entry of a term above T. The leader of that term was elected without X
//    (it did not vote meanwhile), by a majority that shares with E's majority a member other than
//    X; so E was in that leader's log, below its first own entry, and log matching gives it to X.
// 2. Or X's log is durable up to where the log of a leader of term T or above ended, after X's
//    restart. If that term is above T, see 1. If it is T, X's acknowledgements in T were of entries
//    that this leader had sent, all of them in its log; those of earlier terms were given before X
//    voted in T, or X did not vote in T: in both cases Raft's usual argument puts E into that log.
//    Where a leader's log ends is known from a message without entries: ra's leaders only send such
//    ones from their log's end. (The commit index would not do: an acknowledgement of X may still
//    lie in the leader's mailbox, and move it later.)
//
// If the term is lost too, X may have acknowledged in terms above the stored one, and a leader that
// X hears of may itself be out of date. Then an election must pass: 1. counts, with T the term of
// the first leader heard after the restart. (Two leaders out of date at once, both heard before the
// real one, would deceive it; nothing short of asking a majority would not.)
//
// What stands still, and why it must. Where so many voters have amnesia that the others are no
// majority, nobody is elected until one of them is caught up, which takes a leader. With two voters
// one with amnesia is enough, although all that was committed by both is in the other's log: X may
// have forgotten a change of the configuration, too, and what it acknowledged under that one may be
// with voters whom it does not know any more. Only an operator can say that there are none: shrink
// the cluster to the member that has the most
// (ra_server_proc:force_shrink_members_to_current_member/1 on it), then add the others again. A
// cluster in which only X is not brand-new does not stand still: those that X asks for their
// pre-votes stand themselves.
//
// The vote that X may have given in the term in which it catches up is taken as given to that
// term's leader. What is promised from then on needs no memory of the amnesia; until then it
// survives restarts with the member's data.

namespace rakv::raft {

/// The whole log agrees with that of the leader of this term; `is_all`: whose log ends there, too.
void Core::note_validated(Term leader_term, bool is_all) {
  if (!amnesia_->above) amnesia_->above = leader_term;
  const bool has_all = is_all && !amnesia_->term_lost;
  const bool elected_without = log_.last().term > *amnesia_->above;
  if (!amnesia_->until && (has_all || elected_without)) amnesia_->until = validated_;
  end_amnesia_if_caught_up();
}

/// A leader that has nothing to send says nothing: what it sent last may have held entries and the
/// commit index at once, and then nobody knows that this was its log's end. To a pre-vote of its
/// own term it answers with an empty message (ra's make_all_rpcs), and it changes nothing.
void Core::ask_where_log_ends() {
  const bool follows = role() == Role::follower && leader_ && validated_ > Index(0);
  if (!follows || amnesia_->until || amnesia_->term_lost) return;
  emit(effect::CallPreVote{*leader_, last_round_, pre_vote_rpc()});
}

void Core::end_amnesia_if_caught_up() {
  if (amnesia_ && amnesia_->until && log_.last_written().index >= *amnesia_->until) end_amnesia();
}

void Core::end_amnesia() {
  amnesia_.reset();
  if (!voted_for_) voted_for_ = leader_;
  // Also when it is its own of a pre-vote, which has not been stored.
  emit(effect::PersistTermVote{current_term_, voted_for_});
  emit(effect::AmnesiaEnded{});
}

}  // namespace rakv::raft
