// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/base/randomness.h"
#include "raft/log/base/checksum.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/wal/wal.h"
#include "raft/log/wal/wal_format.h"

namespace rakv::raftlog {
namespace {

/// Payloads up to this size are copied after their header: that is cheaper than one more piece of
/// a gathered write. Larger ones are written from where they are.
constexpr std::size_t kCopyBelow = 512;

std::uint64_t make_salt(std::uint64_t seed, std::uint64_t file_number) {
  if (seed == 0) return make_salt_of(Randomness::system()());
  return make_salt_of(std::mt19937_64(seed ^ file_number)());
}

}  // namespace

WalWriter::WalWriter(Disk& disk, std::string directory, WalOptions options, WalQueue& queue,
                     CompletionSink& sink)
    : disk_(disk),
      directory_(std::move(directory)),
      options_(options),
      queue_(queue),
      sink_(sink) {}

WalWriter::~WalWriter() = default;

Result<std::unique_ptr<WalWriter>> WalWriter::open(Disk& disk, std::string directory,
                                                   std::uint64_t first_number, WalOptions options,
                                                   WalQueue& queue, CompletionSink& sink) {
  RAKV_CHECK(first_number > 0);
  std::unique_ptr<WalWriter> writer(
      new WalWriter(disk, std::move(directory), options, queue, sink));
  writer->number_ = first_number - 1;
  if (auto opened = writer->open_next_file(); !opened) return opened.error();
  return writer;
}

std::string WalWriter::path_of(std::uint64_t number, std::string_view suffix) const {
  return directory_ + "/" + numbered_name(number, suffix);
}

/// The file appears under its name with its first mark inside and its directory entry durable
/// before any record in it can be acknowledged.
Result<void> WalWriter::open_next_file() {
  const std::uint64_t number = number_ + 1;
  auto done = make_file(number);
  if (done) return done;
  // Nothing is in it, and on a full disk it takes up room that others need.
  for (const char* suffix : {".tmp", ".wal"}) {
    static_cast<void>(disk_.unlink(path_of(number, suffix)));
  }
  return done;
}

Result<void> WalWriter::make_file(std::uint64_t number) {
  const std::uint64_t salt = make_salt(options_.salt_seed, number);
  std::string head(kWalMagic);
  WalMark start{MarkKind::start, 0, kWalMagic.size(), finish_mark_crc(0, 0, kWalMagic.size(), salt),
                salt};
  start.file_size = kWalMagic.size() + mark_size(kWalMagic.size());
  append_mark(head, start, kWalMagic.size());
  auto file = disk_.create(path_of(number, ".tmp"));
  if (!file) return file.error();
  if (auto done = (*file)->pwrite(0, head); !done) return done;
  if (auto done = (*file)->fdatasync(); !done) return done;
  if (auto done = disk_.rename(path_of(number, ".tmp"), path_of(number, ".wal")); !done) {
    return done;
  }
  number_ = number;  // the name is taken from here on, whatever happens
  file = disk_.open_write(path_of(number, ".wal"));  // so that errors name the file as it is called
  if (!file) return file.error();
  if (auto done = disk_.sync_directory(directory_); !done) return done;
  file_ = std::move(*file);
  offset_ = head.size();
  reserved_ = 0;
  file_size_ = 0;
  salt_ = salt;
  batch_sequence_ = 0;
  next_ref_ = 1;
  for (auto& [id, writer] : writers_) {
    writer.defined = false;
    writer.range.reset();
  }
  return {};
}

bool WalWriter::run_one_batch() { return run(false); }

void WalWriter::run_until_stopped() {
  while (!stopping_) run(true);
}

bool WalWriter::waits_for_flush() const {
  return closed_bytes_ > 0 && !closing_ && closed_bytes_ + offset_ > options_.max_unflushed_bytes;
}

bool WalWriter::run(bool block) {
  queue_.take(taken_, block && (pending_.empty() || down_ || waits_for_flush()));
  const bool worked = !taken_.empty() || (!pending_.empty() && !down_ && !waits_for_flush());
  admit();
  if (!down_ && roll_requested_) {
    roll_requested_ = false;
    finish_file();
    if (auto opened = open_next_file(); !opened) go_down(opened.error());
  }
  if (!down_ && !pending_.empty() && !waits_for_flush()) write_pending();
  if (!events_.empty()) sink_.wal_events(std::exchange(events_, {}));
  return worked;
}

void WalWriter::admit() {
  for (auto& [id, uid] : taken_.new_writers) writers_[id].uid = std::move(uid);
  for (auto& item : taken_.items) pending_.push_back(std::move(item));
  roll_requested_ |= taken_.roll_over;
  stopping_ |= taken_.stop;
  closed_bytes_ -= std::min(closed_bytes_, taken_.flushed_bytes);
  if (taken_.fail && !down_)
    go_down(make_error(ErrorCode::io, directory_ + ": the WAL was killed"));
  if (taken_.retry && down_) {
    if (open_next_file()) {
      down_ = false;
      events_.emplace_back(WalUp{});
    }
  }
  taken_.new_writers.clear();
  taken_.items.clear();
  taken_.roll_over = taken_.fail = taken_.retry = taken_.stop = false;
  taken_.flushed_bytes = 0;
}

/// One batch, on a second file if the first fails. False when the writer is down after it.
bool WalWriter::write_pending() {
  if (offset_ > options_.max_size_bytes || next_ref_ + writers_.size() > kWalMaxRef) {
    finish_file();
    if (auto opened = open_next_file(); !opened) {
      go_down(opened.error());
      return false;
    }
  }
  const std::size_t count = next_batch_size();
  auto written = write_batch(count);
  if (!written) {
    // The kernel may have thrown away what it could not write, and a second fdatasync of this file
    // would then claim success. So this file ends at its last good batch and everything after that
    // is written anew elsewhere.
    abandon_file();
    written = open_next_file();
    if (written) written = write_batch(count);
  }
  if (!written) {
    go_down(written.error());
    return false;
  }
  report_written(count);
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(count));
  return true;
}

