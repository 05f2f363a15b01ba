// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "cnode/base/byte_account.h"
#include "cnode/etf/ids.h"
#include "raft/wire/entry.h"

namespace rakv::member {

/// What clients hear of commands that they sent with the mode `{notify, Correlation, Pid}`: the
/// outcomes of one batch of entries in one event for each client, and later again what could not be
/// delivered.
class Notifications {
 public:
  struct Seams {
    /// Sends an event, e.g. `{applied, [...]}`, to this pid; false: it could not be delivered now.
    std::function<bool(const std::string& pid_term, const etf::PidView& pid,
                       std::string_view event)>
        deliver;
    /// An empty charge for what waits.
    std::function<ByteCharge()> charge;
  };
  explicit Notifications(Seams seams) : seams_(std::move(seams)) {}

  /// The command of this mode has this outcome, encoded.
  void add(const wire::ReplyMode& mode, std::string_view outcome);
  /// The batch of entries ends: the clients hear of it.
  void flush();
  /// At once; `pid` is encoded, and whatever is no pid gets nothing.
  void send(const std::string& pid, std::string_view event);

  /// Tries again what could not be delivered.
  void retry();
  /// What could not be delivered is given up.
  void forget_undelivered() { undelivered_.clear(); }
  std::size_t undelivered() const { return undelivered_.size(); }

 private:
  /// The encoded `{Correlation, Outcome}` of one client.
  struct Batch {
    std::string pairs;
    std::uint32_t count = 0;
  };
  struct Undelivered {
    std::string pid;
    std::string event;
    ByteCharge charge;
  };
  void send_batch(const std::string& pid, const Batch& batch);
  void keep(const std::string& pid, std::string_view event);

  Seams seams_;
  std::map<std::string, Batch> batches_;  ///< by encoded pid
  std::deque<Undelivered> undelivered_;
};

}  // namespace rakv::member
