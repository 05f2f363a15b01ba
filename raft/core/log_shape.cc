// SPDX-License-Identifier: Apache-2.0
#include "raft/core/log_shape.h"

#include <algorithm>

#include "cnode/base/check.h"

namespace rakv::raft {

LogShape::LogShape(IndexTerm snapshot, std::vector<Run> runs, Index last, Index last_written)
    : snapshot_(snapshot) {
  last_ = snapshot_;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const bool is_last = i + 1 == runs.size();
    const Index end = is_last ? last : runs[i + 1].first - 1;
    if (end <= snapshot_.index) continue;
    const Index first = std::max(runs[i].first, snapshot_.index + 1);
    RAKV_CHECK(first == last_.index + 1 && first <= end);
    if (runs_.empty() || runs_.back().term != runs[i].term) runs_.push_back({first, runs[i].term});
    last_ = {end, runs[i].term};
  }
  last_written_ = last_;
  if (last_written < last_.index) {
    const Index durable = std::max(last_written, snapshot_.index);
    last_written_ = {durable, *term_at(durable)};
  }
}

std::optional<Term> LogShape::term_at(Index index) const {
  if (index == snapshot_.index) return snapshot_.term;
  if (index < snapshot_.index || index > last_.index) return std::nullopt;
  // Almost every question is about the newest run.
  if (!runs_.empty() && index >= runs_.back().first) return runs_.back().term;
  const auto after =
      std::upper_bound(runs_.begin(), runs_.end(), index,
                       [](Index wanted, const Run& run) { return wanted < run.first; });
  RAKV_CHECK(after != runs_.begin());
  return std::prev(after)->term;
}

void LogShape::append(Index index, Term term) {
  RAKV_CHECK(index > snapshot_.index && index <= next());
  if (index < next()) truncate(index - 1);
  if (runs_.empty() || runs_.back().term != term) runs_.push_back({index, term});
  last_ = {index, term};
}

void LogShape::truncate(Index last) {
  last = std::max(last, snapshot_.index);
  if (last >= last_.index) return;
  while (!runs_.empty() && runs_.back().first > last) runs_.pop_back();
  last_ = {last, runs_.empty() ? snapshot_.term : runs_.back().term};
  if (last_written_.index > last) last_written_ = last_;
}

bool LogShape::written(Term term, Index up_to) {
  if (up_to <= last_written_.index || up_to > last_.index || term_at(up_to) != term) return false;
  last_written_ = {up_to, term};
  return true;
}

void LogShape::snapshot_taken(IndexTerm at) {
  if (at.index <= snapshot_.index) return;
  if (at.index >= last_.index) {
    *this = LogShape(at, {}, at.index);
    return;
  }
  snapshot_ = at;
  while (runs_.size() > 1 && runs_[1].first <= at.index + 1) runs_.erase(runs_.begin());
  runs_.front().first = std::max(runs_.front().first, at.index + 1);
  if (last_written_.index < at.index) last_written_ = at;
}

void LogShape::snapshot_installed(IndexTerm at) {
  if (at.index < last_.index && term_at(at.index) == at.term) {
    snapshot_taken(at);
  } else {
    *this = LogShape(at, {}, at.index);
  }
}

}  // namespace rakv::raft
