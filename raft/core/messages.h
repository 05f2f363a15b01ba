// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "raft/core/types.h"

// Raft messages as values, one struct per record of ra (`ra.hrl`), without their encoding.

namespace rakv::raft {

/// Leader to peer. No entries means "your log must end at prev_index".
struct AppendEntriesRpc {
  Term term;
  ServerId leader;
  Index leader_commit;
  Index prev_index;
  Term prev_term;
  std::vector<Entry> entries;
};

/// Peer to leader. last_index/last_term: the replier's last durably written entry.
struct AppendEntriesReply {
  Term term;
  bool success = false;
  Index next_index;
  Index last_index;
  Term last_term;
  friend bool operator==(const AppendEntriesReply&, const AppendEntriesReply&) = default;
};

struct RequestVoteRpc {
  Term term;
  ServerId candidate;
  Index last_log_index;
  Term last_log_term;
};

struct RequestVoteResult {
  Term term;
  bool granted = false;
};

/// ra's Token (a reference) stays with the shell: it belongs to the call.
struct PreVoteRpc {
  std::uint64_t protocol_version = 1;
  MachineVersion machine_version = 0;
  Term term;
  ServerId candidate;
  Index last_log_index;
  Term last_log_term;
};

struct PreVoteResult {
  Term term;
  bool granted = false;
};

struct HeartbeatRpc {
  QueryIndex query_index;
  Term term;
  ServerId leader;
};

struct HeartbeatReply {
  QueryIndex query_index;
  Term term;
};

struct InfoRpc {
  ServerId from;
  Term term;
  /// Names of the wanted facts, echoed in the reply; today only "machine_version".
  std::vector<std::string> keys;
};

struct InfoReply {
  ServerId from;
  Term term;
  std::vector<std::string> keys;
  /// Present if asked for and known.
  std::optional<MachineVersion> machine_version;
};

enum class ChunkFlag : std::uint8_t { init, pre, next, last };
std::string_view to_string(ChunkFlag flag);

struct InstallSnapshotRpc {
  Term term;
  ServerId leader;
  std::shared_ptr<const SnapshotMeta> meta;
  std::uint64_t chunk_number = 0;
  ChunkFlag flag = ChunkFlag::next;
  /// Flag pre: live entries, ascending, gaps allowed.
  std::vector<Entry> entries;
  /// Flags next and last: bytes of the snapshot file.
  SharedBytes data;
};

struct InstallSnapshotResult {
  Term term;
  Index last_index;
  Term last_term;
};

}  // namespace rakv::raft
