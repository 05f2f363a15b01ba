// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "raft/system/server_system.h"

namespace rakv::kv {

/// Serves ra_kv:read_entry/4, the remote leg of ra_kv:get/3: the entry at an index of a member of
/// this node as
/// `{ok, Meta, Value}`. An entry that this member does not have, any more or yet, or can't read is
/// `{error, {not_readable, Index, Text}}`, which no client can take for a key that is not there;
/// only the index of a committed entry that is no put is `{error, not_found}`.
void add_read_entry(system::ServerSystem& system);

}  // namespace rakv::kv
