// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"

// A byte stream to a peer. Connection and handshake see only this, so that TLS can take TCP's
// place.

namespace rakv::distribution {

/// An open byte stream. At most one read and one write are outstanding. Handlers are called from
/// the io_context, never from inside the call; after close() they are still called, with an error.
class Transport {
 public:
  virtual ~Transport() = default;

  /// Reads at least one byte into `room` (which must stay valid); gives the count, or `unavailable`
  /// when the peer closed, or `io`.
  virtual void read_some(std::span<char> room, std::function<void(Result<std::size_t>)> done) = 0;
  /// Writes of `buffers`, in order, what goes without waiting, and gives the number of bytes. No
  /// error: the write_all() of the rest meets it again. Not while a write is outstanding.
  virtual std::size_t write_now(const std::vector<std::string_view>& buffers) {
    static_cast<void>(buffers);
    return 0;
  }
  /// Writes all `buffers` (which must stay valid) in order.
  virtual void write_all(const std::vector<std::string_view>& buffers,
                         std::function<void(Result<std::size_t>)> done) = 0;
  /// Ends the stream; idempotent.
  virtual void close() = 0;
  /// The peer's address, for log lines.
  virtual std::string remote_address() const = 0;
};

/// The plain TCP one. Sets TCP_NODELAY.
std::unique_ptr<Transport> make_tcp_transport(boost::asio::ip::tcp::socket socket);

}  // namespace rakv::distribution
