// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "raft/core/core.h"

// Snapshots between members (dissertation 5.1): the leader's bookkeeping of transfers, and the
// receiving member's side (ra_server:handle_receive_snapshot). The bytes are the shell's business.
// Diverges: live entries, which a snapshot of ra refers to, come before its chunks.

namespace rakv::raft {

// --- sending
// ----------------------------------------------------------------------------------------------------------

void Core::start_snapshot_send(const ServerId& id, Peer& peer) {
  peer.status = PeerStatus::sending_snapshot;
  peer.transfer = ++last_round_;
  peer.next_index = std::max(log_.snapshot().index, peer.match_index + 1);
  emit(effect::SendSnapshot{id, peer.transfer, current_term_, log_.snapshot()});
}

/// A peer whose transfer failed is tried again at once. Without its timer nobody else would wake
/// it, so status and timer end together.
void Core::end_backoff(const ServerId& id, Peer& peer) {
  if (peer.status != PeerStatus::snapshot_backoff) return;
  emit(effect::CancelSnapshotRetryTimer{id});
  peer.status = PeerStatus::normal;
}

void Core::on(event::SnapshotTransferEnded& event) {
  Peer* found = find_peer(event.peer);
  if (found == nullptr) return;
  Peer& peer = *found;
  if (peer.status != PeerStatus::sending_snapshot || peer.transfer != event.transfer) return;
  switch (event.outcome) {
    case event::TransferOutcome::finished:
      // What came meanwhile was not sent.
      peer.status = PeerStatus::normal;
      if (leads()) replicate();
      break;
    case event::TransferOutcome::disconnected:
      peer.status = PeerStatus::disconnected;
      break;
    case event::TransferOutcome::failed: {
      peer.status = PeerStatus::snapshot_backoff;
      ++peer.snapshot_failures;
      const std::uint64_t doublings = std::min<std::uint64_t>(peer.snapshot_failures - 1, 16);
      emit(effect::SetSnapshotRetryTimer{event.peer,
                                         std::min(options_.snapshot_retry_base_ms << doublings,
                                                  options_.snapshot_retry_limit_ms)});
      break;
    }
  }
}

void Core::on(event::SnapshotRetry& event) {
  Peer* peer = find_peer(event.peer);
  if (peer == nullptr || peer->status != PeerStatus::snapshot_backoff) return;
  if (leads()) {
    start_snapshot_send(event.peer, *peer);
  } else {
    peer->status = PeerStatus::normal;
  }
}

void Core::on(event::InstallSnapshotReplied& event) {
  if (!leads()) return;
  Peer* found = find_peer(event.from);
  if (found == nullptr || yields_to(event.result.term)) return;
  const Index installed = event.result.last_index;
  if (installed > log_.last().index) return;
  Peer& peer = *found;
  end_backoff(event.from, peer);
  if (peer.status != PeerStatus::suspended) peer.status = PeerStatus::normal;
  peer.snapshot_failures = 0;
  peer.match_index = std::max(peer.match_index, installed);
  peer.commit_index_sent = installed;
  peer.next_index = peer.match_index + 1;
  promote_if_caught_up(event.from);
  evaluate_commit();
}

// --- receiving
// ----------------------------------------------------------------------------------------------------------

void Core::on(event::InstallSnapshot& event) {
  InstallSnapshotRpc& rpc = event.rpc;
  const bool current = rpc.term >= current_term_;
  switch (role()) {
    case Role::follower:
      break;
    case Role::candidate:
      if (current) become_follower();
      break;
    case Role::pre_vote:
      if (!current) {
        reject(event.call, effect::RejectReason::unsupported_call);
        return;
      }
      become_follower();
      break;
    case Role::leader:
      if (rpc.term <= current_term_) {
        reject(event.call, effect::RejectReason::unsupported_call);
        return;
      }
      if (!leader_data()->peers.contains(rpc.leader)) {
        emit(effect::DropCall{event.call});
        return;
      }
      yields_to(rpc.term);
      break;
    case Role::await_condition: {
      const auto& waiting = std::get<AwaitCondition>(role_);
      if (waiting.condition == Condition::log_down) {
        // The sender tries again later; silence would cost it minutes.
        reject(event.call, effect::RejectReason::unsupported_call);
        return;
      }
      // It is an answer to the refusal, also if this log is longer: its entries were not agreed on
      // (ra waits for its timer then, and the sender for its own, 120 s).
      const bool helps =
          rpc.meta->index > last_applied_ || is_news_to(rpc.leader, rpc.term, waiting);
      const bool ends =
          waiting.condition == Condition::transfer ? rpc.term > current_term_ : current && helps;
      if (!ends) {
        emit(effect::DropCall{event.call});
        return;
      }
      become_follower();
      break;
    }
    case Role::receive_snapshot:
      receive_chunk(event.call, rpc);
      return;
    case Role::terminating_leader:
    case Role::terminating_follower:
      reject(event.call, effect::RejectReason::unsupported_call);
      return;
  }
  follower_install_snapshot(event.call, rpc);
}

void Core::follower_install_snapshot(CallToken call, InstallSnapshotRpc& rpc) {
  const SnapshotMeta& meta = *rpc.meta;
  if (rpc.term < current_term_) {
    emit(effect::ReplyInstallSnapshot{call, {current_term_, meta.index, meta.term}});
    return;
  }
  if (meta.machine_version > machine_version_) {
    reject(call, effect::RejectReason::unsupported_call);
    return;
  }
  adopt_term(rpc.term);
  if (meta.index <= last_applied_ || rpc.chunk_number > 1 || rpc.flag == ChunkFlag::pre) {
    emit(effect::ReplyInstallSnapshotWithAppendEntries{call, rewind_reply()});
    return;
  }
  note_leader(rpc.leader);
  if (!log_up_) {  // as in await_condition
    reject(call, effect::RejectReason::unsupported_call);
    return;
  }
  emit(effect::BeginSnapshot{rpc.meta});
  // ra cuts its log at last_applied here, because the live entries go into it. What is above may
  // have been acknowledged and committed, so here it stays until the snapshot takes its place.
  ReceiveSnapshot state;
  state.meta = rpc.meta;
  state.leader = rpc.leader;
  set_role(std::move(state));
  receive_chunk(call, rpc);
}

void Core::receive_chunk(CallToken call, InstallSnapshotRpc& rpc) {
  auto& state = std::get<ReceiveSnapshot>(role_);
  if (rpc.term < current_term_) {
    emit(effect::ReplyInstallSnapshot{call, {current_term_, rpc.meta->index, rpc.meta->term}});
    return;
  }
  if (state.completing) {
    // Everything is here already. Whoever repeats the last chunk gets the answer when there is one.
    if (rpc.flag == ChunkFlag::last && rpc.meta->index == state.meta->index) {
      emit(effect::DropCall{*std::exchange(state.completing, call)});
    } else {
      reject(call, effect::RejectReason::unsupported_call);
    }
    return;
  }
  const bool same = rpc.meta->index == state.meta->index && rpc.meta->term == state.meta->term &&
                    rpc.leader == state.leader;
  const bool begun = state.live_entries || state.next_chunk > 1;
  if (!same || (rpc.flag == ChunkFlag::init && begun)) {
    // Another transfer, or the same one from its start: what came so far is void.
    abort_receive();
    follower_install_snapshot(call, rpc);
    return;
  }
  adopt_term(rpc.term);
  const InstallSnapshotResult result{current_term_, state.meta->index, state.meta->term};
  emit(effect::SetReceiveSnapshotTimer{options_.receive_snapshot_timeout_ms});
  switch (rpc.flag) {
    case ChunkFlag::init:
      state.live_entries = true;
      break;
    case ChunkFlag::pre: {
      std::erase_if(rpc.entries,
                    [this](const Entry& entry) { return entry.index <= last_applied_; });
      if (!rpc.entries.empty()) emit(effect::AcceptLiveEntries{std::move(rpc.entries)});
      break;
    }
    case ChunkFlag::next:
    case ChunkFlag::last:
      if (rpc.chunk_number > state.next_chunk) {
        reject(call, effect::RejectReason::unsupported_call);
        return;
      }
      if (rpc.chunk_number == state.next_chunk) {
        emit(effect::AcceptChunk{rpc.chunk_number, std::move(rpc.data)});
        ++state.next_chunk;
        if (rpc.flag == ChunkFlag::last) {
          state.completing = call;
          emit(effect::CompleteSnapshot{state.meta});
          return;
        }
      }
      break;
  }
  emit(effect::ReplyInstallSnapshot{call, result});
}

void Core::on(event::SnapshotInstalled& event) {
  auto* state = std::get_if<ReceiveSnapshot>(&role_);
  if (state == nullptr || !state->completing || state->meta->index != event.index) return;
  const CallToken call = *state->completing;
  const std::shared_ptr<const SnapshotMeta> meta = state->meta;
  if (!event.ok) {
    state->completing.reset();
    reject(call, effect::RejectReason::snapshot_corrupt);
    abort_receive();
    return;
  }
  const IndexTerm at{meta->index, meta->term};
  log_.snapshot_installed(at);
  commit_index_ = at.index;
  last_applied_ = at.index;
  validated_ = at.index;
  effective_machine_version_ = std::max(effective_machine_version_, meta->machine_version);
  std::erase_if(special_entries_, [&](const SpecialEntry& entry) {
    return entry.at.index <= at.index || entry.at.index > log_.last().index;
  });
  set_cluster(of_snapshot(meta->cluster));
  base_cluster_ = cluster_;
  for (const SpecialEntry& entry : special_entries_) {
    if (entry.kind == EntryKind::cluster_change) set_cluster({entry.cluster, entry.at});
  }
  emit(effect::ReplyInstallSnapshot{call, {current_term_, at.index, at.term}});
  become_follower();
  if (amnesia_ && amnesia_->above && at.term > *amnesia_->above) end_amnesia();
}

void Core::on(event::ReceiveSnapshotTimeout&) {
  const auto* state = std::get_if<ReceiveSnapshot>(&role_);
  if (state != nullptr && !state->completing) abort_receive();
}

/// Drops what came so far; back to follower, with no leader known. An installation under way can't
/// be called back: then nothing happens but that the leader is forgotten.
void Core::abort_receive() {
  leader_.reset();
  if (std::get<ReceiveSnapshot>(role_).completing) return;
  emit(effect::AbortSnapshot{});
  become_follower();
}

}  // namespace rakv::raft
