// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_log.h"

#include <algorithm>
#include <utility>

#include "cnode/base/byte_order.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "kv/machine.h"
#include "raft/log/base/checksum.h"
#include "raft/wire/ids.h"

namespace rakv::simulation {
namespace {

constexpr std::string_view kMagic{"RASN\x01", 5};

}  // namespace

std::string to_snapshot_file(const BeamSnapshot& snapshot) {
  etf::Writer meta;
  meta.version();
  wire::write_snapshot_meta(meta, snapshot.meta);
  std::string body;
  put_number(body, meta.size(), 4);
  body += meta.view();
  body += '\x83';
  body += snapshot.state;
  std::string file(kMagic);
  put_number(file, raftlog::crc32(0, body), 4);
  return file + body;
}

BeamSnapshot from_snapshot_file(std::string_view file) {
  if (file.size() < kMagic.size() + 8 || file.substr(0, kMagic.size()) != kMagic)
    throw BeamCrash("no snapshot");
  const std::string_view body = file.substr(kMagic.size() + 4);
  if (load_number(file.substr(kMagic.size()), 4) != raftlog::crc32(0, body))
    throw BeamCrash("badmatch: the checksum");
  const std::size_t size = load_number(body, 4);
  etf::Cursor meta(body.substr(4, size));
  BeamSnapshot snapshot;
  if (!meta.version()) throw BeamCrash("no meta");
  const auto read = wire::read_snapshot_meta(meta);
  if (!read) throw BeamCrash("no meta");
  snapshot.meta = *read;
  snapshot.state = body.substr(4 + size + 1);
  kv::KvMachine machine;
  if (!machine.read_state(snapshot.state)) throw BeamCrash("no state");
  snapshot.live = machine.live_indexes();
  std::sort(snapshot.live.begin(), snapshot.live.end());
  return snapshot;
}

// --- the disk

/// What is written at an index takes the place of all from there on (ra_mt:insert/2).
void BeamDisk::put(std::map<std::uint64_t, raft::Entry>& entries, const raft::Entry& entry) {
  entries.erase(entries.lower_bound(entry.index.value()), entries.end());
  entries.emplace(entry.index.value(), entry);
}

void BeamDisk::carry_out(const Write& write) {
  if (write.entry) {
    put(entries_, *write.entry);
  } else {
    last_applied = std::max(last_applied, write.last_applied);
  }
}

std::vector<BeamDisk::Written> BeamDisk::sync(std::size_t count) {
  std::vector<Written> told;
  for (std::size_t i = 0; i < count && !writes_.empty(); ++i) {
    const Write write = std::move(writes_.front());
    writes_.pop_front();
    carry_out(write);
    if (!write.entry) continue;
    const std::uint64_t index = write.entry->index.value();
    const bool joins = !told.empty() && told.back().term == write.entry->term &&
                       told.back().indexes.back() < index;
    if (!joins) told.push_back({write.entry->term, {}});
    told.back().indexes.push_back(index);
  }
  drop_superseded();
  return told;
}

/// The WAL is one file, written in order: what is left of it is its beginning.
void BeamDisk::crash(raftlog::CrashMode mode, std::mt19937_64& random) {
  std::size_t left = 0;
  if (mode == raftlog::CrashMode::keep_everything) left = writes_.size();
  if (mode == raftlog::CrashMode::random) left = random() % (writes_.size() + 1);
  for (std::size_t i = 0; i < left; ++i) carry_out(writes_[i]);
  writes_.clear();
  drop_superseded();
}

std::map<std::uint64_t, raft::Entry> BeamDisk::entries_with_unsynced() const {
  std::map<std::uint64_t, raft::Entry> all = entries_;
  for (const Write& write : writes_) {
    if (write.entry) put(all, *write.entry);
  }
  return all;
}

void BeamDisk::drop_superseded() {
  if (!snapshot) return;
  const std::uint64_t index = snapshot->meta.index.value();
  std::erase_if(entries_, [&](const auto& entry) {
    return entry.first <= index &&
           !std::binary_search(snapshot->live.begin(), snapshot->live.end(), entry.first);
  });
}

// --- the log

BeamLog::BeamLog(BeamDisk& disk) : disk_(disk), entries_(disk.entries_with_unsynced()) {
  const std::uint64_t base = disk.snapshot ? disk.snapshot->meta.index.value() : 0;
  if (!disk.snapshot) {
    range_ = Range{0, 0};
  } else {
    last_term_ = disk.snapshot->meta.term;
    written_ = disk.snapshot->place();
  }
  // ra_server:recover/1 ends a sparse log, which an interrupted transfer leaves, at its first hole.
  std::uint64_t next = base + 1;
  for (; entries_.contains(next); ++next) {
    range_ = Range{range_ ? range_->first : base + 1, next};
    last_term_ = entries_.at(next).term;
  }
  entries_.erase(entries_.lower_bound(next), entries_.end());
  for (const auto& [index, entry] : disk.entries()) {
    if (index > base && index < next && exists(raft::Index(index), entry.term))
      written_ = {raft::Index(index), entry.term};
  }
  for (std::uint64_t index = written_.index.value() + 1; index < next; ++index)
    pending_.insert(index);
}

std::optional<raft::IndexTerm> BeamLog::snapshot() const {
  if (!disk_.snapshot) return std::nullopt;
  return disk_.snapshot->place();
}

raft::IndexTerm BeamLog::last() const {
  if (range_) return {raft::Index(range_->last), last_term_};
  return disk_.snapshot->place();
}

std::optional<raft::Term> BeamLog::fetch_term(raft::Index index) const {
  if (!range_ || index.value() < range_->first || index.value() > range_->last) return std::nullopt;
  if (index.value() == 0) return raft::Term(0);
  const auto found = entries_.find(index.value());
  if (found == entries_.end()) return std::nullopt;
  return found->second.term;
}

std::optional<raft::Term> BeamLog::fetch_term_or_snapshot(raft::Index index) const {
  if (const auto term = fetch_term(index)) return term;
  if (disk_.snapshot && disk_.snapshot->meta.index == index) return disk_.snapshot->meta.term;
  return std::nullopt;
}

const raft::Entry* BeamLog::read(raft::Index index) const {
  const auto found = entries_.find(index.value());
  return found == entries_.end() ? nullptr : &found->second;
}

void BeamLog::forget_pending_from(std::uint64_t index) {
  pending_.erase(pending_.lower_bound(index), pending_.end());
}

void BeamLog::put(const raft::Entry& entry) {
  const std::uint64_t index = entry.index.value();
  entries_.erase(entries_.lower_bound(index), entries_.end());
  entries_.emplace(index, entry);
  range_ = Range{range_ ? std::min(range_->first, index) : index, index};
  last_term_ = entry.term;
  pending_.insert(index);
  disk_.write(entry);
}

void BeamLog::append(const raft::Entry& entry) {
  if (entry.index != next_index()) throw BeamCrash("integrity_error");
  put(entry);
}

void BeamLog::write(const std::vector<raft::Entry>& entries) {
  const raft::Index first = entries.front().index;
  if (range_ && first.value() > range_->last + 1) throw BeamCrash("integrity_error");
  const raft::Index written = std::min(first - 1, written_.index);
  if (written != written_.index) {
    const auto term =
        written.value() == 0 ? std::optional(raft::Term(0)) : fetch_term_or_snapshot(written);
    if (!term) throw BeamCrash("badmatch: no term of what is written");
    written_ = {written, *term};
  }
  forget_pending_from(first.value());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].index != first + i) throw BeamCrash("a gap between entries");
    put(entries[i]);
  }
}

