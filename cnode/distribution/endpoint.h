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
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/distribution/connection.h"
#include "cnode/distribution/connection_table.h"
#include "cnode/distribution/epmd.h"

// A node's end of the network: listens, dials, runs handshakes, and hands over connections that are
// up.

namespace rakv::distribution {

/// How a node presents itself and how patient it is.
struct EndpointOptions {
  std::string node_name;       ///< name@host
  std::uint32_t creation = 0;  ///< see Endpoint::set_creation
  Flags flags = kOfferedFlags;
  std::string cookie;
  std::map<std::string, std::string>
      peer_cookies;  ///< cookies that differ from `cookie`, by node name
  std::string listen_address = "0.0.0.0";
  std::uint16_t listen_port = 0;      ///< 0: any free port
  std::uint16_t fixed_peer_port = 0;  ///< not 0: no epmd, every peer listens on this port
  std::chrono::milliseconds step_timeout{
      5000};  ///< for every step of connecting and of the handshake
  /// How long a dial waits for the peer's own attempt, because it got `nok` or because one is here
  /// that has told the peer's name. Then it begins in spite of such attempts: whoever made
  /// them has proved nothing.
  std::chrono::milliseconds inbound_window{2000};
  /// Inbound handshakes at once; one more closes the oldest of the host that has the most.
  std::size_t max_half_open = 256;
  /// Connections with peers at which no further one is accepted; those are closed at once.
  std::size_t max_connections = SIZE_MAX;
  ConnectionOptions connection;
  epmd::Options epmd;
};

/// Listens, dials and decides between simultaneous attempts. Single-threaded. Does not redial by
/// itself.
class Endpoint {
 public:
  struct Events {
    /// A connection is up, dialled or accepted. Install it, then call its start(). An older
    /// connection to the same peer has been closed before (its on_closed was called or will be
    /// before this).
    std::function<void(std::shared_ptr<Connection>)> on_up;
    /// One line for the log: refused peers, failed handshakes. Optional.
    std::function<void(const std::string&)> on_note;
  };

  Endpoint(boost::asio::io_context& io, EndpointOptions options, Events events);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// Opens the listening socket and gives its port. Nothing is accepted before accept_peers().
  Result<std::uint16_t> listen();
  /// Begins to accept; the creation must be set.
  void accept_peers();
  /// Our incarnation, as epmd gave it, or random_creation(). Before accept_peers() and dial().
  void set_creation(std::uint32_t creation);

  /// Connects to `peer` unless that is done or under way. `done` (once, from the io_context) gets
  /// success when a connection to `peer` is up, whichever side's attempt made it; on_up comes
  /// before. Errors: `not_found` (no such node), `unavailable`, `refused` (cookie, flags, name),
  /// `timeout`. Back off with jitter before dialling again.
  void dial(const std::string& peer, std::function<void(Result<void>)> done);

  /// The connection to `peer` that is up, or null.
  std::shared_ptr<Connection> connection(std::string_view peer) const;
  /// Peers whose connection is up.
  std::vector<std::string> connected_peers() const;
  /// Closes the connection to `peer`, if any.
  void disconnect(const std::string& peer, const std::string& reason);
  /// For tests: holds every connection to `peer` (Connection::hold), those to come included, until
  /// release() or for `time`.
  void hold(const std::string& peer, std::chrono::milliseconds time);
  void release(const std::string& peer);
  /// Inbound handshakes under way.
  std::size_t half_open() const;
  /// Stops listening, gives up attempts, closes connections.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rakv::distribution
