// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/peer_memory.h"

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
    : memory_(std::move(memory)), holder_(holder) {
  if (!memory_) return;
  itself_ = ByteCharge(&memory_->accounts_.connections, kConnectionBytes);
  incoming_ = ByteCharge(&memory_->accounts_.incoming);
  outgoing_ = ByteCharge(&memory_->accounts_.outgoing);
  memory_->parts_.insert(this);
}

void PeerMemory::Part::release() {
  if (!memory_) return;
  const std::shared_ptr<PeerMemory> memory = std::exchange(memory_, nullptr);
  itself_.resize(0);
  incoming_.resize(0);
  outgoing_.resize(0);
  memory->parts_.erase(this);
  std::erase(memory->readers_, this);
  if (memory->oversized_ == this) memory->oversized_ = nullptr;
  memory->room_was_made();
}

bool PeerMemory::Part::hold(std::uint64_t bytes, std::uint64_t largest) {
  if (!memory_) return true;
  if (bytes == incoming_.bytes() && !waits_) return true;
  const bool less = bytes < incoming_.bytes();
  incoming_.resize(bytes);
  if (memory_->oversized_ == this && (bytes <= kSmallBytes || memory_->fits(*this, bytes)))
    memory_->oversized_ = nullptr;
  if (less) memory_->room_was_made();
  if (bytes > memory_->accounts_.incoming.limit() + largest) {
    holder_.cut(make_error(
        ErrorCode::limit_exceeded,
        holder_.peer_name() + " sends too much at once: " + megabytes(bytes) +
            " of messages that are not whole; let it send less at a time, or give this node a "
            "larger --memory-budget"));
    return false;
  }
  const bool goes_on = bytes <= kSmallBytes || member_ || memory_->take_turn(*this, bytes);
  if (goes_on) {
    if (std::exchange(waits_, false)) std::erase(memory_->readers_, this);
    return true;
  }
  if (!std::exchange(waits_, true)) memory_->readers_.push_back(this);
  memory_->arm();
  return false;
}

bool PeerMemory::Part::admit(std::uint64_t bytes) {
  if (!memory_) return true;
  ByteAccount& account = memory_->accounts_.outgoing;
  // A holder that is cut may be what keeps this alive.
  const std::shared_ptr<PeerMemory> memory = memory_;
  while (!account.has_room(bytes)) {
    Part* largest = memory->largest_outgoing();
    const std::uint64_t own = outgoing_.bytes() + bytes;
    const bool is_largest = largest == nullptr || largest == this ||
                            memory->weight(*largest) < (member_ ? own / 4 : own);
    if (is_largest && outgoing_.bytes() > 0) return false;
    // One message alone may be larger than the share.
    if (largest == nullptr || (is_largest && account.used() <= account.limit())) return true;
    largest->holder_.cut(make_error(
        ErrorCode::limit_exceeded,
        largest->holder_.peer_name() +
            " does not fetch its answers: " + megabytes(largest->outgoing_.bytes()) +
            " wait for it, more than for any other peer, and there is no room for more; let it ask "
            "for less at a time, or give this node a larger --memory-budget"));
  }
  return true;
}

void PeerMemory::Part::set_queued(std::uint64_t bytes) {
  if (!memory_) return;
  const bool less = bytes < outgoing_.bytes();
  outgoing_.resize(bytes);
  if (less) memory_->room_was_made();
}

bool PeerMemory::Part::holds_back() const {
  if (!memory_ || member_) return false;
  const ByteAccount& account = memory_->accounts_.outgoing;
  const std::uint64_t queued = outgoing_.bytes();
  return queued > account.limit() / 8 ||
         (queued > kSmallBytes && account.used() > account.limit() / 2);
}

// --- all of them

/// Whether it has room for `bytes` in all, apart from the one that may overshoot.
bool PeerMemory::fits(const Part& part, std::uint64_t bytes) const {
  std::uint64_t others = accounts_.incoming.used() - part.incoming_.bytes();
  if (oversized_ != nullptr && oversized_ != &part) others -= oversized_->incoming_.bytes();
  return others <= accounts_.incoming.limit() && bytes <= accounts_.incoming.limit() - others;
}

