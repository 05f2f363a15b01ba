// SPDX-License-Identifier: Apache-2.0
#include "tests/raft/log/member_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/raft/log/special_values.h"
#include "tests/raft/log/store.h"

namespace rakv::raftlog::testing {

// ---- values

namespace {

std::uint64_t number_of(const std::string& uid, Index index, Term term) {
  std::uint64_t number = 14695981039346656037U;
  const auto mix = [&](std::uint64_t part) { number = (number ^ part) * 1099511628211U; };
  for (const char letter : uid) mix(static_cast<unsigned char>(letter));
  mix(index);
  mix(term);
  return number >> 20;
}

}  // namespace

bool has_adler_zero(const std::string& uid, Index index, Term term) {
  return number_of(uid, index, term) % 16 == 0;
}

StoredEntry cluster_entry(const std::string& uid, Index index, Term term) {
  const std::uint64_t number = number_of(uid, index, term);
  if (has_adler_zero(uid, index, term))
    return {index, term, value_with_adler_zero(index, term, 1200)};
  std::string text = expected_text(index, term, uid);
  if (number % 16 == 1) text += std::string(1300, '\0') + "z";
  if (number % 16 == 2) {
    for (std::uint64_t i = 0; i < 1500; ++i) {
      text.push_back(static_cast<char>((number + i) * 2654435761U >> 13));
    }
  }
  return {index, term, payload(text)};
}

// ---- the cluster's log

void ClusterLog::elect(Random& random) {
  terms_.resize(between(random, committed_, end()));
  // Terms of leaders that have not come to this member: their entries may be in the new leader's
  // log, and no two logs have the same ones.
  if (!unseen_.empty() && one_in(random, 2)) {
    const std::size_t at = random() % unseen_.size();
    if (unseen_[at] >= term_of(end())) {
      terms_.insert(terms_.end(), between(random, 1, 4), unseen_[at]);
      unseen_.erase(unseen_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  for (std::uint64_t skipped = random() % 3; skipped > 0; --skipped) {
    unseen_.push_back(++leader_term_);
  }
  ++leader_term_;
  extend(between(random, 0, 6));
}

void ClusterLog::commit(Random& random) {
  Index candidate = end() == committed_ ? committed_ : between(random, committed_ + 1, end());
  if (candidate > committed_ && term_of(candidate) == leader_term_) committed_ = candidate;
}

// ---- what the log does

Index MemberModel::matched() const {
  Index index = snapshot.index;
  while (index < cluster.end()) {
    const auto next = own.find(index + 1);
    if (next == own.end() || next->second != cluster.term_of(index + 1)) break;
    ++index;
  }
  return index;
}

void MemberModel::append(Index first, Index last) {
  truncate_after(first - 1);
  brought_up_to = 0;
  not_void = UINT64_MAX;  // what is written from here on takes that place
  for (Index index = first; index <= last; ++index) {
    own[index] = cluster.term_of(index);
    history[{index, own[index]}] = cluster.term_of(index - 1);
  }
}

void MemberModel::truncate_after(Index index) {
  own.erase(own.upper_bound(index), own.end());
  written = std::min(written, index);
}

void MemberModel::bring(const std::vector<Index>& indexes) {
  for (const Index index : indexes) {
    if (index <= snapshot.index || index > own_end()) continue;
    const auto there = own.find(index);
    if (there != own.end() && there->second == cluster.term_of(index)) continue;
    not_void = std::min(not_void, index - 1);
    brought_up_to = std::max(brought_up_to, index);
    written = std::min(written, not_void);
  }
}

void MemberModel::install(const SnapshotModel& installed) {
  const auto at = own.find(installed.index);
  const bool agrees = installed.index > snapshot.index && at != own.end() &&
                      at->second == installed.term && own_end() >= installed.index;
  if (!agrees) own.erase(own.upper_bound(installed.index), own.end());
  own[installed.index] = installed.term;
  snapshot = installed;
  // One that failed goes before anything is dropped, not before an older one is installed.
  std::erase_if(attempts, [&](const SnapshotModel& one) { return one.index <= installed.index; });
  // What came with a larger one, and was given up, voids the log's entries still.
  const bool covers = installed.index >= brought_up_to;
  if (covers) brought_up_to = 0;
  not_void = covers ? UINT64_MAX : std::max(not_void, installed.index);
  written = agrees ? std::max(written, installed.index) : installed.index;
  transfer.reset();
}

void MemberModel::note_written(const MemberLog& log) {
  const Index now = std::min(log.last_written().index, not_void);
  EXPECT_GE(now, written) << uid << ": what was acknowledged is not so any more";
  EXPECT_LE(now, own_end()) << uid;
  written = now;
}

// ---- what must be there

void MemberModel::check_started(const MemberLog& log, bool disturbed) {
  EXPECT_FALSE(log.amnesia()) << log.amnesia()->reason;
  check_vote(log);
  EXPECT_GE(log.meta().last_applied, last_applied);
  EXPECT_GE(log.last().index, log.meta().last_applied);
  const SnapshotModel found = check_snapshot(log, disturbed);
  if (::testing::Test::HasFailure()) return;
  check_acknowledged(log, found);
  check_nothing_foreign(log, found);
  if (!::testing::Test::HasFailure()) take_over(log, found);
}

void MemberModel::check_vote(const MemberLog& log) const {
  const StoredVote found{log.meta().term, log.meta().voted_for};
  const bool known = found == stored || std::find(asked.begin(), asked.end(), found) != asked.end();
  EXPECT_TRUE(known) << uid << ": has term " << found.term << ", vote for "
                     << (found.voted_for ? found.voted_for->node() : "nobody")
                     << "; acknowledged was term " << stored.term << ", vote for "
                     << (stored.voted_for ? stored.voted_for->node() : "nobody");
}

SnapshotModel MemberModel::check_snapshot(const MemberLog& log, bool disturbed) const {
  const Index index = log.snapshot() ? log.snapshot()->meta.index : 0;
  std::vector<SnapshotModel> allowed = attempts;
  allowed.push_back(snapshot);
  for (const SnapshotModel& one : allowed) {
    if (one.index != index) continue;
    if (index == 0) return one;
    const bool known = log.snapshot()->live_indexes_known;
    if (known ? !(log.snapshot()->live_indexes == one.live) : !disturbed) continue;
    EXPECT_EQ(log.snapshot()->meta.term, one.term);
    return one;
  }
  ADD_FAILURE() << uid << ": has a snapshot at " << index << "; acknowledged was the one at "
                << snapshot.index;
  return {};
}

void MemberModel::check_acknowledged(const MemberLog& log, const SnapshotModel& found) const {
  for (const Index index : found.live.indexes()) {
    const StoredEntry expected = cluster_entry(uid, index, cluster.term_of(index));
    const auto read = log.read_blocking(index);
    ASSERT_TRUE(read) << uid << " live " << read.error().message;
    EXPECT_EQ(read->term, expected.term) << uid << " live " << index;
    EXPECT_TRUE(read->payload.view() == expected.payload.view()) << uid << " live " << index;
  }
  // A snapshot that is not of this log replaces it.
  const auto at = own.find(found.index);
  const bool of_this_log =
      found.index <= snapshot.index || (at != own.end() && at->second == found.term);
  if (!of_this_log) return;
  for (auto one = own.upper_bound(found.index); one != own.end() && one->first <= written; ++one) {
    const auto [index, term] = *one;
    EXPECT_EQ(log.term_at(index), term) << uid << ": acknowledged entry " << index;
    const auto read = log.read_blocking(index);
    ASSERT_TRUE(read) << uid << ": acknowledged entry " << read.error().message;
    EXPECT_TRUE(read->payload.view() == cluster_entry(uid, index, term).payload.view())
        << uid << " " << index;
  }
  EXPECT_GE(log.last_written().index, written) << uid;
}

void MemberModel::check_nothing_foreign(const MemberLog& log, const SnapshotModel& found) const {
  EXPECT_EQ(log.last_written(), log.last()) << uid;
  if (log.empty()) return;
  Term before = found.term;
  bool agreed = true;
  for (Index index = found.index + 1; index <= log.last().index; ++index) {
    const auto read = log.read_blocking(index);
    ASSERT_TRUE(read) << uid << " " << read.error().message;
    EXPECT_GE(read->term, before) << uid << " " << index;
    EXPECT_TRUE(read->payload.view() == cluster_entry(uid, index, read->term).payload.view())
        << uid << " " << index;
    // What everybody has agreed on is right wherever it came from.
    agreed = agreed && index <= cluster.committed() && read->term == cluster.term_of(index);
    const auto appended = history.find({index, read->term});
    EXPECT_TRUE(agreed || appended != history.end())
        << uid << ": entry " << index << " of term " << read->term << " was never appended";
    // Right after the snapshot what a write below it has voided may be back.
    if (!agreed && appended != history.end() && index > found.index + 1) {
      EXPECT_EQ(appended->second, before) << uid << ": entry " << index << " of term " << read->term
                                          << " follows one of another log";
    }
    before = read->term;
  }
}

void MemberModel::take_over(const MemberLog& log, const SnapshotModel& found) {
  stored = {log.meta().term, log.meta().voted_for};
  asked.clear();
  last_applied = log.meta().last_applied;
  snapshot = found;
  attempts.clear();
  own.clear();
  for (const Index index : found.live.indexes()) own[index] = cluster.term_of(index);
  if (found.index > 0) own[found.index] = found.term;
  for (Index index = found.index + 1; index <= log.last().index; ++index) {
    own[index] = *log.term_at(index);
  }
  written = log.last().index;
  not_void = UINT64_MAX;
  brought_up_to = 0;
  transfer.reset();
  installing = settling = false;
}

bool MemberModel::check_damaged(const MemberLog& log) const {
  EXPECT_EQ((StoredVote{log.meta().term, log.meta().voted_for}), stored) << uid;
  EXPECT_EQ(log.snapshot() ? log.snapshot()->meta.index : 0, snapshot.index) << uid;
  EXPECT_GE(log.last_written().index, written) << uid;
  bool readable = true;
  const auto expect = [&](Index index, Term term) {
    const auto read = log.read_blocking(index);
    if (!read) {
      EXPECT_EQ(read.error().code, ErrorCode::corrupt) << uid << " " << read.error().message;
      readable = false;
      return;
    }
    EXPECT_EQ(read->term, term) << uid << " " << index;
    EXPECT_TRUE(read->payload.view() == cluster_entry(uid, index, term).payload.view())
        << uid << " " << index;
  };
  for (const Index index : snapshot.live.indexes()) expect(index, cluster.term_of(index));
  for (auto one = own.upper_bound(snapshot.index); one != own.end() && one->first <= written;
       ++one) {
    expect(one->first, one->second);
  }
  return readable;
}

void MemberModel::check_running(const MemberLog& log) const {
  EXPECT_EQ(log.last().index, own_end()) << uid;
  const auto expect = [&](Index index, Term term) {
    const auto read = log.read_blocking(index);
    ASSERT_TRUE(read) << uid << " " << read.error().message;
    EXPECT_EQ(read->term, term) << uid << " " << index;
    EXPECT_TRUE(read->payload.view() == cluster_entry(uid, index, term).payload.view())
        << uid << " " << index;
  };
  for (const Index index : snapshot.live.indexes()) expect(index, cluster.term_of(index));
  for (auto one = own.upper_bound(snapshot.index); one != own.end(); ++one) {
    expect(one->first, one->second);
  }
}

}  // namespace rakv::raftlog::testing
