// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/connection_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cnode/distribution/support.h"

namespace rakv::distribution {
namespace {

using Dial = ConnectionTable::Dial;

TEST(ConnectionTableTest, ADialThatSucceeds) {
  ConnectionTable table("b@h");
  const auto first = table.begin_dial("a@h");
  EXPECT_EQ(first.verdict, Dial::start);
  EXPECT_EQ(table.begin_dial("a@h").verdict, Dial::under_way);
  EXPECT_TRUE(table.handshake_finished("a@h", first.attempt).keep);
  EXPECT_EQ(table.up("a@h"), first.attempt);
  EXPECT_EQ(table.begin_dial("a@h").verdict, Dial::up);
  table.connection_closed("a@h", first.attempt);
  EXPECT_EQ(table.peers(), 0u);
  EXPECT_EQ(table.begin_dial("a@h").verdict, Dial::start);
}

TEST(ConnectionTableTest, AnInboundOfAnUnknownPeerIsOk) {
  ConnectionTable table("b@h");
  const auto inbound = table.inbound_named("a@h");
  EXPECT_EQ(inbound.status, Status::ok);
  EXPECT_TRUE(table.handshake_finished("a@h", inbound.attempt).keep);
  EXPECT_EQ(table.up("a@h"), inbound.attempt);
}

TEST(ConnectionTableTest, TheGreaterNameKeepsItsOwnAttempt) {
  ConnectionTable table("b@h");
  const auto dial = table.begin_dial("a@h");
  EXPECT_EQ(table.inbound_named("a@h").status, Status::nok);
  EXPECT_TRUE(table.handshake_finished("a@h", dial.attempt).keep);
}

TEST(ConnectionTableTest, TheLesserNameLetsThePeerDecide) {
  ConnectionTable table("b@h");
  const auto dial = table.begin_dial("c@h");
  const auto inbound = table.inbound_named("c@h");
  EXPECT_EQ(inbound.status, Status::ok_simultaneous);
  EXPECT_EQ(table.begin_dial("c@h").verdict, Dial::under_way) << "a claim ends no dial";
  const auto up = table.handshake_finished("c@h", inbound.attempt);
  EXPECT_TRUE(up.keep);
  EXPECT_EQ(up.abort_dial, dial.attempt);
  EXPECT_FALSE(table.handshake_finished("c@h", dial.attempt).keep) << "it was given up";
}

TEST(ConnectionTableTest, WhoeverClaimsANameDoesNotEndADialOfThatName) {
  for (const char* own : {"b@h", "d@h"}) {
    ConnectionTable table(own);
    table.inbound_named("c@h");
    const auto waits = table.begin_dial("c@h");
    EXPECT_EQ(waits.verdict, Dial::wait);
    EXPECT_TRUE(table.inbound_window_over("c@h", waits.attempt));
    const auto dial = table.begin_dial("c@h", ConnectionTable::Claims::ignore);
    EXPECT_EQ(dial.verdict, Dial::start);
    table.inbound_named("c@h");
    EXPECT_TRUE(table.handshake_finished("c@h", dial.attempt).keep);
  }
}

TEST(ConnectionTableTest, NamesAreComparedByteByByte) {
  ConnectionTable table("B@h");
  table.begin_dial("a@h");
  EXPECT_EQ(table.inbound_named("a@h").status, Status::ok_simultaneous) << "'B' < 'a'";
  ConnectionTable accented("\xc3\xa9@h");
  accented.begin_dial("z@h");
  EXPECT_EQ(accented.inbound_named("z@h").status, Status::nok) << "bytes are unsigned";
}

TEST(ConnectionTableTest, AfterNokTheInboundIsOkAndEndsTheWait) {
  ConnectionTable table("a@h");
  const auto dial = table.begin_dial("b@h");
  table.dial_waits("b@h", dial.attempt);
  EXPECT_EQ(table.begin_dial("b@h").verdict, Dial::under_way);
  const auto inbound = table.inbound_named("b@h");
  EXPECT_EQ(inbound.status, Status::ok);
  const auto up = table.handshake_finished("b@h", inbound.attempt);
  EXPECT_TRUE(up.keep);
  EXPECT_EQ(up.abort_dial, dial.attempt);
  EXPECT_FALSE(table.inbound_window_over("b@h", dial.attempt)) << "it came in time";
}

TEST(ConnectionTableTest, TheWaitAfterNokIsLimited) {
  ConnectionTable table("a@h");
  const auto dial = table.begin_dial("b@h");
  table.dial_waits("b@h", dial.attempt);
  EXPECT_TRUE(table.inbound_window_over("b@h", dial.attempt));
  EXPECT_EQ(table.peers(), 0u);
  EXPECT_EQ(table.begin_dial("b@h").verdict, Dial::start);
}

TEST(ConnectionTableTest, ATakeoverReplacesTheOldConnectionOnlyWhenItIsVerified) {
  ConnectionTable table("a@h");
  const auto old = table.inbound_named("b@h");
  table.handshake_finished("b@h", old.attempt);
  const auto takeover = table.inbound_named("b@h");
  EXPECT_EQ(takeover.status, Status::alive);
  EXPECT_EQ(table.up("b@h"), old.attempt) << "still the old one";
  const auto thief = table.inbound_named("b@h");
  EXPECT_EQ(thief.status, Status::alive) << "one that never ends must not keep the next one out";
  table.attempt_failed("b@h", takeover.attempt);
  table.attempt_failed("b@h", thief.attempt);
  EXPECT_EQ(table.up("b@h"), old.attempt) << "a failed takeover harms nothing";
  const auto again = table.inbound_named("b@h");
  EXPECT_EQ(again.status, Status::alive);
  const auto up = table.handshake_finished("b@h", again.attempt);
  EXPECT_TRUE(up.keep);
  EXPECT_EQ(up.drop_connection, old.attempt);
  table.connection_closed("b@h", old.attempt);
  EXPECT_EQ(table.up("b@h"), again.attempt)
      << "the end of the old one is not the end of the new one";
}

TEST(ConnectionTableTest, OfTwoInboundAttemptsTheLaterOneStays) {
  ConnectionTable table("a@h");
  const auto first = table.inbound_named("b@h");
  const auto second = table.inbound_named("b@h");
  EXPECT_TRUE(table.handshake_finished("b@h", second.attempt).keep);
  EXPECT_FALSE(table.handshake_finished("b@h", first.attempt).keep);
  EXPECT_EQ(table.up("b@h"), second.attempt);
  const auto third = table.inbound_named("b@h");
  const auto fourth = table.inbound_named("c@h");
  EXPECT_EQ(table.handshake_finished("b@h", third.attempt).drop_connection, second.attempt);
  EXPECT_FALSE(table.handshake_finished("c@h", fourth.attempt).drop_connection);
}

TEST(ConnectionTableTest, ADialWaitsForAnInboundThatIsUnderWay) {
  ConnectionTable table("a@h");
  const auto inbound = table.inbound_named("b@h");
  EXPECT_TRUE(table.inbound_under_way("b@h"));
  const auto dial = table.begin_dial("b@h");
  EXPECT_EQ(dial.verdict, Dial::wait);
  EXPECT_EQ(table.inbound_named("b@h").status, Status::ok) << "no attempt of ours is in its way";
  table.attempt_failed("b@h", inbound.attempt);
  EXPECT_TRUE(table.inbound_window_over("b@h", dial.attempt));
  EXPECT_TRUE(table.inbound_under_way("b@h")) << "the second one";
}

TEST(ConnectionTableTest, AliveIsAnsweredTrueUnlessAConnectionIsUp) {
  ConnectionTable table("a@h");
  const auto dial = table.begin_dial("b@h");
  EXPECT_TRUE(table.old_connection_is_dead("b@h"));
  table.handshake_finished("b@h", dial.attempt);
  EXPECT_FALSE(table.old_connection_is_dead("b@h"));
}

// The model: two tables and a network that delivers in any order it likes, but keeps the order
// within one socket.

struct Node;

/// One TCP connection of the model: [0] is the side that dialled.
struct Socket {
  Node* side[2] = {nullptr, nullptr};
  AttemptId attempt[2] = {0, 0};
  std::deque<std::string> to[2];  ///< messages under way to that side
  bool closed[2] = {false, false};
  bool up[2] = {false, false};
};

struct Node {
  explicit Node(std::string given) : name(std::move(given)), table(name) {}
  std::string name;
  ConnectionTable table;
};

/// Plays handshakes of two nodes. A message is one step of the handshake.
class Model {
 public:
  Model() : a("a@h"), b("b@h") {}

