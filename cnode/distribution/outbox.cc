// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/outbox.h"

#include <algorithm>
#include <utility>

#include "cnode/base/byte_order.h"
#include "cnode/base/check.h"

namespace rakv::distribution {

namespace {

/// Shared parts below this are copied into the message's text: cheaper than keeping them apart.
constexpr std::size_t kMinSharedBytes = 512;
/// Stretches below this are copied into the batch's common run; longer ones become a buffer of
/// their own.
constexpr std::size_t kMinSeparateRunBytes = 2048;
/// Length, 131, 68, number of atoms: what a whole message has before its terms. As long as what a
/// message that is passed through has before them and between them.
constexpr std::size_t kWholeHeaderBytes = 7;

}  // namespace

void OutMessage::share(const SharedBytes& owner, std::string_view part) {
  if (part.size() < kMinSharedBytes) {
    text.append(part);
    return;
  }
  inserts_.push_back(Insert{text.size(), size(), owner, part});
  shared_bytes_ += part.size();
}

void OutMessage::replace_control(std::string_view bytes, bool all_is_control) {
  text.replace(0, control_bytes_, bytes);
  for (Insert& insert : inserts_) {
    RAKV_CHECK(insert.text_offset >= control_bytes_);
    insert.text_offset = insert.text_offset - control_bytes_ + bytes.size();
    insert.message_offset = insert.message_offset - control_bytes_ + bytes.size();
  }
  control_bytes_ = all_is_control ? size() : bytes.size();
}

void OutMessage::append_range(std::size_t offset, std::size_t length,
                              std::vector<std::string_view>& out) const {
  RAKV_CHECK(offset <= size() && length <= size() - offset);
  // The first insert that does not lie wholly before the range; the text before it begins where the
  // one before it ends.
  auto insert = std::partition_point(inserts_.begin(), inserts_.end(), [offset](const Insert& i) {
    return i.message_offset + i.part.size() <= offset;
  });
  while (length > 0) {
    const bool text_is_last = insert == inserts_.end();
    if (text_is_last || offset < insert->message_offset) {
      const std::size_t text_end = text_is_last ? text.size() : insert->text_offset;
      const std::size_t message_end = text_is_last ? size() : insert->message_offset;
      const std::size_t take = std::min(length, message_end - offset);
      out.push_back(std::string_view(text).substr(text_end - (message_end - offset), take));
      offset += take;
      length -= take;
      continue;
    }
    const std::size_t into = offset - insert->message_offset;
    const std::size_t take = std::min(length, insert->part.size() - into);
    out.push_back(insert->part.substr(into, take));
    offset += take;
    length -= take;
    ++insert;
  }
}

Outbox::Outbox(OutboxLimits limits, Framing framing) : limits_(limits), framing_(framing) {}

Outbox::Admission Outbox::admit(std::size_t message_bytes) {
  const std::size_t bytes = message_bytes + kWholeHeaderBytes;
  if (bytes > limits_.hard_bytes || queued_bytes_ > limits_.hard_bytes - bytes) {
    return Admission::overflow;
  }
  queued_bytes_ += bytes;
  ++messages_;
  return Admission::queued;
}

Outbox::Admission Outbox::try_send(SenderKey sender, OutMessage message) {
  if (would_block()) return Admission::would_block;
  return send(sender, std::move(message));
}

Outbox::Admission Outbox::send(SenderKey sender, OutMessage message) {
  const Admission admission = admit(message.size());
  if (admission == Admission::queued) queue_.push_back(Entry{sender, std::move(message)});
  return admission;
}

Outbox::Admission Outbox::send_beat(OutMessage message) {
  RAKV_CHECK(message.size() <= limits_.fragment_bytes);
  const Admission admission = admit(message.size());
  if (admission == Admission::queued) beats_.push_back(std::move(message));
  return admission;
}

void Outbox::tick() {
  ++ticks_;
  queued_bytes_ += 4;
}

const std::vector<std::string_view>& Outbox::next_batch() {
  RAKV_CHECK_MSG(batch_queued_bytes_ == 0, "the last batch was not reported as written");
  batch_text_.clear();
  batch_runs_.clear();
  batch_views_.clear();
  batch_messages_.clear();
  batch_bytes_ = 0;
  for (; ticks_ > 0; --ticks_) {
    emit_text(std::string_view("\0\0\0\0", 4));
    batch_queued_bytes_ += 4;
  }
  for (; !beats_.empty(); beats_.pop_front()) emit_whole(std::move(beats_.front()));
  while (batch_bytes_ < limits_.batch_bytes && !(queue_.empty() && lanes_.empty())) {
    take_small_messages(limits_.fragment_bytes);
    take_lane_turn();
  }
  for (const Run& run : batch_runs_) {
    batch_views_.push_back(run.shared.empty()
                               ? std::string_view(batch_text_).substr(run.offset, run.length)
                               : run.shared);
  }
  return batch_views_;
}

void Outbox::written() {
  bytes_written_ += batch_bytes_;
  queued_bytes_ -= batch_queued_bytes_;
  batch_queued_bytes_ = 0;
  batch_bytes_ = 0;
  batch_views_.clear();
  batch_messages_.clear();
}

/// Moves messages from the queue into the batch, or into the lane of their sender, until about
/// `budget` bytes.
void Outbox::take_small_messages(std::size_t budget) {
  const std::size_t stop_at = batch_bytes_ + budget;
  while (!queue_.empty() && batch_bytes_ < stop_at) {
    Entry entry = std::move(queue_.front());
    queue_.pop_front();
    const auto lane = lane_of_.find(entry.sender);
    if (lane != lane_of_.end()) {
      lane->second->messages.push_back(std::move(entry.message));
    } else if (framing_ == Framing::pass_through ||
               entry.message.size() <= limits_.fragment_bytes) {
      emit_whole(std::move(entry.message));
    } else {
      lanes_.emplace_back();
      Lane& made = lanes_.back();
      made.sender = entry.sender;
      made.messages.push_back(std::move(entry.message));
      begin_fragments(made);
      lane_of_[entry.sender] = std::prev(lanes_.end());
    }
  }
}

/// Lets the front lane send a fragment, or up to as much of the small messages that wait in it, and
/// puts it last.
void Outbox::take_lane_turn() {
  if (lanes_.empty()) return;
  Lane& lane = lanes_.front();
  const std::size_t stop_at = batch_bytes_ + limits_.fragment_bytes;
  while (!lane.messages.empty() && batch_bytes_ < stop_at) {
    if (lane.fragments_left > 0) {
      emit_fragment(lane);
    } else if (lane.messages.front().size() > limits_.fragment_bytes) {
      begin_fragments(lane);
    } else {
      OutMessage message = std::move(lane.messages.front());
      lane.messages.pop_front();
      emit_whole(std::move(message));
    }
  }
  if (lane.messages.empty()) {
    lane_of_.erase(lane.sender);
    lanes_.pop_front();
  } else {
    lanes_.splice(lanes_.end(), lanes_, lanes_.begin());
  }
}

void Outbox::begin_fragments(Lane& lane) {
  const OutMessage& message = lane.messages.front();
  // The control term may not be cut: the first fragment is as long as it needs.
  const std::size_t first = std::max(limits_.fragment_bytes, message.control_bytes());
  const std::size_t later = message.size() > first ? message.size() - first : 0;
  lane.sequence = next_sequence_++;
  lane.fragments_left = 1 + (later + limits_.fragment_bytes - 1) / limits_.fragment_bytes;
  lane.offset = 0;
}

void Outbox::emit_fragment(Lane& lane) {
  const OutMessage& message = lane.messages.front();
  const bool is_first = lane.offset == 0;
  const std::size_t wanted =
      is_first ? std::max(limits_.fragment_bytes, message.control_bytes()) : limits_.fragment_bytes;
  const std::size_t length = std::min(wanted, message.size() - lane.offset);
  std::string header;
  put_number(header, (is_first ? 19 : 18) + length, 4);
  header += static_cast<char>(131);
  header += static_cast<char>(is_first ? 69 : 70);
  put_number(header, lane.sequence, 8);
  put_number(header, lane.fragments_left, 8);
  if (is_first) header += '\0';
  emit_text(header);
  emit_range(message, lane.offset, length);
  lane.offset += length;
  batch_queued_bytes_ += length;
  if (--lane.fragments_left == 0) {
    RAKV_CHECK(lane.offset == message.size());
    batch_queued_bytes_ += kWholeHeaderBytes;
    batch_messages_.push_back(std::move(lane.messages.front()));
    lane.messages.pop_front();
    --messages_;
  }
}

void Outbox::emit_whole(OutMessage message) {
  --messages_;
  if (framing_ == Framing::pass_through) {
    emit_passed_through(message);
  } else {
    char header[kWholeHeaderBytes];
    store_number(header, 3 + message.size(), 4);
    header[4] = static_cast<char>(131);
    header[5] = 68;
    header[6] = 0;
    emit_text({header, sizeof header});
    emit_range(message, 0, message.size());
  }
  batch_queued_bytes_ += kWholeHeaderBytes + message.size();
  // A message this small was copied; the batch's views point into longer ones (moving keeps their
  // bytes in place).
  if (message.size() >= kMinSeparateRunBytes) batch_messages_.push_back(std::move(message));
}

/// 'p', then each of the two terms with its version byte.
void Outbox::emit_passed_through(const OutMessage& message) {
  const std::size_t control = message.control_bytes();
  const std::size_t payload = message.size() - control;
  char header[6];
  store_number(header, 2 + control + (payload > 0 ? 1 + payload : 0), 4);
  header[4] = 'p';
  header[5] = static_cast<char>(131);
  emit_text({header, sizeof header});
  emit_range(message, 0, control);
  if (payload == 0) return;
  emit_text(std::string_view("\203", 1));
  emit_range(message, control, payload);
}

void Outbox::emit_text(std::string_view bytes) {
  const bool extends = !batch_runs_.empty() && batch_runs_.back().shared.empty();
  if (extends) {
    batch_runs_.back().length += bytes.size();
  } else {
    batch_runs_.push_back(Run{batch_text_.size(), bytes.size(), {}});
  }
  batch_text_.append(bytes);
  batch_bytes_ += bytes.size();
}

void Outbox::emit_range(const OutMessage& message, std::size_t offset, std::size_t length) {
  range_scratch_.clear();
  message.append_range(offset, length, range_scratch_);
  for (const std::string_view piece : range_scratch_) {
    if (piece.size() < kMinSeparateRunBytes) {
      emit_text(piece);
    } else {
      batch_runs_.push_back(Run{0, 0, piece});
      batch_bytes_ += piece.size();
    }
  }
}

}  // namespace rakv::distribution
