// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "raft/member/peer_context.h"

namespace rakv::member {

/// A server's `ra_event_formatter`, `{Module, Function, Arguments}`: what a client gets instead of
/// `{ra_event, ServerId, Event}` is what the function makes of `[ServerId, Event | Arguments]`
/// (ra_server_proc.erl wrap_ra_event). The function is Erlang code: it is applied on the client's
/// node, one event of a client after the other, so that they arrive in their order. An event that
/// it fails for is sent as ra_event; a BEAM's server would end.
class EventFormatter {
 public:
  /// `formatter` is the encoded tuple; `is_formatter()` holds for it.
  EventFormatter(const PeerContext& context, std::string formatter, raft::ServerId server);
  ~EventFormatter();

  static bool is_formatter(std::string_view term);

  /// `pid` and `event`, e.g. `{applied, [...]}`, are encoded.
  void send(const std::string& pid, std::string event);

 private:
  void format_next(const std::string& pid);
  void deliver(const std::string& pid, std::string_view message);

  struct Waiting {
    std::string event;
    ByteCharge charge;
  };

  const PeerContext& context_;
  std::string formatter_;
  raft::ServerId server_;
  std::map<std::string, std::deque<Waiting>> waiting_;  ///< by pid; the first is being formatted
  std::size_t count_ = 0;
  bool complained_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