std::size_t WalWriter::next_batch_size() const {
  std::size_t bytes = 0;
  std::size_t count = 0;
  while (count < pending_.size() && count < options_.max_batch_entries) {
    bytes += pending_[count].entry.payload.size();
    if (count > 0 && bytes > options_.max_batch_bytes) break;
    ++count;
  }
  return count;
}

void WalWriter::add_record(const Item& item) {
  const auto found = writers_.find(item.writer);
  RAKV_CHECK(found != writers_.end());
  WriterState& writer = found->second;
  const std::string_view payload = item.entry.payload.view();
  RAKV_CHECK(payload.size() <= UINT32_MAX);
  const std::size_t before = arena_.size();
  std::string_view uid;
  if (!writer.defined) {
    writer.defined = true;
    writer.file_ref = next_ref_++;
    uid = writer.uid;
  }
  append_record_header(arena_, writer.file_ref, uid, item.entry.index, item.entry.term, payload);
  if (payload.size() <= kCopyBelow) arena_.append(payload);
  const std::size_t grown = arena_.size() - before;
  if (!pieces_.empty() && pieces_.back().payload == nullptr) {
    pieces_.back().size += grown;
  } else {
    pieces_.push_back({nullptr, grown});
  }
  if (payload.size() > kCopyBelow) pieces_.push_back({payload.data(), payload.size()});
}

/// Lays out the first `count` pending entries and their mark as slices_.
void WalWriter::gather(std::size_t count) {
  arena_.clear();
  pieces_.clear();
  slices_.clear();
  for (std::size_t i = 0; i < count; ++i) add_record(pending_[i]);
  // The arena does not move any more, except for the mark, for which there is room now.
  arena_.reserve(arena_.size() + kWalMarkSize + kWalMaxPad);
  std::size_t at = 0;
  std::uint64_t mark_at = offset_;
  std::uint32_t crc = 0;
  QuietParts quiet(offset_);
  for (const auto& piece : pieces_) {
    const char* data = piece.payload;
    if (data == nullptr) {
      data = arena_.data() + at;
      at += piece.size;
    }
    slices_.push_back({data, piece.size});
    crc = crc32c(crc, {data, piece.size});
    quiet.add({data, piece.size});
    mark_at += piece.size;
  }
  quiet.finish();
  const std::uint64_t sequence = batch_sequence_ + 1;
  const std::size_t size = mark_size(mark_at);
  reserve(mark_at + size);
  append_mark(arena_,
              {MarkKind::batch, sequence, offset_, finish_mark_crc(crc, sequence, offset_, salt_),
               salt_, true, std::max(file_size_, mark_at + size), quiet.count(), quiet.set()},
              mark_at);
  slices_.push_back({arena_.data() + at, size});
}

