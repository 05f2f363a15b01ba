#pragma once

#include <string>

#include "cnode/base/result.h"

namespace rakv::kv {

/// The full name of a node started with `--sname NAME[@HOST]` as erl makes it: the host is this
/// machine's name up to its first dot.
Result<std::string> short_node_name(const std::string& name);

/// The full name of a node started with `--name NAME[@HOST]`: the host must have a dot or be an
/// address.
Result<std::string> long_node_name(const std::string& name);

}  // namespace rakv::kv
