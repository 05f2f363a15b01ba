// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/attempt.h"

#include <utility>

namespace rakv::distribution {

Attempt::Attempt(boost::asio::io_context& io, Handshake handshake,
                 std::chrono::milliseconds step_timeout, Events events)
    : deadline_(io),
      handshake_(std::move(handshake)),
      step_timeout_(step_timeout),
      events_(std::move(events)) {}

void Attempt::start(std::unique_ptr<Transport> transport) {
  transport_ = std::move(transport);
  arm_deadline();
  carry_out(handshake_.start());
}

void Attempt::abort() {
  if (std::exchange(over_, true)) return;
  deadline_.cancel();
  if (transport_) transport_->close();
  events_ = {};
}

/// Carries out a step's actions, then reads on unless they ended the handshake.
void Attempt::carry_out(Handshake::Actions actions) {
  const auto self = shared_from_this();
  for (Handshake::Action& action : actions) {
    carry_out(action);
    if (over_) return;
  }
  write();
  if (handshake_.done()) {
    end_if_flushed();
  } else {
    read();
  }
}

void Attempt::carry_out(Handshake::Action& action) {
  if (auto* bytes = std::get_if<Handshake::Send>(&action)) {
    to_write_ += bytes->bytes;
  } else if (const auto* ask = std::get_if<Handshake::AskStatus>(&action)) {
    StatusAnswer answer = events_.on_name(*ask);
    if (over_) return;
    Handshake::Actions actions =
        answer.given_name
            ? handshake_.answer_name(std::move(answer.given_name->name),
                                     answer.given_name->creation, std::move(answer.cookie))
            : handshake_.answer_status(answer.status, std::move(answer.cookie));
    for (Handshake::Action& next : actions) carry_out(next);
  } else if (std::holds_alternative<Handshake::AskAlive>(action)) {
    for (Handshake::Action& next : handshake_.answer_alive(events_.on_alive())) carry_out(next);
  } else if (std::holds_alternative<Handshake::Chosen>(action)) {
    events_.on_chosen();
  } else if (std::holds_alternative<Handshake::WaitForInbound>(action)) {
    nok_ = true;
  } else if (auto* finished = std::get_if<Handshake::Finished>(&action)) {
    finished_ = std::move(*finished);
  } else if (auto* failed = std::get_if<Handshake::Failed>(&action)) {
    failed_ = std::move(failed->error);
  }
}

void Attempt::read() {
  transport_->read_some(piece_, [self = shared_from_this()](Result<std::size_t> count) {
    if (self->over_) return;
    if (count) {
      Handshake::Actions actions = self->handshake_.feed({self->piece_, *count});
      // Only whole messages count as progress: a byte now and then keeps no attempt alive.
      if (!actions.empty()) self->arm_deadline();
      return self->carry_out(std::move(actions));
    }
    if (self->handshake_.awaits_ack()) {
      return self->fail(
          make_error(ErrorCode::refused,
                     "the peer closed the connection at our answer to its challenge: "
                     "its cookie is most likely not ours; give both nodes the same one"));
    }
    self->fail(make_error(count.error().code, "during the handshake: " + count.error().message));
  });
}

void Attempt::write() {
  if (write_pending_ || to_write_.empty()) return;
  writing_ = std::exchange(to_write_, {});
  write_pending_ = true;
  transport_->write_all({writing_}, [self = shared_from_this()](const Result<std::size_t>& count) {
    self->wrote(count);
  });
}

void Attempt::wrote(const Result<std::size_t>& count) {
  write_pending_ = false;
  if (over_) return;
  if (!count) {
    if (failed_) return fail(*failed_);
    return fail(make_error(count.error().code, "during the handshake: " + count.error().message));
  }
  write();
  if (handshake_.done()) end_if_flushed();
}

void Attempt::arm_deadline() {
  deadline_.expires_after(step_timeout_);
  deadline_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->over_) return;
    self->fail(make_error(
        ErrorCode::timeout,
        "the handshake got no answer in " + std::to_string(self->step_timeout_.count()) + " ms"));
  });
}

/// The end comes when our last message is on the wire: a status must reach a peer that is refused.
void Attempt::end_if_flushed() {
  if (write_pending_ || over_) return;
  if (failed_) return fail(*failed_);
  over_ = true;
  deadline_.cancel();
  Events events = std::exchange(events_, {});
  if (nok_) {
    transport_->close();
    if (events.on_nok) events.on_nok();
  } else if (events.on_finished) {
    events.on_finished(std::move(*finished_), std::move(transport_));
  }
}

// A copy: it may be failed_, and who is told may let go of this.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void Attempt::fail(Error error) {
  if (std::exchange(over_, true)) return;
  deadline_.cancel();
  transport_->close();
  Events events = std::exchange(events_, {});
  if (events.on_failed) events.on_failed(error);
}

}  // namespace rakv::distribution
