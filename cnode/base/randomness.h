// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <limits>

// Chance as a node sees it: challenges, creations, unique ids, salts, the lengths of election
// timers. It comes from the operating system; a simulation gives each node's io_context a seeded
// source instead, and a seed replays the node.

namespace rakv {

/// A source of random numbers, usable with the distributions of <random>. Single-threaded.
class Randomness {
 public:
  using result_type = std::uint64_t;

  virtual ~Randomness() = default;
  /// 64 random bits that nobody can foresee.
  virtual result_type operator()() = 0;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

  /// The operating system's. May be used from every thread.
  static Randomness& system();
  /// That of `io`: the operating system's, unless another one was set.
  static Randomness& of(boost::asio::io_context& io);
  /// Before anything asks for the one of `io`. `randomness` must outlive it.
  static void set(boost::asio::io_context& io, Randomness& randomness);
};

}  // namespace rakv
