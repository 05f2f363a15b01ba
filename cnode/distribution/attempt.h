// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cnode/base/clock.h"
#include "cnode/distribution/handshake.h"
#include "cnode/distribution/transport.h"

// One attempt to get a connection: drives a Handshake over a Transport, every step under a
// deadline.

namespace rakv::distribution {

/// From an open socket to a verified peer. Ends exactly once: on_finished, on_failed, on_nok, or
/// (silently) abort(). Keeps itself alive while an operation is pending; the owner may drop it
/// after the end.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  /// A name for a peer that came without one.
  struct GivenName {
    std::string name;
    std::uint32_t creation = 0;
  };
  /// What the acceptor's owner says to a name.
  struct StatusAnswer {
    Status status = Status::ok;
    std::optional<std::string> cookie;
    std::optional<GivenName> given_name;  ///< owed to Handshake::AskStatus::wants_name
  };
  struct Events {
    std::function<StatusAnswer(const Handshake::AskStatus&)> on_name;  ///< acceptor
    std::function<bool()> on_alive;   ///< initiator: is the old connection dead?
    std::function<void()> on_chosen;  ///< initiator: the peer has given up an attempt of its own
    std::function<void()> on_nok;     ///< initiator; the socket is closed
    std::function<void(Handshake::Finished, std::unique_ptr<Transport>)> on_finished;
    std::function<void(const Error&)> on_failed;
  };

  Attempt(boost::asio::io_context& io, Handshake handshake, std::chrono::milliseconds step_timeout,
          Events events);

  /// Begins with an open transport.
  void start(std::unique_ptr<Transport> transport);
  /// Closes the socket; no event follows.
  void abort();

 private:
  void carry_out(Handshake::Actions actions);
  void carry_out(Handshake::Action& action);
  void read();
  void write();
  void wrote(const Result<std::size_t>& count);
  void arm_deadline();
  void end_if_flushed();
  void fail(Error error);

  Timer deadline_;
  Handshake handshake_;
  std::chrono::milliseconds step_timeout_;
  Events events_;
  std::unique_ptr<Transport> transport_;
  std::string writing_;
  std::string to_write_;
  bool write_pending_ = false;
  std::optional<Handshake::Finished> finished_;
  std::optional<Error> failed_;
  bool nok_ = false;
  bool over_ = false;
  char piece_[4096];
};

}  // namespace rakv::distribution
