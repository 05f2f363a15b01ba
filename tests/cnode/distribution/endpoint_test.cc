// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/cnode/distribution/endpoint_harness.h"

// What endpoints do for each other: dials, messages, ticks, back-pressure, ends.

namespace rakv::distribution {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using test::EndpointTest;
using test::run_until;
using test::Stranger;
using test::TestNode;

TEST_F(EndpointTest, DialsAndExchangesMessages) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  auto& second = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && second && b.endpoint->connection(a.name); }));
  EXPECT_TRUE(outcome->has_value() && second->has_value());
  EXPECT_EQ(a.events, std::vector<std::string>{"up b@127.0.0.2"});
  for (int i = 0; i < 2000; ++i) a.endpoint->connection(b.name)->send(1, a.message("hello"));
  ASSERT_TRUE(run_until(io_, [&] { return b.messages == 2000; }));
  auto& third = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return third.has_value(); }));
  EXPECT_TRUE(third->has_value()) << "up already";
  a.endpoint->disconnect(b.name, "test");
  ASSERT_TRUE(run_until(io_, [&] { return a.events.size() == 2 && b.events.size() == 2; }));
  EXPECT_EQ(a.events.back(), "down b@127.0.0.2");
  EXPECT_EQ(b.events.back(), "down a@127.0.0.1");
}

TEST_F(EndpointTest, SimultaneousDialsGiveOneConnection) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  for (int round = 0; round < 200; ++round) {
    auto& from_a = a.dial(b.name);
    auto& from_b = b.dial(a.name);
    ASSERT_TRUE(run_until(io_, [&] { return from_a && from_b; }));
    ASSERT_TRUE(from_a->has_value()) << from_a->error().message;
    ASSERT_TRUE(from_b->has_value()) << from_b->error().message;
    ASSERT_TRUE(
        run_until(io_, [&] { return a.events.size() % 2 == 1 && b.events.size() % 2 == 1; }));
    const auto to_b = a.endpoint->connection(b.name), to_a = b.endpoint->connection(a.name);
    ASSERT_TRUE(to_b && to_a);
    const std::size_t before = b.messages;
    to_b->send(1, a.message("same connection?"));
    ASSERT_TRUE(run_until(io_, [&] { return b.messages == before + 1; }));
    a.endpoint->disconnect(b.name, "test");
    ASSERT_TRUE(
        run_until(io_, [&] { return a.events.size() % 2 == 0 && b.events.size() % 2 == 0; }));
  }
  EXPECT_EQ(a.events.size(), 400u);
  EXPECT_EQ(b.events.size(), 400u);
}

TEST_F(EndpointTest, ATakeoverReportsDownBeforeUp) {
  TestNode b(io_, "b@127.0.0.2", options());
  EndpointOptions first_life = options();
  auto a = std::make_unique<TestNode>(io_, "a@127.0.0.1", first_life);
  auto& outcome = a->dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && !b.events.empty(); }));
  // The second life listens elsewhere; the first one still holds its connection.
  EndpointOptions elsewhere = options();
  elsewhere.node_name = a->name;
  elsewhere.cookie = "cookie";
  elsewhere.creation = 2000;
  std::shared_ptr<Connection> up;
  Endpoint second(io_, elsewhere,
                  {[&](std::shared_ptr<Connection> made) {
                     made->start({[](const ControlMessage&, std::string_view) {}, {}, {}});
                     up = std::move(made);
                   },
                   {}});
  second.dial(b.name, [](const Result<void>&) {});
  ASSERT_TRUE(run_until(io_, [&] { return up && b.events.size() == 3; }));
  EXPECT_EQ(b.events,
            (std::vector<std::string>{"up a@127.0.0.1", "down a@127.0.0.1", "up a@127.0.0.1"}));
  EXPECT_EQ(b.endpoint->connection(a->name)->peer().creation, 2000u);
  ASSERT_TRUE(run_until(io_, [&] { return a->events.size() == 2; }));
}