void BeamLog::write_sparse(const raft::Entry& entry, raft::Index previous) {
  if (range_ && previous.value() != range_->last) throw BeamCrash("gap_detected");
  forget_pending_from(entry.index.value());
  put(entry);
}

void BeamLog::set_last_index(raft::Index index) {
  const auto term = fetch_term(index);
  const bool at_snapshot = disk_.snapshot && disk_.snapshot->meta.index == index;
  if (!term && !at_snapshot) throw BeamCrash("badmatch: not_found");
  if (at_snapshot) {
    last_term_ = disk_.snapshot->meta.term;
    written_ = disk_.snapshot->place();
  } else {
    const raft::Index written = std::min(index, written_.index);
    const auto written_term = fetch_term_or_snapshot(written);
    if (!written_term) throw BeamCrash("badmatch: no term of what is written");
    written_ = {written, *written_term};
    last_term_ = *term;
  }
  forget_pending_from(index.value() + 1);
  entries_.erase(entries_.lower_bound(index.value() + 1), entries_.end());
  if (range_ && range_->first > index.value()) range_.reset();
  if (range_) range_->last = std::min(range_->last, index.value());
}

void BeamLog::handle_written(raft::Term term, std::vector<std::uint64_t> indexes) {
  for (; !indexes.empty(); indexes.pop_back()) {
    const raft::Index last(indexes.back());
    const auto here = fetch_term(last);
    if (here == term) {
      written_ = {last, term};
      for (const std::uint64_t index : indexes) pending_.erase(index);
      return;
    }
    if (!here && disk_.snapshot && last <= disk_.snapshot->meta.index) {
      for (const std::uint64_t index : indexes) pending_.erase(index);
      return;
    }
  }
}

void BeamLog::handle_snapshot_written(const BeamSnapshot& snapshot) {
  const std::uint64_t index = snapshot.meta.index.value();
  if (!range_ || index < range_->first) return;
  disk_.snapshot = snapshot;
  disk_.drop_superseded();
  if (index >= range_->last) {
    range_.reset();
  } else {
    range_->first = index + 1;
  }
  if (written_.index.value() <= index) written_ = snapshot.place();
  const std::uint64_t smallest = snapshot.live.empty() ? index + 1 : snapshot.live.front();
  pending_.erase(pending_.begin(), pending_.lower_bound(smallest));
  std::erase_if(entries_, [&](const auto& entry) {
    return entry.first <= index &&
           !std::binary_search(snapshot.live.begin(), snapshot.live.end(), entry.first);
  });
}

void BeamLog::install_snapshot(const BeamSnapshot& snapshot) {
  const std::uint64_t index = snapshot.meta.index.value();
  disk_.snapshot = snapshot;
  disk_.drop_superseded();
  range_.reset();
  last_term_ = snapshot.meta.term;
  written_ = snapshot.place();
  pending_.clear();
  std::erase_if(entries_, [&](const auto& entry) {
    return entry.first > index ||
           !std::binary_search(snapshot.live.begin(), snapshot.live.end(), entry.first);
  });
}

}  // namespace rakv::simulation
