// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cnode/base/executor.h"
#include "raft/log/base/context.h"
#include "raft/log/directory/metadata.h"
#include "raft/log/disk/disk.h"
#include "raft/log/disk/space_watch.h"
#include "raft/log/member_log.h"
#include "raft/log/memory_budget.h"
#include "raft/log/segments/segment_flusher.h"
#include "raft/log/wal/wal.h"

namespace rakv::raftlog {

struct RecoveredSystem;

struct LogSystemOptions {
  /// Lowers what `wal` says (MemoryBudget).
  std::uint64_t memory_budget_bytes = MemoryBudget::kDefaultBytes;
  WalOptions wal;
  SegmentOptions segment;
  /// Segment files that are held open, over all members.
  std::size_t max_open_segments = SegmentFiles::kMaxOpen;
  /// False: no WAL thread; the simulator or test drives wal_writer().run_one_batch().
  bool wal_thread = true;
  /// Size of the file that is given up when the disk is full and a vote must be stored (see
  /// keep_reserve); 0 = none.
  std::uint64_t reserve_bytes = 1 << 20;
  /// Runs the long jobs (segments, snapshots, removals); nullptr = the worker given to open(). With
  /// one of its own, a vote never waits for a segment.
  Executor* background = nullptr;
  /// Run in the background when many entries have left memory: gives free memory back to the
  /// operating system. Empty = nothing.
  std::function<void()> release_memory;
  /// How long superseded entries stay readable (superseded_entries.h); 0 = not at all.
  std::chrono::milliseconds keep_superseded_for = SupersededEntries::kDefaultKeepFor;
  /// The time on a clock that never goes back.
  std::function<std::chrono::milliseconds()> now = [] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now().time_since_epoch());
  };
  /// Told how far the recovery in open() has come: what it does, how much of it is done, and how
  /// much there is. May be empty.
  std::function<void(const std::string& what, std::uint64_t done, std::uint64_t all)> on_progress;
  /// Asked for every server of a directory that was not ours before, before anything is changed: an
  /// error refuses the takeover. Empty = all are taken.
  std::function<Result<void>(const ServerConfig&)> admit;
};

/// What the owner is told about the whole system, on its own thread.
class LogSystemObserver {
 public:
  virtual ~LogSystemObserver() = default;
  /// Nothing can be made durable (disk full or failing). Members must stop acknowledging and refuse
  /// votes; reads go on. Call retry_wal() after a while.
  virtual void wal_down(const Error& error) = 0;
  virtual void wal_up() = 0;
  /// The disk is nearly full (SpaceWatch): no more entries should be taken; what was taken is still
  /// being written. And the end of that. Only after check_space().
  virtual void space_low(const DiskSpace&) {}
  virtual void space_enough() {}
  /// This server's directory takes no segments, so what the WAL has of it is kept elsewhere: it
  /// must take no more entries, as after wal_down(). And the end of that, which is tried for every
  /// few seconds. See LogSystem::keeps_records_of().
  virtual void segments_down(MemberLog&, const Error&) {}
  virtual void segments_up(MemberLog&) {}
  /// A background job failed (segment flush, clean-up); it is kept and tried again. For the
  /// operator's log.
  virtual void background_job_failed(const Error& error) = 0;
};

