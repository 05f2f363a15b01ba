// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/shrink.h"

#include <algorithm>
#include <vector>

namespace rakv::simulation {
namespace {

/// What to try next: each is smaller than `options` in one respect.
std::vector<RunOptions> smaller_ones(const RunOptions& options) {
  std::vector<RunOptions> candidates;
  const auto halve = [&](std::uint64_t RunOptions::*member, std::uint64_t least) {
    if (options.*member <= least) return;
    RunOptions smaller = options;
    smaller.*member = std::max(least, options.*member / 2);
    candidates.push_back(smaller);
  };
  for (const FaultKind kind : options.faults) {
    RunOptions smaller = options;
    smaller.faults.erase(kind);
    candidates.push_back(smaller);
  }
  halve(&RunOptions::fault_seconds, 1);
  halve(&RunOptions::operations, 1);
  halve(&RunOptions::clients, 1);
  halve(&RunOptions::keys, 1);
  if (options.beam_nodes > 0) {
    RunOptions smaller = options;
    --smaller.beam_nodes;
    candidates.push_back(smaller);
  }
  if (options.nodes > 1) {
    RunOptions smaller = options;
    --smaller.nodes;
    smaller.beam_nodes = std::min(smaller.beam_nodes, smaller.nodes);
    candidates.push_back(smaller);
  }
  return candidates;
}

}  // namespace

RunOptions shrink(RunOptions failing, const std::function<bool(const RunOptions&)>& fails) {
  for (bool found = true; found;) {
    found = false;
    for (const RunOptions& candidate : smaller_ones(failing)) {
      if (!fails(candidate)) continue;
      failing = candidate;
      found = true;
      break;
    }
  }
  return failing;
}

}  // namespace rakv::simulation
