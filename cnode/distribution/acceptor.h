// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/base/result.h"
#include "cnode/distribution/attempt.h"
#include "cnode/distribution/connection_table.h"
#include "cnode/distribution/network.h"

namespace rakv::distribution {

/// The incoming half of an Endpoint: the port that is listened on, and handshakes that peers began.
/// It decides nothing about connections.
class Acceptor {
 public:
  /// An attempt in the name of a peer; its number is 0 until the peer has told its name.
  struct Named {
    std::string peer;
    AttemptId attempt = 0;
  };
  /// What it needs of the Endpoint.
  struct Seams {
    std::function<HandshakeSetup()> setup;
    /// Why no further connection may be taken in; empty when one may.
    std::function<std::string()> why_full;
    /// A peer has told its name: sets `named`.
    std::function<Attempt::StatusAnswer(const Handshake::AskStatus&, Named& named)> on_name;
    std::function<void(AttemptId, Handshake::Finished, std::unique_ptr<Transport>)> on_finished;
    /// One that had told its name has failed.
    std::function<void(const Named&, const Error&)> on_failed;
    /// One line for the log.
    std::function<void(const std::string&)> note;
  };

  /// Every step of a handshake may take `step_timeout`. One more than `max_half_open` handshakes
  /// closes the oldest of the host that has the most.
  Acceptor(boost::asio::io_context& io, Seams seams, std::chrono::milliseconds step_timeout,
           std::size_t max_half_open);
  ~Acceptor() { *alive_ = false; }
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  /// Opens the listening socket and gives its port. Errors: those of Network::listen.
  Result<std::uint16_t> listen(const std::string& address, std::uint16_t port);
  /// Begins to accept, until stop(). A failure is noted, and tried again after a pause.
  void accept_next();
  /// Gives up the attempts in the name of this peer, which are no failures; their numbers.
  std::vector<AttemptId> drop_attempts_of(const std::string& peer);
  /// Handshakes under way.
  std::size_t half_open() const { return inbound_.size(); }
  /// Stops listening and gives up handshakes; no seam is called for them.
  void stop();

 private:
  struct Inbound {
    std::shared_ptr<Attempt> attempt;
    std::shared_ptr<Named> named;
    std::string host;  ///< the address it comes from
  };
  void accept_later(const std::string& why);
  void accepted(std::unique_ptr<Transport> transport);
  void drop_oldest_handshake();

  boost::asio::io_context& io_;
  Seams seams_;
  std::chrono::milliseconds step_timeout_;
  std::size_t max_half_open_;
  std::unique_ptr<Network::Listener> listener_;
  Timer pause_;
  std::map<std::uint64_t, Inbound> inbound_;  ///< oldest first
  std::uint64_t next_key_ = 1;
  bool fails_ = false;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::distribution
