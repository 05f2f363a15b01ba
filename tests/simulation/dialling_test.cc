// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cnode/distribution/endpoint.h"
#include "tests/simulation/runtime.h"

// Two ends of a network that dial each other at about the same moment, over and over, with delays
// from a seed: exactly one connection comes of it each time, and stays. RAKV_SEED=n runs another
// seed.

namespace rakv::simulation {
namespace {

using namespace std::chrono_literals;
using distribution::Connection;
using distribution::Endpoint;

constexpr std::uint16_t kPort = 4000;

/// An endpoint that notes when a connection to the other one comes up and goes down.
class End {
 public:
  End(Schedule& schedule, SimulatedNetwork& network, const std::string& name, std::uint64_t seed)
      : name_(name + "@" + name), runtime_(Runtime::make(schedule, network, {name, seed, 1, 0ns})) {
    distribution::EndpointOptions options;
    options.node_name = name_;
    options.creation = 1000;
    options.cookie = "cookie";
    options.listen_port = kPort;
    options.fixed_peer_port = kPort;
    Endpoint::Events events;
    events.on_up = [this](const std::shared_ptr<Connection>& up) {
      events_.emplace_back("up");
      Connection::Handlers handlers;
      handlers.on_message = [](const auto&, std::string_view) {};
      handlers.on_closed = [this](const Error&) {
        events_.emplace_back("down");
        if (on_down) on_down();
      };
      handlers.on_drained = [] {};
      up->start(std::move(handlers));
    };
    endpoint_ = std::make_unique<Endpoint>(runtime_->io(), options, events);
    EXPECT_TRUE(endpoint_->listen());
    endpoint_->accept_peers();
    runtime_->turn();
  }
  ~End() {
    runtime_->switch_off();
    endpoint_.reset();
  }

  const std::string& name() const { return name_; }
  const std::vector<std::string>& events() const { return events_; }
  bool connected() const { return !endpoint_->connected_peers().empty(); }
  std::function<void()> on_down;

  void dial(const End& other) {
    endpoint_->dial(other.name(), [](const Result<void>&) {});
    runtime_->turn();
  }
  void disconnect(const End& other) {
    endpoint_->disconnect(other.name(), "the test wants it");
    runtime_->turn();
  }

 private:
  std::string name_;
  std::vector<std::string> events_;
  std::shared_ptr<Runtime> runtime_;
  std::unique_ptr<Endpoint> endpoint_;
};

/// In each round one end closes the connection, and both dial again within `spread`.
void dial_rounds(const std::string& closing, const std::string& other, std::uint64_t seed,
                 int rounds, std::chrono::microseconds spread, std::chrono::milliseconds longest) {
  Schedule schedule;
  Trace trace{schedule};
  std::mt19937_64 random(seed);
  NetworkOptions wires;
  wires.shortest = 50us;
  wires.longest = longest;
  wires.longest_piece = 40;
  SimulatedNetwork network(schedule, trace, seed, wires);
  End m(schedule, network, closing, seed + 1);
  End z(schedule, network, other, seed + 2);
  const auto soon = [&] { return Nanoseconds(random() % Nanoseconds(spread).count()); };
  z.on_down = [&] { schedule.after(soon(), [&] { z.dial(m); }); };
  m.dial(z);
  for (int round = 0; round < rounds; ++round) {
    const Nanoseconds end = schedule.now() + 20s;
    while (schedule.run_next(end)) {
    }
    ASSERT_TRUE(m.connected() && z.connected()) << "seed " << seed << " round " << round;
    const std::size_t expected = 2 * static_cast<std::size_t>(round) + 1;
    ASSERT_EQ(m.events().size(), expected) << "seed " << seed << " round " << round;
    ASSERT_EQ(z.events().size(), expected) << "seed " << seed << " round " << round;
    m.disconnect(z);
    schedule.after(soon(), [&] { m.dial(z); });
  }
}

/// Delays of up to a second are longer than one end waits for the attempt of the other: then both
/// are under way, and each end has to give up the same one.
TEST(Dialling, AtTheSameMomentMakesOneConnectionThatStays) {
  const char* given = std::getenv("RAKV_SEED");
  const std::uint64_t first = given != nullptr ? std::stoull(given) : 1;
  const std::uint64_t last = given != nullptr ? first : 120;
  for (std::uint64_t seed = first; seed <= last && !HasFatalFailure(); ++seed) {
    const auto spread = std::chrono::microseconds(1 << (seed % 23));
    const auto longest = std::chrono::milliseconds(1 << (seed % 11));
    dial_rounds("m", "z", seed, 50, spread, longest);
    dial_rounds("m", "a", seed, 50, spread, longest);
  }
}

}  // namespace
}  // namespace rakv::simulation
