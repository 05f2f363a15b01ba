// SPDX-License-Identifier: Apache-2.0
#include "tests/cnode/node/peers_harness.h"

// Who watches whom: what is told at an end, in which order, and what stays of a call, a monitor and
// a connection when they are over.

namespace rakv::node::testing {
namespace {

constexpr char kHere[] = "n@127.0.0.1";
constexpr char kPeer[] = "p@127.0.0.1";

using Heard = std::vector<std::string>;

/// Notes what it hears.
class Listener : public Process {
 public:
  explicit Listener(Heard& heard) : heard_(heard) {}
  void on_message(std::string_view message) override { heard_.push_back(etf::print_text(message)); }
  void on_down(const etf::Reference&, std::string_view reason) override {
    heard_.push_back("DOWN " + etf::print_text(reason));
  }

 private:
  Heard& heard_;
};

class MonitorsTest : public PeersTest, public NodeObserver {
 protected:
  void SetUp() override {
    PeersTest::SetUp();
    pid_ = node_->spawn(process_);
    ASSERT_TRUE(node_->register_name("process", pid_));
    node_->subscribe(*this);
  }
  void TearDown() override { node_->unsubscribe(*this); }
  void on_node_down(const std::string& node) override { heard_.push_back("lost " + node); }

  static std::string term(const std::string& text) { return *etf::parse_text(text); }
  void peer_sends(const etf::Pid& to, const std::string& text) {
    distribution::OutMessage message = distribution::encode_send(self_, to);
    message.text += term(text);
    peer_->send(1, std::move(message));
  }
  static etf::Reference reference(std::uint32_t number) {
    return {kPeer, 4711, etf::ReferenceWords{{number, 2, 3}, 3}};
  }
  void peer_ends() {
    endpoint_.reset();
    peer_.reset();
  }
  static void say(distribution::OutMessage& out, std::string_view word) {
    etf::Writer(out.text).atom(word);
  }

  Heard heard_;
  Listener process_{heard_};
  etf::Pid pid_;
};

TEST_F(MonitorsTest, APidOfAnEarlierLifeIsNobodys) {
  connect(distribution::kOfferedFlags);
  etf::Pid earlier = pid_;
  ++earlier.creation;
  EXPECT_FALSE(node_->is_alive(earlier.view()));
  peer_sends(earlier, "lost");
  peer_sends(pid_, "heard");
  peer_->send(1, distribution::encode_monitor(self_, earlier.view(), reference(1)));
  EXPECT_EQ(next(), "DOWN noproc");
  EXPECT_EQ(heard_, Heard{"heard"});
}

TEST_F(MonitorsTest, EveryoneIsToldTheReason) {
  connect(distribution::kOfferedFlags);
  peer_->send(1, distribution::encode_monitor(self_, pid_.view(), reference(1)));
  peer_->send(1, distribution::encode_monitor(self_, std::string_view("process"), reference(2)));
  peer_->send(1, distribution::encode_link(self_, pid_));
  peer_sends(pid_, "ready");
  ASSERT_TRUE(run_until(io_, [&] { return !heard_.empty(); }));
  node_->terminate(pid_, term("{shutdown,{delete,1}}"));
  Heard told{next(), next(), next()};
  std::sort(told.begin(), told.end());
  EXPECT_EQ(told, (Heard{"DOWN {shutdown,{delete,1}}", "DOWN {shutdown,{delete,1}}",
                         "EXIT {shutdown,{delete,1}}"}));
}

TEST_F(MonitorsTest, APeerHearsTheLastMessagesBeforeTheEnd) {
  connect(distribution::kOfferedFlags);
  peer_->send(1, distribution::encode_monitor(self_, pid_.view(), reference(1)));
  peer_sends(pid_, "ready");
  ASSERT_TRUE(run_until(io_, [&] { return !heard_.empty(); }));
  // One that leaves in many parts, between which others may go.
  const auto large = [](distribution::OutMessage& out) {
    etf::Writer(out.text).tuple(2).atom("large").binary(std::string(500'000, 'x'));
  };
  node_->send(pid_, self_, large);
  node_->send(pid_, self_, [](distribution::OutMessage& out) { say(out, "last"); });
  node_->terminate(pid_, term("done"));
  EXPECT_TRUE(next().starts_with("{large,"));
  EXPECT_EQ(next(), "last");
  EXPECT_EQ(next(), "DOWN done");
}

TEST_F(MonitorsTest, AProcessHereHearsTheLastMessagesBeforeTheEnd) {
  Heard unheard;
  Listener ends(unheard);
  const etf::Pid ending = node_->spawn(ends);
  ASSERT_TRUE(node_->register_name("ending", ending));
  node_->monitor(pid_, kHere, "ending");
  node_->send(ending, pid_, [](distribution::OutMessage& out) { say(out, "last"); });
  node_->terminate(ending, term("done"));
  ASSERT_TRUE(run_until(io_, [&] { return heard_.size() == 2; }));
  EXPECT_EQ(heard_, (Heard{"last", "DOWN done"}));
}

TEST_F(MonitorsTest, ACallThatTimesOutLeavesNoMonitor) {
  connect(distribution::kOfferedFlags);
  std::optional<CallResult::Status> ended;
  node_->call(
      kPeer, "server", [](distribution::OutMessage& out) { say(out, "ask"); },
      std::chrono::milliseconds(20), [&](const CallResult& result) { ended = result.status; });
  EXPECT_TRUE(next().starts_with("{'$gen_call',"));
  EXPECT_EQ(next(), "DEMONITOR");
  EXPECT_EQ(ended, CallResult::Status::timeout);
}

TEST_F(MonitorsTest, CallsAndMonitorsEndWithTheConnection) {
  connect(distribution::kOfferedFlags);
  node_->monitor(pid_, kPeer, "server");
  node_->call(
      kPeer, "server", [](distribution::OutMessage& out) { say(out, "ask"); },
      std::chrono::hours(1),
      [&](const CallResult& result) {
        EXPECT_EQ(result.status, CallResult::Status::down);
        heard_.push_back("call " + etf::print_text(result.term));
      });
  EXPECT_TRUE(next().starts_with("{'$gen_call',"));
  peer_ends();
  ASSERT_TRUE(run_until(io_, [&] { return heard_.size() == 3; })) << heard_.size();
  // Whoever hears that the node is lost knows what was lost with it.
  EXPECT_EQ(heard_.back(), std::string("lost ") + kPeer);
  std::sort(heard_.begin(), heard_.end());
  EXPECT_EQ(heard_,
            (Heard{"DOWN noconnection", "call noconnection", std::string("lost ") + kPeer}));
}

TEST_F(MonitorsTest, NothingStaysOfWhatALostPeerWatched) {
  connect(distribution::kOfferedFlags);
  for (std::uint32_t number = 1; number <= 10; ++number)
    peer_->send(1, distribution::encode_monitor(self_, pid_.view(), reference(number)));
  ASSERT_TRUE(run_until(io_, [&] { return memory_.watches.used() > 0; }));
  expect_given_back();
}

TEST_F(MonitorsTest, AConnectionThatIsKeptIsDialledAgain) {
  connect(distribution::kOfferedFlags);
  node_->keep_connected(kPeer);
  const std::size_t before = epmd_.requests();
  peer_ends();
  EXPECT_TRUE(run_until(io_, [&] { return epmd_.requests() > before; }));
}

}  // namespace
}  // namespace rakv::node::testing
