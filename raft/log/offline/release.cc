// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/release.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "cnode/base/executor.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/offline/ra_view.h"
#include "raft/log/system.h"

namespace rakv::raftlog {

/// One release, on one thread.
class Release final : public LogSystemObserver {
 public:
  Release(Disk& disk, const std::string& directory, const LiveIndexesOf& live_indexes_of)
      : disk_(disk), directory_(directory), live_indexes_of_(live_indexes_of) {}
  ~Release() override { system_.reset(); }

  Result<Released> run() {
    const auto registered = read_registered(disk_, directory_);
    if (!registered) return registered.error();
    if (registered->owner == DirectoryOwner::beam) return finish_former();
    released_.was_ours = true;
    for (const auto step : {&Release::open, &Release::check_members, &Release::flush,
                            &Release::close, &Release::clean_up, &Release::give_up}) {
      if (auto done = (this->*step)(); !done) return done.error();
    }
    return std::move(released_);
  }

  void wal_down(const Error& error) override { failure_ = error; }
  void wal_up() override {}
  void background_job_failed(const Error& error) override { failure_ = error; }

 private:
  Result<void> open();
  Result<void> check_members();
  Result<void> find_live_indexes(MemberLog& log);
  Result<void> flush();
  Result<void> tidy_segments(const MemberLog& log);
  Result<void> close();
  Result<void> clean_up();
  Result<void> clean_up_server(const std::string& path);
  Result<void> keep_evidence(const std::string& server);
  Result<void> give_up();
  Result<Released> finish_former();
  Result<void> settle();

