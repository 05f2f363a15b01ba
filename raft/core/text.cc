// SPDX-License-Identifier: Apache-2.0
#include "raft/core/text.h"

#include <sstream>

namespace rakv::raft {

namespace {

std::ostream& operator<<(std::ostream& out, const ServerId& id) { return out << to_string(id); }
template <class Tag>
std::ostream& operator<<(std::ostream& out, Number<Tag> number) {
  return out << number.value();
}
std::ostream& operator<<(std::ostream& out, IndexTerm at) {
  return out << at.index << '/' << at.term;
}

std::ostream& operator<<(std::ostream& out, const AppendEntriesReply& reply) {
  return out << (reply.success ? "success" : "refusal") << ", term " << reply.term << ", next "
             << reply.next_index << ", last " << IndexTerm{reply.last_index, reply.last_term};
}

std::ostream& operator<<(std::ostream& out, const std::optional<ServerId>& id) {
  return out << (id ? to_string(*id) : "undefined");
}

const char* name(effect::ElectionTimer length) {
  switch (length) {
    case effect::ElectionTimer::really_short:
      return "really_short";
    case effect::ElectionTimer::in_turn:
      return "in turn";
    case effect::ElectionTimer::short_:
      return "short";
    case effect::ElectionTimer::medium:
      return "medium";
    case effect::ElectionTimer::long_:
      return "long";
    case effect::ElectionTimer::patient:
      return "patient";
  }
  return "unknown";
}

const char* name(effect::RejectReason reason) {
  switch (reason) {
    case effect::RejectReason::cluster_change_not_permitted:
      return "cluster_change_not_permitted";
    case effect::RejectReason::already_member:
      return "already_member";
    case effect::RejectReason::not_member:
      return "not_member";
    case effect::RejectReason::missing_uid:
      return "missing_uid";
    case effect::RejectReason::wal_down:
      return "wal_down";
    case effect::RejectReason::nodedown:
      return "nodedown";
    case effect::RejectReason::unknown_member:
      return "unknown_member";
    case effect::RejectReason::non_voter:
      return "non_voter";
    case effect::RejectReason::not_up_to_date:
      return "not_up_to_date";
    case effect::RejectReason::snapshot_corrupt:
      return "snapshot_corrupt";
    case effect::RejectReason::unsupported_call:
      return "unsupported_call";
  }
  return "unknown";
}

/// One overload per effect; std::visit fails to compile if one is forgotten.
struct Printer {
  std::ostream& out;

