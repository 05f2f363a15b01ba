// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "kv/client.h"
#include "raft/core/types.h"

// What `rakv status` prints.

namespace rakv::kv {

/// What is known of one member.
struct StatusRow {
  raft::ServerId member;
  bool reachable = false;
  KeyMetrics metrics;
};

/// A table with a line for each member, and a further line for each that has a note.
std::string status_table(const std::vector<StatusRow>& rows);

/// The same as one JSON object; what a member does not say is null.
std::string status_json(const std::string& cluster, const std::vector<StatusRow>& rows);

}  // namespace rakv::kv
