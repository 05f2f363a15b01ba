// SPDX-License-Identifier: Apache-2.0
#include "raft/wire/ids.h"

#include <string>
#include <utility>

#include "cnode/etf/map_pairs.h"

namespace rakv::wire {

namespace {

raft::Membership read_membership(std::string_view term) {
  etf::Cursor cursor(term);
  for (const raft::Membership known :
       {raft::Membership::voter, raft::Membership::promotable, raft::Membership::non_voter}) {
    if (cursor.is_atom(to_string(known))) return known;
  }
  return raft::Membership::unknown;
}

/// Takes over one pair of a voter_status map, or of a join's map.
void take_voter_status_pair(std::string_view key, std::string_view value,
                            raft::VoterStatus& status) {
  if (key == "membership") {
    status.membership = read_membership(value);
  } else if (key == "uid") {
    if (const auto uid = etf::Cursor(value).binary()) status.uid = std::string(*uid);
  } else if (key == "target") {
    if (const auto target = etf::Cursor(value).u64()) status.target = raft::Index(*target);
  }
}

/// Reads a peer map, whatever else is in it. A peer that is no map has nothing to say.
std::optional<raft::PeerConfig> read_peer_config(etf::Cursor& cursor) {
  raft::PeerConfig config;
  if (cursor.kind() != etf::TermKind::map) {
    if (!cursor.skip()) return std::nullopt;
    return config;
  }
  const bool read =
      etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
        if (key == "voter_status") {
          etf::Cursor status(value);
          config.voter_status = read_voter_status(status);
        } else if (key == "machine_version") {
          config.machine_version = etf::Cursor(value).u64();
        }
      });
  if (!read) return std::nullopt;
  return config;
}

std::size_t config_pairs(const raft::PeerConfig& config) {
  return (config.voter_status ? 1U : 0U) + (config.machine_version ? 1U : 0U);
}

void write_config_pairs(etf::Writer& writer, const raft::PeerConfig& config) {
  if (config.machine_version) writer.atom("machine_version").u64(*config.machine_version);
  if (config.voter_status) {
    writer.atom("voter_status");
    write_voter_status(writer, *config.voter_status);
  }
}

void write_peer_numbers(etf::Writer& writer, const raft::Peer& peer) {
  writer.atom("next_index").u64(peer.next_index.value());
  writer.atom("match_index").u64(peer.match_index.value());
  writer.atom("query_index").u64(peer.query_index.value());
  writer.atom("commit_index_sent").u64(peer.commit_index_sent.value());
}

}  // namespace

std::optional<raft::ServerId> read_server_id(etf::Cursor& cursor) {
  if (!cursor.tuple(2)) return std::nullopt;
  const auto name = cursor.atom();
  const auto node = cursor.atom();
  if (!name || !node) return std::nullopt;
  return raft::ServerId(std::string(*name), std::string(*node));
}

void write_server_id(etf::Writer& writer, const raft::ServerId& id) {
  writer.tuple(2).atom(id.name()).atom(id.node());
}

std::optional<raft::VoterStatus> read_voter_status(etf::Cursor& cursor) {
  raft::VoterStatus status;
  const bool read =
      etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
        take_voter_status_pair(key, value, status);
      });
  if (!read) return std::nullopt;
  return status;
}

void write_voter_status(etf::Writer& writer, const raft::VoterStatus& status) {
  writer.map((status.membership ? 1U : 0U) + (status.uid ? 1U : 0U) + (status.target ? 1U : 0U));
  if (status.membership) writer.atom("membership").atom(to_string(*status.membership));
  if (status.uid) writer.atom("uid").binary(*status.uid);
  if (status.target) writer.atom("target").u64(status.target->value());
}

std::optional<raft::Cluster> read_cluster(etf::Cursor& cursor) {
  // A member takes many times its bytes in memory.
  constexpr std::uint32_t kMaxMembers = 16'384;
  const auto too_many = [&cursor](std::uint32_t count) {
    if (count > kMaxMembers) cursor.fail();
    return count > kMaxMembers;
  };
  raft::Cluster cluster;
  if (cursor.kind() == etf::TermKind::map) {
    const std::optional<std::uint32_t> count = cursor.map();
    if (!count || too_many(*count)) return std::nullopt;
    for (std::uint32_t i = 0; i < *count; ++i) {
      auto id = read_server_id(cursor);
      if (!id) return std::nullopt;
      auto config = read_peer_config(cursor);
      if (!config) return std::nullopt;
      cluster.insert_or_assign(std::move(*id), std::move(*config));
    }
    return cluster;
  }
  const std::optional<std::uint32_t> count = cursor.list();
  if (!count || too_many(*count)) return std::nullopt;
  for (std::uint32_t i = 0; i < *count; ++i) {
    auto id = read_server_id(cursor);
    if (!id) return std::nullopt;
    cluster.emplace(std::move(*id), raft::PeerConfig{});
  }
  if (!cursor.list_end(*count)) return std::nullopt;
  return cluster;
}

