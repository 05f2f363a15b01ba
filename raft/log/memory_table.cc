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
  bytes_ += entry.payload.size();
  tail_.push_back(std::move(entry));
}

void MemoryTable::put_sparse(StoredEntry entry) {
  RAKV_CHECK(tail_.empty() || entry.index < tail_.front().index);
  bytes_ += entry.payload.size();
  // Mostly above all others: a snapshot hands over a run's live entries one by one.
  auto& place = sparse_.try_emplace(sparse_.end(), entry.index)->second;
  bytes_ -= place.payload.size();
  place = std::move(entry);
}

const StoredEntry* MemoryTable::find(Index index) const {
  if (!tail_.empty() && index >= tail_.front().index) {
    const Index at = index - tail_.front().index;
    return at < tail_.size() ? &tail_[at] : nullptr;
  }
  const auto found = sparse_.find(index);
  return found == sparse_.end() ? nullptr : &found->second;
}

void MemoryTable::truncate_after(Index index) {
  while (!tail_.empty() && tail_.back().index > index) {
    bytes_ -= tail_.back().payload.size();
    tail_.pop_back();
  }
  while (!sparse_.empty() && sparse_.rbegin()->first > index) {
    const auto last = std::prev(sparse_.end());
    bytes_ -= last->second.payload.size();
    sparse_.erase(last);
  }
}

bool MemoryTable::drop_flushed(Index index, Term term) {
  if (!tail_.empty() && tail_.front().index == index && tail_.front().term == term) {
    bytes_ -= tail_.front().payload.size();
    tail_.pop_front();
    return true;
  }
  const auto found = sparse_.find(index);
  if (found == sparse_.end() || found->second.term != term) return false;
  bytes_ -= found->second.payload.size();
  sparse_.erase(found);
  return true;
}

void MemoryTable::drop_sparse(Index index) {
  const auto found = sparse_.find(index);
  if (found == sparse_.end()) return;
  bytes_ -= found->second.payload.size();
  sparse_.erase(found);
}

void MemoryTable::clear() {
  tail_.clear();
  sparse_.clear();
  bytes_ = 0;
}

}  // namespace rakv::raftlog
