// SPDX-License-Identifier: Apache-2.0
#include "raft/log/memory_table.h"

#include "cnode/base/check.h"

namespace rakv::raftlog {

std::optional<IndexRange> MemoryTable::tail_range() const {
  if (tail_.empty()) return std::nullopt;
  return IndexRange{tail_.front().index, tail_.back().index};
}

void MemoryTable::append(StoredEntry entry) {
  RAKV_CHECK(tail_.empty() || entry.index == tail_.back().index + 1);
  tail_bytes_ += entry.payload.size();
  tail_.push_back(std::move(entry));
}

void MemoryTable::put_sparse(StoredEntry entry) {
  RAKV_CHECK(tail_.empty() || entry.index < tail_.front().index);
  sparse_.put(std::move(entry));
}

void MemoryTable::take_sparse(SparseEntries entries) {
  RAKV_CHECK(tail_.empty() || entries.empty() ||
             entries.map().rbegin()->first < tail_.front().index);
  sparse_.take(std::move(entries));
}

const StoredEntry* MemoryTable::find(Index index) const {
  if (!tail_.empty() && index >= tail_.front().index) {
    const Index at = index - tail_.front().index;
    return at < tail_.size() ? &tail_[at] : nullptr;
  }
  return sparse_.find(index);
}

void MemoryTable::truncate_after(Index index) {
  while (!tail_.empty() && tail_.back().index > index) {
    tail_bytes_ -= tail_.back().payload.size();
    tail_.pop_back();
  }
  sparse_.drop_above(index);
}

bool MemoryTable::drop_flushed(Index index, Term term) {
  if (tail_.empty() || tail_.front().index != index || tail_.front().term != term)
    return sparse_.drop(index, term);
  tail_bytes_ -= tail_.front().payload.size();
  tail_.pop_front();
  return true;
}

void MemoryTable::clear() {
  tail_.clear();
  tail_bytes_ = 0;
  sparse_.clear();
}

}  // namespace rakv::raftlog
