// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tests/simulation/beam_rules.h"

namespace rakv::simulation {

class SimulatedNode;

/// Notices when a member that follows ra's rules breaks one of Raft's: what goes wrong after that
/// is ra's doing (docs/reliability.md).
class BeamPromises final : public BeamWitness {
 public:
  /// What the promises are looked at with.
  struct Sight {
    /// The node of that name; null without one.
    std::function<SimulatedNode*(const std::string& node)> node;
    /// Whether this entry has been seen applied at its index, in the cluster of that name.
    std::function<bool(const std::string& cluster, const raft::Entry& entry)> is_committed;
  };
  void set_sight(Sight sight) { sight_ = std::move(sight); }
  /// The first one that was broken.
  const std::optional<std::string>& broken() const { return broken_; }

  void on_second_vote(raft::Term term) override;
  void on_acknowledged(const raft::ServerId& leader, raft::IndexTerm place) override;
  void on_cut(const BeamLog& log, raft::Index index, raft::Index last) override;
  void on_broken_rule(std::string_view what) override;

 private:
  Sight sight_;
  std::optional<std::string> broken_;
};

}  // namespace rakv::simulation
