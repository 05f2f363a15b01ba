// SPDX-License-Identifier: Apache-2.0
#include "raft/log/snapshots/superseded_entries.h"

#include <utility>

#include "cnode/base/byte_order.h"
#include "raft/log/base/checksum.h"

// The file: CRC32 of what follows it, the index (64 bits), the live indexes as a ra_seq.

namespace rakv::raftlog {
namespace {

constexpr std::size_t kIndexAt = 4;
constexpr std::size_t kLiveAt = 12;

std::string path_of(const std::string& server_directory) {
  return server_directory + "/superseded";
}

}  // namespace

Result<void> write_horizon(Disk& disk, const std::string& server_directory, Index index,
                           const IndexSet& live) {
  std::string body;
  put_number(body, index);
  body += live.encode();
  std::string bytes;
  put_number(bytes, crc32(0, body));
  return replace_file(disk, path_of(server_directory), bytes + body);
}

Result<std::optional<SnapshotHorizon>> read_horizon(Disk& disk,
                                                    const std::string& server_directory) {
  const auto bytes = read_file(disk, path_of(server_directory));
  if (!bytes) {
    if (bytes.error().code == ErrorCode::not_found) return std::optional<SnapshotHorizon>();
    return bytes.error();
  }
  if (bytes->size() <= kLiveAt || load_number<std::uint32_t>(*bytes, 0) !=
                                      crc32(0, std::string_view(*bytes).substr(kIndexAt))) {
    return std::optional<SnapshotHorizon>();
  }
  auto live = IndexSet::decode(std::string_view(*bytes).substr(kLiveAt));
  if (!live) return std::optional<SnapshotHorizon>();
  return std::optional<SnapshotHorizon>(
      SnapshotHorizon{load_number<std::uint64_t>(*bytes, kIndexAt),
                      std::make_shared<const IndexSet>(std::move(*live))});
}

Result<void> remove_horizon(Disk& disk, const std::string& server_directory) {
  const auto there = disk.exists(path_of(server_directory));
  if (!there) return there.error();
  if (!*there) return {};
  if (auto done = disk.unlink(path_of(server_directory)); !done) return done;
  return disk.sync_directory(server_directory);
}

namespace {

/// Writes the snapshot's horizon; its live indexes are on disk, beside its state.
Result<void> write_horizon_of(Disk& disk, const std::string& server_directory, Index index,
                              const std::string& snapshot_directory) {
  const std::string path = snapshot_directory + "/indexes";
  const auto bytes = read_file(disk, path);
  if (!bytes) return bytes.error();
  const auto live = decode_indexes_file(path, *bytes);
  if (!live) return live.error();
  return write_horizon(disk, server_directory, index, *live);
}

/// No file is as safe as the right one, and needs no room: only superseded entries can't be read
/// after a start then.
Result<void> or_remove(Disk& disk, const std::string& server_directory, const Result<void>& written,
                       bool& fits) {
  fits = written.has_value();
  return fits ? Result<void>{} : remove_horizon(disk, server_directory);
}

}  // namespace

std::string SupersededEntries::snapshot_path(const Snapshot& snapshot) const {
  return directory_ + "/snapshots/" +
         snapshot_directory_name({snapshot.meta.index, snapshot.meta.term});
}

Result<SupersededEntries::State> SupersededEntries::recover(Disk& disk,
                                                            const std::string& server_directory,
                                                            Milliseconds keep_for,
                                                            const std::optional<Snapshot>& newest) {
  State state;
  state.newest_index = newest ? newest->meta.index : 0;
  state.newest_is_settled = keep_for.count() == 0;
  if (state.newest_is_settled) {
    if (auto removed = remove_horizon(disk, server_directory); !removed) return removed.error();
    return state;
  }
  auto found = read_horizon(disk, server_directory);
  if (!found) return found.error();
  state.file_fits =
      *found && (*found)->index <= state.newest_index && (!newest || newest->live_indexes_known);
  if (state.file_fits) state.settled = std::move(**found);
  state.newest_is_settled =
      newest && (!state.file_fits || state.settled.index == state.newest_index);
  return state;
}

std::function<Result<void>()> SupersededEntries::before_snapshot(
    const std::optional<Snapshot>& newest, bool installed_over_other_log) {
  if (installed_over_other_log) {
    state_.file_fits = false;
    return [&disk = disk_, directory = directory_] { return remove_horizon(disk, directory); };
  }
  // A job that is under way writes a newer one.
  if (state_.file_fits || busy_ || keep_for_.count() == 0) return [] { return Result<void>(); };
  file_written_ = std::make_shared<bool>(false);
  if (state_.newest_is_settled && newest) {
    return [&disk = disk_, directory = directory_, index = newest->meta.index,
            path = snapshot_path(*newest), fits = file_written_] {
      return or_remove(disk, directory, write_horizon_of(disk, directory, index, path), *fits);
    };
  }
  return [&disk = disk_, directory = directory_, horizon = state_.settled, fits = file_written_] {
    return or_remove(disk, directory, write_horizon(disk, directory, horizon.index, *horizon.live),
                     *fits);
  };
}

void SupersededEntries::snapshot_written(bool written) {
  const auto fits = std::exchange(file_written_, nullptr);
  if (fits && *fits && written) state_.file_fits = true;
}

void SupersededEntries::snapshot_replaced(std::optional<Snapshot> former, Index newest,
                                          bool installed_over_other_log) {
  state_.newest_index = newest;
  const Milliseconds former_since = std::exchange(newest_since_, seams_.now());
  if (installed_over_other_log || keep_for_.count() == 0) {
    state_.newest_is_settled = true;
    state_.settled = {};
    waiting_.reset();
    state_.file_fits = false;
    return;
  }
  if (!former || !former->live_indexes_known) return;
  if (!state_.newest_is_settled && waiting_) return;  // that one is settled first
  SnapshotHorizon horizon{former->meta.index,
                          std::make_shared<const IndexSet>(std::move(former->live_indexes))};
  if (state_.newest_is_settled) {
    state_.settled = std::move(horizon);
    state_.newest_is_settled = false;
  } else {
    waiting_ = Waiting{std::move(horizon), former_since};
  }
}

void SupersededEntries::settle(const std::optional<Snapshot>& newest, bool everything) {
  if (busy_ || state_.newest_is_settled || !newest || !newest->live_indexes_known) return;
  if (waiting_ && !everything) {
    if (due(waiting_->since)) settle_waiting();
  } else if (everything || due(newest_since_)) {
    settle_newest(*newest, everything);
  }
}

void SupersededEntries::settle_waiting() {
  busy_ = true;
  auto fits = std::make_shared<bool>(false);
  seams_.run(
      [&disk = disk_, directory = directory_, horizon = waiting_->horizon, fits] {
        return or_remove(disk, directory,
                         write_horizon(disk, directory, horizon.index, *horizon.live), *fits);
      },
      [this, index = waiting_->horizon.index, fits](const Result<void>& done) {
        settled(index, *fits, done);
      });
}

void SupersededEntries::settle_newest(const Snapshot& newest, bool everything) {
  busy_ = true;
  waiting_.reset();
  auto fits = std::make_shared<bool>(false);
  seams_.run(
      [&disk = disk_, directory = directory_, index = newest.meta.index,
       path = snapshot_path(newest), everything, fits] {
        if (everything) return remove_horizon(disk, directory);
        return or_remove(disk, directory, write_horizon_of(disk, directory, index, path), *fits);
      },
      [this, index = newest.meta.index, fits](const Result<void>& done) {
        settled(index, *fits, done);
      });
}

/// The file has been written for the snapshot at `index`, or is gone.
void SupersededEntries::settled(Index index, bool fits, const Result<void>& done) {
  busy_ = false;
  if (!done) {
    state_.file_fits = false;
    return seams_.report(done.error());  // the next call tries again
  }
  if (state_.newest_is_settled) return;  // a snapshot was installed meanwhile
  state_.file_fits = fits;
  if (waiting_ && waiting_->horizon.index == index) {
    state_.settled = std::move(waiting_->horizon);
    waiting_.reset();
  } else if (state_.newest_index == index) {
    state_.settled = {};
    state_.newest_is_settled = true;
  }
  seams_.on_dropped();
}

}  // namespace rakv::raftlog
