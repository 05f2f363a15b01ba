// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"

// The write-ahead log shared by all members of a system, in ra's record format (ra_log_wal.erl,
// "RAWA" version 1), with batch marks: records of the reserved UId `_CPPBATCH`, which ra skips as
// those of a deleted server.
//
// The owner thread puts entries into a WalQueue; WalWriter takes everything queued, writes it with
// one gathered write and one fdatasync, and reports. WalThread drives a WalWriter; tests and the
// simulator call run_one_batch() themselves.

namespace rakv::raftlog {

struct WalOptions {
  std::uint64_t max_size_bytes =
      256'000'000;  ///< roll over when a file is larger; one batch may overshoot
  std::size_t max_batch_entries = 8192;  ///< entries per write and sync
  std::size_t max_batch_bytes =
      std::size_t{16} * 1024 * 1024;  ///< payload bytes per write and sync (at least one entry)
  std::uint64_t preallocate_bytes =
      std::uint64_t{16} * 1024 * 1024;  ///< reserve the file in steps of this size; 0 = never
  /// Bytes of WAL files that are not flushed to segments yet: with more than that, the writer takes
  /// nothing until the flush of a closed file is done (WalQueue::flushed).
  std::uint64_t max_unflushed_bytes = UINT64_MAX;
  /// Mixed into each file's salt (wal_format.h); 0 = random. The simulator sets it, to be
  /// repeatable.
  std::uint64_t salt_seed = 0;
};

/// A member as the WAL knows it; given by WalQueue::add_writer, never used twice in a process.
using WriterId = std::uint32_t;

/// Entries `range` of a writer are durable, all of one term. `sequence` counts the entries ever
/// appended by that writer: everything it appended up to and including that number is durable.
struct WalWritten {
  WriterId writer = 0;
  std::uint64_t sequence = 0;
  Term term = 0;
  IndexRange range;
};

/// A WAL file is complete and closed; `ranges` says which indexes of which writer it holds (lowest
/// to highest).
struct WalClosed {
  std::string path;
  std::uint64_t bytes = 0;  ///< its size; to be given to WalQueue::flushed() when it is
  std::vector<std::pair<WriterId, IndexRange>> ranges;
};

/// Nothing can be made durable: writing failed on one file and then on a fresh one, or the disk is
/// full. What was queued is kept and not acknowledged; retry() tries again with a new file.
struct WalDown {
  Error error;
};

/// Writing works again after WalDown; WalWritten events for what was kept follow.
struct WalUp {};

using WalEvent = std::variant<WalWritten, WalClosed, WalDown, WalUp>;

/// Where a WalWriter reports to. Called on the thread that runs the batch, once per batch, in
/// order.
class CompletionSink {
 public:
  virtual ~CompletionSink() = default;
  virtual void wal_events(std::vector<WalEvent> events) = 0;
};

/// Owner to WAL: one lock per append and one swap per batch; the WAL thread is woken only when it
/// sleeps.
class WalQueue {
 public:
  /// Makes a writer known. `uid` is at most 65,535 bytes and not kBatchMarkUid.
  WriterId add_writer(std::string uid);
  /// Queues entries in order; `first_sequence` is the writer's number of the first. A lower index
  /// than the writer's last voids, at recovery, everything above it; a higher jump is a sparse
  /// write.
  void append(WriterId writer, std::uint64_t first_sequence, std::vector<StoredEntry> entries);
  void append(WriterId writer, std::uint64_t sequence, StoredEntry entry);
  /// Asks for a new file at the next batch, also when the present one is not full.
  void roll_over();
  /// Asks for another attempt after WalDown.
  void retry();
  /// Closed files of so many bytes are in segments: the writer may go on if it has waited for that.
  void flushed(std::uint64_t bytes);
  /// For tests: the writer goes down where it stands, as after an error of the disk.
  void fail();
  /// For tests: nothing more is given to the writer while `suspended`, as when the disk hangs; a
  /// request to stop ends that.
  void suspend(bool suspended);
  /// Payload bytes appended and not yet durable (for back-pressure).
  std::uint64_t queued_bytes() const { return queued_bytes_.load(std::memory_order_relaxed); }
  /// Whether the next batch has anything to do.
  bool has_work() const {
    const std::lock_guard lock(mutex_);
    return may_take();
  }

  // ---- for the writer, on its thread

  struct Item {
    WriterId writer;
    std::uint64_t sequence;
    StoredEntry entry;
  };
  struct Taken {
    std::vector<Item> items;
    std::vector<std::pair<WriterId, std::string>> new_writers;
    bool roll_over = false;
    bool fail = false;
    bool retry = false;
    bool stop = false;
    std::uint64_t flushed_bytes = 0;
    bool empty() const {
      return items.empty() && !roll_over && !fail && !retry && !stop && flushed_bytes == 0;
    }
  };
  /// Swaps what is queued into `into` (which must be empty but may have capacity); waits for
  /// something when `block`. Nothing comes while the queue is suspended.
  void take(Taken& into, bool block);
  /// So many payload bytes that were taken are durable.
  void note_durable(std::uint64_t bytes) { queued_bytes_ -= bytes; }
  /// Asks the writer's thread to end; any thread.
  void request_stop();

