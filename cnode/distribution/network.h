// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cnode/base/result.h"
#include "cnode/distribution/transport.h"

// The network as a node sees it: it listens, and it connects; both give byte streams, so that
// handshakes, frames and the talk with epmd are the node's own on every network. A node uses the
// operating system's; tests/simulation gives each node's io_context one whose bytes it delays, cuts
// into pieces and loses.

namespace rakv::distribution {

/// Single-threaded, as its io_context. Handlers come from the io_context, never from inside a call.
class Network {
 public:
  /// A port that is listened on.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual std::uint16_t port() const = 0;
    /// The next one that connects, or `io` (no descriptor left, say): ask again after a pause. One
    /// at a time; `done` is not called any more after close().
    using Accepted = std::function<void(Result<std::unique_ptr<Transport>>)>;
    virtual void accept(Accepted done) = 0;
    virtual void close() = 0;
  };

  /// An attempt to connect. Its end, or cancel(), ends the attempt; `done` is not called then. The
  /// end of the io_context lets go of `done`, which may hold the attempt.
  class Connecting {
   public:
    virtual ~Connecting() = default;
    virtual void cancel() = 0;
  };
  /// The open stream, or `not_found` (the host's name is unknown), `unavailable` (nobody listens),
  /// each with the system's words for it. There is no deadline.
  using Connected = std::function<void(Result<std::unique_ptr<Transport>>)>;

  virtual ~Network() = default;
  /// Listens on `address`, a numeric one, and `port`, any free one for 0. Errors:
  /// `invalid_argument`, `already_exists` (the port is taken), `io`.
  virtual Result<std::unique_ptr<Listener>> listen(const std::string& address,
                                                   std::uint16_t port) = 0;
  /// Connects with `port` of `host`, a name or a numeric address.
  virtual std::shared_ptr<Connecting> connect(const std::string& host, std::uint16_t port,
                                              Connected done) = 0;

  /// The network of `io`: TCP of the operating system, unless another one was set.
  static Network& of(boost::asio::io_context& io);
  /// Before anything asks for the network of `io`. `network` must outlive it.
  static void set(boost::asio::io_context& io, Network& network);
};

}  // namespace rakv::distribution