TEST_F(EndpointTest, AConnectionThatIsReplacedBeforeItIsAnnouncedIsNotAnnounced) {
  TestNode b(io_, "b@127.0.0.2", options());
  // Two attempts of one peer, whose last messages come at the same moment.
  std::vector<std::unique_ptr<test::Stranger>> attempts;
  std::vector<std::string> replies;
  for (int i = 0; i < 2; ++i) {
    attempts.push_back(std::make_unique<test::Stranger>(io_, raw_socket("127.0.0.2")));
    attempts.back()->claim("a@127.0.0.1");
    ASSERT_EQ(attempts.back()->hear(), "sok");
    const std::string challenge = attempts.back()->hear();
    ASSERT_EQ(challenge.substr(0, 1), "N");
    const Digest known =
        digest("cookie", static_cast<std::uint32_t>(load_number(challenge.substr(9), 4)));
    replies.push_back("rabcd" + std::string(known.begin(), known.end()));
  }
  for (std::size_t i = 0; i < 2; ++i) attempts[i]->say(replies[i]);
  EXPECT_EQ(attempts[0]->hear().substr(0, 1), "a");
  EXPECT_EQ(attempts[0]->hear(), "closed");
  EXPECT_EQ(attempts[1]->hear().substr(0, 1), "a");
  io_.restart();
  io_.poll();
  ASSERT_FALSE(b.events.empty());
  EXPECT_EQ(b.events.back(), "up a@127.0.0.1");
  EXPECT_NE(b.endpoint->connection("a@127.0.0.1"), nullptr);
}

TEST_F(EndpointTest, AThiefOfANameWithoutTheCookieBreaksNothing) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && !b.events.empty(); }));
  EndpointOptions thief = options();
  thief.node_name = a.name;
  thief.creation = 2000;
  thief.cookie = "guess";
  Endpoint stranger(io_, thief, {});
  std::optional<Result<void>> refused;
  stranger.dial(b.name, [&](const Result<void>& result) { refused = result; });
  ASSERT_TRUE(run_until(io_, [&] { return refused.has_value(); }));
  ASSERT_FALSE(refused->has_value());
  EXPECT_EQ(refused->error().code, ErrorCode::refused);
  EXPECT_NE(refused->error().message.find("cookie"), std::string::npos);
  EXPECT_EQ(b.events.size(), 1u) << "the connection of the real one stands";
  EXPECT_NE(b.notes.back().find("cookie"), std::string::npos);
}

TEST_F(EndpointTest, CookiesMayDifferPerPeer) {
  EndpointOptions of_a = options(), of_b = options();
  of_a.cookie = "of_a";
  of_b.cookie = "of_b";
  of_b.peer_cookies["a@127.0.0.1"] = "of_a";
  TestNode a(io_, "a@127.0.0.1", of_a), b(io_, "b@127.0.0.2", of_b);
  auto& from_a = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return from_a.has_value(); }));
  EXPECT_TRUE(from_a->has_value());
}

TEST_F(EndpointTest, DialErrorsSayWhatIsWrong) {
  TestNode a(io_, "a@127.0.0.1", options());
  struct Case {
    std::string peer;
    ErrorCode code;
    std::string word;
  };
  for (const Case& c : {Case{"nohost", ErrorCode::malformed, "name@host"},
                        Case{"a@127.0.0.1", ErrorCode::invalid_argument, "itself"},
                        Case{"x@127.0.0.9", ErrorCode::unavailable, "does not listen"},
                        Case{"x@no.such.host.invalid", ErrorCode::unavailable, "resolve"}}) {
    auto& outcome = a.dial(c.peer);
    ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
    ASSERT_FALSE(outcome->has_value());
    EXPECT_EQ(outcome->error().code, c.code) << outcome->error().message;
    EXPECT_NE(outcome->error().message.find(c.word), std::string::npos) << outcome->error().message;
  }
  TestNode b(io_, "b@127.0.0.2", options());
  // Another node's port: its name is checked.
  auto& wrong = a.dial("c@127.0.0.2");
  ASSERT_TRUE(run_until(io_, [&] { return wrong.has_value(); }));
  EXPECT_EQ(wrong->error().code, ErrorCode::refused);
  EXPECT_NE(wrong->error().message.find("'b@127.0.0.2' answered"), std::string::npos)
      << wrong->error().message;
}

