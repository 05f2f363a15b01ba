// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/peer_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace rakv::distribution {

namespace {

std::string megabytes(std::uint64_t bytes) {
  return std::to_string((bytes + (1 << 19)) >> 20) + " MB";
}

}  // namespace

// --- one connection

PeerMemory::Part::Part(std::shared_ptr<PeerMemory> memory, Holder& holder)
    : memory_(std::move(memory)), holding_{.holder = holder} {
  if (!memory_) return;
  holding_.itself = ByteCharge(&memory_->accounts_.connections, kConnectionBytes);
  holding_.incoming = ByteCharge(&memory_->accounts_.incoming);
  holding_.outgoing = ByteCharge(&memory_->accounts_.outgoing);
  memory_->holdings_.insert(&holding_);
}

void PeerMemory::Part::release() {
  if (!memory_) return;
  const std::shared_ptr<PeerMemory> memory = std::exchange(memory_, nullptr);
  holding_.itself.resize(0);
  holding_.incoming.resize(0);
  holding_.outgoing.resize(0);
  memory->holdings_.erase(&holding_);
  std::erase(memory->readers_, &holding_);
  if (memory->oversized_ == &holding_) memory->oversized_ = nullptr;
  memory->room_was_made();
}

bool PeerMemory::Part::hold(std::uint64_t bytes, std::uint64_t largest) {
  if (!memory_) return true;
  if (bytes == holding_.incoming.bytes() && !holding_.waits) return true;
  const bool less = bytes < holding_.incoming.bytes();
  holding_.incoming.resize(bytes);
  if (memory_->oversized_ == &holding_ && (bytes <= kSmallBytes || memory_->fits(holding_, bytes)))
    memory_->oversized_ = nullptr;
  if (less) memory_->room_was_made();
  if (bytes > memory_->accounts_.incoming.limit() + largest) {
    holding_.holder.cut(make_error(
        ErrorCode::limit_exceeded,
        fmt::format("{} sends too much at once: {} of messages that are not whole; let it send "
                    "less at a time, or give this node a larger --memory-budget",
                    holding_.holder.peer_name(), megabytes(bytes))));
    return false;
  }
  const bool goes_on =
      bytes <= kSmallBytes || holding_.member || memory_->take_turn(holding_, bytes);
  if (goes_on) {
    if (std::exchange(holding_.waits, false)) std::erase(memory_->readers_, &holding_);
    return true;
  }
  if (!std::exchange(holding_.waits, true)) memory_->readers_.push_back(&holding_);
  memory_->arm();
  return false;
}

bool PeerMemory::Part::admit(std::uint64_t bytes) {
  if (!memory_) return true;
  ByteAccount& account = memory_->accounts_.outgoing;
  // A holder that is cut may be what keeps this alive.
  const std::shared_ptr<PeerMemory> memory = memory_;
  while (!account.has_room(bytes)) {
    Holding* largest = memory->largest_outgoing();
    const std::uint64_t own = holding_.outgoing.bytes() + bytes;
    const bool is_largest = largest == nullptr || largest == &holding_ ||
                            memory->weight(*largest) < (holding_.member ? own / 4 : own);
    if (is_largest && holding_.outgoing.bytes() > 0) return false;
    // One message alone may be larger than the share.
    if (largest == nullptr || (is_largest && account.used() <= account.limit())) return true;
    largest->holder.cut(make_error(
        ErrorCode::limit_exceeded,
        fmt::format("{} does not fetch its answers: {} wait for it, more than for any other peer, "
                    "and there is no room for more; let it ask for less at a time, or give this "
                    "node a larger --memory-budget",
                    largest->holder.peer_name(), megabytes(largest->outgoing.bytes()))));
  }
  return true;
}

void PeerMemory::Part::set_queued(std::uint64_t bytes) {
  if (!memory_) return;
  const bool less = bytes < holding_.outgoing.bytes();
  holding_.outgoing.resize(bytes);
  if (less) memory_->room_was_made();
}

bool PeerMemory::Part::holds_back() const { return memory_ && memory_->holds_back(holding_); }

// --- all of them

bool PeerMemory::holds_back(const Holding& one) const {
  if (one.member) return false;
  const ByteAccount& account = accounts_.outgoing;
  const std::uint64_t queued = one.outgoing.bytes();
  return queued > account.limit() / 8 ||
         (queued > kSmallBytes && account.used() > account.limit() / 2);
}

/// Whether it has room for `bytes` in all, apart from the one that may overshoot.
bool PeerMemory::fits(const Holding& one, std::uint64_t bytes) const {
  std::uint64_t others = accounts_.incoming.used() - one.incoming.bytes();
  if (oversized_ != nullptr && oversized_ != &one) others -= oversized_->incoming.bytes();
  return others <= accounts_.incoming.limit() && bytes <= accounts_.incoming.limit() - others;
}

bool PeerMemory::take_turn(Holding& one, std::uint64_t bytes) {
  if (oversized_ == &one || fits(one, bytes)) return true;
  if (oversized_ != nullptr) return false;
  oversized_ = &one;
  return true;
}

std::uint64_t PeerMemory::weight(const Holding& one) {
  return one.member ? one.outgoing.bytes() / 4 : one.outgoing.bytes();
}

PeerMemory::Holding* PeerMemory::largest_outgoing() const {
  Holding* largest = nullptr;
  for (Holding* one : holdings_) {
    if (one->outgoing.bytes() == 0) continue;
    if (largest == nullptr || weight(*one) > weight(*largest)) largest = one;
  }
  return largest;
}

