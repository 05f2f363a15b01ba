// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "cnode/base/result.h"
#include "raft/log/directory/server_config.h"

namespace rakv::member {

/// Reads the config map of start_server_rpc (docs/protocol/wire.md 5.2) and adds ra's defaults for
/// what it leaves out, so that the stored config has the keys a BEAM member's has. Errors:
/// malformed, naming the key.
Result<raftlog::ServerConfig> read_server_config_term(std::string_view term);

/// Takes over those keys of `additions` (a config map) that a restart may change; gives whether any
/// value is another one now. Errors: invalid_argument, naming key and value.
Result<bool> merge_restart_config(raftlog::ServerConfig& config, std::string_view additions);

/// The value of `key` in the config's further keys or, encoded without version byte; empty when it
/// is not there.
std::string_view config_value(const raftlog::ServerConfig& config, std::string_view key);

/// `friendly_name`, which ra puts in front of its log lines instead of the server's id; empty when
/// there is none.
std::string friendly_name(const raftlog::ServerConfig& config);

/// `major_compaction_strategy` of log_init_args: N of `{num_minors, N}`; nothing for `manual`;
/// `otherwise` when it is not there or something else.
std::optional<std::uint64_t> minors_before_major(std::string_view log_init_args,
                                                 std::optional<std::uint64_t> otherwise);

}  // namespace rakv::member
