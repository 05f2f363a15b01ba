// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cnode/base/clock.h"
#include "cnode/node/node.h"
#include "raft/core/core_state.h"
#include "raft/log/member_log.h"
#include "raft/member/member.h"
#include "raft/member/state_machine.h"

namespace rakv::member {

/// The start of one server: its machine is brought to where the log says that it stood, and what
/// the core must know of the log is collected, entry by entry. Each entry is read once.
///
/// A log may have millions of entries, so nothing of this keeps the owner's thread: entries are
/// read, verified and applied on the worker's, some hundreds at a time, and votes and reads of
/// other members get their turn in between.
///
/// The log may have been open before, in this process, for a member that has ended since. So the
/// start waits until nothing that one began changes the log any more (MemberLog::when_settled), and
/// asks the log, not its memory, what is durable.
///
/// It is a process under the server's name from the first moment, as a recovering server of ra is:
/// calls of clients wait, within MemoryAccounts::waiting, and the member answers them; what other
/// members send is dropped, they send it again.
class MemberStart : private node::Process {
 public:
  /// The member, which goes live with run(). Or why it can't be started: corrupt or io when the log
  /// can't be read.
  using Done = std::function<void(Result<std::unique_ptr<Member>>)>;
  MemberStart(MemberServices& services, raftlog::MemberLog& log,
              std::unique_ptr<StateMachine> machine, std::shared_ptr<Counters> counters,
              MemberOptions options, Done done);
  ~MemberStart() override;
  MemberStart(const MemberStart&) = delete;
  MemberStart& operator=(const MemberStart&) = delete;

  /// Takes the server's name, and begins. `done` comes later, unless cancel() comes before. Error:
  /// already_exists when the name is in use.
  Result<void> begin();
  /// Gives up: the process ends with this reason, `done` is not called.
  void cancel(std::string_view reason_atom);

  const etf::Pid& pid() const { return pid_; }
  const std::string& log_id() const { return log_id_; }
  /// The requests that came meanwhile, for the member; to be taken once.
  std::deque<std::string> take_held() {
    held_charge_.resize(0);
    return std::move(held_);
  }

 private:
  struct Replay;

  // node::Process
  void on_message(std::string_view message) override;
  void on_exit_signal(const etf::PidView& from, std::string_view reason) override;

  Result<void> make_replay();
  void read_snapshot();
  void read_entries();
  void give_up_from(raftlog::Index index, const std::string& reason);
  bool reads_again(const Error& error, void (MemberStart::*step)());
  void report_progress();
  void finish();
  void fail(Error error);
  /// `then`, unless this start has ended by then.
  template <class Then>
  auto guarded(Then then) {
    return
        [alive = std::weak_ptr<bool>(alive_), then = std::move(then)](auto&&... arguments) mutable {
          if (!alive.expired()) then(std::forward<decltype(arguments)>(arguments)...);
        };
  }

  MemberServices& services_;
  raftlog::MemberLog& log_;
  std::unique_ptr<StateMachine> empty_machine_;
  std::shared_ptr<Counters> counters_;
  MemberOptions options_;
  Done done_;
  std::string log_id_;
  etf::Pid pid_;
  std::shared_ptr<Replay> replay_;  ///< the worker's while a job is under way, else this thread's
  std::deque<std::string> held_;
  ByteCharge held_charge_;
  Timer read_pause_{services_.io};
  int reads_failed_ = 0;  ///< in a row, for want of something
  Clock::time_point reported_ = services_.node.clock().now();
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
