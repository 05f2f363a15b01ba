// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "cnode/node/node.h"

// A node and a peer that speaks the protocol by hand. An epmd of the test's own takes every name.

namespace rakv::node::testing {

using boost::asio::ip::tcp;

inline bool run_until(boost::asio::io_context& io, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    io.restart();
    io.run_for(std::chrono::milliseconds(5));
  }
  return true;
}

/// Answers every registration with a creation and keeps the connection.
class Epmd {
 public:
  explicit Epmd(boost::asio::io_context& io)
      : acceptor_(io, {boost::asio::ip::address_v4::loopback(), 0}) {
    accept();
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::size_t requests() const { return sockets_.size(); }

 private:
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (error) return;
      sockets_.push_back(std::move(socket));
      boost::system::error_code ignored;
      boost::asio::write(sockets_.back(), boost::asio::buffer("v\0\0\0\1\1", 6), ignored);
      accept();
    });
  }
  tcp::acceptor acceptor_;
  std::vector<tcp::socket> sockets_;
};

class PeersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    NodeOptions options;
    options.name = "n@127.0.0.1";
    options.cookie = "cookie";
    options.listen_address = "127.0.0.1";
    options.epmd.port = epmd_.port();
    options.memory = &memory_;
    options.on_note = [this](const std::string& line) { notes_.push_back(line); };
    node_ = std::make_unique<Node>(io_, options);
    std::optional<Result<void>> started;
    node_->start([&](const Result<void>& result) { started = result; });
    ASSERT_TRUE(run_until(io_, [&] { return started.has_value(); }));
    ASSERT_TRUE(started->has_value()) << started->error().message;
    node_->accept_peers();
  }

  /// Connects as `p@127.0.0.1` with these flags; what comes is put into `got`.
  void connect(distribution::Flags flags) {
    distribution::EndpointOptions options;
    options.node_name = "p@127.0.0.1";
    options.creation = 4711;
    options.cookie = "cookie";
    options.flags = flags;
    options.fixed_peer_port = node_->port();
    distribution::Endpoint::Events events;
    events.on_up = [this](const std::shared_ptr<distribution::Connection>& up) {
      peer_ = up;
      distribution::Connection::Handlers handlers;
      handlers.on_message = [this](const distribution::ControlMessage& control,
                                   std::string_view payload) {
        if (std::holds_alternative<distribution::MessageSignal>(control))
          got_.push_back(etf::print_text(payload));
        if (const auto* down = std::get_if<distribution::MonitorExitSignal>(&control))
          got_.push_back("DOWN " + etf::print_text(down->reason));
        if (const auto* exit = std::get_if<distribution::LinkExitSignal>(&control))
          got_.push_back("EXIT " + etf::print_text(exit->reason));
        if (std::holds_alternative<distribution::DemonitorSignal>(control))
          got_.emplace_back("DEMONITOR");
        if (const auto* spawned = std::get_if<distribution::SpawnReplySignal>(&control)) {
          const auto* refusal = std::get_if<std::string_view>(&spawned->result);
          got_.push_back("SPAWNED " + std::string(refusal == nullptr ? "pid" : *refusal));
          if (const auto* pid = std::get_if<etf::PidView>(&spawned->result)) spawned_.emplace(*pid);
        }
      };
      handlers.on_closed = [this](const Error&) { closed_ = true; };
      up->start(std::move(handlers));
    };
    endpoint_ = std::make_unique<distribution::Endpoint>(io_, options, std::move(events));
    endpoint_->dial("n@127.0.0.1", [](const Result<void>&) {});
    ASSERT_TRUE(run_until(io_, [&] { return peer_ != nullptr; }));
  }

  void send_to_name(const std::string& name, const std::string& text) {
    distribution::OutMessage message = distribution::encode_send_to_name(self_, name);
    message.text += *etf::parse_text(text);
    peer_->send(1, std::move(message));
  }

  /// What comes next.
  std::string next() {
    const auto is_beat = [](const std::string& message) {
      return message.find("{hb,") != std::string::npos;
    };
    const auto has_answer = [&] {
      std::erase_if(got_, is_beat);
      return !got_.empty();
    };
    if (!run_until(io_, has_answer)) return "nothing";
    std::string first = got_.front();
    got_.erase(got_.begin());
    return first;
  }

  /// What the node gives its peers back when they are gone.
  void expect_given_back() {
    endpoint_.reset();
    peer_.reset();
    EXPECT_TRUE(run_until(io_, [&] { return memory_.sum.used() == 0; })) << memory_.sum.used();
  }

  MemoryAccounts memory_{std::uint64_t{64} << 20};
  boost::asio::io_context io_;
  Epmd epmd_{io_};
  std::vector<std::string> notes_, got_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<distribution::Endpoint> endpoint_;
  std::shared_ptr<distribution::Connection> peer_;
  std::optional<etf::Pid> spawned_;  ///< the last one
  bool closed_ = false;
  const etf::Pid self_{"p@127.0.0.1", 7, 0, 4711};
  const etf::Reference reference_{"p@127.0.0.1", 4711, etf::ReferenceWords{{1, 2, 3}, 3}};
};

}  // namespace rakv::node::testing
