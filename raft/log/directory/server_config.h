// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cnode/base/randomness.h"
#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"

namespace rakv::raftlog {

/// A server's `config` file: one Erlang map in text (ra_log.erl write_config). Terms that the log
/// room does not look into are ETF with a leading 131.
struct ServerConfig {
  ServerId id;
  std::string uid;
  EncodedTerm cluster_name;  ///< atom, string or binary
  std::vector<ServerId>
      initial_members;  ///< bootstrap set only; the log and the snapshot say who is a member now
  EncodedTerm machine;  ///< `{module, Module, InitArgs}` or `{simple, ...}`
  EncodedTerm log_init_args;  ///< a map
  std::vector<std::pair<std::string, EncodedTerm>>
      others;  ///< further keys (atoms), kept as they are
};

/// Parses the text. malformed / invalid_argument messages name the key that is missing or wrong.
Result<ServerConfig> parse_server_config(const std::string& text);
/// The text, ending in ".\n", which file:consult/1 and ra read.
Result<std::string> print_server_config(const ServerConfig& config);

/// DIRECTORY/config. Missing = not_found.
Result<ServerConfig> read_server_config(Disk& disk, const std::string& directory);
/// Written to config.tmp, synced, renamed, directory synced.
Result<void> write_server_config(Disk& disk, const std::string& directory,
                                 const ServerConfig& config);

/// A new UId as ra:new_uid/1 makes it: up to 6 characters of `source` in upper case and 12 random
/// ones.
std::string new_uid(std::string_view source, Randomness& randomness);
/// Whether ra takes it: 1 to 255 characters of [A-Za-z0-9_=-], and not the reserved one.
bool valid_uid(std::string_view uid);

}  // namespace rakv::raftlog
