// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "raft/core/core.h"

// await_condition: a member that can do nothing useful until something particular happens. A
// follower waits for the leader to rewind (after one refusal) or for its log, a leader for its
// successor (dissertation 3.10). Diverges: the dissertation's follower refuses each message.

namespace rakv::raft {

void Core::enter_await_condition(AwaitCondition state, std::uint64_t timeout_ms) {
  set_role(std::move(state));
  emit(effect::SetConditionTimer{timeout_ms});
}

/// Asks this member to stand for election, and leaves it alone meanwhile. The leader's data waits
/// along, in case nobody takes over.
void Core::ask_to_lead(const ServerId& target) {
  emit(effect::SendElectionTimeout{target});
  AwaitCondition state;
  state.condition = Condition::transfer;
  state.target = target;
  state.leader = std::make_unique<Leader>(std::exchange(std::get<Leader>(role_), Leader{}));
  enter_await_condition(std::move(state), log_up_ ? std::min(options_.transfer_timeout_ms,
                                                             options_.await_condition_timeout_ms)
                                                  : options_.offer_timeout_ms);
}

/// Whoever was asked to lead and is heard to stand gets time to win; once, because it may stand in
/// vain for ever.
void Core::note_candidate(const ServerId& candidate) {
  auto* waiting = std::get_if<AwaitCondition>(&role_);
  if (waiting == nullptr || waiting->condition != Condition::transfer) return;
  if (waiting->target != candidate || std::exchange(waiting->heard, true)) return;
  emit(effect::SetConditionTimer{options_.transfer_timeout_ms});
}

/// Another leader than the one that has the refusal knows nothing of it: it must get one, too, and
/// not only when the timer fires, 30 s later (ra's members do wait).
bool Core::is_news_to(const ServerId& leader, Term term, const AwaitCondition& waiting) const {
  return term > current_term_ || (term == current_term_ && leader != waiting.reply_to);
}

/// Does this AER end the wait for a fitting one? After `missing` a mismatch does too, since it is
/// news.
bool Core::ends_catch_up(const AwaitCondition& waiting, const AppendEntriesRpc& rpc) const {
  if (rpc.term < current_term_) return false;
  if (is_news_to(rpc.leader, rpc.term, waiting)) return true;
  const std::optional<Term> term = log_.term_at(rpc.prev_index);
  if (!term) return false;
  return *term == rpc.prev_term || waiting.condition == Condition::missing;
}

/// Leads again, unless a newer term was seen meanwhile: nobody elected this member in that one.
void Core::resume_leader() {
  auto& waiting = std::get<AwaitCondition>(role_);
  std::unique_ptr<Leader> kept = std::move(waiting.leader);
  if (kept->term != current_term_) {
    leader_.reset();
    retire(*kept);
    become_follower();
    return;
  }
  set_role(std::move(*kept));
  Leader& leader = std::get<Leader>(role_);
  leader.flush_scheduled = !leader.low_priority.empty();
  if (leader.flush_scheduled) emit(effect::ScheduleFlush{});
  evaluate_commit();
  if (role() == Role::leader) execute_held();
}

void Core::on(event::ConditionTimeout&) {
  auto* waiting = std::get_if<AwaitCondition>(&role_);
  if (waiting == nullptr) return;
  switch (waiting->condition) {
    case Condition::missing:
    case Condition::term_mismatch:
      emit(effect::SendAppendEntriesReply{waiting->reply_to, waiting->reply});
      become_follower();
      break;
    case Condition::transfer:
      resume_leader();
      break;
    case Condition::log_down:
      become_follower();
      break;
  }
}

}  // namespace rakv::raft
