// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "cnode/etf/ids.h"

namespace rakv::node {

/// Something on this node that has a pid: it gets messages, DOWN notices of what it monitors, and
/// exit signals. Everything is called on the node's thread, never from inside a call into the node.
/// Views live during the call.
class Process {
 public:
  virtual ~Process() = default;

  /// A message for the pid or a name of it: one encoded term, without version byte, not yet
  /// validated.
  virtual void on_message(std::string_view message) = 0;

  /// What `monitor` watched is gone; `reason` is an encoded term (`noproc`, `noconnection`, ...).
  virtual void on_down(const etf::Reference& monitor, std::string_view reason) {
    static_cast<void>(monitor);
    static_cast<void>(reason);
  }

  /// erlang:exit(Pid, Reason) from elsewhere, or the end of a linked process. By default nothing
  /// happens, as with a process that traps exits.
  virtual void on_exit_signal(const etf::PidView& from, std::string_view reason) {
    static_cast<void>(from);
    static_cast<void>(reason);
  }
};

}  // namespace rakv::node
