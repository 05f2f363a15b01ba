// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cnode/distribution/network.h"
#include "tests/simulation/stream.h"

namespace rakv::simulation {

/// An attempt to connect from a host.
class HostConnecting final : public distribution::Network::Connecting {
 public:
  HostConnecting(boost::asio::io_context& io, std::function<void()> turn,
                 distribution::Network::Connected done)
      : io_(io), turn_(std::move(turn)), done_(std::move(done)) {}
  void cancel() override { done_ = nullptr; }
  bool waits() const { return static_cast<bool>(done_); }
  /// Does nothing after cancel().
  void end(Result<std::unique_ptr<distribution::Transport>> result);

 private:
  boost::asio::io_context& io_;
  std::function<void()> turn_;
  distribution::Network::Connected done_;
};

/// What a node on a host has of the network.
class Host final : public distribution::Network {
 public:
  Host(SimulatedNetwork& network, std::string name, boost::asio::io_context& io,
       std::function<void()> turn)
      : network_(network), name_(std::move(name)), io_(io), turn_(std::move(turn)) {}
  ~Host() override;

  Result<std::unique_ptr<Listener>> listen(const std::string& address, std::uint16_t port) override;
  std::shared_ptr<Connecting> connect(const std::string& host, std::uint16_t port,
                                      Connected done) override;

  const std::string& name() const { return name_; }
  /// Makes the node the holder of an end.
  void hold(const std::shared_ptr<Stream>& stream, std::size_t at);
  /// Somebody connects with `port`; false when nobody listens there.
  bool take_in(std::uint16_t port, const std::shared_ptr<Stream>& stream);
  /// The same with any port.
  bool take_in(const std::shared_ptr<Stream>& stream);

 private:
  class PortListener;

  SimulatedNetwork& network_;
  std::string name_;
  boost::asio::io_context& io_;
  std::function<void()> turn_;
  std::uint16_t next_port_ = 40000;
  std::map<std::uint16_t, PortListener*> listeners_;
  std::vector<std::weak_ptr<HostConnecting>> connecting_;
  std::vector<std::pair<std::weak_ptr<Stream>, std::size_t>> held_;
};

/// The port mapper of a host: registration, lookup and names, as epmd answers them. Source:
/// docs/protocol/distribution.md 1.
class Epmd {
 public:
  /// `first_creation`: of the node that registers next.
  explicit Epmd(std::uint32_t first_creation) : next_creation_(first_creation) {}
  /// Its end: the names are forgotten, and whoever is connected sees it.
  ~Epmd();
  Epmd(const Epmd&) = delete;
  Epmd& operator=(const Epmd&) = delete;
  /// Serves end 1 of the stream.
  void serve(const std::shared_ptr<Stream>& stream);

 private:
  struct Registered {
    std::uint16_t port = 0;
    std::uint64_t stream = 0;
  };
  void look(Stream& stream);
  std::string answer(std::string_view request, std::uint64_t stream);

  std::map<std::string, Registered> names_;
  std::uint32_t next_creation_;
  std::vector<std::weak_ptr<Stream>> streams_;
};

}  // namespace rakv::simulation
