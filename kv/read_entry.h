#pragma once

#include "raft/member/server_system.h"

namespace rakv::kv {

/// Serves ra_kv:read_entry/4, the remote leg of ra_kv:get/3: the entry at an index of a member of
/// this node as
/// `{ok, Meta, Value}` (ra-wire section 5.4).
void add_read_entry(member::ServerSystem& system);

}  // namespace rakv::kv