TEST_F(EndpointTest, APeerWithoutANameGetsOne) {
  TestNode a(io_, "a@127.0.0.1", options());
  std::set<std::string> names;
  for (int i = 0; i < 3; ++i) {
    Stranger peer(io_, raw_socket("127.0.0.1"));
    peer.claim("127.0.0.9", kOfferedFlags | kFlagNameMe);
    const std::string status = peer.hear();
    ASSERT_EQ(status.substr(0, 7), "snamed:") << status;
    const std::string name = status.substr(9, load_number(status.substr(7, 2), 2));
    EXPECT_EQ(name.substr(name.find('@')), "@127.0.0.9");
    EXPECT_GE(load_number(status.substr(9 + name.size(), 4), 4), 4u);
    names.insert(name);
    const std::string challenge = peer.hear();
    const Digest right =
        digest("cookie", static_cast<std::uint32_t>(load_number(challenge.substr(9, 4), 4)));
    peer.say("rabcd" + std::string(right.begin(), right.end()));
    EXPECT_EQ(peer.hear().substr(0, 1), "a");
    ASSERT_TRUE(
        run_until(io_, [&] { return !a.events.empty() && a.events.back() == "up " + name; }));
    EXPECT_FALSE(a.endpoint->connection(name)->has(kFlagPublished));
  }
  EXPECT_EQ(names.size(), 3u);
}

TEST_F(EndpointTest, APeerWithoutFragmentsGetsWholeFrames) {
  EndpointOptions poor = options();
  poor.flags = kDemandedFlags;
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", poor);
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && !b.events.empty(); }));
  constexpr std::size_t kBytes = 10'000'000;
  a.endpoint->connection(b.name)->send(1, a.message(std::string(kBytes, 'x')));
  b.endpoint->connection(a.name)->send(1, b.message("small"));
  b.endpoint->connection(a.name)->send(1, b.message(std::string(kBytes, 'y')));
  ASSERT_TRUE(run_until(io_, [&] { return a.messages == 2 && b.messages == 1; }));
  EXPECT_GT(a.payload_bytes, kBytes);
  EXPECT_GT(b.payload_bytes, kBytes);
}

TEST_F(EndpointTest, WhatAConnectionHeldGoesWithIt) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && !b.events.empty(); }));
  const std::shared_ptr<Connection> kept = b.endpoint->connection(a.name);
  kept->hold(true);
  const std::size_t before = kept->memory_bytes();
  constexpr std::size_t kBytes = 20'000'000;
  kept->send(1, b.message(std::string(kBytes, 'x')));
  EXPECT_GE(kept->memory_bytes(), before + kBytes);
  a.endpoint->disconnect(b.name, "over");
  kept->close(make_error(ErrorCode::unavailable, "over"));
  ASSERT_TRUE(run_until(io_, [&] { return b.events.size() == 2; }));
  EXPECT_EQ(kept->memory_bytes(), 0u) << "whoever keeps the connection keeps no more than that";
}

TEST_F(EndpointTest, BadFramesCloseTheConnectionWithAReason) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b.endpoint->connection(a.name); }));
  OutMessage nonsense;
  etf::Writer(nonsense.text).atom("no control tuple");
  a.endpoint->connection(b.name)->send(1, std::move(nonsense));
  ASSERT_TRUE(run_until(io_, [&] { return b.events.size() == 2 && a.events.size() == 2; }));
  EXPECT_EQ(b.reasons[0].code, ErrorCode::malformed);
  EXPECT_EQ(a.reasons[0].code, ErrorCode::unavailable);
}

