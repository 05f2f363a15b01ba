// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cnode/base/byte_order.h"
#include "cnode/distribution/endpoint.h"
#include "cnode/etf/writer.h"
#include "tests/cnode/distribution/support.h"

// Endpoints against each other and against hand-made sockets, all on the loopback. Each node has an
// address of its own (127.0.0.x), so that all can listen on the same port and no epmd is needed.

namespace rakv::distribution::test {

namespace asio = boost::asio;
using asio::ip::tcp;

/// An endpoint that notes what happens to it.
struct TestNode {
  TestNode(asio::io_context& context, const std::string& given_name, EndpointOptions options = {})
      : io(context), name(given_name), self(given_name, 1, 0, 1000) {
    options.node_name = name;
    options.creation = 1000;
    if (options.cookie.empty()) options.cookie = "cookie";
    options.listen_address = name.substr(name.find('@') + 1);
    if (options.fixed_peer_port != 0) options.listen_port = options.fixed_peer_port;
    Endpoint::Events handlers;
    handlers.on_up = [this](const std::shared_ptr<Connection>& up) { connected(up); };
    handlers.on_note = [this](const std::string& line) { notes.push_back(line); };
    endpoint = std::make_unique<Endpoint>(io, options, handlers);
    const Result<std::uint16_t> port = endpoint->listen();
    EXPECT_TRUE(port.has_value()) << port.error().message;
    endpoint->accept_peers();
  }

  void connected(const std::shared_ptr<Connection>& up) {
    events.push_back("up " + up->peer().name);
    Connection::Handlers handlers;
    handlers.on_message = [this](const ControlMessage& control, std::string_view payload) {
      ++messages;
      payload_bytes += payload.size();
      if (on_message) on_message(control, payload);
    };
    handlers.on_closed = [this, peer = up->peer().name](const Error& reason) {
      events.push_back("down " + peer);
      reasons.push_back(reason);
    };
    handlers.on_drained = [this] { ++drained; };
    up->start(std::move(handlers));
  }

  std::optional<Result<void>>& dial(const std::string& peer) {
    dials.push_back(std::make_unique<std::optional<Result<void>>>());
    endpoint->dial(
        peer, [outcome = dials.back().get()](const Result<void>& result) { *outcome = result; });
    return *dials.back();
  }

  OutMessage message(const std::string& payload) const {
    OutMessage made = encode_send_to_name(self, "name");
    etf::Writer writer(made.text);
    writer.binary_header(payload.size());
    made.share(SharedBytes::copy_of(payload));
    return made;
  }

  asio::io_context& io;
  std::string name;
  etf::Pid self;
  std::unique_ptr<Endpoint> endpoint;
  std::vector<std::string> events, notes;
  std::vector<Error> reasons;
  std::vector<std::unique_ptr<std::optional<Result<void>>>> dials;
  std::function<void(const ControlMessage&, std::string_view)> on_message;
  std::size_t messages = 0, payload_bytes = 0;
  int drained = 0;
};

class EndpointTest : public ::testing::Test {
 protected:
  EndpointOptions options() const {
    EndpointOptions made;
    made.fixed_peer_port = port_;
    return made;
  }

  tcp::socket accept_one(tcp::acceptor& acceptor) {
    std::optional<tcp::socket> accepted;
    acceptor.async_accept([&](boost::system::error_code error, tcp::socket socket) {
      if (!error) accepted.emplace(std::move(socket));
    });
    EXPECT_TRUE(run_until(io_, [&] { return accepted.has_value(); }));
    return std::move(*accepted);
  }

  tcp::socket raw_socket(const std::string& address) {
    tcp::socket socket(io_);
    socket.connect({asio::ip::make_address(address), port_});
    return socket;
  }

  asio::io_context io_;
  std::uint16_t port_ = test::free_port();
};

/// One without the cookie who speaks the handshake by hand, as initiator or as acceptor.
struct Stranger {
  Stranger(asio::io_context& context, tcp::socket given) : io(context), socket(std::move(given)) {}

  void say(const std::string& body) {
    std::string bytes;
    put_number(bytes, body.size(), 2);
    boost::system::error_code ignored;
    asio::write(socket, asio::buffer(bytes + body), ignored);
  }
  void claim(const std::string& name, Flags flags = kOfferedFlags) {
    std::string body = "N";
    put_number(body, flags, 8);
    put_number(body, 77, 4);
    put_number(body, name.size(), 2);
    say(body + name);
  }
  /// The next message, or "closed", or "nothing" when none comes.
  std::string hear() {
    boost::system::error_code error;
    for (std::size_t size = 0;;) {
      if (heard.size() >= 2) size = load_number(heard, 2);
      if (heard.size() >= 2 + size && heard.size() >= 2) {
        std::string body = heard.substr(2, size);
        heard.erase(0, 2 + size);
        return body;
      }
      socket.non_blocking(true);
      char bytes[512];
      std::size_t count = 0;
      const bool come = run_until(io, [&] {
        count = socket.read_some(asio::buffer(bytes), error);
        return error != asio::error::would_block;
      });
      if (!come) return "nothing";
      if (error) return "closed";
      heard.append(bytes, count);
    }
  }

  asio::io_context& io;
  tcp::socket socket;
  std::string heard;
};

/// Answers the first handshake message on `acceptor` with `status` and closes after that.
struct StatusGiver {
  StatusGiver(asio::io_context& io, const std::string& address, std::uint16_t port,
              const std::string& status)
      : acceptor(io, {asio::ip::make_address(address), port}), socket(io) {
    put_number(reply, status.size(), 2);
    reply += status;
    acceptor.async_accept(socket, [this](boost::system::error_code error) {
      ASSERT_FALSE(error);
      asio::async_write(socket, asio::buffer(reply), [](boost::system::error_code, std::size_t) {});
    });
  }
  tcp::acceptor acceptor;
  tcp::socket socket;
  std::string reply;
};

}  // namespace rakv::distribution::test
