// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "raft/core/core.h"
#include "raft/core/invariants.h"

// A cluster in memory: the shell round several cores, with logs that can be made durable by hand,
// links that are queues, and crashes. Both the transcripts and the random test drive it.

namespace rakv::raft::test {

/// The server {kv, node}.
ServerId server(const std::string& node);

struct Member {
  std::unique_ptr<Core> core;
  std::unique_ptr<MemberInvariants> invariants;

  // What survives a crash.
  CoreState state;
  /// All entries by index; those above core->log().last_written() may be lost.
  std::map<Index, Entry> log;
  SnapshotMeta snapshot;
  std::uint64_t snapshot_machine = 0;
  std::set<Index> live;
  Index persisted_applied;

  // What does not.
  std::uint64_t machine = 0;
  bool timer_armed = false;
  bool condition_timer = false;
  bool receive_timer = false;
  std::set<ServerId> retry_timers;
  std::map<Index, Entry> incoming_live;
  std::string incoming_data;
  std::shared_ptr<const SnapshotMeta> incoming_meta;
  std::optional<ServerId> monitored;
  bool flush_scheduled = false;
  /// Term and vote that are being stored, and what waits for it; further events wait in own_.
  std::optional<effect::PersistTermVote> storing;
  std::deque<Effect> held;
  /// What was durable and is truncated or overwritten: it may be on the disk still.
  std::map<Index, Entry> old_suffix;
  /// What the disk is storing; it goes on when the member is started again inside its process.
  std::optional<effect::PersistTermVote> disk_stores;
};

class World {
 public:
  /// Snapshots are installed as soon as they are complete; otherwise by finish_install().
  bool installs_at_once = true;
  CoreOptions options;
  /// A store of term and vote lasts until finish_store().
  bool stores_hang = false;
  /// After so many effects the member that carries them out crashes; its name is in `interrupted`.
  std::optional<std::size_t> crash_after_effects;
  std::set<std::string> interrupted;

  /// A brand-new member that knows `members`. Membership other than voter needs the join to name
  /// uid "uid_<node>".
  void add(const std::string& name, const std::vector<std::string>& members,
           Membership membership = Membership::voter);
  /// Loses what is not durable, but for `keep` entries after the durable ones.
  void crash(const std::string& name, std::size_t keep = 0);
  std::vector<std::string> restart(const std::string& name);
  /// The member is started again while its log stays open: what is not durable is still there, and
  /// a store of term and vote goes on.
  std::vector<std::string> restart_inside(const std::string& name);
  std::vector<std::string> finish_store(const std::string& name);
  /// What was sent and not delivered between the two is lost, and both hear of it. Nothing is
  /// delivered until the link is mended.
  void break_link(const std::string& one, const std::string& other);
  void mend_link(const std::string& one, const std::string& other);
  void mend_all_links() { broken_.clear(); }
  bool is_broken(const std::string& one, const std::string& other) const {
    return broken_.contains(std::minmax(one, other));
  }
  /// A crashed member's disk loses what it has above `last` (a snapshot above it, too), and with
  /// `term_lost` the stored term and vote. The member will know that.
  void forget(const std::string& name, Index last, bool term_lost);

  /// One step, carried out. The effects in words.
  std::vector<std::string> step(const std::string& name, Event event);
  /// Delivers the oldest message of a link; nullopt if there is none or nobody is there.
  std::optional<std::vector<std::string>> deliver(const std::string& from, const std::string& to);
  void drop(const std::string& from, const std::string& to);
  std::vector<std::pair<std::string, std::string>> busy_links() const;
  /// A name for the oldest message of a link.
  std::string peek(const std::string& from, const std::string& to) const;

  std::vector<std::string> written(const std::string& name,
                                   std::optional<Index> up_to = std::nullopt);
  std::vector<std::string> take_snapshot(const std::string& name, std::set<Index> live = {});
  std::vector<std::string> finish_install(const std::string& name, bool ok);

  Member& at(const std::string& name) { return members_.at(name); }
  std::map<std::string, Member>& members() { return members_; }
  bool alive(const std::string& name) const;
  /// What a member will be given at its next step.
  const std::deque<Event>& own_events(const std::string& name) { return own_[name]; }
  /// Is there a chunk or an end of this transfer on its way?
  bool is_sending(const std::string& from, const ServerId& to, RoundId transfer);
  /// The first violated invariant, or empty.
  const std::string& violation() const { return violation_; }
  /// Calls answered by members to clients: token and what.
  std::vector<std::pair<CallToken, std::string>> answers;
  ClusterInvariants cluster_invariants;
  /// Off for forced changes, which break them by intent.
  bool checks_cluster = true;

 private:
  struct PeerCall {
    std::string caller;
    std::string callee;
    enum class Kind { vote, pre_vote, snapshot } kind;
    RoundId round;
    bool last = false;
  };

  void announce_down(const std::string& name);
  void start_core(const std::string& name, std::optional<Index> durable = std::nullopt);
  void end_core(const std::string& name);
  void keep_old_suffix(Member& member, Index from);
  bool carry_out_all(const std::string& name, std::deque<Effect> effects,
                     std::vector<std::string>& lines);
  void after_effects(const std::string& name, std::vector<std::string>& lines);
  void carry_out(const std::string& name, Effect& any);
  void send_snapshot(const std::string& name, const effect::SendSnapshot& send);
  void reply_to_call(CallToken token, Event reply);
  void fail_call(CallToken token);
  void post(const std::string& from, const ServerId& to, Event event);
  void note(const std::string& violation);
  CallToken new_call(PeerCall call);

  std::map<std::string, Member> members_;
  std::map<std::pair<std::string, std::string>, std::deque<Event>> links_;
  std::map<CallToken, PeerCall> calls_;
  std::uint64_t next_call_ = 1000;
  std::map<Index, std::uint64_t> machines_;
  std::string violation_;
  /// Events a member owes itself, made while effects are carried out.
  std::map<std::string, std::deque<Event>> own_;
  std::set<std::string> pending_installs_;
  std::set<std::pair<std::string, std::string>> broken_;
};

}  // namespace rakv::raft::test