/// The store of one ra system: the directory DIR/NAME@HOST with names.dets, meta.dets, *.wal and
/// one directory per server. While it is open, and until release() (release.h), no BEAM can start
/// on it (ownership.h).
///
/// Threads: everything here is called on the owner's thread (the executor `owner`). The WAL has its
/// own thread; jobs that wait for the disk run on `worker`, in order, one at a time; results come
/// back through `owner`.
///
/// Order of durable steps (each crash window leaves a state that open() understands):
///  - server creation: directory, config, parent synced; then the names; then the callback;
///  - deletion: directory renamed to UID.deleted, parent synced; names, meta.dets; then the tree
///  goes;
///  - WAL removal: segments of every server synced, their directories synced; unlink, oldest first;
///  directory synced.
class LogSystem final : private FlushOwner {
 public:
  /// Makes the directory if missing, locks it, recovers everything. Waits for the disk. Errors:
  /// invalid_argument when the memory budget is too small; unavailable when another process has the
  /// directory; io when it can't be read or made; corrupt when acknowledged data are damaged.
  static Result<std::unique_ptr<LogSystem>> open(std::string directory, Disk& disk, Executor& owner,
                                                 Executor& worker, LogSystemOptions options = {});
  /// Ends the WAL thread (see stop()). Jobs on the executors must have run or never run after this.
  ~LogSystem() override;

  const std::string& directory() const { return directory_; }
  const MemoryBudget& memory_budget() const { return budget_; }
  const LogSystemOptions& options() const { return options_; }
  void set_observer(LogSystemObserver* observer) { observer_ = observer; }
  /// What recovery found worth telling the operator.
  const std::vector<std::string>& notices() const { return notices_; }

  /// Every registered server, recovered.
  std::vector<MemberLog*> members();
  MemberLog* find(const std::string& uid);
  MemberLog* find_by_name(const std::string& name);
  /// Registered servers that can't be started and why (config unreadable, snapshot gone...). Their
  /// files are kept.
  const std::map<std::string, Error>& broken_servers() const { return broken_; }

  /// Makes a new server durable (order in the class comment), then gives its empty log.
  /// already_exists: name or UId taken, or the directory of a server that is not registered is in
  /// the way. After any error nothing is left of it.
  void register_server(ServerConfig config, std::function<void(Result<MemberLog*>)> done);
  /// Replaces the config file of a registered server.
  void update_config(const ServerConfig& config, DoneCallback done);
  /// Whether the server is between segments_down() and segments_up().
  bool keeps_records_of(const std::string& uid) const { return flusher_.keeps(uid); }
  /// Why the registered server of that name can't be started; null when it can, or is not known.
  const Error* why_broken(const std::string& name) const;
  /// The UId of the registered server of that name, also if it can't be started.
  std::optional<std::string> uid_of(const std::string& name) const;
  /// Gives up a server's name but not its data: its directory becomes UID.replaced, with everything
  /// that the log has in it, and is never looked at again. `done` gets the directory. Its MemberLog
  /// must not be used any more. unavailable: its directory takes no segments.
  void set_server_aside(const std::string& uid, std::function<void(Result<std::string>)> done);
  /// Removes a server with all its files, also one that can't be started. Its MemberLog is
  /// destroyed at once.
  void delete_server(const std::string& uid, DoneCallback done);

  /// Makes term and vote durable, then calls back. Calls that wait for the disk together are
  /// written as one file.
  void store_term_vote(const std::string& uid, Term term, std::optional<ServerId> voted_for,
                       DoneCallback done);
  /// Remembers last_applied; it is written along with the next term change, or by flush_metadata().
  void note_last_applied(const std::string& uid, Index index);
  /// Writes noted last_applied values if there are any, and tries again what failed in the
  /// background (the owner calls it every few seconds, and at stop).
  void flush_metadata(DoneCallback done);

  /// Appended, not yet durable payload bytes over all members (for back-pressure).
  std::uint64_t queued_bytes() const { return queue_.queued_bytes(); }
  /// Without a WAL thread: whether its next batch has anything to do.
  bool wal_has_work() const { return queue_.has_work(); }
  /// Starts a new WAL file at the next batch; the old one goes to segments.
  /// Measures the room on the disk, on the worker, and tells the observer what changed. The owner
  /// calls it every second or so; it is also done whenever much has been appended.
  void check_space();
  /// Gives up superseded entries that have been kept long enough; all of them while the disk is
  /// nearly full. The owner calls it every second or so.
  void drop_superseded();
  void roll_over_wal() { queue_.roll_over(); }
  void retry_wal() { queue_.retry(); }
  /// For tests: the WAL fails where it stands (wal_down follows). What is queued is kept.
  void fail_wal() { queue_.fail(); }
  /// For tests: the WAL writes nothing while it is suspended, as when the disk hangs.
  void suspend_wal(bool suspended) { queue_.suspend(suspended); }
  /// Only with wal_thread = false.
  WalWriter& wal_writer();
  /// Writes what is queued, final mark, metadata; waits for the disk. Nothing may be called after
  /// it but the destructor, which gives the lock on the directory back.
  Result<void> stop();

