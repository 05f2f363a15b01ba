// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulated_network.h"

#include <algorithm>
#include <utility>

#include "cnode/base/byte_order.h"
#include "cnode/base/check.h"
#include "cnode/distribution/epmd.h"
#include "cnode/distribution/flags.h"
#include "tests/simulation/host.h"

namespace rakv::simulation {
namespace {

/// A connection is tried again after so long while the link is cut, as TCP does.
constexpr Nanoseconds kSynInterval = std::chrono::seconds(1);
/// What an epmd gives the first node; another one begins at a multiple of it.
constexpr std::uint32_t kFirstCreation = 101;
constexpr char kStranger[] = "stranger";

}  // namespace

SimulatedNetwork::SimulatedNetwork(Schedule& schedule, Trace& trace, std::uint64_t seed,
                                   NetworkOptions options)
    : schedule_(schedule), trace_(trace), random_(seed), options_(options) {}

SimulatedNetwork::~SimulatedNetwork() = default;

distribution::Network& SimulatedNetwork::switch_on(const std::string& host,
                                                   boost::asio::io_context& io,
                                                   std::function<void()> turn) {
  RAKV_CHECK(!hosts_.contains(host));
  if (!epmds_.contains(host)) epmds_[host] = std::make_unique<Epmd>(kFirstCreation);
  if (without_power_.erase(host) > 0) {
    for (const auto& weak : streams_) {
      if (const auto stream = weak.lock()) stream->come_back();
    }
  }
  return *(hosts_[host] = std::make_unique<Host>(*this, host, io, std::move(turn)));
}

void SimulatedNetwork::switch_off(const std::string& host) { hosts_.erase(host); }

void SimulatedNetwork::lose_power(const std::string& host) {
  note(host + " loses power");
  for (const auto& weak : streams_) {
    const auto stream = weak.lock();
    if (!stream) continue;
    for (End& end : stream->ends) end.vanished = end.vanished || end.host == host;
  }
  without_power_.insert(host);
  stop_epmd(host);
  start_epmd(host);
  switch_off(host);
}

void SimulatedNetwork::cut(const std::string& one, const std::string& other) {
  cut_one_way(one, other);
  cut_one_way(other, one);
}

void SimulatedNetwork::cut_one_way(const std::string& from, const std::string& to) {
  note("cut " + from + " > " + to);
  cut_.emplace(from, to);
}

void SimulatedNetwork::mend(const std::string& one, const std::string& other) {
  if (cut_.erase({one, other}) + cut_.erase({other, one}) == 0) return;
  note("mend " + one + " " + other);
  for (const auto& stream : streams_between(one, other)) stream->mend();
}

void SimulatedNetwork::stop_epmd(const std::string& host) {
  std::unique_ptr<Epmd>& epmd = epmds_[host];
  if (!epmd) return;
  note("the epmd of " + host + " ends");
  epmd.reset();
}

void SimulatedNetwork::start_epmd(const std::string& host) {
  std::unique_ptr<Epmd>& epmd = epmds_[host];
  if (epmd) return;
  note("the epmd of " + host + " starts");
  epmd = std::make_unique<Epmd>(kFirstCreation * ++epmds_made_);
}

void SimulatedNetwork::reset(const std::string& one, const std::string& other) {
  note("reset " + one + " " + other);
  for (const auto& stream : streams_between(one, other)) stream->reset();
}

bool SimulatedNetwork::is_cut(const std::string& from, const std::string& to) const {
  return cut_.contains({from, to});
}

std::vector<std::shared_ptr<Stream>> SimulatedNetwork::streams_between(
    const std::string& one, const std::string& other) const {
  std::vector<std::shared_ptr<Stream>> found;
  for (const auto& weak : streams_) {
    auto stream = weak.lock();
    if (!stream) continue;
    const std::string& from = stream->ends[0].host;
    const std::string& to = stream->ends[1].host;
    if ((from == one && to == other) || (from == other && to == one))
      found.push_back(std::move(stream));
  }
  return found;
}

void SimulatedNetwork::claim(const std::string& host, const std::string& name, Nanoseconds time) {
  const auto target = hosts_.find(host);
  const auto stream = open_stream(kStranger, host);
  if (target == hosts_.end() || !target->second->take_in(stream)) return;
  note(std::string(kStranger) + " says to " + host + " that it is " + name);
  // The first message of a handshake (docs/protocol/distribution.md 2).
  std::string message;
  put_number(message, 'N', 1);
  put_number(message, distribution::kOfferedFlags, 8);
  put_number(message, kFirstCreation, 4);
  put_number(message, name.size(), 2);
  message += name;
  std::string frame;
  put_number(frame, message.size(), 2);
  stream->send(0, frame + message);
  schedule_.after(time, [stream] { stream->close(0); });
}

Nanoseconds SimulatedNetwork::delay() {
  std::uniform_int_distribution<std::int64_t> draw(options_.shortest.count(),
                                                   options_.longest.count());
  return Nanoseconds(draw(random_));
}

std::size_t SimulatedNetwork::piece_of(std::size_t bytes) {
  if (random_() % 4 != 0) return std::min(bytes, options_.longest_piece);
  return 1 + random_() % std::min(bytes, options_.longest_piece);
}

std::shared_ptr<Stream> SimulatedNetwork::open_stream(const std::string& from,
                                                      const std::string& to) {
  auto stream = std::make_shared<Stream>(*this, ++streams_made_);
  stream->ends[0].host = from;
  stream->ends[1].host = to;
  std::erase_if(streams_, [](const auto& old) { return old.expired(); });
  streams_.push_back(stream);
  return stream;
}

void SimulatedNetwork::connect(Host& from, const std::string& to, std::uint16_t port,
                               const std::shared_ptr<HostConnecting>& connecting) {
  const auto again = [this, name = from.name(), to, port, weak = std::weak_ptr(connecting)] {
    const auto attempt = weak.lock();
    const auto host = hosts_.find(name);
    if (!attempt || !attempt->waits() || host == hosts_.end()) return;
    if (is_cut(name, to) || is_cut(to, name) || without_power_.contains(to)) {
      schedule_.after(kSynInterval, [this, name, to, port, weak] {
        const auto waiting = weak.lock();
        const auto there = hosts_.find(name);
        if (waiting && there != hosts_.end()) connect(*there->second, to, port, waiting);
      });
      return;
    }
    const auto epmd = epmds_.find(to);
    if (epmd == epmds_.end())
      return attempt->end(make_error(ErrorCode::not_found, "Host not found"));
    const auto stream = open_stream(name, to);
    const auto target = hosts_.find(to);
    const bool to_epmd = port == distribution::epmd::kDefaultPort;
    if (to_epmd ? !epmd->second : target == hosts_.end() || !target->second->take_in(port, stream))
      return attempt->end(make_error(ErrorCode::unavailable, "Connection refused"));
    if (to_epmd) epmd->second->serve(stream);
    host->second->hold(stream, 0);
    attempt->end(
        std::unique_ptr<distribution::Transport>(std::make_unique<SimulatedTransport>(stream, 0)));
  };
  schedule_.after(delay(), again);
}

}  // namespace rakv::simulation
