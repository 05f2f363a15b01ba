// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/member_log.h"
#include "raft/member/peer_context.h"
#include "raft/member/state_machine.h"

namespace rakv::member {

/// Reads entries from the log, and replaces those that can't be read on this member's disk any more
/// by what other members have.
///
/// When a checksum does not fit, the whole segment is read. Each entry of it that is needed and
/// can't be read is asked for at the other members, the leader first, as clients read a value
/// (`Module:read_entry/4`, which BEAM members answer, too). It is taken only if its index and term
/// are those of the entry that was here, so it is the same committed entry, and if the machine
/// knows of it and its value's hash. Then the segment is written anew (raftlog::replace_entries);
/// the damaged file stays as NAME.bad. Of an entry above the snapshot that holds no live value (a
/// no-op, a value that was overwritten since) nobody can tell the bytes this way: then the read
/// stays an error until a snapshot covers it, or the next start, which fetches it from the leader.
class EntryRepair {
 public:
  /// `machine` gives the member's machine of the moment.
  EntryRepair(PeerContext& context, std::function<const StateMachine&()> machine)
      : context_(context), machine_(std::move(machine)) {}
  ~EntryRepair() { *alive_ = false; }
  EntryRepair(const EntryRepair&) = delete;
  EntryRepair& operator=(const EntryRepair&) = delete;

  /// As MemberLog::read. Later, if something had to be fetched; `corrupt` if that failed.
  void read(std::vector<raftlog::Index> indexes, raftlog::MemberLog::ReadCallback callback);

 private:
  using Indexes = std::shared_ptr<const std::vector<raftlog::Index>>;
  struct Job {
    raftlog::Index index;
    std::function<void(bool replaced)> done;
    raftlog::SegmentDamage damage;
    std::map<raftlog::Index, raftlog::StoredEntry> replacements;
    std::vector<raft::ServerId> peers;
    std::size_t next_peer = 0;
    std::string last_error = "there is no other member";
  };

  void attempt(const Indexes& indexes, int left, raftlog::MemberLog::ReadCallback callback);
  /// Gives the first of them that can't be read; nothing when there is none any more.
  void find_first(const Indexes& indexes, std::size_t position,
                  std::function<void(std::optional<raftlog::Index>)> found);
  void repair(raftlog::Index index, std::function<void(bool)> done);
  void start_next();
  void look_at(Result<raftlog::SegmentDamage> damage);
  void fetch_next();
  /// What is wrong with the answer; nothing if it was taken.
  std::optional<std::string> take(const raftlog::SegmentSlot& slot,
                                  const node::ApplyResult& result);
  void write();
  void finish(const std::optional<std::string>& error);

  PeerContext& context_;
  std::function<const StateMachine&()> machine_;
  std::deque<Job> queue_;  // the front one is under way if busy_
  bool busy_ = false;
  std::map<raftlog::Index, Clock::time_point> not_before_;  // after a failure
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
