// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/cnode/distribution/endpoint_harness.h"

// Those who come without the cookie, claim names, reflect challenges, or answer oddly: they let
// nobody in, and keep nobody out.

namespace rakv::distribution {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using test::EndpointTest;
using test::run_until;
using test::StatusGiver;
using test::Stranger;
using test::TestNode;

TEST_F(EndpointTest, HalfOpenConnectionsAreBoundedAndTimeOut) {
  EndpointOptions strict = options();
  strict.max_half_open = 3;
  strict.step_timeout = std::chrono::milliseconds(300);
  TestNode a(io_, "a@127.0.0.1", strict);
  std::vector<tcp::socket> sockets;
  sockets.reserve(10);
  for (int i = 0; i < 10; ++i) sockets.push_back(raw_socket("127.0.0.1"));
  ASSERT_TRUE(run_until(io_, [&] { return a.notes.size() >= 7; }));
  EXPECT_EQ(a.endpoint->half_open(), 3u);
  EXPECT_NE(a.notes[0].find("oldest incoming connection of 127.0.0.1: 3 handshakes are under way"),
            std::string::npos);
  // They keep nobody else out.
  TestNode early(io_, "c@127.0.0.3", options());
  auto& let_in = early.dial(a.name);
  ASSERT_TRUE(run_until(io_, [&] { return let_in.has_value(); }));
  EXPECT_TRUE(let_in->has_value());
  // A byte now and then does not keep them open.
  asio::steady_timer dribble(io_);
  std::function<void()> again = [&] {
    boost::system::error_code ignored;
    asio::write(sockets.back(), asio::buffer("\0", 1), ignored);
    dribble.expires_after(std::chrono::milliseconds(50));
    dribble.async_wait([&](boost::system::error_code error) {
      if (!error && sockets.back().is_open()) again();
    });
  };
  again();
  ASSERT_TRUE(run_until(io_, [&] { return a.endpoint->half_open() == 0; }));
  dribble.cancel();
  TestNode b(io_, "b@127.0.0.2", options());
  auto& outcome = b.dial(a.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_TRUE(outcome->has_value()) << "there is room again";
}

TEST_F(EndpointTest, OneHostDoesNotKeepTheHandshakesOfAnotherOut) {
  EndpointOptions strict = options();
  strict.max_half_open = 3;
  TestNode a(io_, "a@127.0.0.1", strict);
  Stranger slow(io_, raw_socket("127.0.0.1"));
  slow.claim("s@127.0.0.1");
  EXPECT_EQ(slow.hear(), "sok");
  std::vector<tcp::socket> flood;
  for (int i = 0; i < 20; ++i) {
    tcp::socket socket(io_, tcp::endpoint(asio::ip::make_address("127.0.0.8"), 0));
    socket.connect({asio::ip::make_address("127.0.0.1"), port_});
    flood.push_back(std::move(socket));
  }
  ASSERT_TRUE(run_until(io_, [&] { return a.notes.size() >= 18; }));
  EXPECT_EQ(a.endpoint->half_open(), 3u);
  EXPECT_EQ(slow.hear().substr(0, 1), "N") << "its challenge";
  const std::string kNoDigest(16, 'x');
  slow.say("rxxxx" + kNoDigest);
  EXPECT_EQ(slow.hear(), "closed");
  EXPECT_NE(a.notes.back().find("its cookie is not ours"), std::string::npos) << a.notes.back();
}

TEST_F(EndpointTest, ClaimsOfANameDoNotKeepANodeFromDialling) {
  EndpointOptions hasty = options();
  hasty.inbound_window = std::chrono::milliseconds(50);
  hasty.step_timeout = std::chrono::minutes(10);
  for (const std::string peer_name : {"b@127.0.0.2", "_@127.0.0.2"}) {
    TestNode a(io_, "a@127.0.0.1", hasty), b(io_, peer_name, options());
    std::vector<std::unique_ptr<Stranger>> claims;
    const auto claim = [&] {
      claims.push_back(std::make_unique<Stranger>(io_, raw_socket("127.0.0.1")));
      claims.back()->claim(b.name);
    };
    claim();
    EXPECT_EQ(claims[0]->hear(), "sok");
    auto& outcome = a.dial(b.name);
    ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); })) << "a claim that stays";
    EXPECT_TRUE(outcome->has_value()) << outcome->error().message;
    ASSERT_TRUE(run_until(io_, [&] { return !b.events.empty(); }));
    a.endpoint->disconnect(b.name, "for the next round");
    ASSERT_TRUE(run_until(io_, [&] { return b.events.size() == 2; }));
    // A new claim whenever the last one has ended, one of them while the dial is under way.
    auto& again = a.dial(b.name);
    claim();
    ASSERT_TRUE(run_until(io_, [&] {
      if (again.has_value()) return true;
      boost::system::error_code ignored;
      claims.back()->socket.close(ignored);
      claim();
      return false;
    }));
    EXPECT_TRUE(again->has_value()) << again->error().message;
  }
}

