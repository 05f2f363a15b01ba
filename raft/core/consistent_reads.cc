// SPDX-License-Identifier: Apache-2.0
#include "raft/core/consistent_reads.h"

#include <utility>

namespace rakv::raft {

std::vector<CallToken> ConsistentReads::take_parked() { return std::exchange(parked_, {}); }

std::vector<CallToken> ConsistentReads::take_confirmed(QueryIndex agreed, Index applied) {
  std::vector<CallToken> confirmed;
  while (!waiting_.empty()) {
    const Waiting& first = waiting_.front();
    if (first.round > agreed || first.commit_index > applied) break;
    confirmed.push_back(first.read);
    waiting_.pop_front();
  }
  return confirmed;
}

std::vector<CallToken> ConsistentReads::take_all() {
  std::vector<CallToken> all = take_parked();
  for (const Waiting& waiting : std::exchange(waiting_, {})) all.push_back(waiting.read);
  return all;
}

}  // namespace rakv::raft
