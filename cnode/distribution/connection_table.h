// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/distribution/handshake.h"

// Which of several attempts to connect the same two nodes wins: pure rules, no sockets. Source: OTP
// net_kernel's accept_pending. A name is only a claim until its digest is verified:
// claims end nothing of ours, neither a connection nor a dial, and whether one verified attempt is
// enough is decided by the peer of the greater name, which refuses ours (`nok`) while its own is
// under way.

namespace rakv::distribution {

/// Numbers one attempt (outgoing or incoming) of this process; later attempts have higher numbers.
using AttemptId = std::uint64_t;

/// Keeps, per peer, the attempts under way and the connection that is up. The owner asks before
/// every step and does what it is told; at most one connection per peer is up.
class ConnectionTable {
 public:
  explicit ConnectionTable(std::string own_name);

  /// May we dial `peer` now?
  enum class Dial {
    start,      ///< go on, with the given attempt
    up,         ///< there is a connection
    under_way,  ///< an own attempt runs already, or waits for the peer's
    wait,       ///< the peer's own attempt is under way here: wait for it, with the given attempt
  };
  struct DialAnswer {
    Dial verdict;
    AttemptId attempt = 0;
  };
  /// What to think of inbound attempts of the peer that are under way.
  enum class Claims {
    heed,    ///< wait for them
    ignore,  ///< we have waited
  };
  DialAnswer begin_dial(const std::string& peer, Claims claims = Claims::heed);
  /// The dial got `nok`, or failed while attempts of the peer are under way: from now until
  /// inbound_window_over() we wait for those.
  void dial_waits(const std::string& peer, AttemptId attempt);
  /// The wait for the peer's own attempt is over. True if it was still waiting (this dial has
  /// failed).
  bool inbound_window_over(const std::string& peer, AttemptId attempt);
  /// The dial got `alive`: is the connection that the peer believes in dead for us?
  bool old_connection_is_dead(const std::string& peer) const;
  /// The attempt ended without a connection.
  void attempt_failed(const std::string& peer, AttemptId attempt);

  /// Is an inbound attempt of `peer` under way?
  bool inbound_under_way(const std::string& peer) const;

  /// A new inbound attempt has told its name.
  struct InboundAnswer {
    Status status;
    AttemptId attempt = 0;  ///< number of the new attempt, unless refused
  };
  InboundAnswer inbound_named(const std::string& peer);

  /// An attempt's handshake has succeeded, digest verified.
  struct UpAnswer {
    bool keep = true;  ///< false: a later attempt won; close this one
    std::optional<AttemptId>
        drop_connection;  ///< the old connection: close it before the new one is announced
    std::optional<AttemptId> abort_dial;  ///< an own attempt that is now pointless
  };
  UpAnswer handshake_finished(const std::string& peer, AttemptId attempt);
  /// The connection made by `attempt` is closed.
  void connection_closed(const std::string& peer, AttemptId attempt);

  /// The attempt whose connection to `peer` is up.
  std::optional<AttemptId> up(const std::string& peer) const;
  /// Peers with any attempt or connection.
  std::size_t peers() const { return peers_.size(); }
  /// Whether `peer` is one of them.
  bool knows(const std::string& peer) const { return peers_.contains(peer); }

 private:
  struct Peer {
    std::optional<AttemptId> dial;   ///< our own attempt, or the one that got nok
    bool waits_for_inbound = false;  ///< dial got nok, or has not begun yet
    std::set<AttemptId> inbound;     ///< named, digest not verified
    std::optional<AttemptId> up;
    bool empty() const { return !dial && inbound.empty() && !up; }
  };

  void forget_if_empty(const std::string& peer);

  std::string own_name_;
  std::map<std::string, Peer> peers_;
  AttemptId next_attempt_ = 1;
};

}  // namespace rakv::distribution