  Disk& disk_;
  const std::string& directory_;
  const LiveIndexesOf& live_indexes_of_;
  ManualExecutor owner_;
  ManualExecutor worker_;
  std::unique_ptr<LogSystem> system_;
  std::optional<Error> failure_;
  Released released_;
};

Result<void> Release::open() {
  LogSystemOptions options;
  options.wal_thread = false;
  options.keep_superseded_for = {};
  auto opened = LogSystem::open(directory_, disk_, owner_, worker_, options);
  if (!opened) return opened.error();
  system_ = std::move(*opened);
  system_->set_observer(this);
  released_.notices = system_->notices();
  return {};
}

/// Until nothing is left to do, or something failed.
Result<void> Release::settle() {
  while (!failure_ && (owner_.run_all() > 0 || worker_.run_all() > 0)) {
  }
  return failure_ ? Result<void>(*failure_) : Result<void>{};
}

Result<void> Release::check_members() {
  for (const auto& [uid, error] : system_->broken_servers()) {
    return make_error(ErrorCode::corrupt,
                      directory_ + " can't be released: the server with UId " + uid +
                          " can't be read, and a BEAM would throw its log away: " + error.message);
  }
  for (MemberLog* log : system_->members()) {
    if (log->amnesia()) {
      return make_error(ErrorCode::corrupt,
                        directory_ + " can't be released: server " + log->config().id.name() +
                            " may have forgotten what it promised (" + log->amnesia()->reason +
                            "), which a BEAM would not notice; let it catch up first: start rakv "
                            "with its peers");
    }
    if (auto found = find_live_indexes(*log); !found) return found;
    released_.servers.push_back(log->config().id.name());
  }
  return {};
}

Result<void> Release::find_live_indexes(MemberLog& log) {
  if (!log.snapshot() || log.snapshot()->live_indexes_known) return {};
  auto live = live_indexes_of_(log.snapshot()->state.view());
  if (!live) {
    return make_error(live.error().code, directory_ + "/" + log.uid() +
                                             ": the live indexes of the snapshot at " +
                                             std::to_string(log.snapshot()->meta.index) +
                                             " can't be found: " + live.error().message);
  }
  Result<void> outcome;
  log.set_live_indexes(std::move(*live), [&](Result<void> done) { outcome = std::move(done); });
  if (auto settled = settle(); !settled) return settled;
  return outcome;
}

Result<void> Release::flush() {
  if (auto settled = settle(); !settled) return settled;
  for (const MemberLog* log : system_->members()) {
    if (auto tidied = tidy_segments(*log); !tidied) return tidied;
  }
  return {};
}

namespace {

/// What a member must be able to read.
IndexSet needed_indexes(const MemberLog& log) {
  IndexSet needed;
  if (log.snapshot()) needed = log.snapshot()->live_indexes;
  for (Index i = log.first_index(); !log.empty() && i <= log.last().index; ++i) needed.push_back(i);
  return needed;
}

using Segments = std::vector<std::shared_ptr<const Segment>>;

Result<Segments> open_segments(Disk& disk, const std::string& directory) {
  const auto entries = disk.list(directory);
  if (!entries) return entries.error();
  Segments segments;
  for (const auto& entry : *entries) {  // in the order of their names
    const auto number = number_of_name(entry.name, ".segment");
    if (!number || entry.kind != DirectoryEntry::Kind::file) continue;
    auto segment = Segment::open(disk, directory + "/" + entry.name, *number);
    if (!segment) return segment.error();
    segments.push_back(std::move(*segment));
  }
  return segments;
}

/// Removes what has nothing that is needed, lowest number first, but never the newest: its range
/// would hide from ra what older files have.
Result<void> remove_dead(Disk& disk, const std::string& directory, Segments& segments,
                         const IndexSet& needed) {
  Segments kept;
  for (const auto& segment : segments) {
    const auto& slots = segment->slots();
    const bool dead = segment != segments.back() &&
                      std::none_of(slots.begin(), slots.end(), [&](const SegmentSlot& slot) {
                        return needed.contains(slot.index);
                      });
    if (!dead) {
      kept.push_back(segment);
      continue;
    }
    if (auto done = disk.unlink(segment->path()); !done) return done;
    if (auto done = disk.sync_directory(directory); !done) return done;
  }
  segments = std::move(kept);
  return {};
}

}  // namespace

Result<void> Release::tidy_segments(const MemberLog& log) {
  const std::string directory = directory_ + "/" + log.uid();
  const IndexSet needed = needed_indexes(log);
  auto segments = open_segments(disk_, directory);
  if (!segments) return segments.error();
  if (auto removed = remove_dead(disk_, directory, *segments, needed); !removed) return removed;
  const Index next = log.last().index + 1;
  for (const auto& segment : *segments) {
    if (segment->find(next) == nullptr) continue;
    return make_error(ErrorCode::unsupported,
                      directory + " can't be released: a BEAM would take entry " +
                          std::to_string(next) + " in " + segment->path() +
                          " for the log's, which ends before it; start rakv, release when the log "
                          "has grown");
  }
  const auto hidden = first_hidden_from_ra(*segments, needed);
  if (!hidden) return {};
  return make_error(ErrorCode::unsupported,
                    directory + " can't be released: a BEAM would not find entry " +
                        std::to_string(*hidden) +
                        " in the segments as they are; start rakv, let the server compact its log, "
                        "and release again");
}

/// The lock stays until this ends.
Result<void> Release::close() {
  if (auto stopped = system_->stop(); !stopped) return stopped;
  owner_.clear();
  worker_.clear();
  return {};
}

namespace {

/// Files in the system's directory that a BEAM has no use for, or that would mislead it: WAL files
/// without entries, half-made files, the last indexes of writers as a BEAM once knew them, the room
/// that is kept for votes.
bool goes_with_a_release(const std::string& name) {
  return name.ends_with(".wal") || name.ends_with(".tmp") || name == "writers.snapshot" ||
         name == "rakv.reserve" || name == "rakv.beam_wal";
}

bool is_half_made(const std::string& name) {
  return name.ends_with(".tmp") || name.ends_with(".compacting") ||
         name.ends_with(".compaction_group") || name.ends_with(".link");
}

}  // namespace

Result<void> Release::clean_up() {
  const auto entries = disk_.list(directory_);
  if (!entries) return entries.error();
  for (const auto& entry : *entries) {
    const std::string path = directory_ + "/" + entry.name;
    if (entry.kind == DirectoryEntry::Kind::file && goes_with_a_release(entry.name)) {
      if (auto done = disk_.unlink(path); !done) return done;
    }
  }
  for (const MemberLog* log : system_->members()) {
    if (auto done = clean_up_server(directory_ + "/" + log->uid()); !done) return done;
  }
  return disk_.sync_directory(directory_);
}

Result<void> Release::clean_up_server(const std::string& path) {
  const auto entries = disk_.list(path);
  if (!entries) return entries.error();
  for (const auto& entry : *entries) {
    if (entry.kind == DirectoryEntry::Kind::directory || !is_half_made(entry.name)) continue;
    if (auto done = disk_.unlink(path + "/" + entry.name); !done) return done;
  }
  if (auto done = remove_install_mark(disk_, path); !done) return done;
  return keep_evidence(path);
}

/// A BEAM deletes whatever it does not know below snapshots/.
Result<void> Release::keep_evidence(const std::string& server) {
  const auto entries = disk_.list(server + "/snapshots");
  if (!entries) return entries.error();
  for (const auto& entry : *entries) {
    if (!entry.name.ends_with(".bad")) continue;
    auto moved =
        disk_.rename(server + "/snapshots/" + entry.name, server + "/snapshot-" + entry.name);
    if (!moved) return moved;
  }
  if (auto done = disk_.sync_directory(server); !done) return done;
  return disk_.sync_directory(server + "/snapshots");
}

Result<void> Release::give_up() {
  const auto meta = read_meta(disk_, directory_ + "/meta.dets");
  if (!meta) return meta.error();
  if (auto done = write_meta(disk_, directory_ + "/meta.dets", *meta, Seal::no); !done) return done;
  const auto registered = read_registered(disk_, directory_);
  if (!registered) return registered.error();
  return give_up_ownership(disk_, directory_, registered->rows);
}

/// A release that was stopped after its last step but one leaves our names beside the BEAM's.
Result<Released> Release::finish_former() {
  if (auto done = remove_tree(disk_, directory_ + "/names.dets.rakv"); !done) return done.error();
  if (auto done = disk_.sync_directory(directory_); !done) return done.error();
  return std::move(released_);
}

Result<Released> release(Disk& disk, const std::string& directory,
                         const LiveIndexesOf& live_indexes_of) {
  if (auto checked = check_system_directory(disk, directory); !checked) return checked.error();
  return Release(disk, directory, live_indexes_of).run();
}

Result<void> check_system_directory(Disk& disk, const std::string& directory) {
  const auto entries = disk.list(directory);
  if (!entries) return entries.error();
  const auto has = [](const std::vector<DirectoryEntry>& all, std::string_view name) {
    return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
  };
  if (has(*entries, "names.dets") || has(*entries, "names.dets.rakv") ||
      has(*entries, "meta.dets")) {
    return {};
  }
  std::string hint;
  for (const auto& entry : *entries) {
    if (entry.kind != DirectoryEntry::Kind::directory) continue;
    const auto below = disk.list(directory + "/" + entry.name);
    if (below && has(*below, "meta.dets")) {
      hint = "; " + directory + "/" + entry.name + " is one";
      break;
    }
  }
  return make_error(
      ErrorCode::not_found,
      directory + ": is not a ra system's directory (no names.dets, no meta.dets)" + hint);
}

}  // namespace rakv::raftlog