  void dial(Node& from) {
    Node& peer = other(from);
    const auto answer = from.table.begin_dial(peer.name);
    if (answer.verdict != Dial::start) return;
    auto socket = std::make_unique<Socket>();
    socket->side[0] = &from;
    socket->side[1] = &peer;
    socket->attempt[0] = answer.attempt;
    socket->to[1].emplace_back("name");
    sockets.push_back(std::move(socket));
  }

  /// Delivers one message of a random socket; false when nothing is under way.
  bool step(std::mt19937_64& random) {
    std::vector<std::pair<Socket*, int>> ready;
    for (const auto& socket : sockets) {
      for (const int side : {0, 1}) {
        if (!socket->to[side].empty()) ready.emplace_back(socket.get(), side);
      }
    }
    if (ready.empty()) return false;
    const auto [socket, side] = ready[random() % ready.size()];
    const std::string message = socket->to[side].front();
    socket->to[side].pop_front();
    if (!socket->closed[side]) deliver(*socket, side, message);
    return true;
  }

  /// Sockets that both sides hold for up.
  int connections() const {
    int count = 0;
    for (const auto& socket : sockets) {
      const bool both = is_up(*socket, 0) && is_up(*socket, 1);
      count += both ? 1 : 0;
      EXPECT_EQ(is_up(*socket, 0), is_up(*socket, 1)) << "the two sides disagree";
    }
    return count;
  }

