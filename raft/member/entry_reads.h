// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/memory_accounts.h"
#include "raft/log/member_log.h"
#include "raft/member/client_calls.h"
#include "raft/member/counters.h"
#include "raft/member/held_reads.h"
#include "raft/wire/client_requests.h"

namespace rakv::member {

/// Reads of log entries for clients: values by their index, and the call read_entries.
class EntryReads {
 public:
  /// What it needs of the member. All live as long as this.
  struct Seams {
    const raftlog::MemberLog& log;
    Counters& counters;
    const std::string& log_id;
    ClientCalls& calls;
    HeldReads& held;
    /// Null: there is no bound.
    const MemoryAccounts* memory;
    /// The last entry that the machine has applied.
    std::function<raft::Index()> applied;
    /// Reads entries; what is damaged is fetched from other members (EntryRepair::read).
    std::function<void(std::vector<raftlog::Index>, raftlog::MemberLog::ReadCallback)> read;
    /// Waits for room for an answer of so many bytes to the node of this caller
    /// (node::Node::when_room).
    std::function<void(std::string_view from, std::uint64_t bytes,
                       std::function<void(std::optional<ByteCharge>)> then)>
        when_room;
    /// Answers that there is no room.
    std::function<void(std::string_view from)> refuse_for_memory;
  };
  explicit EntryReads(Seams seams) : seams_(std::move(seams)) {}
  ~EntryReads() { *alive_ = false; }
  EntryReads(const EntryReads&) = delete;
  EntryReads& operator=(const EntryReads&) = delete;

  /// Reads a committed entry that is in memory or on disk, or on other members' if it is damaged
  /// here. One that the log has and the machine has not reached is waited for, `time` at most:
  /// until then it may not be the committed one. Errors: not_found when the log does not have it
  /// (not yet, or not any more), timeout, corrupt, io. The callback comes later, or never if the
  /// member ends first.
  void read(std::uint64_t index, std::chrono::milliseconds time,
            raftlog::MemberLog::ReadCallback callback);

  /// Answers `{read_entries, Indexes}` with what the log has of them: all is in the answer's map,
  /// nothing is left to be read from files by the caller.
  void serve(std::string_view from, const wire::request::ReadEntries& asked);

 private:
  void answer(const std::string& from, std::vector<raftlog::Index> wanted, ByteCharge room);

  Seams seams_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