bool PeerMemory::answer_fits(std::uint64_t bytes) const {
  const std::uint64_t limit = accounts_.outgoing.limit();
  const ByteAccount& reading = accounts_.reading;
  if (bytes > reading.limit()) return reading.used() == 0 && accounts_.outgoing.used() <= limit / 2;
  return reading.has_room(bytes) && accounts_.outgoing.has_room(reading.used() + bytes);
}

bool PeerMemory::holds_back(const std::string& peer) const {
  return std::any_of(holdings_.begin(), holdings_.end(), [&](const Holding* one) {
    return holds_back(*one) && one->holder.peer_name() == peer;
  });
}

/// The first one for a peer that fetches what it has.
std::deque<PeerMemory::Answer>::iterator PeerMemory::next_answer() {
  std::set<std::string_view> behind;
  for (const Holding* one : holdings_) {
    if (holds_back(*one)) behind.insert(one->holder.peer_name());
  }
  return std::find_if(answers_.begin(), answers_.end(),
                      [&](const Answer& answer) { return !behind.contains(answer.peer); });
}

void PeerMemory::when_room(const std::string& peer, std::uint64_t bytes, Room then) {
  if (answer_fits(bytes) && next_answer() == answers_.end() && !holds_back(peer))
    return then(ByteCharge(&accounts_.reading, bytes));
  answers_.push_back({peer, bytes, std::move(then)});
  arm();
}

void PeerMemory::forget_peer(const std::string& peer) {
  std::vector<Answer> lost;
  std::erase_if(answers_, [&](Answer& answer) {
    if (answer.peer != peer) return false;
    lost.push_back(std::move(answer));
    return true;
  });
  for (Answer& answer : lost) answer.then(std::nullopt);
}

void PeerMemory::room_was_made() {
  if ((readers_.empty() && answers_.empty()) || std::exchange(pump_posted_, true)) return;
  boost::asio::post(io_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->pump();
  });
}

/// In turn, as far as there is room.
void PeerMemory::pump() {
  pump_posted_ = false;
  const std::deque<Holding*> readers = readers_;
  for (Holding* one : readers) {
    // One that read on may have ended others.
    if (!holdings_.contains(one) || !one->waits) continue;
    if (oversized_ != nullptr && !fits(*one, one->incoming.bytes())) break;
    one->holder.read_on();
  }
  for (auto next = next_answer(); next != answers_.end() && answer_fits(next->bytes);
       next = next_answer()) {
    Answer answer = std::move(*next);
    answers_.erase(next);
    answer.then(ByteCharge(&accounts_.reading, answer.bytes));
  }
}

void PeerMemory::arm() {
  if (std::exchange(armed_, true)) return;
  timer_.expires_after(kLookInterval);
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (error || !self) return;
    self->armed_ = false;
    self->look();
    if (!self->readers_.empty() || !self->answers_.empty()) self->arm();
  });
}

/// The one that holds most of those that have stood still for long; other members' nodes last.
PeerMemory::Holding* PeerMemory::standing_still(ByteCharge Holding::*held,
                                                int Holding::*looks) const {
  Holding* found = nullptr;
  for (Holding* one : holdings_) {
    if (one->*looks < kPatience || (one->*held).bytes() == 0) continue;
    const bool goes_before =
        found == nullptr || (found->member && !one->member) ||
        (found->member == one->member && (one->*held).bytes() > (found->*held).bytes());
    if (goes_before) found = one;
  }
  return found;
}

void PeerMemory::look() {
  for (Holding* one : holdings_) {
    const std::uint64_t read = one->holder.bytes_read();
    const std::uint64_t written = one->holder.bytes_written();
    const bool reads =
        one->waits || one->incoming.bytes() == 0 || read - one->read_before >= kProgressBytes;
    const bool writes =
        one->outgoing.bytes() == 0 || written - one->written_before >= kProgressBytes;
    one->reads_nothing = reads ? 0 : one->reads_nothing + 1;
    one->writes_nothing = writes ? 0 : one->writes_nothing + 1;
    one->read_before = read;
    one->written_before = written;
  }
  while (!readers_.empty() && oversized_ != nullptr &&
         !fits(*readers_.front(), readers_.front()->incoming.bytes())) {
    Holding* still = standing_still(&Holding::incoming, &Holding::reads_nothing);
    if (still == nullptr) break;
    still->holder.cut(make_error(
        ErrorCode::limit_exceeded,
        fmt::format("{} does not finish what it sends: {} of messages that are not whole stand "
                    "still, and others need the room; look why it hangs, or give this node a "
                    "larger --memory-budget",
                    still->holder.peer_name(), megabytes(still->incoming.bytes()))));
  }
  for (auto next = next_answer(); next != answers_.end(); next = next_answer()) {
    if (answer_fits(next->bytes)) {
      pump();
      continue;
    }
    Holding* still = standing_still(&Holding::outgoing, &Holding::writes_nothing);
    if (still == nullptr) break;
    still->holder.cut(make_error(
        ErrorCode::limit_exceeded,
        fmt::format("{} does not fetch its answers: {} stand still, and others need the room; look "
                    "why it hangs, or give this node a larger --memory-budget",
                    still->holder.peer_name(), megabytes(still->outgoing.bytes()))));
  }
  room_was_made();
}

}  // namespace rakv::distribution