  /// One side of an existing connection loses it without the other noticing, as by a crash.
  void forget(Node& node) {
    for (const auto& socket : sockets) {
      for (const int side : {0, 1}) {
        if (socket->side[side] != &node || !is_up(*socket, side)) continue;
        node.table.connection_closed(other(node).name, socket->attempt[side]);
        socket->closed[side] = true;
        socket->to[1 - side].clear();  // the network ate it
      }
    }
  }

  Node a, b;
  std::vector<std::unique_ptr<Socket>> sockets;

 private:
  Node& other(Node& node) { return &node == &a ? b : a; }
  static bool is_up(const Socket& socket, int side) {
    return socket.up[side] && !socket.closed[side];
  }

  void close(Socket& socket, int side) {
    if (std::exchange(socket.closed[side], true)) return;
    Node& node = *socket.side[side];
    const std::string& peer = socket.side[1 - side]->name;
    if (socket.up[side]) {
      node.table.connection_closed(peer, socket.attempt[side]);
    } else if (socket.attempt[side] != 0) {
      node.table.attempt_failed(peer, socket.attempt[side]);
    }
    socket.to[1 - side].emplace_back("closed");
  }

  void close_attempt(Node& node, AttemptId attempt) {
    for (const auto& socket : sockets) {
      for (const int side : {0, 1}) {
        if (socket->side[side] == &node && socket->attempt[side] == attempt) close(*socket, side);
      }
    }
  }

  void finish(Socket& socket, int side) {
    Node& node = *socket.side[side];
    const auto answer =
        node.table.handshake_finished(socket.side[1 - side]->name, socket.attempt[side]);
    if (!answer.keep) return close(socket, side);
    if (answer.drop_connection) close_attempt(node, *answer.drop_connection);
    if (answer.abort_dial) close_attempt(node, *answer.abort_dial);
    socket.up[side] = true;
  }

  void deliver(Socket& socket, int side, const std::string& message) {
    Node& node = *socket.side[side];
    const std::string& peer = socket.side[1 - side]->name;
    const auto say = [&back = socket.to[1 - side]](const char* what) { back.emplace_back(what); };
    if (message == "closed") return close(socket, side);
    if (message == "name") {
      const auto answer = node.table.inbound_named(peer);
      socket.attempt[side] = answer.attempt;
      switch (answer.status) {
        case Status::nok:
          say("nok");
          return close(socket, side);
        case Status::alive:
          return say("alive");
        default:
          return say("challenge");
      }
    }
    if (message == "alive") {
      if (!node.table.old_connection_is_dead(peer)) return close(socket, side);
      return say("true");
    }
    if (message == "true") return say("challenge");
    if (message == "nok") {
      // The attempt stays in the table as the one that waits; only the socket goes.
      node.table.dial_waits(peer, socket.attempt[side]);
      socket.closed[side] = true;
      return;
    }
    if (message == "challenge") return say("reply");
    if (message == "reply") {
      say("ack");
      return finish(socket, side);
    }
    if (message == "ack") return finish(socket, side);
    ADD_FAILURE() << message;
  }
};

TEST(ConnectionTableModelTest, AThousandSimultaneousDialsGiveExactlyOneConnectionEach) {
  auto random = test::seeded_generator();
  int simultaneous = 0;
  for (int round = 0; round < 1000; ++round) {
    Model model;
    Node& first = random() % 2 == 0 ? model.a : model.b;
    Node& second = &first == &model.a ? model.b : model.a;
    model.dial(first);
    for (std::size_t steps = random() % 6; steps > 0; --steps) model.step(random);
    model.dial(second);
    if (model.sockets.size() == 2) ++simultaneous;
    while (model.step(random)) {
    }
    ASSERT_EQ(model.connections(), 1) << "round " << round;
    ASSERT_TRUE(model.a.table.up("b@h") && model.b.table.up("a@h"));
  }
  EXPECT_GT(simultaneous, 100) << "the test must meet what it is about";
}

TEST(ConnectionTableModelTest, AfterACrashTheTakeoverGivesExactlyOneConnection) {
  auto random = test::seeded_generator();
  for (int round = 0; round < 1000; ++round) {
    Model model;
    model.dial(model.a);
    while (model.step(random)) {
    }
    Node& crashed = random() % 2 == 0 ? model.a : model.b;
    Node& other = &crashed == &model.a ? model.b : model.a;
    model.forget(crashed);
    model.dial(crashed);
    for (std::size_t steps = random() % 4; steps > 0; --steps) model.step(random);
    model.dial(other);  // believes that all is well
    while (model.step(random)) {
    }
    int up = 0;
    for (const auto& socket : model.sockets) {
      if (socket->up[0] && socket->up[1] && !socket->closed[0] && !socket->closed[1]) ++up;
    }
    ASSERT_EQ(up, 1) << "round " << round;
  }
}

}  // namespace
}  // namespace rakv::distribution
