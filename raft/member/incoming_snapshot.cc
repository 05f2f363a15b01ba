// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include "raft/member/member.h"

// A leader's snapshot on its way into this member (docs/protocol/wire.md 3.3).

namespace rakv::member {

void Member::carry_out(raft::effect::BeginSnapshot& effect) {
  spdlog::info("{}: receiving snapshot at index {} term {}", log_id_, effect.meta->index.value(),
               effect.meta->term.value());
  snapshot_receiver_.begin();
}

void Member::carry_out(raft::effect::AcceptLiveEntries& effect) {
  snapshot_receiver_.accept_entries(std::move(effect.entries));
}

void Member::carry_out(raft::effect::AcceptChunk& effect) {
  snapshot_receiver_.accept_chunk(effect.data.view());
}

void Member::carry_out(raft::effect::CompleteSnapshot& effect) {
  snapshot_receiver_.complete(*effect.meta, [this, meta = effect.meta, alive = alive_](
                                                Result<std::unique_ptr<StateMachine>> installed) {
    if (!*alive) return;
    if (!installed) {
      spdlog::error("{}: snapshot at index {} can't be installed: {}", log_id_, meta->index.value(),
                    installed.error().message);
      return step(raft::event::SnapshotInstalled{meta->index, false});
    }
    own_snapshots_.cancel();
    log_.run_in_background(
        [former = std::shared_ptr<StateMachine>(
             applier_.replace(std::move(*installed), meta->index))]() mutable -> Result<void> {
          former.reset();
          return {};
        },
        [](const Result<void>&) {});
    counters_->add(Counter::snapshot_installed);
    const raftlog::Snapshot& snapshot = *log_.snapshot();
    own_snapshots_.note_installed(snapshot_file_bytes(snapshot.meta, snapshot.state.size()));
    spdlog::info("{}: installed snapshot at index {} term {}, {} live entries", log_id_,
                 snapshot.meta.index, snapshot.meta.term, snapshot.live_indexes.size());
    log_.release_snapshot_state();
    step(raft::event::SnapshotInstalled{meta->index, true});
    check_waiting_queries();
  });
}

void Member::carry_out(raft::effect::AbortSnapshot&) {
  spdlog::warn("{}: the snapshot that was coming in is dropped", log_id_);
  snapshot_receiver_.begin();
}

}  // namespace rakv::member
