// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "raft/log/memory_budget.h"

namespace rakv::kv {

/// What `rakv start` is told; kv/program/settings.h has what each must be.
struct StartOptions {
  std::string short_name;   ///< NAME or NAME@HOST; this or long_name
  std::string long_name;    ///< NAME@HOST.DOMAIN
  std::string cookie;       ///< as text; empty: that of cookie_file
  std::string cookie_file;  ///< `-`: standard input; empty: the user's Erlang cookie file
  std::string data_dir = "data";
  std::uint64_t memory_budget_bytes = raftlog::MemoryBudget::kDefaultBytes;
  std::string bootstrap;  ///< cluster to make if it is not there; may be empty
  std::vector<std::string> connect;
  std::string listen_address;  ///< empty: default_listen_address() of the node
  std::uint16_t listen_port = 0;
  std::uint32_t net_ticktime_s = 60;
  std::string log_level = "info";
  bool exit_with_parent = false;
  bool test_hooks = false;
  std::vector<std::string> notices;  ///< to be logged as warnings at the start
};

/// Runs a node until SIGTERM, SIGINT or, with exit_with_parent, the end of standard input. Prints
/// `ready NODE PORT` once it serves. Gives the program's exit code: 0 after an ordered stop, 1 when
/// it could not start (one line says why).
int run_start_command(const StartOptions& options);

}  // namespace rakv::kv
