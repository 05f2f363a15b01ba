// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "cnode/base/clock.h"
#include "raft/member/peer_context.h"

namespace rakv::member {

/// Which server a node has under a name.
struct FoundServer {
  bool answered = false;           ///< the node was reached and has a ra system
  std::optional<std::string> uid;  ///< of the server that is registered; nothing: there is none
};

/// Asks the node of `server` (ra_directory:uid_of/2, which BEAM nodes answer, too).
void find_server(node::Node& node, const raft::ServerId& server,
                 std::function<void(const FoundServer&)> done);

/// Whether the voters are still the servers that this log knows. ra's members are known by name and
/// node alone. A cluster that was deleted and made anew while a member was away has the same names,
/// and the old log, which may be longer, would win an election and wipe the new cluster. A BEAM
/// starts such a server only when somebody asks for it; this node does it by itself, so it must
/// look first: at its start a member neither votes nor leads before a majority of the voters can't
/// be strangers.
///
/// What the voters' uids are it learns while there is a leader, and keeps in its directory. Where
/// nothing is remembered of a voter, it counts as known. A voter that can't be reached, or whose
/// node has no server of that name, is no stranger, but no friend either: where the others' answers
/// leave it open, the member waits. It follows a leader that it remembers all the same: that one
/// has the log that it knows, and tells it who the voters are now.
class VoterIdentities {
 public:
  enum class Standing {
    takes_part,
    undecided,  ///< a majority may be strangers; they are asked
    stays_out,  ///< a majority are strangers
  };

  /// `on_change` is called from the io_context when the standing is another one.
  VoterIdentities(boost::asio::io_context& io, const PeerContext& context,
                  std::function<void()> on_change);
  ~VoterIdentities();

  /// At the member's start, when its cluster is known.
  void start();
  /// The cluster is this member alone now, by force.
  void forget();
  /// The member has a leader, or another one, or other members; or a node has come back.
  void look_again() { next_look_ = {}; }
  void node_up(const std::string& node);
  /// Every second or so: asks who the voters are, if there is a leader and it is time, and stores
  /// again what could not be stored.
  void tick();

  Standing standing() const { return standing_; }
  bool takes_part() const { return standing_ == Standing::takes_part; }
  /// Whether the member may take entries and snapshots of this leader.
  bool may_follow(const raft::ServerId& leader) const;
  /// Why the member does not take part; one line.
  std::string why() const;
  /// The uid that this voter is remembered by.
  const std::string* remembered(const raft::ServerId& voter) const;

 private:
  void ask(const raft::ServerId& voter);
  void ask_all();
  void answered(const raft::ServerId& voter, const FoundServer& found);
  void decide();
  void learn(const raft::ServerId& voter, const std::string& uid);
  void store();

  const PeerContext& context_;
  std::function<void()> on_change_;
  Timer timer_;
  Standing standing_ = Standing::takes_part;
  std::map<raft::ServerId, std::string> remembered_;
  std::map<raft::ServerId, FoundServer> found_;  ///< since the start, while undecided
  std::set<raft::ServerId> asked_;               ///< the answer is to come
  Clock::time_point next_look_;
  bool said_ = false;
  bool unstored_ = false;
  bool said_unstored_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