 private:
  class Sink;
  LogSystem(std::string directory, Disk& disk, Executor& owner, Executor& worker,
            LogSystemOptions options, std::shared_ptr<SegmentFiles> segment_files,
            RecoveredSystem recovered);

  /// Guards meta.dets against an older image being written over a newer one.
  struct MetaFile {
    std::mutex mutex;
    std::uint64_t written = 0;
  };

  MemberLogContext member_context();
  MemberLog& add_member(RecoveredLog recovered);
  void handle_wal_events(std::vector<WalEvent> events);
  void handle_wal_closed(const WalClosed& closed);
  FlushSource* flush_source(const std::string& uid) override;
  Removal begin_removal() override;
  void records_kept(const std::string& uid, const Error& why) override;
  void kept_records_flushed(const std::string& uid) override;
  void flush_finished();
  void move_aside(const std::string& uid, std::function<void(Result<std::string>)> done);
  void finish_deletion(const std::string& uid, DoneCallback done);
  void write_metadata_soon();
  std::function<Result<void>()> meta_write_job();
  std::function<Result<void>()> names_write_job();
  void give_up_registration(const ServerConfig& config, const Error& error,
                            std::function<void(Result<MemberLog*>)> done);
  /// As LogContext's.
  template <class Job, class Then>
  void run_on(Executor& executor, Job job, Then then) {
    context_.run_on(executor, std::move(job), std::move(then));
  }

  std::string directory_;
  LogSystemOptions options_;
  LogSystemObserver* observer_ = nullptr;
  LogContext context_;
  MemoryBudget budget_;
  std::vector<std::string> notices_;
  std::map<std::string, Error> broken_;

  std::unique_ptr<FileLock> lock_;
  std::shared_ptr<SegmentFiles> segment_files_;
  WalQueue queue_;
  std::map<std::string, std::unique_ptr<MemberLog>> members_;  // by UId
  std::map<WriterId, MemberLog*> by_writer_;
  /// UIds whose entries must come to segments before their directories are renamed.
  struct SetAside {
    std::function<void(Result<std::string>)> done;
    int flushes = 0;  ///< finished since it was asked for
  };
  std::map<std::string, SetAside> set_aside_;
  std::set<std::string> deleting_;            // UIds whose directories may still have their names
  std::set<std::string> creating_;            // UIds whose directories may not be complete
  std::map<std::string, std::string> names_;  // name to UId, as it shall be
  std::map<std::string, MetaRow> meta_;       // as it shall be
  bool metadata_dirty_ = false;               // last_applied noted and not written
  bool metadata_writing_ = false;
  std::uint64_t meta_image_ = 0;
  std::shared_ptr<MetaFile> meta_file_ = std::make_shared<MetaFile>();
  std::vector<DoneCallback> metadata_waiting_;

  /// So many bytes of entries were taken. A fast disk can be filled between two of the owner's
  /// checks.
  void note_appended(std::uint64_t bytes);

  SpaceWatch space_watch_;
  std::uint64_t appended_since_check_ = 0;
  bool space_checking_ = false;

  SegmentFlusher flusher_;

  std::unique_ptr<Sink> sink_;
  std::unique_ptr<WalWriter> wal_writer_;  // without a WAL thread
  std::unique_ptr<WalThread> wal_thread_;
  bool stopped_ = false;
};

}  // namespace rakv::raftlog
