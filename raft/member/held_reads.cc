// SPDX-License-Identifier: Apache-2.0
#include "raft/member/held_reads.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace rakv::member {

void HeldReads::hold(raft::Index index, Milliseconds time, std::function<void(bool)> done) {
  if (held_.size() >= kMax) return done(false);
  const Clock::time_point deadline = timer_.now() + std::min(time, kLongest);
  const bool first = held_.empty();
  held_.push_back({index, deadline, std::move(done)});
  if (first || index < lowest_) lowest_ = index;
  if (first || deadline < timer_.expiry()) arm();
}

void HeldReads::note_lowest() {
  const auto lowest =
      std::min_element(held_.begin(), held_.end(),
                       [](const Held& one, const Held& other) { return one.index < other.index; });
  if (lowest != held_.end()) lowest_ = lowest->index;
}

namespace {

/// Takes out what `is_over` accepts, in the order of their coming.
template <class Held, class IsOver>
std::vector<Held> take_out(std::vector<Held>& held, IsOver&& is_over) {
  const auto over = std::stable_partition(held.begin(), held.end(),
                                          [&](const Held& one) { return !is_over(one); });
  std::vector<Held> taken(std::make_move_iterator(over), std::make_move_iterator(held.end()));
  held.erase(over, held.end());
  return taken;
}

}  // namespace

void HeldReads::release_up_to(raft::Index index) {
  auto ready = take_out(held_, [&](const Held& one) { return one.index <= index; });
  note_lowest();
  arm();
  for (Held& one : ready) one.done(true);
}

void HeldReads::arm() {
  if (held_.empty()) {
    timer_.cancel();
    return;
  }
  const auto next = std::min_element(
      held_.begin(), held_.end(),
      [](const Held& one, const Held& other) { return one.deadline < other.deadline; });
  timer_.expires_at(next->deadline);
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) expire();
  });
}

void HeldReads::expire() {
  const Clock::time_point now = timer_.now();
  auto over = take_out(held_, [&](const Held& one) { return one.deadline <= now; });
  note_lowest();
  arm();
  for (Held& one : over) one.done(false);
}

}  // namespace rakv::member
