// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "cnode/etf/ids.h"
#include "raft/core/event.h"
#include "raft/core/types.h"

namespace rakv::member {

/// The nodes of the other members, to which the member keeps its connections, and the monitor of
/// its leader.
class PeerWatch {
 public:
  /// What it needs of the node.
  struct Seams {
    std::function<void(const std::string& node)> keep_connected;
    std::function<void(const std::string& node)> release_connection;
    std::function<etf::Reference(const raft::ServerId& server)> monitor;
    std::function<void(const etf::Reference& monitor)> demonitor;
  };
  PeerWatch(Seams seams, std::string own_node)
      : seams_(std::move(seams)), own_node_(std::move(own_node)) {}
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  /// The members are these from now on.
  void set_cluster(const raft::Cluster& cluster);
  /// Whether another member is, or was when set_cluster() was called last, on this node.
  bool has_member_on(const std::string& node) const { return nodes_.contains(node); }

  void monitor_leader(const raft::ServerId& leader);
  void demonitor_leader();
  /// A monitor fired, with an encoded reason. Nothing when it is not the one of the leader.
  std::optional<raft::event::LeaderDown> on_down(const etf::Reference& monitor,
                                                 std::string_view reason);

 private:
  Seams seams_;
  std::string own_node_;
  std::set<std::string> nodes_;
  std::optional<raft::ServerId> leader_;
  std::optional<etf::Reference> monitor_;
};

}  // namespace rakv::member
