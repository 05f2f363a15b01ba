// SPDX-License-Identifier: Apache-2.0
#include "raft/core/invariants.h"

#include <algorithm>

#include "raft/core/text.h"

namespace rakv::raft {

namespace {

std::string violation(const Core& core, const std::string& what) {
  return to_string(core.id()) + ": " + what + "\n" + describe(core);
}

}  // namespace

std::optional<std::string> MemberInvariants::check(const Core& core) {
  const LogShape& log = core.log();
  if (core.last_applied() > core.commit_index()) return violation(core, "applied beyond commit");
  if (core.commit_index() > log.last().index) return violation(core, "commit beyond the log's end");
  if (log.last_written().index > log.last().index)
    return violation(core, "durable beyond the log's end");
  if (log.snapshot().index > core.last_applied()) return violation(core, "snapshot beyond applied");
  if (log.term_at(log.last().index) != log.last().term)
    return violation(core, "the log's last term is wrong");
  if (log.last().term > core.current_term()) return violation(core, "an entry of a future term");
  if (core.role() == Role::leader && core.leader() != core.id())
    return violation(core, "leads, but names another");
  Snapshot now{core.current_term(),        core.voted_for(),   core.commit_index(),
               core.last_applied(),        core.query_index(), core.role(),
               core.role() == Role::leader};
  if (before_) {
    if (now.term < before_->term) return violation(core, "the term fell");
    if (now.commit < before_->commit) return violation(core, "the commit index fell");
    if (now.applied < before_->applied) return violation(core, "the applied index fell");
    if (now.query < before_->query) return violation(core, "the query index fell");
    if (now.term == before_->term) {
      const bool changed = before_->voted_for && now.voted_for != before_->voted_for;
      if (changed && now.voted_for != core.id())
        return violation(core, "the vote changed within a term");
      if (now.role == Role::leader && before_->role == Role::follower) {
        return violation(core, "a follower became leader without a new term");
      }
    }
  }
  before_ = std::move(now);
  return std::nullopt;
}

std::optional<std::string> ClusterInvariants::check(const Core& core) {
  const LogShape& log = core.log();
  if (core.role() == Role::leader) {
    const auto [entry, fresh] = leaders_.emplace(core.current_term(), core.id());
    if (entry->second != core.id()) {
      return violation(core, "second leader of a term, the first was " + to_string(entry->second));
    }
    if (fresh) {
      for (const auto& [index, applied] : applied_) {
        const bool must_have =
            applied.known_committed_in < core.current_term() && index > log.snapshot().index;
        if (must_have && log.term_at(index) != applied.term) {
          return violation(core,
                           "elected without the committed entry " + std::to_string(index.value()));
        }
      }
    }
  }
  Index& seen = applied_up_to_[core.id()];
  for (Index index = std::max(seen + 1, log.snapshot().index); index <= core.last_applied();
       ++index) {
    if (index == Index(0)) continue;
    const std::optional<Term> term = log.term_at(index);
    if (!term) return violation(core, "applied an entry it does not have");
    const auto [entry, fresh] = applied_.emplace(index, Applied{*term, core.current_term()});
    if (entry->second.term != *term) {
      return violation(
          core, "applied another entry at " + std::to_string(index.value()) + " than others did");
    }
  }
  seen = std::max(seen, core.last_applied());
  return std::nullopt;
}

std::optional<std::string> ClusterInvariants::check_logs(const Core& one, const Core& other) {
  const Index low = std::max(one.log().snapshot().index, other.log().snapshot().index);
  Index index = std::min(one.log().last().index, other.log().last().index);
  bool agreed = false;
  for (; index > low; index = index - 1) {
    const bool same = one.log().term_at(index) == other.log().term_at(index);
    if (agreed && !same) {
      return "logs agree above, but not at " + std::to_string(index.value()) + "\n" +
             to_string(one.id()) + ": " + describe(one) + to_string(other.id()) + ": " +
             describe(other);
    }
    agreed = agreed || same;
  }
  return std::nullopt;
}

}  // namespace rakv::raft
