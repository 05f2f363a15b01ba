// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/simulation/cluster.h"

namespace rakv::simulation {

/// One node's disk, on which bits flip, and what its operator does about it. The other nodes have
/// to be a majority of every cluster without it.
class DiskDamage {
 public:
  DiskDamage(SimulatedCluster& cluster, std::uint64_t seed);

  /// A bit of one of the node's files, now and after a power cut. Not of a config, which nobody
  /// else has, nor of a segment's version (docs/damage.md). Gives the node; null when nothing is
  /// done.
  SimulatedNode* flip();
  /// What a node that does not start needs: `rakv repair`, if it is this one.
  void repair(SimulatedNode& node);

 private:
  SimulatedCluster& cluster_;
  std::mt19937_64 random_;
  SimulatedNode* node_ = nullptr;
};

}  // namespace rakv::simulation
