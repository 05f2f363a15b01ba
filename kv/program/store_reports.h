// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "raft/log/offline/inspection.h"
#include "raft/log/offline/repair.h"

// What `rakv check`, `rakv takeover --check` and `rakv repair` print: for people, or one line of
// JSON. `directory` is the one that was looked at.

namespace rakv::kv {

std::string inspection_text(const std::string& directory, const raftlog::Inspection& found);
std::string inspection_json(const std::string& directory, const raftlog::Inspection& found);

/// `dry_run`: nothing was changed.
std::string repair_text(const raftlog::Repair& repair, bool dry_run);
std::string repair_json(const std::string& directory, const raftlog::Repair& repair, bool dry_run);

}  // namespace rakv::kv