 private:
  void wake(std::unique_lock<std::mutex>& lock);
  bool may_take() const { return waiting_.stop || (!suspended_ && !waiting_.empty()); }

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  bool sleeping_ = false;
  bool suspended_ = false;
  Taken waiting_;
  WriterId next_writer_ = 1;
  std::atomic<std::uint64_t> queued_bytes_ = 0;
};

/// The WAL's logic without a thread: files, batches, marks, roll-over, what to do on errors.
///
/// When segments are written more slowly than the WAL, the WAL waits for them, so that memory is
/// bounded (max_unflushed_bytes). It waits only while a closed file is not flushed, and flushing
/// needs nothing of the WAL: so the wait ends, whatever the sizes.
///
/// An fdatasync that fails is never repeated on that file: the kernel may have dropped the pages
/// and would report success. The batch is written again to a new file; if that fails too the writer
/// is down (WalDown) and keeps the batch.
class WalWriter {
 public:
  /// Opens file number `first_number` (NNNNNNNNNNNNNNNN.wal) in `directory`, durable with its
  /// directory entry.
  static Result<std::unique_ptr<WalWriter>> open(Disk& disk, std::string directory,
                                                 std::uint64_t first_number, WalOptions options,
                                                 WalQueue& queue, CompletionSink& sink);
  ~WalWriter();

  /// Takes what is queued, writes, syncs, reports. False when there was nothing to do (or the
  /// writer is down, or waits for a flush).
  bool run_one_batch();
  /// Writes batch after batch, waiting for what is queued, until request_stop(): for a thread of
  /// its own.
  void run_until_stopped();
  /// Ends run_until_stopped(); any thread.
  void request_stop() { queue_.request_stop(); }
  /// Counts files of an earlier run that are to be flushed; before the first batch.
  void add_unflushed(std::uint64_t bytes) { closed_bytes_ += bytes; }
  /// Writes what is queued, then the final mark. The writer is not used any more after this.
  Result<void> close();
  bool down() const { return down_; }
  /// Waits for closed files to be flushed; when it is closed itself, it does not.
  bool waits_for_flush() const;
  std::uint64_t file_number() const { return number_; }
  std::uint64_t file_size() const { return offset_; }

 private:
  using Item = WalQueue::Item;
  WalWriter(Disk& disk, std::string directory, WalOptions options, WalQueue& queue,
            CompletionSink& sink);

  struct WriterState {
    std::string uid;
    std::uint32_t file_ref = 0;
    bool defined = false;             // file_ref is given out in the present file
    std::size_t event = SIZE_MAX;     // its latest WalWritten of this batch, in events_
    std::optional<IndexRange> range;  // what the present file holds of it
  };

  bool run(bool block);
  void admit();
  bool write_pending();
  Result<void> write_batch(std::size_t count);
  void gather(std::size_t count);
  void reserve(std::uint64_t end);
  Result<void> write_final_mark();
  void add_record(const Item& item);
  Result<void> open_next_file();
  Result<void> make_file(std::uint64_t number);
  void finish_file();
  void abandon_file();
  void go_down(Error error);
  void report_written(std::size_t count);
  std::size_t next_batch_size() const;
  std::string path_of(std::uint64_t number, std::string_view suffix) const;

  Disk& disk_;
  std::string directory_;
  WalOptions options_;
  WalQueue& queue_;
  CompletionSink& sink_;

  std::unique_ptr<File> file_;
  std::uint64_t number_ = 0;  // of the present file; the next one gets number_ + 1
  std::uint64_t offset_ = 0;  // end of what is durable in it
  std::uint64_t reserved_ = 0;
  std::uint64_t file_size_ = 0;  // what reserving made of it
  std::uint64_t salt_ = 0;
  std::uint64_t batch_sequence_ = 0;
  std::uint32_t next_ref_ = 1;
  bool down_ = false;
  bool roll_requested_ = false;
  bool stopping_ = false;
  bool closing_ = false;
  std::uint64_t closed_bytes_ = 0;  // of files that are not flushed

  std::unordered_map<WriterId, WriterState> writers_;
  WalQueue::Taken taken_;
  std::deque<Item> pending_;  // taken and not durable
  std::vector<WalEvent> events_;

  // The batch being written; kept to reuse their memory.
  std::string arena_;  // record headers, small payloads, the mark
  struct Piece {
    const char* payload;  // nullptr: `size` bytes of the arena, following those of the piece before
    std::size_t size;
  };
  std::vector<Piece> pieces_;
  std::vector<IoSlice> slices_;
};

/// Runs a WalWriter on a thread of its own until stop().
class WalThread {
 public:
  explicit WalThread(std::unique_ptr<WalWriter> writer);
  ~WalThread();
  /// Writes what is queued, closes the file with its final mark, ends the thread.
  Result<void> stop();

 private:
  std::unique_ptr<WalWriter> writer_;
  std::thread thread_;
};

}  // namespace rakv::raftlog
