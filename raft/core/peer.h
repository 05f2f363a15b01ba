// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "raft/core/types.h"

namespace rakv::raft {

enum class PeerStatus : std::uint8_t {
  normal,
  suspended,
  sending_snapshot,
  snapshot_backoff,
  disconnected
};
std::string_view to_string(PeerStatus status);

/// What a leader knows of one other member.
struct Peer {
  PeerConfig config;
  Index next_index{1};
  Index match_index;
  QueryIndex query_index;
  Index commit_index_sent;
  PeerStatus status = PeerStatus::normal;
  /// Failed snapshot transfers in a row.
  std::uint64_t snapshot_failures = 0;
  /// The running transfer, with status sending_snapshot.
  RoundId transfer;
};
using Peers = std::map<ServerId, Peer>;

}  // namespace rakv::raft