TEST_F(EndpointTest, AFullOutboxBlocksThenDrainsThenOverflows) {
  EndpointOptions small = options();
  small.connection.send.soft_bytes = 1 << 20;
  small.connection.send.hard_bytes = 64 << 20;
  TestNode a(io_, "a@127.0.0.1", small), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b.endpoint->connection(a.name); }));
  const auto connection = a.endpoint->connection(b.name);
  const std::string value(100'000, 'v');
  std::size_t queued = 0;
  while (connection->try_send(1, a.message(value)) == Outbox::Admission::queued) ++queued;
  EXPECT_EQ(queued, 11u);
  ASSERT_TRUE(run_until(io_, [&] { return a.drained == 1 && b.messages == queued; }));
  EXPECT_EQ(b.payload_bytes, queued * (value.size() + 5));
  while (connection->send(1, a.message(value)) == Outbox::Admission::queued) {
  }
  EXPECT_TRUE(connection->closed());
  ASSERT_TRUE(run_until(io_, [&] { return a.events.size() == 2; }));
  EXPECT_EQ(a.reasons[0].code, ErrorCode::limit_exceeded);
  EXPECT_EQ(connection->send(1, a.message("x")), Outbox::Admission::overflow);
}

TEST_F(EndpointTest, SilenceEndsAConnectionAndTicksKeepOne) {
  EndpointOptions quick = options();
  quick.connection.net_ticktime = std::chrono::milliseconds(200);
  TestNode a(io_, "a@127.0.0.1", quick), b(io_, "b@127.0.0.2", quick);
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b.endpoint->connection(a.name); }));
  const auto connection = a.endpoint->connection(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return connection->bytes_received() >= 40; }));
  EXPECT_EQ(a.events.size() + b.events.size(), 2u) << "ten ticks long";
  // A peer that never ticks.
  EndpointOptions mute = options();
  mute.connection.net_ticktime = std::chrono::hours(1);
  TestNode c(io_, "c@127.0.0.3", mute);
  auto& to_mute = a.dial(c.name);
  ASSERT_TRUE(run_until(io_, [&] { return to_mute && a.reasons.size() == 1; }));
  EXPECT_EQ(a.reasons[0].code, ErrorCode::timeout);
  EXPECT_EQ(a.events.back(), "down c@127.0.0.3");
}

TEST_F(EndpointTest, AHeldLinkIsSilentUntilItIsReleased) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  TestNode c(io_, "c@127.0.0.3", options());
  a.endpoint->hold(b.name, std::chrono::hours(1));
  a.dial(b.name);
  a.dial(c.name);
  ASSERT_TRUE(run_until(io_, [&] { return a.events.size() == 2 && b.events.size() == 1; }));
  // In both directions, and b is not told; what a sends to c arrives.
  b.endpoint->connection(a.name)->send(1, b.message("from b"));
  a.endpoint->connection(b.name)->send(1, a.message("from a"));
  a.endpoint->connection(c.name)->send(1, a.message("from a"));
  ASSERT_TRUE(run_until(
      io_, [&] { return c.messages == 1 && b.endpoint->connection(a.name)->queued_bytes() == 0; }));
  EXPECT_EQ(a.messages, 0U);
  EXPECT_EQ(b.messages, 0U);
  EXPECT_GT(a.endpoint->connection(b.name)->queued_bytes(), 0U);
  a.endpoint->release(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return a.messages == 1 && b.messages == 1; }));

  // It ends by itself, too; and what is held may still be closed.
  a.endpoint->hold(b.name, std::chrono::milliseconds(1));
  b.endpoint->connection(a.name)->send(1, b.message("again"));
  ASSERT_TRUE(run_until(io_, [&] { return a.messages == 2; }));
  a.endpoint->hold(b.name, std::chrono::hours(1));
  a.endpoint->disconnect(b.name, "test");
  ASSERT_TRUE(run_until(io_, [&] { return b.events.back() == "down a@127.0.0.1"; }));
}

