#include "cnode/dist/endpoint.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cnode/dist/bytes.h"
#include "cnode/etf/writer.h"
#include "tests/dist/support.h"

// Endpoints against each other and against hand-made sockets, all on the loopback. Each node has an
// address of its own (127.0.0.x), so that all can listen on the same port and no epmd is needed.

namespace rakv::dist {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using test::run_until;

struct TestNode {
  TestNode(asio::io_context& context, const std::string& given_name, EndpointOptions options = {})
      : io(context), name(given_name), self(given_name, 1, 0, 1000) {
    options.node_name = name;
    options.creation = 1000;
    if (options.cookie.empty()) options.cookie = "cookie";
    options.listen_address = name.substr(name.find('@') + 1);
    if (options.fixed_peer_port != 0) options.listen_port = options.fixed_peer_port;
    Endpoint::Events handlers;
    handlers.on_up = [this](std::shared_ptr<Connection> up) { connected(std::move(up)); };
    handlers.on_note = [this](const std::string& line) { notes.push_back(line); };
    endpoint = std::make_unique<Endpoint>(io, options, handlers);
    const Result<std::uint16_t> port = endpoint->listen();
    EXPECT_TRUE(port.has_value()) << port.error().message;
    endpoint->accept_peers();
  }

  void connected(std::shared_ptr<Connection> up) {
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
    endpoint->dial(peer,
                   [outcome = dials.back().get()](Result<void> result) { *outcome = result; });
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
  second.dial(b.name, [](Result<void>) {});
  ASSERT_TRUE(run_until(io_, [&] { return up && b.events.size() == 3; }));
  EXPECT_EQ(b.events,
            (std::vector<std::string>{"up a@127.0.0.1", "down a@127.0.0.1", "up a@127.0.0.1"}));
  EXPECT_EQ(b.endpoint->connection(a->name)->peer().creation, 2000u);
  ASSERT_TRUE(run_until(io_, [&] { return a->events.size() == 2; }));
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
  stranger.dial(b.name, [&](Result<void> result) { refused = result; });
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

TEST_F(EndpointTest, HalfOpenConnectionsAreBoundedAndTimeOut) {
  EndpointOptions strict = options();
  strict.max_half_open = 3;
  strict.step_timeout = std::chrono::milliseconds(300);
  TestNode a(io_, "a@127.0.0.1", strict);
  std::vector<tcp::socket> sockets;
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
        const std::string body = heard.substr(2, size);
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
  restarted.dial(b.name, [&](Result<void> result) { up = result; });
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
  kept->send(1, b.message(std::string(20'000'000, 'x')));
  EXPECT_GE(kept->memory_bytes(), before + 20'000'000);
  a.endpoint->disconnect(b.name, "over");
  kept->close(make_error(ErrorCode::unavailable, "over"));
  ASSERT_TRUE(run_until(io_, [&] { return b.events.size() == 2; }));
  EXPECT_EQ(kept->memory_bytes(), 0u) << "whoever keeps the connection keeps no more than that";
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
}  // namespace rakv::dist