  void operator()(const effect::PersistTermVote& e) const {
    out << "persist: term " << e.term << ", vote " << e.voted_for;
  }
  void operator()(const effect::AppendToLog& e) const {
    out << "append:";
    for (const Entry& entry : e.entries) out << " [" << to_string(entry) << ']';
  }
  void operator()(const effect::TruncateLog& e) const { out << "truncate above " << e.last; }
  void operator()(const effect::Apply& e) const {
    out << "apply " << e.first << ".." << e.last << (e.leader ? " as leader" : "");
  }
  void operator()(const effect::SetElectionTimer& e) const {
    out << "election timer: " << name(e.length);
    if (e.length == effect::ElectionTimer::in_turn) out << ' ' << e.turn;
    if (e.stretch > 1) out << " x" << e.stretch;
  }
  void operator()(const effect::CancelElectionTimer&) const { out << "election timer: off"; }
  void operator()(const effect::SetConditionTimer& e) const {
    out << "condition timer: " << e.timeout_ms;
  }
  void operator()(const effect::CancelConditionTimer&) const { out << "condition timer: off"; }
  void operator()(const effect::SetReceiveSnapshotTimer& e) const {
    out << "receive_snapshot timer: " << e.timeout_ms;
  }
  void operator()(const effect::CancelReceiveSnapshotTimer&) const {
    out << "receive_snapshot timer: off";
  }
  void operator()(const effect::SetSnapshotRetryTimer& e) const {
    out << "snapshot retry timer for " << e.peer << ": " << e.timeout_ms;
  }
  void operator()(const effect::CancelSnapshotRetryTimer& e) const {
    out << "snapshot retry timer for " << e.peer << ": off";
  }
  void operator()(const effect::CommandAppended& e) const {
    out << "appended call " << e.token << " at " << IndexTerm{e.index, e.term};
  }
  void operator()(const effect::RedirectClient& e) const {
    out << "redirect call " << e.token << " to " << e.leader;
  }
  void operator()(const effect::HoldClient& e) const { out << "hold call " << e.token; }
  void operator()(const effect::NotLeader& e) const {
    out << "not leader for command " << e.command.token << ", leader " << e.leader;
  }
  void operator()(const effect::RejectCall& e) const {
    out << "reject call " << e.token << ": " << name(e.reason);
  }
  void operator()(const effect::AnswerOk& e) const { out << "answer call " << e.token << ": ok"; }
  void operator()(const effect::AnswerAlreadyLeader& e) const {
    out << "answer call " << e.token << ": already_leader";
  }
  void operator()(const effect::DropCall& e) const { out << "drop call " << e.token; }
  void operator()(const effect::ReadReady& e) const { out << "read ready " << e.token; }
  void operator()(const effect::ServeLeaderRequest& e) const { out << "serve call " << e.token; }
  void operator()(const effect::ScheduleFlush&) const { out << "schedule flush"; }
  void operator()(const effect::SendAppendEntries& e) const {
    out << "append_entries to " << e.to << ": term " << e.term << ", prev "
        << IndexTerm{e.prev_index, e.prev_term} << ", ";
    if (e.last < e.first) {
      out << "no entries";
    } else {
      out << "entries " << e.first << ".." << e.last;
    }
    out << ", commit " << e.commit;
  }
  void operator()(const effect::SendAppendEntriesReply& e) const {
    out << "append_entries reply to " << e.to << ": " << e.reply;
  }
  void operator()(const effect::SendHeartbeat& e) const {
    out << "heartbeat to " << e.to << ": query " << e.query_index << ", term " << e.term;
  }
  void operator()(const effect::SendHeartbeatReply& e) const {
    out << "heartbeat reply to " << e.to << ": query " << e.reply.query_index << ", term "
        << e.reply.term;
  }
  void operator()(const effect::SendInfo& e) const {
    out << "info to " << e.to << ": term " << e.term;
  }
  void operator()(const effect::SendInfoReply& e) const {
    out << "info reply to " << e.to << ": term " << e.reply.term << ", machine_version ";
    if (e.reply.machine_version) {
      out << *e.reply.machine_version;
    } else {
      out << "unknown";
    }
  }
  void operator()(const effect::CallRequestVote& e) const {
    out << "request_vote to " << e.to << ": term " << e.rpc.term << ", last "
        << IndexTerm{e.rpc.last_log_index, e.rpc.last_log_term};
  }
  void operator()(const effect::CallPreVote& e) const {
    out << "pre_vote to " << e.to << ": term " << e.rpc.term << ", last "
        << IndexTerm{e.rpc.last_log_index, e.rpc.last_log_term};
  }
  void operator()(const effect::ReplyVote& e) const {
    out << "vote for call " << e.call << ": " << (e.result.granted ? "granted" : "refused")
        << ", term " << e.result.term;
  }
  void operator()(const effect::ReplyPreVote& e) const {
    out << "pre-vote for call " << e.call << ": " << (e.result.granted ? "granted" : "refused")
        << ", term " << e.result.term;
  }
  void operator()(const effect::SendElectionTimeout& e) const {
    out << "election_timeout to " << e.to;
  }
  void operator()(const effect::SendSnapshot& e) const {
    out << "snapshot to " << e.to << ": " << e.snapshot << ", term " << e.term;
  }
  void operator()(const effect::StopSnapshotSend& e) const { out << "stop snapshot to " << e.to; }
  void operator()(const effect::BeginSnapshot& e) const {
    out << "begin snapshot " << IndexTerm{e.meta->index, e.meta->term};
  }
  void operator()(const effect::AcceptLiveEntries& e) const {
    out << "live entries:";
    for (const Entry& entry : e.entries) out << " [" << to_string(entry) << ']';
  }
  void operator()(const effect::AcceptChunk& e) const {
    out << "chunk " << e.number << ": " << e.data.size() << " bytes";
  }
  void operator()(const effect::CompleteSnapshot& e) const {
    out << "complete snapshot " << IndexTerm{e.meta->index, e.meta->term};
  }
  void operator()(const effect::AbortSnapshot&) const { out << "abort snapshot"; }
  void operator()(const effect::ReplyInstallSnapshot& e) const {
    out << "snapshot reply for call " << e.call << ": term " << e.result.term << ", last "
        << IndexTerm{e.result.last_index, e.result.last_term};
  }
  void operator()(const effect::ReplyInstallSnapshotWithAppendEntries& e) const {
    out << "snapshot refusal for call " << e.call << ": " << e.reply;
  }
  void operator()(const effect::MonitorLeader& e) const { out << "monitor " << e.leader; }
  void operator()(const effect::DemonitorLeader& e) const { out << "demonitor " << e.leader; }
  void operator()(const effect::RoleChanged& e) const {
    out << "role: " << to_string(e.from) << " -> " << to_string(e.to);
  }
  void operator()(const effect::LeaderChanged& e) const { out << "leader: " << e.leader; }
  void operator()(const effect::ClusterChanged&) const { out << "cluster changed"; }
  void operator()(const effect::AmnesiaEnded&) const { out << "amnesia ended"; }
  void operator()(const effect::BadMessage& e) const {
    out << "bad message from " << e.from << ": " << e.what;
  }
  void operator()(const effect::Stop& e) const {
    out << "stop: " << (e.reason == effect::StopReason::removed ? "removed" : "deleted");
    if (e.successor) out << ", after it " << *e.successor;
  }
};

}  // namespace

std::string to_string(const Effect& effect) {
  std::ostringstream out;
  std::visit(Printer{out}, effect);
  return out.str();
}

std::string to_string(const Entry& entry) {
  std::ostringstream out;
  out << IndexTerm{entry.index, entry.term} << ' ' << to_string(entry.kind);
  if (entry.kind == EntryKind::cluster_change && entry.cluster != nullptr)
    out << ' ' << to_string(*entry.cluster);
  if (!entry.payload.empty()) out << " \"" << entry.payload.view() << '"';
  return out.str();
}

std::string to_string(const Cluster& cluster) {
  std::ostringstream out;
  out << '[';
  const char* separator = "";
  for (const auto& [id, config] : cluster) {
    out << separator << id;
    separator = " ";
    if (!config.voter_status) continue;
    const VoterStatus& status = *config.voter_status;
    out << ':' << (status.membership ? to_string(*status.membership) : "joined");
    if (status.target) out << '@' << *status.target;
  }
  out << ']';
  return out.str();
}

std::string describe(const Core& core) {
  std::ostringstream out;
  const LogShape& log = core.log();
  out << to_string(core.role()) << ", term " << core.current_term() << ", vote " << core.voted_for()
      << ", leader " << core.leader() << '\n';
  out << "last " << log.last() << ", written " << log.last_written() << ", snapshot "
      << log.snapshot() << ", commit " << core.commit_index() << ", applied " << core.last_applied()
      << '\n';
  out << "cluster " << to_string(core.cluster()) << " from " << core.cluster_index_term()
      << ", change " << (core.cluster_change_permitted() ? "permitted" : "not permitted")
      << ", membership " << to_string(core.membership())
      << (core.has_amnesia() ? ", with amnesia" : "") << '\n';
  if (const Peers* peers = core.peers()) {
    for (const auto& [id, peer] : *peers) {
      out << "peer " << id << ": next " << peer.next_index << ", match " << peer.match_index
          << ", query " << peer.query_index << ", commit sent " << peer.commit_index_sent << ", "
          << to_string(peer.status) << '\n';
    }
  }
  return out.str();
}

}  // namespace rakv::raft
