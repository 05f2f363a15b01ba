// SPDX-License-Identifier: Apache-2.0
#include "raft/member/peer_watch.h"

#include "cnode/etf/cursor.h"

namespace rakv::member {

PeerWatch::~PeerWatch() {
  for (const std::string& node : nodes_) seams_.release_connection(node);
}

void PeerWatch::set_cluster(const raft::Cluster& cluster) {
  std::set<std::string> wanted;
  for (const auto& [member, config] : cluster) {
    if (member.node() != own_node_) wanted.insert(member.node());
  }
  for (const std::string& node : wanted) {
    if (!nodes_.contains(node)) seams_.keep_connected(node);
  }
  for (const std::string& node : nodes_) {
    if (!wanted.contains(node)) seams_.release_connection(node);
  }
  nodes_ = std::move(wanted);
}

void PeerWatch::monitor_leader(const raft::ServerId& leader) {
  leader_ = leader;
  monitor_ = seams_.monitor(leader);
}

void PeerWatch::demonitor_leader() {
  if (monitor_) seams_.demonitor(*monitor_);
  monitor_.reset();
  leader_.reset();
}

std::optional<raft::event::LeaderDown> PeerWatch::on_down(const etf::Reference& monitor,
                                                          std::string_view reason) {
  if (!monitor_ || *monitor_ != monitor || !leader_) return std::nullopt;
  monitor_.reset();
  const bool lost = etf::Cursor(reason).is_atom("noconnection");
  return raft::event::LeaderDown{
      *leader_, lost ? raft::event::DownReason::noconnection : raft::event::DownReason::other};
}

}  // namespace rakv::member
