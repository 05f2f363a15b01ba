// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "cnode/etf/writer.h"
#include "raft/wire/entry.h"
#include "raft/wire/messages.h"
#include "tests/simulation/beam_rules.h"

// ra_server:handle_follower/2 and handle_await_condition/2.

namespace rakv::simulation {

using namespace beam;
using raft::Index;
using raft::Role;
using raft::Term;

void BeamRules::on_follower(const Event& event) {
  if (const auto* rpc = std::get_if<raft::AppendEntriesRpc>(&event.body))
    return follower_append_entries(event, *rpc);
  if (const auto* rpc = std::get_if<raft::HeartbeatRpc>(&event.body)) {
    const bool follows = rpc->term >= term();
    update_term(rpc->term);
    if (follows) leader_ = rpc->leader;
    return emit(Send{rpc->leader, raft::HeartbeatReply{rpc->query_index, term()}});
  }
  if (std::holds_alternative<LogWritten>(event.body) ||
      std::holds_alternative<SnapshotWritten>(event.body)) {
    const raft::IndexTerm before = log_.last_written();
    handle_log_event(event);
    if (before != log_.last_written() && leader_) send_append_entries_reply(*leader_, term(), true);
    return emit_pending_release_cursor();
  }
  if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body)) {
    if (membership_ == raft::Membership::voter) process_pre_vote(event, *call);
    return;
  }
  if (const auto* rpc = std::get_if<raft::RequestVoteRpc>(&event.body)) {
    if (membership_ == raft::Membership::voter) follower_request_vote(event, *rpc);
    return;
  }
  if (const auto* replied = std::get_if<beam::AppendEntriesReply>(&event.body))
    return update_term(replied->reply.term);
  if (const auto* replied = std::get_if<beam::HeartbeatReply>(&event.body))
    return update_term(replied->reply.term);
  if (const auto* rpc = std::get_if<raft::InstallSnapshotRpc>(&event.body))
    return follower_install_snapshot(event, *rpc);
  if (std::holds_alternative<ElectionTimeout>(event.body)) {
    if (membership_ == raft::Membership::voter) call_for_pre_vote();
    return;
  }
  if (std::holds_alternative<ForceMemberChange>(event.body))
    return follower_force_member_change(event);
  if (const auto* rpc = std::get_if<raft::InfoRpc>(&event.body)) {
    update_term(rpc->term);
    return send_info_reply(*rpc, true);
  }
  if (const auto* info = std::get_if<raft::InfoReply>(&event.body)) return update_term(info->term);
  if (std::holds_alternative<raft::RequestVoteResult>(event.body) ||
      std::holds_alternative<beam::PreVoteResult>(event.body))
    return;
  unsupported(event);
}

// --- append_entries_rpc

void BeamRules::follower_append_entries(const Event& event, const raft::AppendEntriesRpc& rpc) {
  static_cast<void>(event);
  const Term before = term();
  if (rpc.term < before) return send_append_entries_reply(rpc.leader, before, false);
  emit(RecordLeaderMessage{});
  leader_ = rpc.leader;
  update_term(rpc.term);
  const auto there = log_.fetch_term_or_snapshot(rpc.prev_index);
  if (there != rpc.prev_term) return follower_refuses(rpc, there.has_value());
  Index last_valid = rpc.prev_index;
  auto fresh = rpc.entries.begin();
  for (; fresh != rpc.entries.end() && log_.exists(fresh->index, fresh->term); ++fresh)
    last_valid = fresh->index;
  if (fresh == rpc.entries.end()) return follower_no_new_entries(rpc, last_valid, before);
  follower_new_entries(rpc, {fresh, rpc.entries.end()});
}

void BeamRules::follower_no_new_entries(const raft::AppendEntriesRpc& rpc, Index last_valid,
                                        Term term_before) {
  const Index last = log_.last().index;
  bool validated = last <= last_valid;
  if (rpc.entries.empty() && last > rpc.prev_index) {
    if (rpc.prev_index < applied_) throw BeamCrash("assertNot: a cut below what is applied");
    witness_.on_cut(log_, rpc.prev_index, last);
    log_.set_last_index(rpc.prev_index);
    validated = true;
  }
  if (validated) {
    commit_ = rpc.leader_commit;
    evaluate_commit_index_follower();
    return send_append_entries_reply(rpc.leader, rpc.term, true);
  }
  const Index until = std::max(applied_, last_valid);
  const auto there = log_.fetch_term_or_snapshot(until);
  if (!there) throw BeamCrash("no term of what was validated");
  // Of the term before: ra takes it from the state that it was given.
  acknowledge(rpc.leader, {term_before, true, until + 1, until, *there});
}

void BeamRules::follower_new_entries(const raft::AppendEntriesRpc& rpc,
                                     std::vector<raft::Entry> entries) {
  commit_ = rpc.leader_commit;
  if (entries.front().index < applied_)
    throw BeamCrash("assertNot: an entry below what is applied");
  for (const raft::Entry& entry : entries) pre_append(entry);
  const Index last = log_.last().index;
  if (entries.front().index <= last) witness_.on_cut(log_, entries.front().index - 1, last);
  log_.write(entries);
  evaluate_commit_index_follower();
}

void BeamRules::follower_refuses(const raft::AppendEntriesRpc& rpc, bool mismatch) {
  raft::AppendEntriesReply refusal;
  if (mismatch) {
    refusal = mismatch_reply(rpc.term);
  } else {
    const raft::IndexTerm written = log_.last_written();
    refusal = {rpc.term, false, log_.next_index(), written.index, written.term};
  }
  Condition condition;
  condition.kind = mismatch ? Condition::Kind::term_mismatch : Condition::Kind::missing;
  condition.at_timeout = {Send{rpc.leader, refusal}, RecordLeaderMessage{}};
  emit(Send{rpc.leader, refusal});
  condition_ = std::move(condition);
  become(Role::await_condition);
}

