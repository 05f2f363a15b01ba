// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cnode/base/check.h"
#include "raft/log/wal/wal.h"

namespace rakv::raftlog {

WriterId WalQueue::add_writer(std::string uid) {
  RAKV_CHECK(uid != kBatchMarkUid && !uid.empty() && uid.size() <= UINT16_MAX);
  std::lock_guard lock(mutex_);
  waiting_.new_writers.emplace_back(next_writer_, std::move(uid));
  return next_writer_++;
}

void WalQueue::append(WriterId writer, std::uint64_t first_sequence,
                      std::vector<StoredEntry> entries) {
  std::unique_lock lock(mutex_);
  for (auto& entry : entries) {
    queued_bytes_ += entry.payload.size();
    waiting_.items.push_back({writer, first_sequence++, std::move(entry)});
  }
  wake(lock);
}

void WalQueue::append(WriterId writer, std::uint64_t sequence, StoredEntry entry) {
  std::unique_lock lock(mutex_);
  queued_bytes_ += entry.payload.size();
  waiting_.items.push_back({writer, sequence, std::move(entry)});
  wake(lock);
}

void WalQueue::roll_over() {
  std::unique_lock lock(mutex_);
  waiting_.roll_over = true;
  wake(lock);
}

void WalQueue::retry() {
  std::unique_lock lock(mutex_);
  waiting_.retry = true;
  wake(lock);
}

void WalQueue::flushed(std::uint64_t bytes) {
  if (bytes == 0) return;
  std::unique_lock lock(mutex_);
  waiting_.flushed_bytes += bytes;
  wake(lock);
}

void WalQueue::fail() {
  std::unique_lock lock(mutex_);
  waiting_.fail = true;
  wake(lock);
}

void WalQueue::suspend(bool suspended) {
  std::unique_lock lock(mutex_);
  suspended_ = suspended;
  wake(lock);
}

void WalQueue::request_stop() {
  std::unique_lock lock(mutex_);
  waiting_.stop = true;
  wake(lock);
}

void WalQueue::wake(std::unique_lock<std::mutex>& lock) {
  const bool was_sleeping = std::exchange(sleeping_, false);
  lock.unlock();
  if (was_sleeping) ready_.notify_one();
}

void WalQueue::take(Taken& into, bool block) {
  std::unique_lock lock(mutex_);
  while (block && !may_take()) {
    sleeping_ = true;
    ready_.wait(lock);
  }
  sleeping_ = false;
  if (may_take()) std::swap(into, waiting_);
}

}  // namespace rakv::raftlog
