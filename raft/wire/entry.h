// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cnode/base/shared_bytes.h"
#include "raft/core/peer.h"
#include "raft/core/types.h"

// The commands of log entries and the reply modes in them (docs/protocol/wire.md 2.9 and 4.3).
// An entry's payload is the encoded command with the version byte 131 in front, as ra's log files
// have it.

namespace rakv::wire {

/// `{'$usr', #{ts => TsMs[, from => From]}, Data, Mode}`. `from`: the caller's encoded `{Pid,
/// Tag}`, empty if the command did not come by call. `from`, `data` and `mode` are valid terms
/// without version byte. One allocation of the exact size; `data` is copied once.
SharedBytes encode_user(std::int64_t ts_ms, std::string_view from, std::string_view data,
                        std::string_view mode);

/// The same without a copy of `data`: the entry is made inside `message`, the memory in which the
/// client's message lies, by writing the head of the entry right in front of `data`. What stands
/// before `data` in the message is lost, `from` included. Copies after all if `message` is empty,
/// `data` and `mode` do not lie side by side in it, or there is no room in front of them (a
/// client's message always has it).
SharedBytes encode_user_within(SharedBytes message, std::int64_t ts_ms, std::string_view from,
                               std::string_view data, std::string_view mode);

/// `{noop, #{ts => TsMs}, Version}`.
SharedBytes encode_noop(std::int64_t ts_ms, raft::MachineVersion version);

/// `{'$ra_cluster_change', #{ts => TsMs[, from => From]}, ClusterMap, Mode}`. `peers` as for
/// write_cluster_change_map.
SharedBytes encode_cluster_change(std::int64_t ts_ms, std::string_view from,
                                  const raft::Cluster& cluster, const raft::Peers* peers,
                                  std::string_view mode);

/// `{'$ra_cluster_change', undefined, ClusterMap, no_reply}`: the forced shrink.
SharedBytes encode_forced_cluster_change(const raft::Cluster& cluster, const raft::Peers* peers);

/// `{'$ra_cluster', #{ts => TsMs[, from => From]}, delete, Mode}`.
SharedBytes encode_cluster_delete(std::int64_t ts_ms, std::string_view from, std::string_view mode);

/// The payload of an entry that the core made itself (origin is not `given`): a noop or a cluster
/// change. `from` and `request` belong to the client's call that caused it, both empty if there is
/// none; `request` is `{command, _, {_, _, Mode}}` (also inside `{leader_call, _}`) and gives the
/// Mode; `noreply` stands in for a request that can't be read. Aborts on a kind that the core never
/// makes.
SharedBytes encode_core_entry(const raft::Entry& entry, std::int64_t ts_ms, std::string_view from,
                              std::string_view request, const raft::Peers* peers);

/// A command taken apart. Views point into the payload; what a kind does not have is empty.
struct EntryView {
  raft::EntryKind kind = raft::EntryKind::unknown;
  std::string_view meta;                     ///< encoded, any term
  std::string_view data;                     ///< user only: the machine command, encoded
  std::string_view mode;                     ///< not of a noop: encoded, any term
  std::optional<std::int64_t> ts;            ///< of meta, if it is a map that has it
  std::string_view from;                     ///< of meta: the encoded `{Pid, Tag}`; else empty
  raft::ClusterPtr cluster;                  ///< cluster_change only
  raft::MachineVersion machine_version = 0;  ///< noop only
};

/// Takes a payload apart. Never fails: what is not a command that is known, or not one whole term,
/// is of kind `unknown` (members skip such entries, ra_server:apply_with). No allocation for user
/// commands.
EntryView parse_entry(std::string_view payload);

/// The core's view of a stored or received entry.
raft::Entry to_core_entry(raft::Index index, raft::Term term, SharedBytes payload);

/// How the client of a command wants to hear of its outcome.
struct ReplyMode {
  enum class Kind {
    after_log_append,
    await_consensus,
    notify,   ///< `correlation` and `pid` are set
    noreply,  ///< `noreply`, and `no_reply` as forced shrinks have it
    other,    ///< none of ra's modes
  };
  /// Who replies to await_consensus.
  enum class ReplyFrom {
    leader,
    local,   ///< a voter on the caller's node, else the leader
    member,  ///< `member`, else the leader
  };
  Kind kind = Kind::other;
  ReplyFrom reply_from = ReplyFrom::leader;
  raft::ServerId member;         ///< none if `{member, _}` names no server id
  std::string_view correlation;  ///< encoded
  std::string_view pid;          ///< encoded
  bool has_options = false;      ///< the form with a map of options
};

/// Reads a Mode. Never fails: what invalid_reply_mode() refuses is `other`, except `no_reply`.
ReplyMode parse_reply_mode(std::string_view mode);

/// Reads `{notify, Correlation, Pid}` with any correlation; `other` when it is something else.
ReplyMode parse_notify(std::string_view mode);

/// Why a leader refuses a Mode: the encoded reason `{invalid_reply_mode, Mode}` or
/// `{unknown_option, Key, Value}`; nullopt for a good one (ra_server_proc:validate_reply_mode).
std::optional<std::string> invalid_reply_mode(std::string_view mode);

}  // namespace rakv::wire