void BeamRules::pre_append(const raft::Entry& entry) {
  const bool is_change = entry.kind == raft::EntryKind::cluster_change;
  if (cluster_at_.index == entry.index && cluster_at_.term != entry.term) {
    if (is_change) return adopt(*entry.cluster, {entry.index, entry.term});
    if (!previous_cluster_) {
      witness_.on_broken_rule("a configuration that a start read from the log cannot be undone");
      throw BeamCrash("badkey: previous_cluster");
    }
    cluster_ = previous_cluster_->cluster;
    membership_ = membership_in(configs(cluster_));
    cluster_at_ = previous_cluster_->at;
    return pre_append(entry);
  }
  if (!is_change) return;
  previous_cluster_ = Previous{cluster_at_, cluster_};
  adopt(*entry.cluster, {entry.index, entry.term});
}

void BeamRules::evaluate_commit_index_follower() {
  if (!leader_) return;
  apply_to(std::min(log_.last().index, commit_), false);
  if (deletes_ && role_ == Role::follower) {
    send_append_entries_reply(*leader_, term(), true);
    return become(Role::terminating_follower);
  }
  emit_pending_release_cursor();
}

// --- votes, snapshots, the forced shrink

void BeamRules::follower_request_vote(const Event& event, const raft::RequestVoteRpc& rpc) {
  if (rpc.term < term()) return reply_vote(event, false);
  if (rpc.term == term() && voted_for() && *voted_for() != rpc.candidate)
    return reply_vote(event, false);
  update_term(rpc.term);
  if (!is_up_to_date(rpc.last_log_index, rpc.last_log_term)) return reply_vote(event, false);
  const auto [given, first] = disk_.votes_given.emplace(rpc.term, rpc.candidate);
  if (!first && given->second != rpc.candidate) witness_.on_second_vote(rpc.term);
  store_term_and_vote(rpc.term, rpc.candidate);
  reply_vote(event, true);
}

void BeamRules::follower_install_snapshot(const Event& event, const raft::InstallSnapshotRpc& rpc) {
  if (rpc.term < term()) {
    etf::Writer result;
    wire::write_install_snapshot_result(result, {term(), rpc.meta->index, rpc.meta->term});
    return reply(event, result.take());
  }
  if (rpc.meta->machine_version > 0) return unsupported(event);
  const bool begins =
      rpc.meta->index > applied_ && rpc.chunk_number <= 1 && rpc.flag != raft::ChunkFlag::pre;
  if (!begins) {
    etf::Writer refusal;
    wire::write_append_entries_reply(refusal, mismatch_reply(rpc.term));
    update_term(rpc.term);
    return reply(event, refusal.take());
  }
  receiving_ = Receiving{{rpc.meta->index, rpc.meta->term}, rpc.flag, false, 1, {}, std::nullopt};
  if (rpc.flag == raft::ChunkFlag::init) {
    witness_.on_cut(log_, applied_, log_.last().index);
    log_.set_last_index(applied_);
  }
  leader_ = rpc.leader;
  update_term(rpc.term);
  again(event);
  emit(RecordLeaderMessage{});
  become(Role::receive_snapshot);
}

void BeamRules::follower_force_member_change(const Event& event) {
  BeamCluster alone;
  alone[id()].config.voter_status =
      raft::VoterStatus{raft::Membership::voter, disk_.config.uid, std::nullopt};
  append_cluster_change(std::move(alone), nullptr);
  membership_ = raft::Membership::voter;
  call_for_pre_vote();
  reply(event, etf::Writer().atom("ok").take());
}

// --- await_condition

void BeamRules::on_await_condition(const Event& event) {
  if (std::holds_alternative<raft::RequestVoteRpc>(event.body)) {
    become(Role::follower);
    return again(event);
  }
  if (const auto* call = std::get_if<beam::PreVoteRpc>(&event.body))
    return process_pre_vote(event, *call);
  if (std::holds_alternative<ElectionTimeout>(event.body)) {
    if (membership_ == raft::Membership::voter) call_for_pre_vote();
    return;
  }
  if (std::holds_alternative<AwaitConditionTimeout>(event.body)) {
    const Condition condition = *std::exchange(condition_, std::nullopt);
    for (const Effect& effect : condition.at_timeout) emit(effect);
    return become(condition.after_timeout);
  }
  if (std::holds_alternative<LogWritten>(event.body) ||
      std::holds_alternative<SnapshotWritten>(event.body))
    return handle_log_event(event);
  if (!condition_holds(event)) return;
  const Role then = condition_->then;
  condition_.reset();
  become(then);
  again(event);
}

/// follower_catchup_cond/3 and transfer_leadership_condition/2.
bool BeamRules::condition_holds(const Event& event) const {
  const auto* entries = std::get_if<raft::AppendEntriesRpc>(&event.body);
  const auto* snapshot = std::get_if<raft::InstallSnapshotRpc>(&event.body);
  if (condition_->kind == Condition::Kind::transfer)
    return (entries != nullptr && entries->term > term()) ||
           (snapshot != nullptr && snapshot->term > term());
  if (entries != nullptr && entries->term >= term()) {
    const auto there = log_.fetch_term_or_snapshot(entries->prev_index);
    if (!there) return false;
    return *there == entries->prev_term || condition_->kind == Condition::Kind::missing;
  }
  return snapshot != nullptr && snapshot->term >= term() &&
         snapshot->meta->index >= log_.next_index();
}

}  // namespace rakv::simulation
