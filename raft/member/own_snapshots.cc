// SPDX-License-Identifier: Apache-2.0
#include "raft/member/own_snapshots.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "raft/wire/ids.h"

namespace rakv::member {

std::uint64_t snapshot_file_bytes(const raftlog::StoredSnapshotMeta& meta,
                                  std::size_t state_bytes) {
  constexpr std::size_t kHeaderBytes = 13;
  return kHeaderBytes + raftlog::encode_snapshot_meta(meta).size() + state_bytes;
}

OwnSnapshots::OwnSnapshots(Seams seams, std::uint64_t min_interval, std::uint64_t bytes)
    : seams_(std::move(seams)), min_interval_(min_interval), file_bytes_(bytes) {}

OwnSnapshots::~OwnSnapshots() { *alive_ = false; }

void OwnSnapshots::want() {
  wanted_ = true;
  take_when_durable();
}

void OwnSnapshots::take_when_durable() {
  const raftlog::MemberLog& log = seams_.log;
  if (!wanted_ || copying_ || stopped_ || log.snapshot_in_progress() || seams_.sending()) return;
  const std::uint64_t index = seams_.applied().value();
  if (log.last_written().index < index || seams_.blocked()) return;
  const std::uint64_t before = log.snapshot() ? log.snapshot()->meta.index : 0;
  wanted_ = false;
  if (index <= before + min_interval_) return;
  const std::optional<raftlog::Term> term = log.term_at(index);
  if (!term) return;

  raftlog::StoredSnapshotMeta meta;
  meta.index = index;
  meta.term = *term;
  etf::Writer cluster;
  cluster.version();
  wire::write_snapshot_cluster(cluster, seams_.cluster_at(raft::Index{index}));
  meta.cluster = cluster.take();
  copying_ = std::make_shared<Copy>(Copy{std::move(meta), seams_.machine().capture()});
  copy();
}

// In pieces, between which everything else gets its turn.
void OwnSnapshots::copy() {
  if (!copying_->state->copy_more()) return write();
  seams_.later([this, copying = std::weak_ptr<Copy>(copying_)] {
    if (!copying.expired()) copy();
  });
}

void OwnSnapshots::write() {
  const std::shared_ptr<Copy> copied = std::exchange(copying_, nullptr);
  if (seams_.sending() || seams_.log.snapshot_in_progress()) {
    wanted_ = true;  // one that is newer, later
    return;
  }
  const std::uint64_t index = copied->meta.index;
  const std::uint64_t term = copied->meta.term;
  SharedBytes state = copied->state->take_state();
  const std::uint64_t bytes = snapshot_file_bytes(copied->meta, state.size());
  seams_.log.write_snapshot(
      std::move(copied->meta), std::move(state), copied->state->take_live_indexes(),
      [this, index, term, bytes, alive = alive_](const Result<void>& outcome) {
        if (*alive) written(index, term, bytes, outcome);
      });
}

void OwnSnapshots::written(std::uint64_t index, std::uint64_t term, std::uint64_t bytes,
                           const Result<void>& outcome) {
  if (!outcome) {
    spdlog::error("{}: snapshot at index {} failed: {}", seams_.log_id, index,
                  outcome.error().message);
    return;
  }
  spdlog::info("{}: wrote snapshot at index {} term {}", seams_.log_id, index, term);
  seams_.counters.add(Counter::snapshots_written);
  seams_.counters.add(Counter::snapshot_bytes_written, static_cast<std::int64_t>(bytes));
  file_bytes_ = bytes;
  seams_.log.release_snapshot_state();
  seams_.taken({raft::Index{index}, raft::Term{term}});
  take_when_durable();
}

}  // namespace rakv::member
