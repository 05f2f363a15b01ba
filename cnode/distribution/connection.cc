// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "cnode/base/check.h"

namespace rakv::distribution {

namespace {

namespace asio = boost::asio;

/// A tick interval is T/4, and a peer is dead after this many of them without a byte (OTP:
/// net_tickintensity).
constexpr int kTickIntensity = 4;

/// What a peer may make us hold: no message is larger than the memory of all.
AssemblerLimits receive_limits(const ConnectionOptions& options) {
  AssemblerLimits limits = options.receive;
  if (options.memory) {
    const std::size_t largest = options.memory->largest_message();
    limits.max_frame_bytes = std::min(limits.max_frame_bytes, largest);
    limits.max_assembled_bytes = std::min(limits.max_assembled_bytes, largest + largest / 8);
  }
  return limits;
}

OutboxLimits send_limits(const ConnectionOptions& options) {
  OutboxLimits limits = options.send;
  if (options.memory)
    limits.soft_bytes = std::min<std::size_t>(limits.soft_bytes, options.memory->soft_bytes());
  return limits;
}

}  // namespace

Connection::Connection(asio::io_context& io, std::unique_ptr<Transport> transport,
                       PeerIdentity peer, std::string_view leftover,
                       const ConnectionOptions& options, std::function<void()> on_gone)
    : io_(io),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      options_(options),
      on_gone_(std::move(on_gone)),
      assembler_(receive_limits(options), framing()),
      outbox_(send_limits(options), framing()),
      memory_(options.memory, *this),
      turn_(Turn::of(io)),
      tick_timer_(io) {
  assembler_.feed(leftover);
}

Connection::~Connection() = default;

void Connection::start(Handlers handlers) {
  RAKV_CHECK(!started_ && handlers.on_message);
  started_ = true;
  handlers_ = std::move(handlers);
  if (closed_) {
    report_closed();
    return;
  }
  arm_tick_timer();
  post_input();
}

Outbox::Admission Connection::try_send(SenderKey sender, OutMessage message) {
  if (closed_) return Outbox::Admission::overflow;
  if (!adapt(message, peer_.flags)) return Outbox::Admission::queued;
  if (!has_room()) return Outbox::Admission::would_block;
  return queue(sender, std::move(message));
}

Outbox::Admission Connection::send(SenderKey sender, OutMessage message) {
  if (closed_) return Outbox::Admission::overflow;
  if (!adapt(message, peer_.flags)) return Outbox::Admission::queued;
  return queue(sender, std::move(message));
}

Outbox::Admission Connection::queue(SenderKey sender, OutMessage message) {
  if (!memory_.admit(message.size() + Outbox::kMessageBytes))
    return after_send(Outbox::Admission::overflow);
  return after_send(outbox_.send(sender, std::move(message)));
}

bool Connection::has_room() {
  if (!outbox_.would_block()) return true;
  refused_ = true;
  return false;
}

Outbox::Admission Connection::send_beat(OutMessage message) {
  if (closed_) return Outbox::Admission::overflow;
  return after_send(outbox_.send_beat(std::move(message)));
}

Outbox::Admission Connection::after_send(Outbox::Admission admission) {
  switch (admission) {
    case Outbox::Admission::queued:
      memory_.set_queued(outbox_.memory_bytes());
      schedule_flush();
      break;
    case Outbox::Admission::would_block:
      break;
    case Outbox::Admission::overflow:
      close(make_error(
          ErrorCode::limit_exceeded,
          fmt::format("too much is queued for {} ({} bytes): it does not read fast enough; let it "
                      "ask for less at a time, or give this node a larger --memory-budget",
                      peer_.name, outbox_.queued_bytes())));
      break;
  }
  return admission;
}

void Connection::hold(bool held) {
  held_ = held;
  if (held || closed_) return;
  if (std::exchange(input_held_, false)) post_input();
  schedule_flush();
}

void Connection::close(Error reason) {
  if (std::exchange(closed_, true)) return;
  close_reason_ = std::move(reason);
  memory_.release();
  transport_->close();
  tick_timer_.cancel();
  if (auto on_gone = std::exchange(on_gone_, nullptr)) on_gone();
  if (started_) report_closed();
}

void Connection::report_closed() {
  // Later, because the caller may stand in the middle of something; and only then the handlers may
  // go, because one of them may be what called close().
  asio::post(io_, [self = shared_from_this()] {
    Handlers handlers = std::exchange(self->handlers_, {});
    // Whoever still holds the connection does not hold what it had received and queued.
    self->assembler_ = FrameAssembler();
    if (!self->writing_) self->outbox_ = Outbox();
    if (handlers.on_closed) handlers.on_closed(self->close_reason_);
  });
}

/// What is not whole is held; all of it may be too much for now.
void Connection::read_if_there_is_room() {
  waits_for_room_ = !memory_.hold(assembler_.held_bytes(), assembler_.largest_held());
  if (!waits_for_room_ && !closed_) read();
}

void Connection::read_on() {
  if (std::exchange(waits_for_room_, false)) read_if_there_is_room();
}

void Connection::read() {
  transport_->read_some(assembler_.prepare(memory_.roomy()),
                        [self = shared_from_this()](Result<std::size_t> count) {
                          if (self->closed_) return;
                          if (!count) return self->close(count.error());
                          self->assembler_.commit(*count);
                          self->handle_input();
                        });
}

void Connection::post_input() {
  asio::post(io_, [self = shared_from_this()] { self->handle_input(); });
}

/// Handles what has been read, in turns: timers, writes and other connections come between two of
/// them.
void Connection::handle_input() {
  const Turn::Scope turn(turn_);
  for (std::size_t handled = 0; handled < options_.turn_messages; ++handled) {
    if (closed_) return;
    if (held_) {
      input_held_ = true;
      return;
    }
    if (memory_.holds_back()) {
      holds_back_ = true;
      return;
    }
    const Result<std::optional<FrameAssembler::Event>> event = assembler_.next();
    if (!event) return close(event.error());
    if (!*event) return read_if_there_is_room();
    if (!handle_event(**event)) return;
  }
  post_input();
}

bool Connection::handle_event(const FrameAssembler::Event& event) {
  const auto* message = std::get_if<FrameAssembler::Message>(&event);
  if (message == nullptr) return true;  // a tick: its bytes are counted already
  etf::Cursor cursor(message->terms, etf::kMessageLimits);
  const Result<DecodedMessage> decoded = decode_message(cursor, message->versioned);
  if (!decoded) {
    close(decoded.error());
    return false;
  }
  handlers_.on_message(decoded->control, decoded->payload);
  return true;
}

/// Writes at the end of the present turn, so that messages sent in one go leave in one write.
void Connection::schedule_flush() {
  if (writing_ || std::exchange(flush_scheduled_, true)) return;
  turn_.after_work([self = shared_from_this()] { self->flush(); });
}

/// Writes in a later turn: others come first.
void Connection::post_flush() {
  if (writing_ || std::exchange(flush_scheduled_, true)) return;
  asio::post(io_, [self = shared_from_this()] { self->flush(); });
}

void Connection::flush() {
  flush_scheduled_ = false;
  if (!writing_) write_batch();
}

void Connection::write_batch() {
  if (closed_ || held_) return;
  const std::vector<std::string_view>& batch = outbox_.next_batch();
  if (batch.empty()) return;
  // Mostly the kernel takes everything at once, and nobody has to be woken to hear of it.
  std::size_t written = transport_->write_now(batch);
  unwritten_.clear();
  for (const std::string_view bytes : batch) {
    const std::size_t done = std::min(written, bytes.size());
    written -= done;
    if (done < bytes.size()) unwritten_.push_back(bytes.substr(done));
  }
  if (unwritten_.empty()) {
    batch_written();
    if (!outbox_.empty()) post_flush();
    return;
  }
  writing_ = true;
  transport_->write_all(unwritten_, [self = shared_from_this()](const Result<std::size_t>& count) {
    self->writing_ = false;
    if (self->closed_) {
      self->outbox_ = Outbox();
      return;
    }
    if (!count) return self->close(count.error());
    const Turn::Scope turn(self->turn_);
    self->batch_written();
    self->write_batch();
  });
}

void Connection::batch_written() {
  outbox_.written();
  memory_.set_queued(outbox_.memory_bytes());
  if (holds_back_ && !memory_.holds_back()) {
    holds_back_ = false;
    post_input();
  }
  if (refused_ && !outbox_.would_block()) {
    refused_ = false;
    if (handlers_.on_drained) handlers_.on_drained();
  }
}

void Connection::arm_tick_timer() {
  tick_timer_.expires_after(options_.net_ticktime / kTickIntensity);
  tick_timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error && !self->closed_) self->check_liveness();
  });
}

void Connection::check_liveness() {
  // While we do not read, a peer lives that takes what we write.
  const bool moves = assembler_.bytes_received() != received_at_check_ || waits_for_room_ ||
                     (holds_back_ && outbox_.bytes_written() != written_at_check_);
  silent_checks_ = moves ? 0 : silent_checks_ + 1;
  received_at_check_ = assembler_.bytes_received();
  if (silent_checks_ >= kTickIntensity) {
    return close(make_error(ErrorCode::timeout,
                            fmt::format("{} has been silent for the net ticktime of {} ms",
                                        peer_.name, options_.net_ticktime.count())));
  }
  if (outbox_.empty() && outbox_.bytes_written() == written_at_check_) {
    outbox_.tick();
    schedule_flush();
  }
  written_at_check_ = outbox_.bytes_written();
  arm_tick_timer();
}

}  // namespace rakv::distribution
