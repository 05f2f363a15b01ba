// SPDX-License-Identifier: Apache-2.0
#include "raft/log/segments/segment_flusher.h"

#include <algorithm>
#include <utility>

#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_directory.h"

namespace rakv::raftlog {
namespace {

/// Nothing when there is no directory, as of a server that was deleted meanwhile.
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

/// Segments of about the same size, none of them tiny: a WAL file is a little larger than it was
/// meant to be, and so may a segment be.
std::uint64_t segment_bytes(std::uint64_t all, std::uint64_t limit) {
  const std::uint64_t most = limit + limit / 4;
  if (all <= limit || most == 0) return limit;
  return std::max(limit / 2, all / ((all + most - 1) / most));
}

Error no_directory(const std::string& directory) {
  return make_error(ErrorCode::not_found, directory + ": the server's directory is gone");
}

}  // namespace

/// What the end of a flush works with, in the background.
struct SegmentFlusher::Ending {
  struct Server {
    std::string uid;
    std::shared_ptr<SnapshotLeftovers> leftovers;  ///< null when the server is gone
    std::optional<Error> failed;                   ///< not all of it is in segments
    bool may_keep;
    std::optional<KeptFile> kept;
  };
  Disk& disk;
  std::string directory;
  std::vector<std::string> wal_paths;
  std::vector<Server> servers;
  std::uint64_t kept_bytes;  ///< of servers that are not among these
  std::uint64_t most_kept_bytes;
  std::function<Result<void>()> before_removal;

  Ended run() const;