void write_cluster_change_map(etf::Writer& writer, const raft::Cluster& cluster,
                              const raft::Peers* peers) {
  static const raft::Peer kNewPeer;
  writer.map(cluster.size());
  for (const auto& [id, config] : cluster) {
    write_server_id(writer, id);
    const raft::Peer* peer = &kNewPeer;
    if (peers != nullptr) {
      if (const auto found = peers->find(id); found != peers->end()) peer = &found->second;
    }
    writer.map(5 + config_pairs(config));
    write_peer_numbers(writer, *peer);
    writer.atom("status").atom("normal");
    write_config_pairs(writer, config);
  }
}

void write_snapshot_cluster(etf::Writer& writer, const raft::Cluster& cluster) {
  writer.map(cluster.size());
  for (const auto& [id, config] : cluster) {
    write_server_id(writer, id);
    if (!config.voter_status) {
      writer.map(0);
      continue;
    }
    writer.map(1).atom("voter_status");
    write_voter_status(writer, *config.voter_status);
  }
}

void write_peer(etf::Writer& writer, const raft::Peer& peer, const etf::PidView* sender) {
  writer.map(5 + config_pairs(peer.config));
  write_peer_numbers(writer, peer);
  writer.atom("status");
  switch (peer.status) {
    case raft::PeerStatus::normal:
    case raft::PeerStatus::suspended:
    case raft::PeerStatus::disconnected:
      writer.atom(to_string(peer.status));
      break;
    case raft::PeerStatus::sending_snapshot:
      writer.tuple(3).atom("sending_snapshot");
      if (sender != nullptr) {
        writer.pid(*sender);
      } else {
        writer.atom("undefined");
      }
      writer.u64(peer.snapshot_failures);
      break;
    case raft::PeerStatus::snapshot_backoff:
      writer.tuple(2).atom("snapshot_backoff").u64(peer.snapshot_failures);
      break;
  }
  write_config_pairs(writer, peer.config);
}

std::optional<JoinData> read_join_data(etf::Cursor& cursor) {
  raft::VoterStatus collected;
  std::optional<raft::ServerId> id;
  bool has_status = false;
  std::optional<raft::VoterStatus> status;
  const bool read =
      etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
        etf::Cursor inner(value);
        if (key == "id") {
          id = read_server_id(inner);
        } else if (key == "voter_status") {
          has_status = true;
          status = read_voter_status(inner);
        } else {
          take_voter_status_pair(key, value, collected);
        }
      });
  if (!read) return std::nullopt;
  if (!id || (has_status && !status)) {
    cursor.fail();
    return std::nullopt;
  }
  return JoinData{std::move(*id), status ? std::move(*status) : std::move(collected)};
}

std::optional<raft::SnapshotMeta> read_snapshot_meta(etf::Cursor& cursor) {
  raft::SnapshotMeta meta;
  std::optional<std::uint64_t> index;
  std::optional<std::uint64_t> term;
  std::optional<std::uint64_t> version = 0;
  std::optional<raft::Cluster> cluster;
  const bool read =
      etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
        etf::Cursor inner(value);
        if (key == "index") {
          index = inner.u64();
        } else if (key == "term") {
          term = inner.u64();
        } else if (key == "machine_version") {
          version = inner.u64();
        } else if (key == "cluster") {
          cluster = read_cluster(inner);
        }
      });
  if (!read) return std::nullopt;
  if (!index || !term || !version || !cluster) {
    cursor.fail();
    return std::nullopt;
  }
  meta.index = raft::Index(*index);
  meta.term = raft::Term(*term);
  meta.machine_version = *version;
  meta.cluster = std::move(*cluster);
  return meta;
}

void write_snapshot_meta(etf::Writer& writer, const raft::SnapshotMeta& meta) {
  writer.map(4);
  writer.atom("index").u64(meta.index.value());
  writer.atom("term").u64(meta.term.value());
  writer.atom("cluster");
  write_snapshot_cluster(writer, meta.cluster);
  writer.atom("machine_version").u64(meta.machine_version);
}

}  // namespace rakv::wire
