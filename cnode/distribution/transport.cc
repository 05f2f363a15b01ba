// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/transport.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace rakv::distribution {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// Most bytes in one system call of a gathered write (Asio's own default is 64 KiB).
constexpr std::size_t kWriteBytes = std::size_t{1024} * 1024;

/// A range of buffers that is cheap to copy; the buffers stay with the transport.
struct BufferRange {
  using value_type = asio::const_buffer;
  using const_iterator = const asio::const_buffer*;
  const_iterator first, last;
  const_iterator begin() const { return first; }
  const_iterator end() const { return last; }
};

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(tcp::socket socket) : socket_(std::move(socket)) {
    error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    socket_.non_blocking(true, ignored);
    const tcp::endpoint remote = socket_.remote_endpoint(ignored);
    remote_ = remote.address().to_string() + ":" + std::to_string(remote.port());
  }

  void read_some(std::span<char> room, std::function<void(Result<std::size_t>)> done) override {
    socket_.async_read_some(asio::buffer(room.data(), room.size()),
                            [done = std::move(done)](error_code error, std::size_t count) {
                              done(outcome(error, count));
                            });
  }

  std::size_t write_now(const std::vector<std::string_view>& buffers) override {
    std::size_t written = 0;
    BufferRange rest = take(buffers);
    while (rest.first != rest.last) {
      error_code error;
      std::size_t count = socket_.write_some(rest, error);
      if (error) break;
      written += count;
      while (rest.first != rest.last && count >= rest.first->size())
        count -= (rest.first++)->size();
      if (count > 0) break;  // the kernel took a part of this one: its buffer is full
    }
    return written;
  }

  void write_all(const std::vector<std::string_view>& buffers,
                 std::function<void(Result<std::size_t>)> done) override {
    asio::async_write(
        socket_, take(buffers),
        [](error_code error, std::size_t) { return error ? 0 : kWriteBytes; },
        [done = std::move(done)](error_code error, std::size_t count) {
          done(outcome(error, count));
        });
  }

  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }

  std::string remote_address() const override { return remote_; }

 private:
  BufferRange take(const std::vector<std::string_view>& buffers) {
    buffers_.clear();
    for (const std::string_view bytes : buffers) buffers_.emplace_back(bytes.data(), bytes.size());
    return {buffers_.data(), buffers_.data() + buffers_.size()};
  }

  static Result<std::size_t> outcome(error_code error, std::size_t count) {
    if (!error) return count;
    if (error == asio::error::eof || error == asio::error::connection_reset ||
        error == asio::error::broken_pipe) {
      return make_error(ErrorCode::unavailable, "the peer closed the connection");
    }
    return make_error(ErrorCode::io, error.message());
  }

  tcp::socket socket_;
  std::string remote_;
  std::vector<asio::const_buffer> buffers_;
};

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(tcp::socket socket) {
  return std::make_unique<TcpTransport>(std::move(socket));
}

}  // namespace rakv::distribution
