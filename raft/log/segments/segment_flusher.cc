// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/segment_flusher.h"

#include <algorithm>
#include <utility>

#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/server_directory.h"

namespace rakv::raftlog {
namespace {

/// A server that was deleted meanwhile has no directory any more, and needs none: nothing.
Result<std::shared_ptr<const Segment>> create_segment(Disk& disk, const std::string& directory,
                                                      std::uint64_t number,
                                                      const std::vector<StoredEntry>& entries,
                                                      const SegmentOptions& limits,
                                                      const std::shared_ptr<SegmentFiles>& files) {
  const auto there = disk.exists(directory);
  if (!there) return there.error();
  if (!*there) return std::shared_ptr<const Segment>();
  return Segment::create(disk, directory + "/" + numbered_name(number, ".segment"), number, entries,
                         limits, files);
}

/// The segments' names, then the WAL files, oldest first.
Result<void> remove_wal_files(Disk& disk, const std::string& directory,
                              const std::vector<std::string>& server_directories,
                              const std::vector<std::string>& wal_paths) {
  for (const auto& server : server_directories) {
    const auto there = disk.exists(server);
    if (!there) return there.error();
    if (!*there) continue;
    if (auto done = disk.sync_directory(server); !done) return done;
  }
  for (const auto& path : wal_paths) {
    auto done = disk.unlink(path);
    if (!done && done.error().code != ErrorCode::not_found) return done;
    if (done = disk.sync_directory(directory); !done) return done;
  }
  return {};
}

/// Segments of about the same size, none of them tiny: a WAL file is a little larger than it was
/// meant to be, and so may a segment be.
std::uint64_t segment_bytes(std::uint64_t all, std::uint64_t limit) {
  const std::uint64_t most = limit + limit / 4;
  if (all <= limit || most == 0) return limit;
  return std::max(limit / 2, all / ((all + most - 1) / most));
}

}  // namespace

void SegmentFlusher::add(std::vector<std::string> wal_paths, std::uint64_t bytes,
                         const std::map<std::string, IndexRange>& ranges) {
  SegmentOptions limits = limits_;
  limits.max_size_bytes = segment_bytes(bytes, limits.max_size_bytes);
  Flush flush{std::move(wal_paths), bytes, limits, {}};
  for (const auto& [uid, range] : ranges) flush.parts[uid] = {range, range.first};
  flushes_.push_back(std::move(flush));
}

void SegmentFlusher::run() {
  if (busy_ || flushes_.empty()) return;
  busy_ = true;
  Flush& flush = flushes_.front();
  for (auto& [uid, part] : flush.parts) {
    FlushSource* log = owner_.flush_source(uid);
    if (log == nullptr) continue;
    part.next = std::max(part.range.first, std::min(part.next, log->take_changed_from()));
    Index next = part.next;
    auto entries = log->entries_to_flush(next, part.range.last, flush.limits);
    if (!entries.empty()) return write_segment(uid, log->next_segment(), std::move(entries), next);
  }
  finish();
}

void SegmentFlusher::write_segment(const std::string& uid, std::uint64_t number,
                                   std::vector<StoredEntry> entries, Index next) {
  context_.run_on(
      context_.background(),
      [&disk = context_.disk(), directory = server_directory(directory_, uid), number,
       entries = std::move(entries), limits = flushes_.front().limits,
       files = files_] { return create_segment(disk, directory, number, entries, limits, files); },
      [this, uid, next](Result<std::shared_ptr<const Segment>> segment) {
        if (!segment) return fail(segment.error());
        flushes_.front().parts[uid].next = next;
        FlushSource* log = owner_.flush_source(uid);
        if (*segment != nullptr && log != nullptr) log->add_segment(std::move(*segment));
        busy_ = false;
        run();
      });
}

void SegmentFlusher::finish() {
  const Flush& flush = flushes_.front();
  std::vector<std::string> directories;
  std::vector<std::shared_ptr<SnapshotLeftovers>> leftovers;
  for (const auto& [uid, part] : flush.parts) {
    directories.push_back(server_directory(directory_, uid));
    if (const FlushSource* log = owner_.flush_source(uid)) leftovers.push_back(log->leftovers());
  }
  auto removal = owner_.begin_removal();
  context_.run_on(
      context_.background(),
      [&disk = context_.disk(), directory = directory_, directories = std::move(directories),
       leftovers = std::move(leftovers), wal_paths = flush.wal_paths,
       before = std::move(removal.before)]() -> Result<void> {
        for (const auto& of_member : leftovers) {
          if (auto done = of_member->remove(); !done) return done;
        }
        if (auto done = before(); !done) return done;
        return remove_wal_files(disk, directory, directories, wal_paths);
      },
      [this, after = std::move(removal.after)](const Result<void>& removed) {
        if (!removed) return fail(removed.error());
        const Flush done = std::move(flushes_.front());
        flushes_.pop_front();
        busy_ = false;
        for (const auto& [uid, part] : done.parts) {
          if (FlushSource* log = owner_.flush_source(uid)) log->flushed(part.range);
        }
        after(done.bytes);
        run();
      });
}

/// What was done is done; LogSystem::flush_metadata() or the next closed file tries the rest again.
void SegmentFlusher::fail(const Error& error) {
  busy_ = false;
  context_.report(error);
}

}  // namespace rakv::raftlog
