// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "cnode/distribution/transport.h"
#include "tests/simulation/simulated_network.h"

namespace rakv::simulation {

using Done = std::function<void(Result<std::size_t>)>;

/// One of the two ends of a stream.
struct End {
  std::string host;
  /// Of the node that holds this end; null for epmd, and when it is gone.
  boost::asio::io_context* io = nullptr;
  std::function<void()> turn;
  std::function<void()> on_arrival;  ///< epmd's end instead

  std::string inbox;          ///< arrived and unread
  std::size_t under_way = 0;  ///< bytes on their way here
  bool ended = false;         ///< the other end was closed, and that has arrived
  bool closed = false;        ///< here
  bool vanished = false;      ///< with its machine: the other end does not hear of it by itself
  bool missed = false;        ///< bytes that were sent here since
  std::span<char> room;       ///< of the read that waits
  Done reading;
  std::string unsent;  ///< what had no room in the window
  std::size_t writing = 0;
  Done written;
  Nanoseconds last_arrival{0};
  std::deque<std::function<void()>> held;  ///< arrivals while the link is cut
};

/// Bytes both ways between two ends.
struct Stream : std::enable_shared_from_this<Stream> {
  Stream(SimulatedNetwork& wires, std::uint64_t made) : network(wires), number(made) {}

  void read(std::size_t at, std::span<char> room, Done done);
  /// As many of `bytes` as the window has room for.
  std::size_t send(std::size_t from, std::string_view bytes);
  void write_all(std::size_t from, std::string bytes, Done done);
  void close(std::size_t at);
  /// The node that holds this end is gone.
  void abandon(std::size_t at);
  /// The link is whole again.
  void mend();
  /// The machine of an end that vanished is on again and knows nothing of the stream: who sends to
  /// it, or has sent and sends again what nobody confirmed, is told so.
  void come_back();
  /// Both ends hear of its end, and what was under way is lost.
  void reset();

  SimulatedNetwork& network;
  std::uint64_t number;
  End ends[2];
  bool broken = false;  ///< by reset()

 private:
  void end_at(std::size_t at);
  void arrive(std::size_t at, std::function<void()> arrival);
  void take(std::size_t at, const std::string& bytes);
  void answer_read(std::size_t at);
  void send_rest(std::size_t from);
  static void post(End& end, Done done, Result<std::size_t> result);
};

/// The end that a node holds.
class SimulatedTransport final : public distribution::Transport {
 public:
  SimulatedTransport(std::shared_ptr<Stream> stream, std::size_t at)
      : stream_(std::move(stream)), at_(at) {}
  ~SimulatedTransport() override { close(); }
  void read_some(std::span<char> room, Done done) override {
    stream_->read(at_, room, std::move(done));
  }
  std::size_t write_now(const std::vector<std::string_view>& buffers) override;
  void write_all(const std::vector<std::string_view>& buffers, Done done) override;
  void close() override { stream_->close(at_); }
  std::string remote_address() const override { return stream_->ends[1 - at_].host + ":1"; }

 private:
  std::shared_ptr<Stream> stream_;
  std::size_t at_;
};

}  // namespace rakv::simulation
