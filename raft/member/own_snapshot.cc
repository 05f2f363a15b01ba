// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "raft/member/member.h"
#include "raft/wire/ids.h"

// Snapshots of the member's own state.

namespace rakv::member {

/// A snapshot of the state at `meta`, which is being copied.
struct Member::OwnSnapshot {
  raftlog::SnapshotMeta meta;
  std::unique_ptr<StateCapture> state;
};

// A release cursor at last_applied: taken once everything up to there is durable here, no transfer
// to a peer needs the old snapshot, and none is being written (ra_log:update_release_cursor,
// conditions {written, _} and no_snapshot_sends).
void Member::take_snapshot_when_durable() {
  if (!snapshot_wanted_ || own_snapshot_ || stopped_ || log_.snapshot_in_progress() ||
      core_.sending_snapshots())
    return;
  const std::uint64_t index = applied_.value();
  if (log_.last_written().index < index || blocked()) return;
  const std::uint64_t before = log_.snapshot() ? log_.snapshot()->meta.index : 0;
  snapshot_wanted_ = false;
  if (index <= before + options_.min_snapshot_interval) return;
  const std::optional<raftlog::Term> term = log_.term_at(index);
  if (!term) return;

  raftlog::SnapshotMeta meta;
  meta.index = index;
  meta.term = *term;
  etf::Writer cluster;
  cluster.version();
  wire::write_snapshot_cluster(cluster, core_.cluster_at(raft::Index{index}));
  meta.cluster = cluster.take();
  own_snapshot_ = std::make_shared<OwnSnapshot>(OwnSnapshot{std::move(meta), machine_->capture()});
  copy_own_snapshot();
}

// In pieces, between which everything else gets its turn.
void Member::copy_own_snapshot() {
  if (!own_snapshot_->state->copy_more()) return write_own_snapshot();
  boost::asio::post(services_.io, [this, copying = std::weak_ptr<OwnSnapshot>(own_snapshot_)] {
    if (!copying.expired()) copy_own_snapshot();
  });
}

void Member::write_own_snapshot() {
  const std::shared_ptr<OwnSnapshot> copied = std::exchange(own_snapshot_, nullptr);
  if (core_.sending_snapshots() || log_.snapshot_in_progress()) {
    snapshot_wanted_ = true;  // one that is newer, later
    return;
  }
  const std::uint64_t index = copied->meta.index;
  const std::uint64_t term = copied->meta.term;
  SharedBytes state = copied->state->take_state();
  const std::uint64_t size = snapshot_file_bytes(copied->meta, state.size());
  log_.write_snapshot(
      std::move(copied->meta), std::move(state), copied->state->take_live_indexes(),
      [this, index, term, size, alive = alive_](const Result<void>& written) {
        if (!*alive) return;
        if (!written) {
          spdlog::error("{}: snapshot at index {} failed: {}", log_id_, index,
                        written.error().message);
          return;
        }
        spdlog::info("{}: wrote snapshot at index {} term {}", log_id_, index, term);
        counters_->add(Counter::snapshots_written);
        counters_->add(Counter::snapshot_bytes_written, static_cast<std::int64_t>(size));
        snapshot_size_bytes_ = size;
        log_.release_snapshot_state();
        step(raft::event::SnapshotTaken{raft::Index{index}, raft::Term{term}});
        take_snapshot_when_durable();
      });
}

}  // namespace rakv::member
