// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "raft/member/peer_context.h"

namespace rakv::member {

/// The append_entries_rpcs a leader owes one member, in order.
///
/// The core says which entries go out; here they are fetched (from memory, or from segments by a
/// read that others need not wait for), cut to a bounded size, and handed to the connection while
/// it has room. While it has none the core is told to be quiet (event::PeerSuspended), so that what
/// is queued for a slow member stays bounded: ra spawns a helper process per blocked message
/// instead (ra_server_proc:send_rpc).
class AppendEntriesSender {
 public:
  AppendEntriesSender(PeerContext& context, raft::ServerId to);
  ~AppendEntriesSender();
  AppendEntriesSender(const AppendEntriesSender&) = delete;
  AppendEntriesSender& operator=(const AppendEntriesSender&) = delete;

  /// What is left of an older term is dropped.
  void add(raft::effect::SendAppendEntries message);
  /// The connection has room again, or is there again, or is gone: goes on, or gives up.
  void pump();

 private:
  void send(std::vector<raftlog::StoredEntry> entries);
  void read_from_disk();
  void drop_all();

  PeerContext& context_;
  raft::ServerId to_;
  std::deque<raft::effect::SendAppendEntries> queue_;
  bool suspended_ = false;
  bool reading_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
