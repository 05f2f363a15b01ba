// SPDX-License-Identifier: Apache-2.0
#include "kv/program/takeover_conditions.h"

#include <fmt/format.h>

#include "cnode/etf/cursor.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/version.h"
#include "kv/machine.h"
#include "kv/replicated_machine.h"

namespace rakv::kv {

Result<void> can_take_over(const raftlog::ServerConfig& config, const std::string& node) {
  if (config.id.node() != node) {
    return make_error(ErrorCode::unsupported,
                      fmt::format("belongs to the node {}, not {}; start rakv under that name, or "
                                  "let a member of the new name join the cluster instead",
                                  config.id.node(), node));
  }
  const auto machine = KvMachineFactory().make(etf::without_version(config.machine));
  if (!machine) return machine.error();
  const auto module = etf::map_value(etf::without_version(config.log_init_args), "snapshot_module");
  if (module && !etf::Cursor(*module).is_atom("ra_log_snapshot")) {
    return make_error(ErrorCode::unsupported,
                      "writes snapshots with a module of its own; this node knows "
                      "ra_log_snapshot only");
  }
  return {};
}

Result<raftlog::IndexSet> live_indexes_of_state(std::string_view state) {
  KvMachine machine;
  if (!state.starts_with(etf::kVersionByte)) {
    return make_error(ErrorCode::malformed, "the machine's state is not a term");
  }
  if (auto read = machine.read_state(etf::without_version(state)); !read) return read.error();
  return raftlog::IndexSet::of(machine.live_indexes());
}

}  // namespace rakv::kv