/// Blocks and a length that are there already make fdatasync cheaper. Failing is no harm: the write
/// itself tells.
void WalWriter::reserve(std::uint64_t end) {
  if (options_.preallocate_bytes == 0 || end <= reserved_) return;
  const std::uint64_t from = std::max(reserved_, offset_);
  const std::uint64_t step = std::max(options_.preallocate_bytes, end - offset_);
  reserved_ = file_->reserve(from, step) ? from + step : UINT64_MAX;
  const auto size = file_->size();  // not every file system lengthens the file
  if (size) file_size_ = *size;
}

Result<void> WalWriter::write_batch(std::size_t count) {
  gather(count);
  std::uint64_t size = 0;
  for (const auto& slice : slices_) size += slice.size;
  if (auto done = file_->pwritev(offset_, slices_); !done) return done;
  if (auto done = file_->fdatasync(); !done) return done;
  offset_ += size;
  ++batch_sequence_;
  return {};
}

void WalWriter::report_written(std::size_t count) {
  const std::size_t first_event = events_.size();
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Item& item = pending_[i];
    bytes += item.entry.payload.size();
    const Index index = item.entry.index;
    WriterState& writer = writers_.at(item.writer);
    if (!writer.range) writer.range = IndexRange{index, index};
    writer.range->first = std::min(writer.range->first, index);
    writer.range->last = std::max(writer.range->last, index);
    if (writer.event != SIZE_MAX && writer.event >= first_event) {
      auto& event = std::get<WalWritten>(events_[writer.event]);
      if (event.term == item.entry.term && event.range.last + 1 == index) {
        event.range.last = index;
        event.sequence = item.sequence;
        continue;
      }
    }
    writer.event = events_.size();
    events_.emplace_back(WalWritten{item.writer, item.sequence, item.entry.term, {index, index}});
  }
  for (std::size_t i = 0; i < count; ++i) writers_.at(pending_[i].writer).event = SIZE_MAX;
  queue_.note_durable(bytes);
}

/// Ends a file in order. The final mark says that nothing is missing after it; without it (an
/// error here) the file is only less well guarded.
void WalWriter::finish_file() {
  static_cast<void>(write_final_mark());
  abandon_file();
}

Result<void> WalWriter::write_final_mark() {
  const std::uint64_t sequence = batch_sequence_ + 1;
  WalMark final{MarkKind::final, sequence, offset_, finish_mark_crc(0, sequence, offset_, salt_),
                salt_};
  final.file_size = std::max<std::uint64_t>(file_size_, offset_ + mark_size(offset_));
  std::string mark;
  append_mark(mark, final, offset_);
  if (auto done = file_->pwrite(offset_, mark); !done) return done;
  return file_->fdatasync();
}

void WalWriter::abandon_file() {
  if (!file_) return;
  WalClosed closed{path_of(number_, ".wal"), offset_, {}};
  closed_bytes_ += offset_;
  for (const auto& [id, writer] : writers_) {
    if (writer.range) closed.ranges.emplace_back(id, *writer.range);
  }
  std::sort(closed.ranges.begin(), closed.ranges.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  events_.emplace_back(std::move(closed));
  file_.reset();
}

void WalWriter::go_down(Error error) {
  abandon_file();
  down_ = true;
  error.message += "; nothing can be made durable until there is room and the disk works again";
  events_.emplace_back(WalDown{std::move(error)});
}

Result<void> WalWriter::close() {
  closing_ = true;
  do {
    run(false);
  } while (!down_ && !pending_.empty());
  if (down_) {
    return make_error(ErrorCode::io, directory_ + ": " + std::to_string(pending_.size()) +
                                         " log entries could not be written; none of them was "
                                         "acknowledged");
  }
  return write_final_mark();
}

WalThread::WalThread(std::unique_ptr<WalWriter> writer)
    : writer_(std::move(writer)), thread_([this] { writer_->run_until_stopped(); }) {}

WalThread::~WalThread() {
  if (thread_.joinable()) static_cast<void>(stop());
}

Result<void> WalThread::stop() {
  writer_->request_stop();
  thread_.join();
  return writer_->close();
}

}  // namespace rakv::raftlog