TEST_F(EndpointTest, ALongInputIsHandledInTurns) {
  EndpointOptions sliced = options();
  sliced.connection.turn_messages = 10;
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", sliced);
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b.endpoint->connection(a.name); }));
  std::size_t longest_run = 0, run = 0;
  bool done = false;
  std::function<void()> other_work = [&] {
    longest_run = std::max(longest_run, std::exchange(run, 0));
    done = b.messages >= 5000;
    if (!done) asio::post(io_, other_work);
  };
  b.on_message = [&](const ControlMessage&, std::string_view) { ++run; };
  for (int i = 0; i < 5000; ++i) a.endpoint->connection(b.name)->send(1, a.message("x"));
  asio::post(io_, other_work);
  ASSERT_TRUE(run_until(io_, [&] { return done; }));
  EXPECT_GT(longest_run, 0u);
  EXPECT_LE(longest_run, 20u);
}

TEST_F(EndpointTest, ClosingInsideAHandlerIsSafe) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b.endpoint->connection(a.name); }));
  b.on_message = [&](const ControlMessage&, std::string_view) {
    b.endpoint->disconnect(a.name, "enough");
  };
  for (int i = 0; i < 100; ++i) a.endpoint->connection(b.name)->send(1, a.message("x"));
  ASSERT_TRUE(run_until(io_, [&] { return b.events.size() == 2; }));
  EXPECT_EQ(b.messages, 1u);
}

TEST_F(EndpointTest, AHundredMegabytesPassAndSmallMessagesOvertake) {
  TestNode a(io_, "a@127.0.0.1", options()), b(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b.name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b.endpoint->connection(a.name); }));
  std::vector<std::size_t> sizes;
  b.on_message = [&](const ControlMessage&, std::string_view payload) {
    sizes.push_back(payload.size());
  };
  const auto connection = a.endpoint->connection(b.name);
  EXPECT_EQ(connection->send(1, a.message(std::string(100 << 20, 'v'))), Outbox::Admission::queued);
  EXPECT_EQ(connection->send(2, a.message("small")), Outbox::Admission::queued);
  ASSERT_TRUE(run_until(io_, [&] { return sizes.size() == 2; }));
  EXPECT_EQ(sizes[0], 10u);
  EXPECT_EQ(sizes[1], (100u << 20) + 5);
}

TEST_F(EndpointTest, APortThatIsTakenIsSaidInWords) {
  TestNode a(io_, "a@127.0.0.1", options());
  EndpointOptions same = options();
  same.node_name = "b@127.0.0.1";
  same.listen_address = "127.0.0.1";
  same.listen_port = port_;
  same.cookie = "cookie";
  Endpoint second(io_, same, {});
  const Result<std::uint16_t> port = second.listen();
  ASSERT_FALSE(port.has_value());
  EXPECT_EQ(port.error().code, ErrorCode::already_exists);
  same.listen_address = "nowhere";
  EXPECT_EQ(Endpoint(io_, same, {}).listen().error().code, ErrorCode::invalid_argument);
}

TEST_F(EndpointTest, WithoutACookieItDoesNotListen) {
  EndpointOptions open = options();
  open.node_name = "a@127.0.0.1";
  Endpoint endpoint(io_, open, {});
  const Result<std::uint16_t> port = endpoint.listen();
  ASSERT_FALSE(port.has_value());
  EXPECT_EQ(port.error().code, ErrorCode::invalid_argument);
}

TEST_F(EndpointTest, StoppingEndsEverything) {
  TestNode a(io_, "a@127.0.0.1", options());
  auto b = std::make_unique<TestNode>(io_, "b@127.0.0.2", options());
  auto& outcome = a.dial(b->name);
  ASSERT_TRUE(run_until(io_, [&] { return outcome && b->endpoint->connection(a.name); }));
  tcp::acceptor silent(io_, {asio::ip::make_address("127.0.0.3"), port_});
  auto& pending = b->dial("s@127.0.0.3");
  b->endpoint->stop();
  ASSERT_TRUE(run_until(
      io_, [&] { return pending.has_value() && a.events.size() == 2 && b->events.size() == 2; }));
  EXPECT_EQ(pending->error().code, ErrorCode::unavailable);
  b.reset();
  auto& again = a.dial("b@127.0.0.2");
  ASSERT_TRUE(run_until(io_, [&] { return again.has_value(); }));
  EXPECT_EQ(again->error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace rakv::distribution
