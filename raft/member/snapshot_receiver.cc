// SPDX-License-Identifier: Apache-2.0
#include "raft/member/snapshot_receiver.h"

#include <fmt/format.h>

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

Result<void> SnapshotReceiver::Installation::read() {
  Result<raftlog::Snapshot> decoded = raftlog::decode_snapshot_file("the received snapshot", file);
  std::string().swap(file);
  if (!decoded) return decoded.error();
  snapshot = std::move(*decoded);
  if (snapshot.meta.index != wanted.index.value() || snapshot.meta.term != wanted.term.value()) {
    return make_error(ErrorCode::malformed,
                      fmt::format("the received snapshot is of index {}, index {} was announced",
                                  snapshot.meta.index, wanted.index.value()));
  }
  if (auto taken = machine->read_state(etf::without_version(snapshot.state.view())); !taken)
    return taken;
  snapshot.live_indexes = raftlog::IndexSet::of(machine->live_indexes());
  return {};
}

/// With millions of keys to read a state takes seconds, which other servers of the node must not
/// wait for.
void SnapshotReceiver::install() {
  auto installation = std::make_shared<Installation>();
  installation->wanted = wanted_;
  installation->file = std::exchange(file_, {});
  installation->machine = make_machine_();
  installation->done = std::exchange(done_, nullptr);
  log_.run_in_background([installation] { return installation->read(); },
                         [this, installation, alive = alive_](const Result<void>& read) {
                           if (!*alive) return;
                           charge_.resize(0);
                           if (!read) return installation->done(read.error());
                           make_it_the_logs(installation);
                         });
}

void SnapshotReceiver::make_it_the_logs(const std::shared_ptr<Installation>& installation) {
  raftlog::Snapshot& snapshot = installation->snapshot;
  log_.install_snapshot(std::move(snapshot.meta), std::move(snapshot.state),
                        std::move(snapshot.live_indexes),
                        [installation, alive = alive_](const Result<void>& installed) {
                          if (!*alive) return;
                          if (!installed) return installation->done(installed.error());
                          installation->done(std::move(installation->machine));
                        });
}

}  // namespace rakv::member
