// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "cnode/base/function_ref.h"
#include "cnode/base/shared_bytes.h"
#include "cnode/etf/writer.h"
#include "raft/core/core.h"
#include "raft/member/client_calls.h"
#include "raft/member/counters.h"
#include "raft/member/notifications.h"
#include "raft/member/state_machine.h"
#include "raft/wire/client_requests.h"

namespace rakv::member {

/// Clients' commands on their way to the core: looked at, made into entries, and gathered, so that
/// those of one turn of the event loop become one append (docs/protocol/wire.md 4.2).
class ClientCommands {
 public:
  /// What it needs of the member. All live as long as this.
  struct Seams {
    const raft::Core& core;
    Counters& counters;
    ClientCalls& calls;
    Notifications& notifications;
    /// The machine of the moment.
    std::function<const StateMachine&()> machine;
    /// Whether effects wait for the disk.
    std::function<bool()> blocked;
    /// The disk does not keep up: no more commands may wait for it. A leader refuses them then with
    /// `wal_down`, as when the log can't be written at all.
    std::function<bool()> overloaded;
    /// For the `ts` of entries.
    std::function<std::int64_t()> system_time_ms;
    /// The memory of the message that is being handled (node::Node::take_message).
    std::function<SharedBytes(std::string_view part)> take_message;
    /// Calls the function at the end of this turn of the event loop.
    std::function<void(std::function<void()>)> at_end_of_turn;
    /// Answers that there is no room, to a caller or to nobody.
    std::function<void(std::string_view from)> refuse_for_memory;
    /// Sends a cast to another member.
    std::function<void(const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write)> cast;
    std::function<void(raft::Event)> step;
  };
  /// Commands of one append.
  static constexpr std::size_t kBatchMax = 4096;

  explicit ClientCommands(Seams seams) : seams_(std::move(seams)) {}
  ~ClientCommands() { *alive_ = false; }
  ClientCommands(const ClientCommands&) = delete;
  ClientCommands& operator=(const ClientCommands&) = delete;

  /// `from` is empty for a cast; `request` is what was decoded. Views into the message that is
  /// being handled.
  void submit(std::string_view from, std::string_view request, const wire::request::Command& asked,
              bool leader_call);
  /// What was gathered goes to the core. Whatever else a client asks for comes after the commands
  /// that it sent before; members' messages need not wait.
  void flush();

  /// A command outside a leader_call came to a member that does not lead: it is refused, forwarded
  /// or dropped by its mode.
  void carry_out(const raft::effect::NotLeader& effect);

 private:
  /// Why a leader does not take it: an encoded reason; empty when it does.
  std::string refusal(const wire::request::Command& asked);
  void refuse(std::string_view from, std::string_view request, const wire::request::Command& asked,
              bool leader_call, std::string_view reason);
  void gather(std::string_view from, std::string_view request, const wire::request::Command& asked,
              raft::event::ClientCommand command);
  void reject_notification(std::string_view mode, const std::optional<raft::ServerId>& leader);

  Seams seams_;
  std::vector<raft::event::ClientCommand> batch_;
  bool flush_scheduled_ = false;
  etf::Writer scratch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
