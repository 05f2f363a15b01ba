// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/connection_table.h"

#include <utility>

#include "cnode/base/check.h"

namespace rakv::distribution {

ConnectionTable::ConnectionTable(std::string own_name) : own_name_(std::move(own_name)) {}

ConnectionTable::DialAnswer ConnectionTable::begin_dial(const std::string& peer, Claims claims) {
  Peer& entry = peers_[peer];
  if (entry.up) return {Dial::up, 0};
  if (entry.dial) return {Dial::under_way, 0};
  entry.dial = next_attempt_++;
  // Were we to dial now, the peer might give up the attempt that we are about to accept, in favour
  // of a dial that we give up the moment that attempt succeeds.
  entry.waits_for_inbound = claims == Claims::heed && !entry.inbound.empty();
  return {entry.waits_for_inbound ? Dial::wait : Dial::start, *entry.dial};
}

void ConnectionTable::dial_waits(const std::string& peer, AttemptId attempt) {
  const auto found = peers_.find(peer);
  if (found != peers_.end() && found->second.dial == attempt) {
    found->second.waits_for_inbound = true;
  }
}

bool ConnectionTable::inbound_window_over(const std::string& peer, AttemptId attempt) {
  const auto found = peers_.find(peer);
  if (found == peers_.end() || found->second.dial != attempt) return false;
  found->second.dial.reset();
  forget_if_empty(peer);
  return true;
}

bool ConnectionTable::inbound_under_way(const std::string& peer) const {
  const auto found = peers_.find(peer);
  return found != peers_.end() && !found->second.inbound.empty();
}

bool ConnectionTable::old_connection_is_dead(const std::string& peer) const { return !up(peer); }

void ConnectionTable::attempt_failed(const std::string& peer, AttemptId attempt) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  Peer& entry = found->second;
  if (entry.dial == attempt) entry.dial.reset();
  entry.inbound.erase(attempt);
  forget_if_empty(peer);
}

ConnectionTable::InboundAnswer ConnectionTable::inbound_named(const std::string& peer) {
  Peer& entry = peers_[peer];
  InboundAnswer answer{Status::ok, 0};
  if (entry.up) {
    answer.status = Status::alive;
  } else if (entry.dial && !entry.waits_for_inbound) {
    // Both dial at once: the attempt of the node with the greater name wins (net_kernel:
    // accept_pending). If that is the peer, it refuses ours.
    if (own_name_ > peer) {
      answer.status = Status::nok;
      return answer;
    }
    answer.status = Status::ok_simultaneous;
  }
  answer.attempt = next_attempt_++;
  entry.inbound.insert(answer.attempt);
  return answer;
}

ConnectionTable::UpAnswer ConnectionTable::handshake_finished(const std::string& peer,
                                                              AttemptId attempt) {
  UpAnswer answer;
  const auto found = peers_.find(peer);
  const bool is_dial = found != peers_.end() && found->second.dial == attempt;
  if (found == peers_.end() || (!is_dial && !found->second.inbound.contains(attempt))) {
    answer.keep = false;  // given up meanwhile
    return answer;
  }
  Peer& entry = found->second;
  entry.inbound.erase(attempt);
  if (entry.dial == attempt) entry.dial.reset();
  // The peer runs one attempt at a time: of two that were verified the one begun later is the live
  // one.
  if (entry.up && *entry.up > attempt) {
    answer.keep = false;
    return answer;
  }
  answer.drop_connection = std::exchange(entry.up, attempt);
  answer.abort_dial = std::exchange(entry.dial, std::nullopt);
  entry.waits_for_inbound = false;
  return answer;
}

void ConnectionTable::connection_closed(const std::string& peer, AttemptId attempt) {
  const auto found = peers_.find(peer);
  if (found == peers_.end() || found->second.up != attempt) return;
  found->second.up.reset();
  forget_if_empty(peer);
}

std::optional<AttemptId> ConnectionTable::up(const std::string& peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? std::nullopt : found->second.up;
}

void ConnectionTable::forget_if_empty(const std::string& peer) {
  const auto found = peers_.find(peer);
  if (found != peers_.end() && found->second.empty()) peers_.erase(found);
}

}  // namespace rakv::distribution
