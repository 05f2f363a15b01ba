// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace rakv::kv {

/// A process other than this one that has a file below `directory` open for writing, in words
/// ("process 17 (beam.smp)"): a BEAM takes no lock on its data. Looks into /proc, so it sees only
/// processes of this machine (and container) whose files this user may see.
std::optional<std::string> find_writer(const std::string& directory);

}  // namespace rakv::kv
