// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cnode/base/result.h"

// Names of nodes and clusters as the user gives them, checked before anything is done with them.
//
// A node's name is what `erl -sname` and `erl -name` take (OTP 29: net_kernel:create_name/3,
// valid_name_head/1, validate_hostname/1): before the @ letters, digits, _ and -, after it a host
// of characters from ! to U+00FF, at most 255 characters in all. We are stricter in that the host
// has no slash, because the name is a folder's, and no control characters, and that `undefined`,
// with which erl asks for a name of somebody else's choice, is none.

namespace rakv::kv {

/// What this machine calls itself; localhost if that can't be read.
std::string host_name();

/// The full name of a node started with `--sname NAME[@HOST]` as erl makes it: the host is this
/// machine's name up to its first dot. Error invalid_argument.
Result<std::string> short_node_name(std::string_view name);

/// The full name of a node started with `--name NAME[@HOST]`: without a host this machine's full
/// name is taken, which must have a dot then. Error invalid_argument.
Result<std::string> long_node_name(std::string_view name);

/// The full name of a node that somebody wants to talk to: a long name if its host has a dot or a
/// colon.
Result<std::string> peer_node_name(std::string_view name);

/// The name of a cluster that is there already: any atom but the empty one, which is 1 to 255
/// characters in UTF-8.
Result<void> check_cluster_name(std::string_view name);

/// The name of a cluster that is to be made: besides, it has neither blanks nor control characters
/// nor slashes, and is not `.`, `..` or `undefined`, which no process can be registered as.
Result<void> check_new_cluster_name(std::string_view name);

/// Whether a host is this machine by its very name: 127.0.0.0/8, ::1, localhost and what ends with
/// .localhost (RFC 6761). Nodes on other machines can't reach such a node.
bool is_loopback_host(std::string_view host);

/// The part after the @.
std::string_view host_of(std::string_view node);

/// The address that a node listens on when it is not told: the loopback address if its host is
/// loopback, else all IPv4 addresses.
std::string default_listen_address(std::string_view node);

}  // namespace rakv::kv
