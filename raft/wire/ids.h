// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/core/peer.h"
#include "raft/core/types.h"

// Server ids, voter statuses and cluster maps as ra writes them
// (docs/protocol/wire.md 2.10, 3.1 and 4.9).
//
// Readers return nullopt and leave the cursor failed when the next term is not what they read;
// cursor.error() then says where.

namespace rakv::wire {

/// Reads `{Name, Node}`.
std::optional<raft::ServerId> read_server_id(etf::Cursor& cursor);
void write_server_id(etf::Writer& writer, const raft::ServerId& id);

/// Reads a voter_status map. Keys that are not known, and values of the wrong form, count as
/// absent; a membership that is not known is Membership::unknown, which is no voter.
std::optional<raft::VoterStatus> read_voter_status(etf::Cursor& cursor);
void write_voter_status(etf::Writer& writer, const raft::VoterStatus& status);

/// Reads a configuration in any form ra ever wrote: `#{SrvId => PeerMap}`, where only voter_status
/// and machine_version of a peer map count and all else is skipped whatever it is, or a list of
/// ids. At most 16,384 members.
std::optional<raft::Cluster> read_cluster(etf::Cursor& cursor);

/// The form inside `$ra_cluster_change` entries: full peer maps, as a dump of ra's peer table. The
/// numbers come from `peers` (null, or members that are not in it: those of a new peer); the status
/// is always `normal`, because receivers may not care for it.
void write_cluster_change_map(etf::Writer& writer, const raft::Cluster& cluster,
                              const raft::Peers* peers);

/// The form inside a snapshot's meta: `#{SrvId => #{} | #{voter_status => _}}`.
void write_snapshot_cluster(etf::Writer& writer, const raft::Cluster& cluster);

/// A peer as a leader's members_info and overview show it, with its live status. ra's status of a
/// running transfer is `{sending_snapshot, Pid, Failures}`; `sender` is that pid, `undefined` is
/// written without it.
void write_peer(etf::Writer& writer, const raft::Peer& peer, const etf::PidView* sender = nullptr);

/// What `$ra_join` carries in its map form.
struct JoinData {
  raft::ServerId id;
  raft::VoterStatus voter_status;
};
/// Reads `#{id := SrvId, voter_status := Map}` or `#{id := SrvId}` with any of membership, uid,
/// target, which then are the voter status. Other keys are skipped.
std::optional<JoinData> read_join_data(etf::Cursor& cursor);

/// Reads a snapshot's meta map. Without index, term or cluster there is nothing; without
/// machine_version it is 0.
std::optional<raft::SnapshotMeta> read_snapshot_meta(etf::Cursor& cursor);
void write_snapshot_meta(etf::Writer& writer, const raft::SnapshotMeta& meta);

}  // namespace rakv::wire