bool PeerMemory::take_turn(Part& part, std::uint64_t bytes) {
  if (oversized_ == &part || fits(part, bytes)) return true;
  if (oversized_ != nullptr) return false;
  oversized_ = &part;
  return true;
}

std::uint64_t PeerMemory::weight(const Part& part) {
  return part.member_ ? part.outgoing_.bytes() / 4 : part.outgoing_.bytes();
}

PeerMemory::Part* PeerMemory::largest_outgoing() const {
  Part* largest = nullptr;
  for (Part* part : parts_) {
    if (part->outgoing_.bytes() == 0) continue;
    if (largest == nullptr || weight(*part) > weight(*largest)) largest = part;
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
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part* part) {
    return part->holds_back() && part->holder_.peer_name() == peer;
  });
}

/// The first one for a peer that fetches what it has.
std::deque<PeerMemory::Answer>::iterator PeerMemory::next_answer() {
  std::set<std::string_view> behind;
  for (const Part* part : parts_) {
    if (part->holds_back()) behind.insert(part->holder_.peer_name());
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
  const std::deque<Part*> readers = readers_;
  for (Part* part : readers) {
    // One that read on may have ended others.
    if (!parts_.contains(part) || !part->waits_) continue;
    if (oversized_ != nullptr && !fits(*part, part->incoming_.bytes())) break;
    part->holder_.read_on();
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
PeerMemory::Part* PeerMemory::standing_still(ByteCharge Part::*held, int Part::*looks) const {
  Part* found = nullptr;
  for (Part* part : parts_) {
    if (part->*looks < kPatience || (part->*held).bytes() == 0) continue;
    const bool goes_before =
        found == nullptr || (found->member_ && !part->member_) ||
        (found->member_ == part->member_ && (part->*held).bytes() > (found->*held).bytes());
    if (goes_before) found = part;
  }
  return found;
}

void PeerMemory::look() {
  for (Part* part : parts_) {
    const std::uint64_t read = part->holder_.bytes_read();
    const std::uint64_t written = part->holder_.bytes_written();
    const bool reads =
        part->waits_ || part->incoming_.bytes() == 0 || read - part->read_before_ >= kProgressBytes;
    const bool writes =
        part->outgoing_.bytes() == 0 || written - part->written_before_ >= kProgressBytes;
    part->reads_nothing_ = reads ? 0 : part->reads_nothing_ + 1;
    part->writes_nothing_ = writes ? 0 : part->writes_nothing_ + 1;
    part->read_before_ = read;
    part->written_before_ = written;
  }
  while (!readers_.empty() && oversized_ != nullptr &&
         !fits(*readers_.front(), readers_.front()->incoming_.bytes())) {
    Part* still = standing_still(&Part::incoming_, &Part::reads_nothing_);
    if (still == nullptr) break;
    still->holder_.cut(make_error(
        ErrorCode::limit_exceeded,
        still->holder_.peer_name() +
            " does not finish what it sends: " + megabytes(still->incoming_.bytes()) +
            " of messages that are not whole stand still, and others need the room; look why it "
            "hangs, or give this node a larger --memory-budget"));
  }
  for (auto next = next_answer(); next != answers_.end(); next = next_answer()) {
    if (answer_fits(next->bytes)) {
      pump();
      continue;
    }
    Part* still = standing_still(&Part::outgoing_, &Part::writes_nothing_);
    if (still == nullptr) break;
    still->holder_.cut(make_error(
        ErrorCode::limit_exceeded,
        still->holder_.peer_name() +
            " does not fetch its answers: " + megabytes(still->outgoing_.bytes()) +
            " stand still, and others need the room; look why it hangs, or give this node a larger "
            "--memory-budget"));
  }
  room_was_made();
}

}  // namespace rakv::distribution
