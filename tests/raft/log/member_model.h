// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/log/member_log.h"

// What the random crash test knows of one server: what its cluster has agreed on, and what its log
// has acknowledged.

namespace rakv::raftlog::testing {

using Random = std::mt19937_64;
/// From `low` to `high`, both included.
inline std::uint64_t between(Random& random, std::uint64_t low, std::uint64_t high) {
  return low + random() % (high - low + 1);
}
inline bool one_in(Random& random, std::uint64_t count) { return random() % count == 0; }

/// The entry that a server's cluster has at this index and term: there is only one, as Raft has it.
/// Some are large, some have runs of zeros, and of some the record's Adler-32 is 0.
StoredEntry cluster_entry(const std::string& uid, Index index, Term term);
bool has_adler_zero(const std::string& uid, Index index, Term term);

/// The log of the cluster's present leader. Entries up to `committed` never change.
class ClusterLog {
 public:
  Index end() const { return terms_.size(); }
  Index committed() const { return committed_; }
  Term leader_term() const { return leader_term_; }
  /// Index 0 has term 0.
  Term term_of(Index index) const { return index == 0 ? 0 : terms_.at(index - 1); }
  /// Another leader, of a higher term, with all that is committed. What it has besides may be of a
  /// lower term than what others have there.
  void elect(Random& random);
  /// The leader appends.
  void extend(std::uint64_t count) { terms_.insert(terms_.end(), count, leader_term_); }
  /// A majority has what the leader wrote up to somewhere.
  void commit(Random& random);

 private:
  std::vector<Term> terms_;
  Index committed_ = 0;
  Term leader_term_ = 1;
  std::vector<Term> unseen_;  // of leaders that nobody here has heard of
};

struct StoredVote {
  Term term = 0;
  std::optional<ServerId> voted_for;
  bool operator==(const StoredVote&) const = default;
};

struct SnapshotModel {
  Index index = 0;
  Term term = 0;
  IndexSet live;
};

/// A snapshot that is being taken in.
struct Transfer {
  SnapshotModel snapshot;
  std::vector<Index> unsent;
  bool below_own = false;  ///< has live entries at or below the member's own snapshot that it lacks
};

/// One server. `own` mirrors its log in memory; the rest is what was acknowledged.
struct MemberModel {
  std::string name;
  std::string uid;
  ClusterLog cluster;

  bool registered = false;
  bool deletion_asked = false;
  StoredVote stored;
  std::vector<StoredVote> asked;  ///< since then; may be on disk
  std::map<Index, Term> own;
  Index written = 0;
  /// An entry of a snapshot has the place of the one after it: what was acknowledged there is
  /// void.
  Index not_void = UINT64_MAX;
  /// The highest index of such an entry.
  Index brought_up_to = 0;
  Index last_applied = 0;
  SnapshotModel snapshot;
  std::vector<SnapshotModel> attempts;  ///< newer snapshots that may be on disk
  /// What was ever appended: the entry, and the term of the one before it.
  std::map<std::pair<Index, Term>, Term> history;

  std::optional<Transfer> transfer;
  bool installing = false;
  bool settling = false;  ///< is about to be started again inside the process

  Index own_end() const { return own.empty() ? 0 : own.rbegin()->first; }
  /// Up to here the own log is the leader's.
  Index matched() const;
  /// Notes entries from `first` to `last` of the cluster's log as appended.
  void append(Index first, Index last);
  void truncate_after(Index index);
  /// Entries of a transfer are about to be written.
  void bring(const std::vector<Index>& indexes);
  void install(const SnapshotModel& installed);
  void note_written(const MemberLog& log);

  /// After a start: all that was acknowledged is there, and nothing that is not the log's. Then the
  /// model is what the log is. If an error of the disk has `disturbed` it, the live indexes may
  /// have to be found anew from the machine's state.
  void check_started(const MemberLog& log, bool disturbed);
  /// After a start with damage that it has not told of: all is there or can't be read for damage.
  /// False if something can't be read.
  bool check_damaged(const MemberLog& log) const;
  /// In a running process, when no disk error is in the way.
  void check_running(const MemberLog& log) const;

 private:
  void check_vote(const MemberLog& log) const;
  SnapshotModel check_snapshot(const MemberLog& log, bool disturbed) const;
  void check_acknowledged(const MemberLog& log, const SnapshotModel& found) const;
  void check_nothing_foreign(const MemberLog& log, const SnapshotModel& found) const;
  void take_over(const MemberLog& log, const SnapshotModel& found);
};

}  // namespace rakv::raftlog::testing