 private:
  Result<void> settle(const Server& server) const;
  Result<void> keep(const Server& server, std::uint64_t most_bytes, Ended& ended) const;
  Result<void> remove_files(const Ended& ended) const;
};

struct SegmentFlusher::Ended {
  std::map<std::string, Error> failed;   ///< by UId
  std::map<std::string, KeptFile> kept;  ///< of those
  bool complete = false;                 ///< the files are gone
  std::optional<Error> error;            ///< that is no server's
};

SegmentFlusher::Ended SegmentFlusher::Ending::run() const {
  Ended ended;
  bool may_keep = true;
  for (const Server& server : servers) {
    if (server.leftovers == nullptr) continue;
    const Result<void> settled = server.failed ? Result<void>(*server.failed) : settle(server);
    if (settled) continue;
    ended.failed.emplace(server.uid, settled.error());
    may_keep &= server.may_keep && settled.error().code != ErrorCode::no_space;
  }
  if (!may_keep) return ended;
  std::uint64_t kept_already = kept_bytes;
  for (const Server& server : servers) {
    if (!ended.failed.contains(server.uid)) continue;
    const auto kept =
        keep(server, most_kept_bytes - std::min(most_kept_bytes, kept_already), ended);
    if (!kept) {
      ended.error = kept.error();
      return ended;
    }
    kept_already += ended.kept.at(server.uid).bytes;
  }
  const auto removed = remove_files(ended);
  ended.complete = static_cast<bool>(removed);
  if (!removed) ended.error = removed.error();
  return ended;
}

/// What a server's directory must have on disk before its records may go.
Result<void> SegmentFlusher::Ending::settle(const Server& server) const {
  if (auto done = server.leftovers->remove(); !done) return done;
  const std::string path = server_directory(directory, server.uid);
  const auto there = disk.exists(path);
  if (!there) return there.error();
  if (!*there) return no_directory(path);
  return disk.sync_directory(path);
}

Result<void> SegmentFlusher::Ending::keep(const Server& server, std::uint64_t most_bytes,
                                          Ended& ended) const {
  if (wal_paths.empty() && server.kept) {
    ended.kept[server.uid] = *server.kept;
    return {};
  }
  std::vector<std::string> files = wal_paths;
  if (server.kept) files.insert(files.begin(), server.kept->path);
  const auto last_of_beam = read_last_beam_wal(disk, directory);
  if (!last_of_beam) return last_of_beam.error();
  auto kept = keep_records(disk, directory, server.uid, files, *last_of_beam, most_bytes);
  if (!kept) return kept.error();
  ended.kept[server.uid] = kept->value_or(KeptFile{});
  return {};
}

/// Kept records first, then the WAL files, oldest first: what is older may not be left alone.
Result<void> SegmentFlusher::Ending::remove_files(const Ended& ended) const {
  if (auto done = before_removal(); !done) return done;
  std::vector<std::string> files;
  for (const Server& server : servers) {
    if (server.kept) files.push_back(server.kept->path);
    // A former attempt to keep its records may have failed and left the file.
    if (server.may_keep && !wal_paths.empty())
      files.push_back(kept_records_path(wal_paths.back(), server.uid));
  }
  files.insert(files.end(), wal_paths.begin(), wal_paths.end());
  for (const auto& [uid, kept] : ended.kept) std::erase(files, kept.path);
  for (const std::string& path : files) {
    auto done = disk.unlink(path);
    if (!done && done.error().code != ErrorCode::not_found) return done;
    if (done = disk.sync_directory(directory); !done) return done;
  }
  return {};
}

void SegmentFlusher::add(std::vector<std::string> wal_paths, std::uint64_t bytes,
                         const std::map<std::string, IndexRange>& ranges) {
  SegmentOptions limits = limits_;
  limits.max_size_bytes = segment_bytes(bytes, limits.max_size_bytes);
  Flush flush{std::move(wal_paths), bytes, limits, {}};
  for (const auto& [uid, range] : ranges) flush.parts[uid] = {range, range.first};
  flushes_.push_back(std::move(flush));
}

void SegmentFlusher::retry() {
  if (flushes_.empty()) {
    for (const auto& [uid, kept] : kept_)
      flushes_.push_back({{}, 0, limits_, {{uid, Part{kept.range, kept.range.first}}}});
  }
  run();
}

void SegmentFlusher::run() {
  if (busy_ || flushes_.empty()) return;
  busy_ = true;
  for (auto& [uid, part] : flushes_.front().parts) {
    part.failed.reset();
    const auto kept = kept_.find(uid);
    if (kept == kept_.end()) continue;
    const IndexRange& range = kept->second.range;
    part.range = {std::min(part.range.first, range.first), std::max(part.range.last, range.last)};
    part.next = std::min(part.next, part.range.first);
    part.failed_before = true;
  }
  go_on();
}

void SegmentFlusher::go_on() {
  Flush& flush = flushes_.front();
  for (auto& [uid, part] : flush.parts) {
    FlushSource* log = owner_.flush_source(uid);
    if (log == nullptr || part.failed) continue;
    part.next = std::max(part.range.first, std::min(part.next, log->take_changed_from()));
    Index next = part.next;
    auto entries = log->entries_to_flush(next, part.range.last, flush.limits);
    if (!entries.empty()) return write_segment(uid, log->next_segment(), std::move(entries), next);
  }
  finish();
}

void SegmentFlusher::write_segment(const std::string& uid, std::uint64_t number,
                                   std::vector<StoredEntry> entries, Index next) {
  const std::string directory = server_directory(directory_, uid);
  context_.run_on(
      context_.background(),
      [&disk = context_.disk(), directory, number, entries = std::move(entries),
       limits = flushes_.front().limits,
       files = files_] { return create_segment(disk, directory, number, entries, limits, files); },
      [this, uid, directory, next](Result<std::shared_ptr<const Segment>> segment) {
        if (!segment) return part_failed(uid, segment.error());
        FlushSource* log = owner_.flush_source(uid);
        if (log != nullptr && *segment == nullptr) return part_failed(uid, no_directory(directory));
        flushes_.front().parts[uid].next = next;
        if (log != nullptr) log->add_segment(std::move(*segment));
        go_on();
      });
}

/// The others' parts come first, so that they wait for nobody.
void SegmentFlusher::part_failed(const std::string& uid, const Error& error) {
  if (error.code == ErrorCode::no_space) return fail(error);
  context_.report(error);
  flushes_.front().parts[uid].failed = error;
  go_on();
}

void SegmentFlusher::finish() {
  const Flush& flush = flushes_.front();
  auto removal = owner_.begin_removal();
  Ending ending{context_.disk(),          directory_, flush.wal_paths, {}, 0, most_kept_bytes_,
                std::move(removal.before)};
  for (const auto& [uid, part] : flush.parts) {
    const FlushSource* log = owner_.flush_source(uid);
    const auto kept = kept_.find(uid);
    ending.servers.push_back(
        {uid, log != nullptr ? log->leftovers() : nullptr, part.failed, part.failed_before,
         kept != kept_.end() ? std::optional(kept->second.file) : std::nullopt});
  }
  for (const auto& [uid, kept] : kept_) {
    if (!flush.parts.contains(uid)) ending.kept_bytes += kept.file.bytes;
  }
  context_.run_on(
      context_.background(), [ending = std::move(ending)] { return ending.run(); },
      [this, after = std::move(removal.after)](const Ended& ended) { finished(ended, after); });
}

void SegmentFlusher::finished(const Ended& ended,
                              const std::function<void(std::uint64_t bytes)>& after) {
  Flush& flush = flushes_.front();
  for (const auto& [uid, error] : ended.failed) {
    Part& part = flush.parts[uid];
    if (!part.failed) context_.report(error);
    part.failed_before = true;
    const auto kept = ended.kept.find(uid);
    if (kept != ended.kept.end()) note_kept(uid, kept->second, error);
  }
  busy_ = false;
  if (ended.error) context_.report(*ended.error);
  if (!ended.complete) return;
  const Flush done = std::move(flush);
  flushes_.pop_front();
  for (const auto& [uid, part] : done.parts) {
    FlushSource* log = owner_.flush_source(uid);
    if (log != nullptr) log->flushed(part.range);
    if (kept_.erase(uid) > 0) owner_.kept_records_flushed(uid);
  }
  after(done.bytes);
  run();
}

/// From here on the server's part is not this flush's. A former file may go with the WAL's, before
/// them.
void SegmentFlusher::note_kept(const std::string& uid, const KeptFile& file, const Error& why) {
  Flush& flush = flushes_.front();
  auto part = flush.parts.extract(uid);
  const auto former = kept_.find(uid);
  const bool is_new = former == kept_.end();
  if (!is_new && former->second.file.path != file.path)
    flush.wal_paths.insert(flush.wal_paths.begin(), former->second.file.path);
  // One that a start has read is among the flush's files; it does not go with them now.
  std::erase(flush.wal_paths, file.path);
  kept_[uid] = {file, part.mapped().range};
  if (is_new) owner_.records_kept(uid, why);
}

/// What was done is done; LogSystem::flush_metadata() or the next closed file tries the rest again.
void SegmentFlusher::fail(const Error& error) {
  busy_ = false;
  context_.report(error);
}

}  // namespace rakv::raftlog
