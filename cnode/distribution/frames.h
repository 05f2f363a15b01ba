// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "cnode/base/result.h"
#include "cnode/base/shared_bytes.h"

// The receiving half of a connection after the handshake, as a pure machine: bytes in, ticks and
// whole messages out. Frames are a 4-byte length and a body: nothing (a tick), 131,68 (a message),
// 131,69 (first fragment of one) or 131,70 (a later fragment); with a peer that has no fragments
// they are 'p' and the terms. Source: OTP `dist.c`; no atom cache.

namespace rakv::distribution {

/// How messages are framed: follows from whether both sides have kFlagFragments (we never offer an
/// atom cache).
enum class Framing {
  headers,       ///< 131, 68..70 and a header; terms without version bytes
  pass_through,  ///< 'p'; control term and payload with a 131 before each; no fragments
};

/// A byte buffer that grows by doubling what it really holds (realloc, so large ones move by
/// remapping).
class GrowingBuffer {
 public:
  GrowingBuffer() = default;
  GrowingBuffer(GrowingBuffer&& other) noexcept;
  GrowingBuffer& operator=(GrowingBuffer&& other) noexcept;
  ~GrowingBuffer();

  char* data() { return data_; }
  const char* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  std::string_view view() const { return {data_, size_}; }

  /// Makes capacity() at least `capacity`; keeps the content.
  void reserve(std::size_t capacity);
  /// Appends. When full, the capacity doubles, but not beyond `expected` if that is enough (0: not
  /// known).
  void append(std::string_view bytes, std::size_t expected = 0);
  /// Counts `bytes` that were written after size() as content.
  void grow_size(std::size_t bytes);
  /// Drops the first `bytes` of the content.
  void drop_front(std::size_t bytes);
  /// Gives all memory back.
  void reset();
  /// The content as shared bytes, without a copy; the buffer is empty afterwards.
  SharedBytes release();

 private:
  char* block() const { return data_ == nullptr ? nullptr : data_ - SharedBytes::kHeadBytes; }

  char* data_ = nullptr;  ///< after room for the head of SharedBytes
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// Bounds on what a peer may make us hold.
struct AssemblerLimits {
  std::size_t max_frame_bytes = std::size_t{512} << 20;  ///< one frame; BEAM fragments above 64 KiB
  std::size_t max_assembled_bytes = std::size_t{1}
                                    << 30;       ///< all unfinished fragmented messages together
  std::size_t max_unfinished_sequences = 16384;  ///< fragmented messages under way at once
};

/// Cuts the byte stream of one connection into messages.
///
/// Use: prepare() gives room, read into it, commit(n), then next() until it returns nothing. Memory
/// grows with bytes that arrived, never with lengths that were announced. After an error the
/// connection has to be closed.
class FrameAssembler {
 public:
  /// An empty frame: the peer is alive.
  struct Tick {};
  /// A whole message: the control term and, if its op has one, the payload term right after it (no
  /// 131 before either). The view lives until the next call of next() or prepare().
  struct Message {
    std::string_view terms;
    bool versioned = false;  ///< a 131 stands before the payload term, if there is one
  };
  using Event = std::variant<Tick, Message>;

  explicit FrameAssembler(AssemblerLimits limits = {}, Framing framing = Framing::headers);

  /// Room for the next read: of some KiB for a peer that says little, of up to 1 MiB for one whose
  /// last read filled its room. Not `roomy`: of no more than what is expected needs.
  std::span<char> prepare(bool roomy = true);
  /// `bytes` were read into prepare()'s room.
  void commit(std::size_t bytes);
  /// prepare, copy, commit: for leftovers and tests.
  void feed(std::string_view bytes);

  /// The next tick or message; nothing when more bytes are needed. Errors (`malformed`,
  /// `limit_exceeded`) are final.
  Result<std::optional<Event>> next();

  /// The memory of the message that next() gave last, if that was put together from fragments and
  /// `part` lies in it; else nothing. The caller is its only owner and may write to it. The
  /// message's view points into it and lives as long as it does.
  SharedBytes take_assembled(std::string_view part);

  /// All bytes ever committed: for liveness, which counts bytes and not frames.
  std::uint64_t bytes_received() const { return bytes_received_; }
  /// Bytes held for messages that are not complete.
  std::size_t unfinished_bytes() const { return assembled_bytes_; }
  std::size_t unfinished_sequences() const { return sequences_.size(); }
  /// Memory held for messages that are not complete, and how much of it is for one of them.
  std::size_t held_bytes() const;
  std::size_t largest_held() const;
  /// Bytes of memory held in all buffers.
  std::size_t memory_bytes() const;

 private:
  struct Sequence {
    std::uint64_t next_fragment = 0;
    std::size_t expected_bytes = 0;  ///< what `terms` will grow to, about
    GrowingBuffer terms;
  };

  Result<std::optional<Event>> take_frame(std::string_view frame);
  Result<std::optional<Event>> take_first_fragment(std::string_view rest);
  Result<std::optional<Event>> take_later_fragment(std::string_view rest);
  void append(Sequence& sequence, std::string_view bytes);
  void forget(std::size_t capacity);

  AssemblerLimits limits_;
  Framing framing_;
  GrowingBuffer slab_;
  std::size_t parsed_ = 0;  ///< bytes at the front of the slab that are done with
  std::size_t room_ = 0;    ///< that prepare() gave last
  bool room_was_filled_ = false;
  std::size_t assembled_bytes_ = 0;
  std::size_t sequence_memory_ = 0;   ///< of all sequences
  std::size_t largest_sequence_ = 0;  ///< memory of the largest
  std::uint64_t bytes_received_ = 0;
  std::unordered_map<std::uint64_t, Sequence> sequences_;
  GrowingBuffer finished_;  ///< keeps the last assembled message alive for its view
};

}  // namespace rakv::distribution
