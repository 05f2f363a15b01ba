// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/network.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>

namespace rakv::distribution {
namespace {

/// Who asks for a connection, as all do: it holds the attempt, and what is to be called holds it.
struct Asker : std::enable_shared_from_this<Asker> {
  void connect(boost::asio::io_context& io, std::uint16_t port) {
    connecting = Network::of(io).connect(
        "127.0.0.1", port, [self = shared_from_this()](Result<std::unique_ptr<Transport>> result) {
          self->answers++;
          self->connected = result.has_value();
        });
  }
  std::shared_ptr<Network::Connecting> connecting;
  int answers = 0;
  bool connected = false;
};

class NetworkTest : public testing::Test {
 protected:
  boost::asio::io_context listening;
  std::unique_ptr<Network::Listener> listener = *Network::of(listening).listen("127.0.0.1", 0);
};

TEST_F(NetworkTest, ConnectsWithAPort) {
  boost::asio::io_context io;
  const auto asker = std::make_shared<Asker>();
  asker->connect(io, listener->port());
  io.run();
  EXPECT_EQ(asker->answers, 1);
  EXPECT_TRUE(asker->connected);
}

TEST_F(NetworkTest, ACancelledAttemptCallsNobody) {
  for (const int handlers : {0, 1}) {
    boost::asio::io_context io;
    const auto asker = std::make_shared<Asker>();
    asker->connect(io, listener->port());
    for (int run = 0; run < handlers; ++run) io.run_one();
    asker->connecting->cancel();
    io.run();
    EXPECT_EQ(asker->answers, 0) << handlers;
  }
}

/// While the name is looked up, and while the connection is made. Before, both were leaked.
TEST_F(NetworkTest, TheEndOfTheContextLetsGoOfWhoAsked) {
  for (const int handlers : {0, 1}) {
    std::weak_ptr<Asker> left;
    {
      boost::asio::io_context io;
      const auto asker = std::make_shared<Asker>();
      left = asker;
      asker->connect(io, listener->port());
      for (int run = 0; run < handlers; ++run) io.run_one();
      ASSERT_EQ(asker->answers, 0);
    }
    EXPECT_TRUE(left.expired()) << handlers;
  }
}

}  // namespace
}  // namespace rakv::distribution
