// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/base/shared_bytes.h"
#include "cnode/distribution/frames.h"

// The sending half of a connection, as a pure machine: messages in, batches of bytes for one
// gathered write out.

namespace rakv::distribution {

/// One outgoing message: control term, then payload term if the op has one, both without a leading
/// 131. Small bytes are appended to `text`; a large value is put in by reference with share() and
/// is never copied on its way to the socket.
class OutMessage {
 public:
  /// Bytes written so far that are not shared; encoders append here.
  std::string text;

  /// Puts `part` (a range of `owner`'s bytes) at the current end of the message. Short parts are
  /// copied instead.
  void share(const SharedBytes& owner, std::string_view part);
  void share(const SharedBytes& owner) { share(owner, owner.view()); }

  /// The control term ends here; encoders of control.h call it. It must go into the first fragment
  /// as a whole.
  void end_control() { control_bytes_ = size(); }

  std::size_t size() const { return text.size() + shared_bytes_; }
  std::size_t control_bytes() const { return control_bytes_; }
  /// The control term, which is never shared.
  std::string_view control() const { return std::string_view(text).substr(0, control_bytes_); }

  /// Puts `bytes` in the place of the control term. `all_is_control` says that what follows (the
  /// reason of an exit) has become the control term's last element.
  void replace_control(std::string_view bytes, bool all_is_control);

  /// Appends views of the bytes [offset, offset + length) of the message to `out`.
  void append_range(std::size_t offset, std::size_t length,
                    std::vector<std::string_view>& out) const;

 private:
  struct Insert {
    std::size_t text_offset;     ///< the part stands before this byte of text
    std::size_t message_offset;  ///< and starts at this byte of the message
    SharedBytes owner;
    std::string_view part;
  };

  std::vector<Insert> inserts_;
  std::size_t shared_bytes_ = 0;
  std::size_t control_bytes_ = 0;
};

/// Whose signals these are: messages with the same key keep their order, whatever their sizes. Take
/// one key per sending entity (its pid's number); 0 is the node itself.
using SenderKey = std::uint64_t;

/// Bounds of an Outbox.
struct OutboxLimits {
  std::size_t soft_bytes = std::size_t{64} << 20;  ///< from here on try_send() refuses
  std::size_t hard_bytes = std::size_t{512}
                           << 20;  ///< from here on send() fails and the connection must be closed
  std::size_t fragment_bytes = std::size_t{64}
                               << 10;  ///< messages above this are split into pieces of this
  std::size_t batch_bytes = std::size_t{256} << 10;  ///< about as much goes into one write
};

/// Orders and cuts the messages to one peer.
///
/// Small messages go first in, first out, and are copied together into long runs. A message above
/// fragment_bytes becomes a lane of its own sender: lanes and the queue of small messages take
/// turns, 64 KiB each, so a 100 MB message delays nobody else. Later messages of a sender that has
/// a lane wait in the lane. Beats overtake everything. Without fragments (Framing::pass_through)
/// there are no lanes: every message is one frame, first in, first out.
class Outbox {
 public:
  enum class Admission {
    queued,       ///< will be written
    would_block,  ///< try_send only: over soft_bytes, the message was dropped
    overflow,     ///< over hard_bytes: the message was dropped and the connection must be closed
  };

  explicit Outbox(OutboxLimits limits = {}, Framing framing = Framing::headers);

  /// Queues unless soft_bytes are queued already (what `nosuspend` does in Erlang).
  Admission try_send(SenderKey sender, OutMessage message);
  /// Queues up to hard_bytes: for answers and signals that may not be lost while the connection
  /// lives.
  Admission send(SenderKey sender, OutMessage message);
  /// Queues ahead of everything: for small messages whose order against others does not matter
  /// (aten beats).
  Admission send_beat(OutMessage message);
  /// Queues an empty frame.
  void tick();

  /// Takes the next batch; empty when there is nothing to write. Its views live until written() is
  /// called; one batch at a time.
  const std::vector<std::string_view>& next_batch();
  /// The batch of next_batch() is on the wire.
  void written();

  /// Bytes queued or in the batch under way.
  std::size_t queued_bytes() const { return queued_bytes_; }
  /// Memory that they take, about: each message has some of its own.
  std::size_t memory_bytes() const { return queued_bytes_ + messages_ * kMessageBytes; }
  static constexpr std::size_t kMessageBytes = 256;
  bool empty() const { return queued_bytes_ == 0; }
  bool would_block() const { return queued_bytes_ >= limits_.soft_bytes; }
  /// Bytes ever handed out in batches that were written.
  std::uint64_t bytes_written() const { return bytes_written_; }

 private:
  struct Entry {
    SenderKey sender = 0;
    OutMessage message;
  };
  struct Lane {
    SenderKey sender = 0;
    std::deque<OutMessage> messages;  ///< the first one is under way if fragments_left > 0
    std::uint64_t sequence = 0;
    std::uint64_t fragments_left = 0;
    std::size_t offset = 0;  ///< bytes of the first message that are written
  };
  /// A stretch of a batch: of batch_text_ (shared is empty) or of a shared value.
  struct Run {
    std::size_t offset = 0;
    std::size_t length = 0;
    std::string_view shared;
  };

  Admission admit(std::size_t message_bytes);
  void take_small_messages(std::size_t budget);
  void take_lane_turn();
  void emit_whole(OutMessage message);
  void emit_passed_through(const OutMessage& message);
  void emit_fragment(Lane& lane);
  void begin_fragments(Lane& lane);
  void emit_text(std::string_view bytes);
  void emit_range(const OutMessage& message, std::size_t offset, std::size_t length);

  OutboxLimits limits_;
  Framing framing_;
  std::deque<OutMessage> beats_;
  std::deque<Entry> queue_;
  std::list<Lane> lanes_;  ///< the front one is next
  std::unordered_map<SenderKey, std::list<Lane>::iterator> lane_of_;
  std::uint64_t next_sequence_ = 1;
  std::size_t ticks_ = 0;

  std::string batch_text_;
  std::vector<Run> batch_runs_;
  std::vector<std::string_view> batch_views_;
  std::vector<OutMessage> batch_messages_;  ///< keep the shared values of the batch alive
  std::vector<std::string_view> range_scratch_;
  std::size_t batch_bytes_ = 0;         ///< bytes of the batch under way
  std::size_t batch_queued_bytes_ = 0;  ///< what it counts for in queued_bytes_

  std::size_t queued_bytes_ = 0;
  std::size_t messages_ = 0;  ///< in the queue and in the lanes
  std::uint64_t bytes_written_ = 0;
};

}  // namespace rakv::distribution