TEST_F(EndpointTest, AClaimDuringADialDoesNotEndIt) {
  EndpointOptions hasty = options();
  hasty.step_timeout = std::chrono::minutes(10);
  hasty.inbound_window = std::chrono::minutes(10);
  TestNode a(io_, "a@127.0.0.1", hasty);
  // The peer is slow to take the connection.
  tcp::acceptor slow(io_, {asio::ip::make_address("127.0.0.2"), port_});
  auto& outcome = a.dial("b@127.0.0.2");
  tcp::socket accepted = accept_one(slow);
  Stranger peer(io_, std::move(accepted));
  EXPECT_EQ(peer.hear().substr(0, 1), "N");
  Stranger claim(io_, raw_socket("127.0.0.1"));
  claim.claim("b@127.0.0.2");
  EXPECT_EQ(claim.hear(), "sok_simultaneous");
  peer.say("snot_allowed");
  claim.socket.close();
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_FALSE(outcome->has_value());
  EXPECT_EQ(peer.hear(), "closed");
  EXPECT_TRUE(outcome->error().message.find("not_allowed") != std::string::npos ||
              outcome->error().message.find("during the handshake") != std::string::npos)
      << outcome->error().message;
}

TEST_F(EndpointTest, AClaimOfAConnectedNameDoesNotKeepTheNodeOut) {
  TestNode b(io_, "b@127.0.0.2", options());
  auto first = std::make_unique<TestNode>(io_, "a@127.0.0.1", options());
  auto& outcome = first->dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && !b.events.empty(); }));
  Stranger claim(io_, raw_socket("127.0.0.2"));
  claim.claim("a@127.0.0.1");
  EXPECT_EQ(claim.hear(), "salive");
  // The node is another process now, and its old connection is not known to be dead.
  EndpointOptions anew = options();
  anew.node_name = "a@127.0.0.1";
  anew.creation = 2000;
  anew.cookie = "cookie";
  Endpoint restarted(io_, anew, {});
  std::optional<Result<void>> up;
  restarted.dial(b.name, [&](const Result<void>& result) { up = result; });
  ASSERT_TRUE(run_until(io_, [&] { return up.has_value(); }));
  EXPECT_TRUE(up->has_value()) << up->error().message;
}

TEST_F(EndpointTest, AReflectedChallengeLetsNobodyIn) {
  EndpointOptions hasty = options();
  hasty.inbound_window = std::chrono::milliseconds(50);
  TestNode a(io_, "a@127.0.0.1", hasty);
  // A challenge of a's, got by dialling it under any name; then a dials the stranger, who sends it
  // back and would be told the answer.
  Stranger inbound(io_, raw_socket("127.0.0.1"));
  inbound.claim("x@127.0.0.9");
  EXPECT_EQ(inbound.hear(), "sok");
  const std::string theirs = inbound.hear();
  ASSERT_EQ(theirs.substr(0, 1), "N");
  const std::string challenge = theirs.substr(1 + 8, 4);

  tcp::acceptor trap(io_, {asio::ip::make_address("127.0.0.3"), port_});
  auto& outcome = a.dial("s@127.0.0.3");
  Stranger dialled(io_, accept_one(trap));
  EXPECT_EQ(dialled.hear().substr(0, 1), "N");
  dialled.say("sok");
  std::string body = "N";
  put_number(body, kOfferedFlags, 8);
  body += challenge;
  put_number(body, 77, 4);
  const std::string name = "s@127.0.0.3";
  put_number(body, name.size(), 2);
  dialled.say(body + name);
  const std::string reply = dialled.hear();
  if (reply.size() == 21) inbound.say("rabcd" + reply.substr(5));
  EXPECT_EQ(reply, "closed") << "it has told the stranger how to answer its own challenge";
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_EQ(outcome->error().code, ErrorCode::refused);
  EXPECT_NE(outcome->error().message.find("a challenge of our own"), std::string::npos);
  EXPECT_EQ(a.events, std::vector<std::string>{});
}

TEST_F(EndpointTest, AChallengeOfADialIsNotAnsweredInAnotherOne) {
  TestNode a(io_, "a@127.0.0.1", options());
  tcp::acceptor trap(io_, {asio::ip::make_address("127.0.0.3"), port_});
  const auto answer_dial = [&](Stranger& dialled, const std::string& name,
                               const std::string& challenge) {
    EXPECT_EQ(dialled.hear().substr(0, 1), "N");
    dialled.say("sok");
    std::string body = "N";
    put_number(body, kOfferedFlags, 8);
    body += challenge;
    put_number(body, 77, 4);
    put_number(body, name.size(), 2);
    dialled.say(body + name);
    return dialled.hear();
  };
  auto& first_outcome = a.dial("s@127.0.0.3");
  Stranger first(io_, accept_one(trap));
  const std::string reply = answer_dial(first, "s@127.0.0.3", "abcd");
  ASSERT_EQ(reply.size(), 21u);
  a.dial("t@127.0.0.3");
  Stranger second(io_, accept_one(trap));
  const std::string answer = answer_dial(second, "t@127.0.0.3", reply.substr(1, 4));
  if (answer.size() == 21) first.say("a" + answer.substr(5));
  EXPECT_EQ(answer, "closed");
  first.say("a" + std::string(16, 'x'));
  ASSERT_TRUE(run_until(io_, [&] { return first_outcome.has_value(); }));
  EXPECT_FALSE(first_outcome->has_value());
  EXPECT_EQ(a.events, std::vector<std::string>{});
}

