// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/core/core.h"
#include "raft/log/member_log.h"
#include "raft/member/client_calls.h"
#include "raft/member/counters.h"
#include "raft/member/notifications.h"
#include "raft/member/state_machine.h"

namespace rakv::member {

/// The machine, and committed entries on their way to it, with what it says to those who wait
/// (docs/protocol/wire.md 4.3 and 4.4).
class Applier {
 public:
  /// What it needs of the member. All live as long as this.
  struct Seams {
    raftlog::MemberLog& log;
    const raft::Core& core;
    Counters& counters;
    const std::string& log_id;
    ClientCalls& calls;
    Notifications& notifications;
    /// For the latency of commits.
    std::function<std::int64_t()> system_time_ms;
    /// Entries are being read: nothing else may happen until `resume`.
    std::function<void()> wait;
    std::function<void()> resume;
    /// A range is applied to its end.
    std::function<void()> applied;
    /// Committed entries can't be read.
    std::function<void(const Error& error)> failed;
  };

  /// `machine` stands at `applied`.
  Applier(Seams seams, std::unique_ptr<StateMachine> machine, raft::Index applied);
  ~Applier();
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  StateMachine& machine() { return *machine_; }
  const StateMachine& machine() const { return *machine_; }
  /// The last entry that the machine has applied.
  raft::Index last_applied() const { return applied_; }
  /// The machine of a snapshot takes the place of the one that is there, which is given back: it
  /// may take long to destroy.
  std::unique_ptr<StateMachine> replace(std::unique_ptr<StateMachine> machine, raft::Index applied);
  /// Nothing is applied any more.
  void stop();
  /// Of one that was stopped: its machine, as with replace().
  std::unique_ptr<StateMachine> take_machine() { return std::move(machine_); }

  /// Entries that are not in memory (after a restart some may be in segments) are read first.
  void carry_out(const raft::effect::Apply& range);

 private:
  void go_on();
  void read_from_disk(const raft::effect::Apply& range);
  void apply(const raftlog::StoredEntry& entry, bool as_leader);
  bool replies_here(const wire::ReplyMode& mode, std::string_view from, bool as_leader) const;

  Seams seams_;
  std::unique_ptr<StateMachine> machine_;
  raft::Index applied_;
  std::vector<raft::effect::Apply> ranges_;  ///< in order, the first is under way
  bool stopped_ = false;
  etf::Writer outcome_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
