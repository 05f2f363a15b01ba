// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cnode/distribution/network.h"
#include "tests/simulation/schedule.h"
#include "tests/simulation/trace.h"

// A network of hosts under virtual time. What a node sends is cut into pieces, which arrive in
// order, each after a delay of its own. Each host has an epmd, which outlives its node.

namespace rakv::simulation {

struct NetworkOptions {
  Nanoseconds shortest = std::chrono::microseconds(50);  ///< that a piece is under way
  Nanoseconds longest = std::chrono::microseconds(400);
  std::size_t longest_piece = std::size_t{16} * 1024;  ///< in bytes
  std::size_t window =
      std::size_t{256} * 1024;  ///< bytes under way or unread, each way of a stream
};

struct Stream;
class Host;
class Epmd;

/// The wires between all hosts.
class SimulatedNetwork {
 public:
  SimulatedNetwork(Schedule& schedule, Trace& trace, std::uint64_t seed, NetworkOptions options);
  ~SimulatedNetwork();

  /// The network of a node on that host, until switch_off(). `turn` runs the node's io_context.
  distribution::Network& switch_on(const std::string& host, boost::asio::io_context& io,
                                   std::function<void()> turn);
  /// Before the node ends: from now on nothing happens on the host. Its peers' streams end, as when
  /// the kernel closes a killed process's sockets.
  void switch_off(const std::string& host);
  /// As switch_off(), when the machine loses power: nobody hears of it. Who sends to the host then
  /// is told once it is on again, and its epmd, which goes with it, is a new one.
  void lose_power(const std::string& host);
  /// Bytes between two hosts wait until the link is mended.
  void cut(const std::string& one, const std::string& other);
  /// Only what goes from one to the other.
  void cut_one_way(const std::string& from, const std::string& to);
  /// Both ways.
  void mend(const std::string& one, const std::string& other);
  /// The host's epmd ends and takes its names with it; or a new one starts, which knows nobody.
  void stop_epmd(const std::string& host);
  void start_epmd(const std::string& host);
  /// All streams between the two end, and what was under way is lost.
  void reset(const std::string& one, const std::string& other);
  /// Somebody connects with the node on that host, says that it is the node `name`, and nothing
  /// more; the stream ends after `time`. Nothing when no node listens there.
  void claim(const std::string& host, const std::string& name, Nanoseconds time);

  // --- for hosts and streams

  Schedule& schedule() { return schedule_; }
  const NetworkOptions& options() const { return options_; }
  /// How long the next piece is under way.
  Nanoseconds delay();
  /// The size of the next piece of so many bytes.
  std::size_t piece_of(std::size_t bytes);
  bool is_cut(const std::string& from, const std::string& to) const;
  bool is_on(const std::string& host) const { return hosts_.contains(host); }
  void note(const std::string& line) { trace_.line(line); }
  void connect(Host& from, const std::string& to, std::uint16_t port,
               const std::shared_ptr<class HostConnecting>& connecting);

 private:
  std::vector<std::shared_ptr<Stream>> streams_between(const std::string& one,
                                                       const std::string& other) const;
  std::shared_ptr<Stream> open_stream(const std::string& from, const std::string& to);

  Schedule& schedule_;
  Trace& trace_;
  std::mt19937_64 random_;
  NetworkOptions options_;
  std::map<std::string, std::unique_ptr<Host>> hosts_;
  std::map<std::string, std::unique_ptr<Epmd>> epmds_;  ///< by host; null while it is stopped
  std::uint32_t epmds_made_ = 1;
  std::vector<std::weak_ptr<Stream>> streams_;
  std::uint64_t streams_made_ = 0;
  std::set<std::pair<std::string, std::string>> cut_;  ///< from and to
  std::set<std::string> without_power_;
};

}  // namespace rakv::simulation
