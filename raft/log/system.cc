// SPDX-License-Identifier: Apache-2.0
#include "raft/log/system.h"

#include <algorithm>
#include <utility>

#include "cnode/base/check.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_directory.h"
#include "raft/log/system_recovery.h"

namespace rakv::raftlog {

namespace {

/// What one server can have in closed WAL files, in the one being written and in what waits for it
/// is less.
std::uint64_t most_kept_bytes(std::uint64_t max_unflushed_bytes) {
  return max_unflushed_bytes > UINT64_MAX / 2 ? UINT64_MAX : 2 * max_unflushed_bytes;
}

}  // namespace

/// Carries the WAL's events to the owner's thread.
class LogSystem::Sink final : public CompletionSink {
 public:
  explicit Sink(LogSystem& system)
      : system_(system), owner_(system.context_.owner()), watch_(system.context_.watch()) {}
  void wal_events(std::vector<WalEvent> events) override {
    owner_.post([watch = watch_, &system = system_, events = std::move(events)]() mutable {
      if (!watch.over()) system.handle_wal_events(std::move(events));
    });
  }

 private:
  LogSystem& system_;
  Executor& owner_;
  Lifetime::Watch watch_;
};

LogSystem::LogSystem(std::string directory, Disk& disk, Executor& owner, Executor& worker,
                     LogSystemOptions options, std::shared_ptr<SegmentFiles> segment_files,
                     RecoveredSystem recovered)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      context_(
          disk, owner, worker, options_.background != nullptr ? *options_.background : worker,
          [this](const Error& error) {
            if (observer_ != nullptr) observer_->background_job_failed(error);
          },
          options_.release_memory),
      budget_{options_.memory_budget_bytes},
      notices_(std::move(recovered.notices)),
      broken_(std::move(recovered.broken)),
      lock_(std::move(recovered.lock)),
      segment_files_(std::move(segment_files)),
      names_(std::move(recovered.names)),
      meta_(std::move(recovered.meta)),
      flusher_(context_, directory_, options_.segment,
               most_kept_bytes(options_.wal.max_unflushed_bytes), segment_files_, *this),
      sink_(std::make_unique<Sink>(*this)) {
  for (auto& member : recovered.members) add_member(std::move(member));
  if (!recovered.wal_files.empty()) {
    flusher_.add(std::move(recovered.wal_files), recovered.wal_bytes, recovered.wal_ranges);
  }
}

LogSystem::~LogSystem() { context_.end(); }

Result<std::unique_ptr<LogSystem>> LogSystem::open(std::string directory, Disk& disk,
                                                   Executor& owner, Executor& worker,
                                                   LogSystemOptions options) {
  const auto budget = MemoryBudget::of(options.memory_budget_bytes);
  if (!budget) return budget.error();
  WalOptions& wal = options.wal;
  wal.max_size_bytes = std::min(wal.max_size_bytes, budget->wal_file_bytes());
  wal.max_unflushed_bytes = std::min(wal.max_unflushed_bytes, budget->unflushed_bytes());
  wal.max_batch_bytes = std::min<std::size_t>(wal.max_batch_bytes, budget->wal_batch_bytes());
  wal.preallocate_bytes = std::min(wal.preallocate_bytes, wal.max_size_bytes);
  const auto files = std::make_shared<SegmentFiles>(disk, options.max_open_segments);
  auto recovered = recover_system(
      {disk, files, options.keep_superseded_for, options.on_progress, options.admit}, directory);
  if (!recovered) return recovered.error();
  // The reserve is there before anything can fill the disk. An error comes again, to the observer,
  // with the first check_space().
  static_cast<void>(measure_space(disk, directory, reserve_path(directory), options.reserve_bytes));
  const std::uint64_t next_wal_number = recovered->next_wal_number;
  const std::uint64_t unflushed_bytes = recovered->wal_bytes;
  const bool metadata_changed = recovered->metadata_changed;
  std::unique_ptr<LogSystem> system(new LogSystem(
      std::move(directory), disk, owner, worker, std::move(options), files, std::move(*recovered)));
  auto writer = WalWriter::open(disk, system->directory_, next_wal_number, system->options_.wal,
                                system->queue_, *system->sink_);
  if (!writer) return writer.error();
  (*writer)->add_unflushed(unflushed_bytes);
  if (system->options_.wal_thread) {
    system->wal_thread_ = std::make_unique<WalThread>(std::move(*writer));
  } else {
    system->wal_writer_ = std::move(*writer);
  }
  system->flusher_.run();
  if (metadata_changed) system->write_metadata_soon();
  return system;
}

WalWriter& LogSystem::wal_writer() {
  RAKV_CHECK_MSG(wal_writer_ != nullptr, "the WAL has a thread of its own");
  return *wal_writer_;
}

std::vector<MemberLog*> LogSystem::members() {
  std::vector<MemberLog*> all;
  for (auto& [uid, member] : members_) all.push_back(member.get());
  return all;
}

MemberLog* LogSystem::find(const std::string& uid) {
  const auto found = members_.find(uid);
  return found == members_.end() ? nullptr : found->second.get();
}

MemberLog* LogSystem::find_by_name(const std::string& name) {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : find(found->second);
}

MemberLogContext LogSystem::member_context() {
  return {
      .jobs = context_,
      .queue = queue_,
      .segment_files = segment_files_,
      .segment = options_.segment,
      .keep_superseded_for = options_.keep_superseded_for,
      .now = options_.now,
      .on_appended = [this](std::uint64_t bytes) { note_appended(bytes); },
  };
}

MemberLog& LogSystem::add_member(RecoveredLog recovered) {
  auto member = std::make_unique<MemberLog>(member_context(), std::move(recovered));
  by_writer_[member->writer()] = member.get();
  return *(members_[member->uid()] = std::move(member));
}

// ---- servers

std::function<Result<void>()> LogSystem::names_write_job() {
  std::vector<NameRow> rows;
  for (const auto& [name, uid] : names_) {
    if (!creating_.contains(uid)) rows.push_back({name, uid});
  }
  return [&disk = context_.disk(), directory = directory_, rows = std::move(rows)] {
    return write_registered(disk, directory, rows);
  };
}

void LogSystem::register_server(ServerConfig config, std::function<void(Result<MemberLog*>)> done) {
  std::optional<Error> refused;
  const auto printed = print_server_config(config);
  const bool uid_taken = members_.contains(config.uid) || broken_.contains(config.uid) ||
                         deleting_.contains(config.uid) ||
                         std::any_of(names_.begin(), names_.end(),
                                     [&](const auto& row) { return row.second == config.uid; });
  if (!printed) {
    refused = printed.error();
  } else if (names_.contains(config.id.name())) {
    refused = make_error(ErrorCode::already_exists,
                         directory_ + ": a server named " + config.id.name() + " exists already");
  } else if (uid_taken) {
    refused = make_error(ErrorCode::already_exists,
                         directory_ + ": a server with UId " + config.uid + " exists already");
  }
  if (refused) {
    context_.owner().post([done = std::move(done), error = std::move(*refused)] { done(error); });
    return;
  }
  names_[config.id.name()] = config.uid;  // taken from here on; given back if it fails
  creating_.insert(config.uid);
  run_on(
      context_.worker(),
      [&disk = context_.disk(), directory = directory_, config] {
        return create_server(disk, directory, config);
      },
      [this, config, done](const Result<void>& created) {
        if (!created) return give_up_registration(config, created.error(), done);
        creating_.erase(config.uid);
        run_on(context_.worker(), names_write_job(),
               [this, config, done](const Result<void>& named) {
                 if (!named) return give_up_registration(config, named.error(), done);
                 RecoveredLog member;
                 member.directory = server_directory(directory_, config.uid);
                 member.meta.uid = config.uid;
                 member.config = config;
                 done(&add_member(std::move(member)));
               });
      });
}

/// The caller is told that there is no such server: then the next start must not find one.
void LogSystem::give_up_registration(const ServerConfig& config, const Error& error,
                                     std::function<void(Result<MemberLog*>)> done) {
  creating_.insert(config.uid);  // no list of names has it from here on
  const bool is_anothers = error.code == ErrorCode::already_exists;
  run_on(
      context_.worker(),
      [&disk = context_.disk(), directory = directory_, uid = config.uid, is_anothers] {
        return is_anothers ? Result<void>() : discard_server(disk, directory, uid);
      },
      [this, name = config.id.name(), uid = config.uid, error,
       done = std::move(done)](const Result<void>& discarded) {
        if (!discarded) context_.report(discarded.error());
        names_.erase(name);
        creating_.erase(uid);
        done(error);
      });
}

void LogSystem::update_config(const ServerConfig& config, DoneCallback done) {
  if (find(config.uid) == nullptr) {
    context_.owner().post(
        [done = std::move(done),
         error = make_error(ErrorCode::not_found,
                            directory_ + ": no server with UId " + config.uid)] { done(error); });
    return;
  }
  run_on(
      context_.worker(),
      [&disk = context_.disk(), directory = server_directory(directory_, config.uid), config] {
        return write_server_config(disk, directory, config);
      },
      [this, config, done = std::move(done)](Result<void> outcome) {
        MemberLog* member = find(config.uid);
        if (outcome && member != nullptr) member->set_config(config);
        done(std::move(outcome));
      });
}

const Error* LogSystem::why_broken(const std::string& name) const {
  const auto row = names_.find(name);
  const auto found = row == names_.end() ? broken_.end() : broken_.find(row->second);
  return found == broken_.end() ? nullptr : &found->second;
}

std::optional<std::string> LogSystem::uid_of(const std::string& name) const {
  const auto row = names_.find(name);
  const bool is_there =
      row != names_.end() && (members_.contains(row->second) || broken_.contains(row->second));
  return is_there ? std::optional(row->second) : std::nullopt;
}

void LogSystem::set_server_aside(const std::string& uid,
                                 std::function<void(Result<std::string>)> done) {
  if (find(uid) == nullptr || set_aside_.contains(uid)) {
    context_.owner().post(
        [done = std::move(done),
         error = make_error(ErrorCode::not_found, directory_ + ": no server with UId " + uid)] {
          done(error);
        });
    return;
  }
  set_aside_[uid] = {std::move(done), -1};
  flush_finished();
}

FlushSource* LogSystem::flush_source(const std::string& uid) {
  MemberLog* member = find(uid);
  return member == nullptr ? nullptr : &member->flush_source();
}

void LogSystem::records_kept(const std::string& uid, const Error& why) {
  MemberLog* member = find(uid);
  if (member != nullptr && observer_ != nullptr) observer_->segments_down(*member, why);
}

void LogSystem::kept_records_flushed(const std::string& uid) {
  MemberLog* member = find(uid);
  if (member != nullptr && observer_ != nullptr) observer_->segments_up(*member);
}

/// A server whose entries go with the WAL must not come back without them.
FlushOwner::Removal LogSystem::begin_removal() {
  const std::vector<std::string> deleted(deleting_.begin(), deleting_.end());
  const auto before = [&disk = context_.disk(), directory = directory_, deleted]() -> Result<void> {
    for (const auto& uid : deleted) {
      if (auto done = mark_deleted(disk, directory, uid); !done) return done;
    }
    return {};
  };
  return {before, [this, deleted](std::uint64_t bytes) {
            for (const auto& uid : deleted) {
              finish_deletion(uid, [this](const Result<void>& outcome) {
                if (!outcome) context_.report(outcome.error());
              });
            }
            queue_.flushed(bytes);
            context_.release_memory_soon();
            flush_finished();
          }};
}

/// Moves those aside whose entries are all in segments; the others' entries leave the WAL next.
/// What was appended just before is in the second file at the latest: a roll-over goes before what
/// waits.
void LogSystem::flush_finished() {
  constexpr int kFlushes = 3;
  std::vector<std::string> ready;
  std::vector<std::string> kept;
  for (auto& [uid, waiting] : set_aside_) {
    const MemberLog* member = find(uid);
    if (flusher_.keeps(uid)) {
      kept.push_back(uid);
    } else if (member == nullptr || member->memory_entries() == 0 || ++waiting.flushes == kFlushes)
      ready.push_back(uid);
  }
  for (const std::string& uid : ready) {
    auto row = set_aside_.extract(uid);
    move_aside(uid, std::move(row.mapped().done));
  }
  for (const std::string& uid : kept) {
    auto row = set_aside_.extract(uid);
    context_.post(
        [done = std::move(row.mapped().done),
         error = make_error(ErrorCode::unavailable,
                            server_directory(directory_, uid) +
                                ": can't be set aside, it takes no segments")] { done(error); });
  }
  if (!set_aside_.empty()) queue_.roll_over();
}

/// A crash in between leaves the server as it was, or a name without a directory, which recovery
/// takes off the list.
void LogSystem::move_aside(const std::string& uid, std::function<void(Result<std::string>)> done) {
  const auto found = members_.find(uid);
  if (found == members_.end()) {
    return done(make_error(ErrorCode::not_found, directory_ + ": no server with UId " + uid));
  }
  by_writer_.erase(found->second->writer());
  members_.erase(found);
  std::erase_if(names_, [&](const auto& row) { return row.second == uid; });
  const std::string kept = server_directory(directory_, uid) + std::string(kReplacedSuffix);
  run_on(
      context_.background(),
      [&disk = context_.disk(), parent = directory_, directory = server_directory(directory_, uid),
       kept]() -> Result<void> {
        if (auto renamed = disk.rename(directory, kept); !renamed) return renamed;
        return disk.sync_directory(parent);
      },
      [kept, done = std::move(done)](const Result<void>& moved) {
        done(moved ? Result<std::string>(kept) : Result<std::string>(moved.error()));
      });
}

void LogSystem::delete_server(const std::string& uid, DoneCallback done) {
  const auto found = members_.find(uid);
  if (found == members_.end() && broken_.erase(uid) == 0) {
    context_.owner().post(
        [done = std::move(done),
         error = make_error(ErrorCode::not_found, directory_ + ": no server with UId " + uid)] {
          done(error);
        });
    return;
  }
  if (found != members_.end()) {
    by_writer_.erase(found->second->writer());
    members_.erase(found);
  }
  std::erase_if(names_, [&](const auto& row) { return row.second == uid; });
  deleting_.insert(uid);
  run_on(
      context_.background(),
      [&disk = context_.disk(), parent = directory_, uid] {
        return mark_deleted(disk, parent, uid);
      },
      [this, uid, done = std::move(done)](Result<void> marked) {
        if (!marked) return done(std::move(marked));  // tried again with the next flush
        finish_deletion(uid, done);
      });
}

/// The rows, then the tree: all this a start would do, too. Not earlier: a server that is back
/// after a crash must not have forgotten its vote.
void LogSystem::finish_deletion(const std::string& uid, DoneCallback done) {
  if (deleting_.erase(uid) == 0) return done({});
  meta_.erase(uid);
  const auto remove_rest = [names = names_write_job(), meta = meta_write_job(),
                            &disk = context_.disk(),
                            gone = server_directory(directory_, uid) + std::string(kDeletedSuffix),
                            parent = directory_]() -> Result<void> {
    if (auto written = names(); !written) return written;
    if (auto written = meta(); !written) return written;
    if (auto removed = remove_tree(disk, gone); !removed) return removed;
    return disk.sync_directory(parent);
  };
  run_on(context_.worker(), remove_rest, std::move(done));
}

// ---- term, vote, last_applied

std::function<Result<void>()> LogSystem::meta_write_job() {
  std::vector<MetaRow> rows;
  for (const auto& [uid, row] : meta_) rows.push_back(row);
  return [&disk = context_.disk(), directory = directory_, rows = std::move(rows),
          image = ++meta_image_, file = meta_file_]() -> Result<void> {
    std::lock_guard lock(file->mutex);
    if (image < file->written) return {};  // a newer image, with these rows in it, is there
    auto done = write_meta_with_reserve(disk, directory, rows);
    if (done) file->written = image;
    return done;
  };
}

void LogSystem::store_term_vote(const std::string& uid, Term term,
                                std::optional<ServerId> voted_for, DoneCallback done) {
  MemberLog* member = find(uid);
  if (member == nullptr) {
    context_.owner().post(
        [done = std::move(done),
         error = make_error(ErrorCode::not_found, directory_ + ": no server with UId " + uid)] {
          done(error);
        });
    return;
  }
  const std::uint64_t number = member->begin_term_vote(term, std::move(voted_for));
  meta_[uid] = member->meta();
  metadata_waiting_.emplace_back(
      [this, uid, number, done = std::move(done)](const Result<void>& stored) {
        MemberLog* log = find(uid);
        if (stored && log != nullptr) log->term_vote_stored_up_to(number);
        done(stored);
      });
  write_metadata_soon();
}

void LogSystem::note_last_applied(const std::string& uid, Index index) {
  MemberLog* member = find(uid);
  if (member == nullptr || !member->note_last_applied(index)) return;
  meta_[uid] = member->meta();
  metadata_dirty_ = true;
}

void LogSystem::flush_metadata(DoneCallback done) {
  // What failed gets another chance.
  flusher_.retry();
  for (auto& [uid, member] : members_) member->retry_install_mark();
  if (!metadata_dirty_ && !metadata_writing_) {
    context_.owner().post([done = std::move(done)] { done({}); });
    return;
  }
  metadata_waiting_.push_back(std::move(done));
  write_metadata_soon();
}

void LogSystem::write_metadata_soon() {
  if (metadata_writing_) return;  // what waits is written when this one is done
  metadata_writing_ = true;
  metadata_dirty_ = false;
  run_on(context_.worker(), meta_write_job(),
         [this, waiting = std::exchange(metadata_waiting_, {})](const Result<void>& outcome) {
           metadata_writing_ = false;
           if (!outcome) {
             metadata_dirty_ = true;
             context_.report(outcome.error());
           }
           if (!metadata_waiting_.empty()) write_metadata_soon();
           for (const auto& done : waiting) done(outcome);
         });
}

// ---- room on the disk

void LogSystem::check_space() {
  if (space_checking_) return;
  space_checking_ = true;
  appended_since_check_ = 0;
  run_on(
      context_.worker(),  // a segment that is being written does not hold it up
      [&disk = context_.disk(), directory = directory_, bytes = options_.reserve_bytes] {
        return measure_space(disk, directory, reserve_path(directory), bytes);
      },
      [this](const Result<DiskSpace>& space) {
        space_checking_ = false;
        if (!space) return context_.report(space.error());
        if (!space_watch_.update(*space) || observer_ == nullptr) return;
        if (space_watch_.low()) {
          observer_->space_low(*space);
        } else {
          observer_->space_enough();
        }
      });
}

void LogSystem::note_appended(std::uint64_t bytes) {
  constexpr std::uint64_t kCheckAfterBytes = std::uint64_t{16} << 20;
  appended_since_check_ += bytes;
  if (appended_since_check_ >= kCheckAfterBytes) check_space();
}

void LogSystem::drop_superseded() {
  for (auto& [uid, member] : members_) member->drop_superseded(space_watch_.low());
}

// ---- WAL events

void LogSystem::handle_wal_events(std::vector<WalEvent> events) {
  for (auto& event : events) {
    if (const auto* written = std::get_if<WalWritten>(&event)) {
      const auto found = by_writer_.find(written->writer);
      if (found != by_writer_.end()) found->second->handle_written(*written);
    } else if (const auto* closed = std::get_if<WalClosed>(&event)) {
      handle_wal_closed(*closed);
    } else if (const auto* down = std::get_if<WalDown>(&event)) {
      if (observer_ != nullptr) observer_->wal_down(down->error);
    } else if (observer_ != nullptr) {
      observer_->wal_up();
    }
  }
}

void LogSystem::handle_wal_closed(const WalClosed& closed) {
  std::map<std::string, IndexRange> ranges;
  for (const auto& [writer, range] : closed.ranges) {
    const auto found = by_writer_.find(writer);
    if (found != by_writer_.end()) ranges[found->second->uid()] = range;
  }
  flusher_.add({closed.path}, closed.bytes, ranges);
  flusher_.run();
}

Result<void> LogSystem::stop() {
  RAKV_CHECK(!stopped_);
  stopped_ = true;
  auto outcome = wal_thread_ ? wal_thread_->stop() : wal_writer_->close();
  auto written = meta_write_job()();
  context_.end();
  return outcome ? written : outcome;
}

}  // namespace rakv::raftlog
