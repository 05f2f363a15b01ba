// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/network.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <utility>

namespace rakv::distribution {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// Children (epmd) inherit no socket.
template <class Socket>
void close_on_exec(Socket& socket) {
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
}

class TcpListener final : public Network::Listener {
 public:
  explicit TcpListener(tcp::acceptor acceptor)
      : acceptor_(std::make_shared<tcp::acceptor>(std::move(acceptor))),
        port_(acceptor_->local_endpoint().port()) {}
  ~TcpListener() override { close(); }

  std::uint16_t port() const override { return port_; }

  void accept(Accepted done) override {
    acceptor_->async_accept(
        [acceptor = acceptor_, done = std::move(done)](error_code error, tcp::socket socket) {
          if (error == asio::error::operation_aborted || !acceptor->is_open()) return;
          if (error) return done(make_error(ErrorCode::io, error.message()));
          close_on_exec(socket);
          done(make_tcp_transport(std::move(socket)));
        });
  }

  void close() override {
    error_code ignored;
    acceptor_->close(ignored);
  }

 private:
  std::shared_ptr<tcp::acceptor> acceptor_;
  std::uint16_t port_;
};

/// What is to be called lives in the operation under way, not here: whoever asked holds this and is
/// held by what is to be called, and the end of the io_context has to let go of both.
class TcpConnecting final : public Network::Connecting,
                            public std::enable_shared_from_this<TcpConnecting> {
 public:
  explicit TcpConnecting(asio::io_context& io) : resolver_(io), socket_(io) {}
  ~TcpConnecting() override { cancel(); }

  void run(const std::string& host, std::uint16_t port, Network::Connected done) {
    resolver_.async_resolve(
        host, std::to_string(port),
        [weak = weak_from_this(), done = std::move(done)](
            error_code error, const tcp::resolver::results_type& found) mutable {
          if (const auto self = weak.lock()) self->resolved(error, found, std::move(done));
        });
  }

  void cancel() override {
    over_ = true;
    error_code ignored;
    resolver_.cancel();
    socket_.close(ignored);
  }

 private:
  void resolved(error_code error, const tcp::resolver::results_type& found,
                Network::Connected done) {
    if (over_) return;
    if (error) return end(done, make_error(ErrorCode::not_found, error.message()));
    asio::async_connect(
        socket_, found,
        [weak = weak_from_this(), done = std::move(done)](error_code failed, const tcp::endpoint&) {
          if (const auto self = weak.lock()) self->connected(failed, done);
        });
  }

  void connected(error_code error, const Network::Connected& done) {
    if (over_) return;
    if (error) return end(done, make_error(ErrorCode::unavailable, error.message()));
    close_on_exec(socket_);
    end(done, make_tcp_transport(std::move(socket_)));
  }

  void end(const Network::Connected& done, Result<std::unique_ptr<Transport>> result) {
    over_ = true;
    done(std::move(result));
  }

  tcp::resolver resolver_;
  tcp::socket socket_;
  bool over_ = false;
};

class TcpNetwork final : public Network {
 public:
  explicit TcpNetwork(asio::io_context& io) : io_(io) {}

  Result<std::unique_ptr<Listener>> listen(const std::string& address,
                                           std::uint16_t port) override {
    error_code error;
    const asio::ip::address numeric = asio::ip::make_address(address, error);
    if (error) {
      return make_error(ErrorCode::invalid_argument,
                        "cannot listen on " + address + ": not an IP address");
    }
    tcp::acceptor acceptor(io_);
    const tcp::endpoint local(numeric, port);
    acceptor.open(local.protocol(), error);
    if (!error) close_on_exec(acceptor);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(local, error);
    if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
    if (error) {
      return make_error(
          error == asio::error::address_in_use ? ErrorCode::already_exists : ErrorCode::io,
          fmt::format("cannot listen on {}:{}: {}", address, port, error.message()));
    }
    return std::unique_ptr<Listener>(std::make_unique<TcpListener>(std::move(acceptor)));
  }

  std::shared_ptr<Connecting> connect(const std::string& host, std::uint16_t port,
                                      Connected done) override {
    auto connecting = std::make_shared<TcpConnecting>(io_);
    connecting->run(host, port, std::move(done));
    return connecting;
  }

 private:
  asio::io_context& io_;
};

class NetworkService final : public asio::execution_context::service {
 public:
  using key_type = NetworkService;
  static asio::execution_context::id id;

  explicit NetworkService(asio::execution_context& io)
      : service(io), tcp(static_cast<asio::io_context&>(io)) {}
  void shutdown() override {}

  TcpNetwork tcp;
  Network* network = &tcp;
};

asio::execution_context::id NetworkService::id;

}  // namespace

Network& Network::of(asio::io_context& io) {
  return *asio::use_service<NetworkService>(io).network;
}

void Network::set(asio::io_context& io, Network& network) {
  asio::use_service<NetworkService>(io).network = &network;
}

}  // namespace rakv::distribution
