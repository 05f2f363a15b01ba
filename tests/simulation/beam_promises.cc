// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_promises.h"

#include "tests/simulation/simulated_node.h"

namespace rakv::simulation {

void BeamPromises::on_broken_rule(std::string_view what) {
  if (!broken_) broken_ = what;
}

void BeamPromises::on_second_vote(raft::Term) {
  on_broken_rule("a vote was given twice in a term");
}

/// The leader counts it: it must have that very entry.
void BeamPromises::on_acknowledged(const raft::ServerId& leader, raft::IndexTerm place) {
  if (!sight_.node) return;
  SimulatedNode* const node = sight_.node(leader.node());
  const auto view = node == nullptr ? std::nullopt : node->view(leader.name());
  if (!view || view->role != raft::Role::leader) return;
  const auto there = node->term_at(place.index, leader.name());
  const bool beyond = place.index > view->last;
  if (beyond || (there && *there != place.term))
    on_broken_rule("an index was acknowledged beyond what was validated");
}

void BeamPromises::on_cut(const BeamLog& log, raft::Index index, raft::Index last) {
  if (!sight_.is_committed) return;
  for (raft::Index cut = index + 1; cut <= last; ++cut) {
    const raft::Entry* const entry = log.read(cut);
    if (entry != nullptr && sight_.is_committed(log.id().name(), *entry))
      return on_broken_rule("a committed entry was cut away");
  }
}

}  // namespace rakv::simulation
