// SPDX-License-Identifier: Apache-2.0
#include "raft/log/voided_entries.h"

#include <algorithm>

namespace rakv::raftlog {

void VoidedEntries::written_before(std::uint64_t sequence) {
  while (!queued_.empty() && queued_.front().first < sequence) {
    StoredEntry entry = std::move(queued_.front().second);
    queued_.pop_front();
    write({entry.index, entry.index});
    add_written(std::move(entry));
  }
}

void VoidedEntries::flushed(Index index, Term term) {
  const auto found = written_.find(index);
  if (found != written_.end() && found->second.term == term) written_.erase(found);
}

/// As a start reads the WAL: a record of a lower index voids what was above (recover_log).
void VoidedEntries::write(IndexRange range) {
  if (range.first <= last_) changed_from_ = std::min(changed_from_, range.first);
  last_ = range.last;
  if (!written_.empty()) written_.erase(written_.lower_bound(range.first), written_.end());
}

}  // namespace rakv::raftlog
