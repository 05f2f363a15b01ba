// SPDX-License-Identifier: Apache-2.0
#include "raft/member/snapshot_receiver.h"

#include <utility>

#include "cnode/etf/version.h"

namespace rakv::member {

SnapshotReceiver::SnapshotReceiver(raftlog::MemberLog& log,
                                   std::function<std::unique_ptr<StateMachine>()> machine,
                                   ByteCharge charge)
    : log_(log), make_machine_(std::move(machine)), charge_(std::move(charge)) {}

SnapshotReceiver::~SnapshotReceiver() { *alive_ = false; }

void SnapshotReceiver::begin() {
  std::string().swap(file_);
  charge_.resize(0);
  log_.drop_sparse();
}

void SnapshotReceiver::accept_entries(std::vector<raft::Entry> entries) {
  std::vector<raftlog::StoredEntry> written;
  written.reserve(entries.size());
  for (raft::Entry& entry : entries)
    written.push_back({entry.index.value(), entry.term.value(), std::move(entry.payload)});
  log_.write_sparse(std::move(written));
}

void SnapshotReceiver::accept_chunk(std::string_view bytes) {
  file_.append(bytes);
  charge_.resize(file_.capacity());
}

void SnapshotReceiver::complete(const raft::SnapshotMeta& meta, Installed done) {
  wanted_ = meta;
  done_ = std::move(done);
  on_written();
}

void SnapshotReceiver::on_written() {
  if (done_ && log_.pending_writes() == 0) install();
}

Result<std::unique_ptr<StateMachine>> SnapshotReceiver::verify(const raft::SnapshotMeta& meta,
                                                               raftlog::Snapshot& snapshot) {
  Result<raftlog::Snapshot> decoded = raftlog::decode_snapshot_file("the received snapshot", file_);
  if (!decoded) return decoded.error();
  snapshot = std::move(*decoded);
  if (snapshot.meta.index != meta.index.value() || snapshot.meta.term != meta.term.value()) {
    return make_error(ErrorCode::malformed,
                      "the received snapshot is of index " + std::to_string(snapshot.meta.index) +
                          ", index " + std::to_string(meta.index.value()) + " was announced");
  }
  std::unique_ptr<StateMachine> machine = make_machine_();
  if (const Result<void> read = machine->read_state(etf::without_version(snapshot.state.view()));
      !read)
    return read.error();
  snapshot.live_indexes = raftlog::IndexSet::of(machine->live_indexes());
  for (const raftlog::IndexRange& range : snapshot.live_indexes.ranges()) {
    for (raftlog::Index index = range.first; index <= range.last; ++index) {
      if (log_.has_for_install(index)) continue;
      return make_error(
          ErrorCode::malformed,
          "entry " + std::to_string(index) + ", which the received snapshot needs, did not come");
    }
  }
  return machine;
}

void SnapshotReceiver::install() {
  Installed done = std::exchange(done_, nullptr);
  raftlog::Snapshot snapshot;
  Result<std::unique_ptr<StateMachine>> machine = verify(wanted_, snapshot);
  std::string().swap(file_);
  charge_.resize(0);
  // A shared_ptr only because std::function wants to be copyable.
  auto kept = std::make_shared<Result<std::unique_ptr<StateMachine>>>(std::move(machine));
  if (!*kept) return done(std::move(*kept));
  log_.install_snapshot(
      std::move(snapshot.meta), std::move(snapshot.state), std::move(snapshot.live_indexes),
      [kept, done = std::move(done), alive = alive_](const Result<void>& installed) {
        if (!*alive) return;
        if (!installed) return done(installed.error());
        done(std::move(*kept));
      });
}

}  // namespace rakv::member
