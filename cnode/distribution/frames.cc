// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <utility>

#include "cnode/base/byte_order.h"
#include "cnode/base/check.h"

namespace rakv::distribution {

namespace {

/// What a peer has that says little, and one that keeps us busy.
constexpr std::size_t kIdleSlabBytes = std::size_t{16} * 1024;
constexpr std::size_t kBusySlabBytes = std::size_t{256} * 1024;
constexpr std::size_t kMaxReadBytes = std::size_t{1024} * 1024;
constexpr std::size_t kLengthBytes = 4;
/// What a fragmented message costs besides its bytes.
constexpr std::size_t kSequenceBytes = 128;

constexpr char kVersion = static_cast<char>(131);
constexpr char kWholeMessage = 68;
constexpr char kFirstFragment = 69;
constexpr char kLaterFragment = 70;
constexpr char kPassThrough = 112;

Error malformed(std::string message) {
  return make_error(ErrorCode::malformed, "bad frame from the peer: " + std::move(message));
}

}  // namespace

GrowingBuffer::GrowingBuffer(GrowingBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

GrowingBuffer& GrowingBuffer::operator=(GrowingBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

GrowingBuffer::~GrowingBuffer() { std::free(block()); }

void GrowingBuffer::reserve(std::size_t capacity) {
  if (capacity <= capacity_) return;
  void* moved = std::realloc(block(), SharedBytes::kHeadBytes + capacity);
  if (moved == nullptr) throw std::bad_alloc();
  data_ = static_cast<char*>(moved) + SharedBytes::kHeadBytes;
  capacity_ = capacity;
}

void GrowingBuffer::append(std::string_view bytes, std::size_t expected) {
  if (bytes.empty()) return;
  const std::size_t needed = size_ + bytes.size();
  if (needed > capacity_) {
    const std::size_t doubled = 2 * capacity_;
    reserve(std::max(needed, expected > needed ? std::min(doubled, expected) : doubled));
  }
  std::memcpy(data_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void GrowingBuffer::grow_size(std::size_t bytes) {
  RAKV_CHECK(bytes <= capacity_ - size_);
  size_ += bytes;
}

void GrowingBuffer::drop_front(std::size_t bytes) {
  RAKV_CHECK(bytes <= size_);
  if (bytes == 0) return;
  size_ -= bytes;
  std::memmove(data_, data_ + bytes, size_);
}

void GrowingBuffer::reset() {
  std::free(block());
  data_ = nullptr;
  size_ = capacity_ = 0;
}

SharedBytes GrowingBuffer::release() {
  if (data_ == nullptr) return {};
  SharedBytes released = SharedBytes::adopt(block(), size_);
  data_ = nullptr;
  size_ = capacity_ = 0;
  return released;
}

FrameAssembler::FrameAssembler(AssemblerLimits limits, Framing framing)
    : limits_(limits), framing_(framing) {}

std::span<char> FrameAssembler::prepare(bool roomy) {
  finished_.reset();
  const std::size_t slab_bytes = room_was_filled_ && roomy ? kBusySlabBytes : kIdleSlabBytes;
  const std::size_t least_room = slab_bytes / 4;
  const std::string_view unread = slab_.view().substr(parsed_);
  if (slab_.capacity() > slab_bytes && unread.size() < least_room) {
    // A long frame or a burst has made the slab long; give the memory back.
    GrowingBuffer smaller;
    smaller.reserve(slab_bytes);
    smaller.append(unread);
    slab_ = std::move(smaller);
    parsed_ = 0;
  }
  slab_.reserve(slab_bytes);
  if (unread.empty() || slab_.capacity() - slab_.size() < least_room) {
    slab_.drop_front(parsed_);
    parsed_ = 0;
  }
  if (slab_.capacity() - slab_.size() < least_room) slab_.reserve(2 * slab_.capacity());
  room_ = std::min(slab_.capacity() - slab_.size(), kMaxReadBytes);
  return {slab_.data() + slab_.size(), room_};
}

void FrameAssembler::commit(std::size_t bytes) {
  slab_.grow_size(bytes);
  room_was_filled_ = bytes == room_;
  bytes_received_ += bytes;
}

void FrameAssembler::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::span<char> room = prepare();
    const std::size_t count = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), count);
    commit(count);
    bytes.remove_prefix(count);
  }
}

Result<std::optional<FrameAssembler::Event>> FrameAssembler::next() {
  finished_.reset();
  for (;;) {
    const std::string_view unread = slab_.view().substr(parsed_);
    if (unread.size() < kLengthBytes) return std::optional<Event>{};
    const std::uint64_t length = load_number(unread, kLengthBytes);
    if (length > limits_.max_frame_bytes) {
      return make_error(ErrorCode::limit_exceeded,
                        fmt::format("the peer announced a frame of {} bytes; the limit is {}",
                                    length, limits_.max_frame_bytes));
    }
    if (unread.size() - kLengthBytes < length) return std::optional<Event>{};
    parsed_ += kLengthBytes + length;
    if (length == 0) return std::optional<Event>{Tick{}};
    Result<std::optional<Event>> event = take_frame(unread.substr(kLengthBytes, length));
    if (!event || *event) return event;
  }
}

Result<std::optional<FrameAssembler::Event>> FrameAssembler::take_frame(std::string_view frame) {
  if (framing_ == Framing::pass_through) {
    if (frame.size() < 2 || frame[0] != kPassThrough || frame[1] != kVersion) {
      return malformed(
          "it does not begin with 112 and 131, although fragments were not negotiated");
    }
    return std::optional<Event>{Message{frame.substr(2), true}};
  }
  if (frame[0] == kPassThrough) {
    return malformed("a pass-through frame, although fragments were negotiated");
  }
  if (frame.size() < 2 || frame[0] != kVersion) {
    return malformed("it does not begin with 131 and a header's tag");
  }
  switch (frame[1]) {
    case kWholeMessage:
      if (frame.size() < 3) return malformed("its header is cut off");
      if (frame[2] != 0) return malformed("it uses an atom cache, which was not negotiated");
      return std::optional<Event>{Message{frame.substr(3)}};
    case kFirstFragment:
      return take_first_fragment(frame.substr(2));
    case kLaterFragment:
      return take_later_fragment(frame.substr(2));
    default:
      return malformed("unknown header tag " +
                       std::to_string(static_cast<unsigned char>(frame[1])));
  }
}

Result<std::optional<FrameAssembler::Event>> FrameAssembler::take_first_fragment(
    std::string_view rest) {
  FieldReader fields{rest};
  const std::uint64_t sequence_id = fields.number(8);
  const std::uint64_t fragment = fields.number(8);
  const std::uint64_t atoms = fields.number(1);
  if (!fields.ok) return malformed("the header of a first fragment is cut off");
  if (atoms != 0) return malformed("it uses an atom cache, which was not negotiated");
  if (fragment == 0) return malformed("a fragmented message of no fragments");
  if (sequences_.contains(sequence_id)) {
    return malformed("a fragmented message begins anew before its end");
  }
  if (fragment == 1) return std::optional<Event>{Message{fields.rest}};
  if (sequences_.size() >= limits_.max_unfinished_sequences) {
    return make_error(
        ErrorCode::limit_exceeded,
        fmt::format("the peer has more than {} fragmented messages under way", sequences_.size()));
  }
  if (fields.rest.size() > limits_.max_assembled_bytes - assembled_bytes_) {
    return make_error(
        ErrorCode::limit_exceeded,
        "fragmented messages exceed " + std::to_string(limits_.max_assembled_bytes) + " bytes");
  }
  Sequence& sequence = sequences_[sequence_id];
  sequence.next_fragment = fragment - 1;
  // All fragments but the last are of one size, so this is what it will be, or a little less.
  sequence.expected_bytes = fragment <= limits_.max_assembled_bytes / (fields.rest.size() + 1)
                                ? fragment * fields.rest.size()
                                : limits_.max_assembled_bytes;
  sequence_memory_ += kSequenceBytes;
  append(sequence, fields.rest);
  return std::optional<Event>{};
}

Result<std::optional<FrameAssembler::Event>> FrameAssembler::take_later_fragment(
    std::string_view rest) {
  FieldReader fields{rest};
  const std::uint64_t sequence_id = fields.number(8);
  const std::uint64_t fragment = fields.number(8);
  if (!fields.ok) return malformed("the header of a fragment is cut off");
  const auto found = sequences_.find(sequence_id);
  if (found == sequences_.end()) return malformed("a fragment of a message that never began");
  Sequence& sequence = found->second;
  if (fragment != sequence.next_fragment) return malformed("a fragment out of order");
  if (fields.rest.size() > limits_.max_assembled_bytes - assembled_bytes_) {
    return make_error(
        ErrorCode::limit_exceeded,
        "fragmented messages exceed " + std::to_string(limits_.max_assembled_bytes) + " bytes");
  }
  append(sequence, fields.rest);
  sequence.next_fragment = fragment - 1;
  if (fragment != 1) return std::optional<Event>{};
  assembled_bytes_ -= sequence.terms.size();
  finished_ = std::move(sequence.terms);
  sequences_.erase(found);
  forget(finished_.capacity());
  return std::optional<Event>{Message{finished_.view()}};
}

void FrameAssembler::append(Sequence& sequence, std::string_view bytes) {
  sequence_memory_ -= sequence.terms.capacity();
  sequence.terms.append(bytes, sequence.expected_bytes);
  sequence_memory_ += sequence.terms.capacity();
  largest_sequence_ = std::max(largest_sequence_, sequence.terms.capacity());
  assembled_bytes_ += bytes.size();
}

/// A sequence with a buffer of this capacity is not there any more.
void FrameAssembler::forget(std::size_t capacity) {
  sequence_memory_ -= kSequenceBytes + capacity;
  if (capacity < largest_sequence_) return;
  largest_sequence_ = 0;
  for (const auto& [id, sequence] : sequences_)
    largest_sequence_ = std::max(largest_sequence_, sequence.terms.capacity());
}

std::size_t FrameAssembler::held_bytes() const { return slab_.size() - parsed_ + sequence_memory_; }

std::size_t FrameAssembler::largest_held() const {
  return std::max(slab_.size() - parsed_, largest_sequence_);
}

SharedBytes FrameAssembler::take_assembled(std::string_view part) {
  const std::string_view whole = finished_.view();
  const std::less_equal<const char*> not_behind;
  const bool inside = !whole.empty() && not_behind(whole.data(), part.data()) &&
                      not_behind(part.data() + part.size(), whole.data() + whole.size());
  return inside ? finished_.release() : SharedBytes{};
}

std::size_t FrameAssembler::memory_bytes() const {
  return slab_.capacity() + finished_.capacity() + sequence_memory_;
}

}  // namespace rakv::distribution
