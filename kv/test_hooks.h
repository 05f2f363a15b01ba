#pragma once

#include "cnode/node/node.h"

namespace rakv::kv {

/// Lets peers make this node do what only tests want of it, under the names that a BEAM node has
/// for it: erlang:throw/1, erlang:exit/1, erlang:error/1, and net_kernel:connect_node/1 (true, or
/// false when the dial failed). Before Node::accept_peers().
void add_test_hooks(node::Node& node);

}  // namespace rakv::kv