TEST_F(EndpointTest, ASilentPeerTimesOutTheDial) {
  tcp::acceptor silent(io_, {asio::ip::make_address("127.0.0.3"), port_});
  EndpointOptions hasty = options();
  hasty.step_timeout = std::chrono::milliseconds(100);
  TestNode a(io_, "a@127.0.0.1", hasty);
  auto& outcome = a.dial("s@127.0.0.3");
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_EQ(outcome->error().code, ErrorCode::timeout);
}

TEST_F(EndpointTest, AfterNokWeWaitForThePeersOwnAttemptForALimitedTime) {
  EndpointOptions hasty = options();
  hasty.inbound_window = std::chrono::milliseconds(100);
  TestNode a(io_, "a@127.0.0.1", hasty);
  {
    StatusGiver giver(io_, "127.0.0.3", port_, "snok");
    auto& outcome = a.dial("s@127.0.0.3");
    ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
    EXPECT_EQ(outcome->error().code, ErrorCode::timeout);
    EXPECT_NE(outcome->error().message.find("prefers its own attempt"), std::string::npos);
  }
  StatusGiver refuser(io_, "127.0.0.3", port_, "snot_allowed");
  auto& outcome = a.dial("s@127.0.0.3");
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_EQ(outcome->error().code, ErrorCode::refused);
}

TEST_F(EndpointTest, AfterNokTheInboundConnectionEndsTheDial) {
  EndpointOptions patient = options();
  patient.inbound_window = std::chrono::seconds(30);
  TestNode a(io_, "a@127.0.0.1", patient);
  std::optional<Result<void>>* outcome = nullptr;
  {
    StatusGiver giver(io_, "127.0.0.2", port_, "snok");
    outcome = &a.dial("b@127.0.0.2");
    ASSERT_TRUE(
        run_until(io_, [&] { return giver.socket.is_open() && giver.socket.available() > 0; }));
    // It has been told nok once the peer hangs up.
    char byte[64];
    bool hung_up = false;
    std::function<void()> read = [&] {
      giver.socket.async_read_some(asio::buffer(byte),
                                   [&](boost::system::error_code error, std::size_t) {
                                     if (error) {
                                       hung_up = true;
                                     } else {
                                       read();
                                     }
                                   });
    };
    read();
    ASSERT_TRUE(run_until(io_, [&] { return hung_up; }));
  }
  EXPECT_FALSE(outcome->has_value());
  TestNode b(io_, "b@127.0.0.2", options());
  b.dial(a.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome->has_value(); }));
  EXPECT_TRUE((*outcome)->has_value());
}

TEST_F(EndpointTest, AnAttemptThatWasGivenUpDoesNotDisturbTheWait) {
  // The dial hangs in its look-up when the peer's own attempt comes and wins.
  tcp::acceptor epmd(io_, {asio::ip::make_address("127.0.0.2"), 0});
  EndpointOptions by_epmd;
  by_epmd.listen_port = port_;
  by_epmd.epmd.port = epmd.local_endpoint().port();
  TestNode a(io_, "a@127.0.0.1", by_epmd);
  auto& outcome = a.dial("b@127.0.0.2");
  std::optional<tcp::socket> lookup;
  epmd.async_accept([&](boost::system::error_code error, tcp::socket socket) {
    ASSERT_FALSE(error);
    lookup.emplace(std::move(socket));
  });
  ASSERT_TRUE(run_until(io_, [&] { return lookup.has_value(); }));
  tcp::socket peer = raw_socket("127.0.0.1");
  HandshakeSetup setup;
  setup.own_name = "b@127.0.0.2";
  Handshake initiator = Handshake::initiator(setup, a.name);
  asio::write(peer, asio::buffer(std::get<Handshake::Send>(initiator.start()[0]).bytes));
  ASSERT_TRUE(run_until(io_, [&] { return peer.available() > 20; }));
  char answer[20];
  asio::read(peer, asio::buffer(answer));
  EXPECT_EQ(std::string(answer + 2, 16), "sok_simultaneous");
  lookup.reset();  // the look-up fails, or would have
  auto& unrelated = a.dial("x@127.0.0.9");
  ASSERT_TRUE(run_until(io_, [&] { return unrelated.has_value(); }));
  EXPECT_FALSE(outcome.has_value()) << "the peer's attempt is still under way";
  peer.close();
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_NE(outcome->error().message.find("during the handshake"), std::string::npos)
      << outcome->error().message;
}

}  // namespace
}  // namespace rakv::distribution
