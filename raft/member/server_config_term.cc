#include "raft/member/server_config_term.h"

#include <algorithm>
#include <array>
#include <optional>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

constexpr std::array<std::string_view, 9> kRestartKeys = {"cluster_name",
                                                          "metrics_key",
                                                          "broadcast_time",
                                                          "tick_timeout",
                                                          "install_snap_rpc_timeout",
                                                          "await_condition_timeout",
                                                          "max_pipeline_count",
                                                          "ra_event_formatter",
                                                          "min_recovery_checkpoint_interval"};

std::string with_version(std::string_view term) { return std::string(1, '\x83').append(term); }

Error bad_key(std::string_view key) {
  return make_error(ErrorCode::malformed,
                    "server config: '" + std::string(key) + "' is missing or malformed");
}

bool read_members(std::string_view term, std::vector<log::ServerId>& members) {
  etf::Cursor cursor(term);
  const std::optional<raft::Cluster> cluster = wire::read_cluster(cursor);
  if (!cluster) return false;
  // The order of the list is kept: ra's config file shows it.
  etf::Cursor again(term);
  const std::uint32_t count = again.list().value_or(0);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::optional<raft::ServerId> id = wire::read_server_id(again);
    if (!id) return false;
    members.push_back({id->name(), id->node()});
  }
  return true;
}

void set_other(log::ServerConfig& config, std::string_view key, std::string encoded) {
  for (auto& [name, value] : config.others) {
    if (name == key) {
      value = std::move(encoded);
      return;
    }
  }
  config.others.emplace_back(std::string(key), std::move(encoded));
}

void add_default(log::ServerConfig& config, std::string_view key, std::int64_t value) {
  if (!config_value(config, key).empty()) return;
  set_other(config, key, etf::Writer().version().integer(value).take());
}

}  // namespace

Result<log::ServerConfig> read_server_config_term(std::string_view term) {
  log::ServerConfig config;
  etf::Cursor cursor(term);
  const std::optional<std::uint32_t> count =
      cursor.kind() == etf::TermKind::map ? cursor.map() : std::nullopt;
  if (!count) return make_error(ErrorCode::malformed, "server config: not a map");
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> key = cursor.atom();
    if (!key) return make_error(ErrorCode::malformed, "server config: a key is not an atom");
    const std::string name(*key);
    const std::optional<std::string_view> value = cursor.skip();
    if (!value) return bad_key(name);
    etf::Cursor value_cursor(*value);
    if (name == "id") {
      const std::optional<raft::ServerId> id = wire::read_server_id(value_cursor);
      if (!id) return bad_key(name);
      config.id = {id->name(), id->node()};
    } else if (name == "uid") {
      const std::optional<std::string_view> uid = value_cursor.binary();
      if (!uid) return bad_key(name);
      config.uid = *uid;
    } else if (name == "initial_members") {
      if (!read_members(*value, config.initial_members)) return bad_key(name);
    } else if (name == "cluster_name") {
      config.cluster_name = with_version(*value);
    } else if (name == "machine") {
      config.machine = with_version(*value);
    } else if (name == "log_init_args") {
      config.log_init_args = with_version(*value);
    } else if (name != "system_config") {  // never stored
      set_other(config, name, with_version(*value));
    }
  }
  if (config.id.name.empty()) return bad_key("id");
  if (!log::valid_uid(config.uid)) return bad_key("uid");
  if (config.machine.empty()) return bad_key("machine");
  if (config.cluster_name.empty()) return bad_key("cluster_name");
  if (config.log_init_args.empty()) {
    config.log_init_args = etf::Writer().version().map(1).atom("uid").binary(config.uid).take();
  }
  add_default(config, "broadcast_time", 100);
  add_default(config, "tick_timeout", 1000);
  add_default(config, "install_snap_rpc_timeout", 120'000);
  add_default(config, "await_condition_timeout", 30'000);
  return config;
}

void merge_restart_config(log::ServerConfig& config, std::string_view additions) {
  etf::Cursor cursor(additions);
  const std::uint32_t count = cursor.kind() == etf::TermKind::map ? cursor.map().value_or(0) : 0;
  for (std::uint32_t i = 0; i < count && cursor.ok(); ++i) {
    const std::string_view key_term = cursor.skip().value_or(std::string_view{});
    const std::string_view value = cursor.skip().value_or(std::string_view{});
    etf::Cursor key_cursor(key_term);
    if (key_cursor.kind() != etf::TermKind::atom) continue;
    const std::string_view key = key_cursor.atom().value_or("");
    if (std::find(kRestartKeys.begin(), kRestartKeys.end(), key) == kRestartKeys.end()) continue;
    if (key == "cluster_name") {
      config.cluster_name = with_version(value);
    } else {
      set_other(config, key, with_version(value));
    }
  }
}

std::string_view config_value(const log::ServerConfig& config, std::string_view key) {
  for (const auto& [name, value] : config.others) {
    if (name == key && !value.empty()) return std::string_view(value).substr(1);
  }
  return {};
}

std::optional<std::uint64_t> map_integer(std::string_view map_term, std::string_view key) {
  etf::Cursor cursor(map_term);
  const std::uint32_t count = cursor.kind() == etf::TermKind::map ? cursor.map().value_or(0) : 0;
  for (std::uint32_t i = 0; i < count && cursor.ok(); ++i) {
    if (cursor.is_atom(key)) {
      return cursor.kind() == etf::TermKind::integer ? cursor.u64() : std::nullopt;
    }
    cursor.skip();
    cursor.skip();
  }
  return std::nullopt;
}

std::optional<std::uint64_t> minors_before_major(std::string_view log_init_args,
                                                 std::optional<std::uint64_t> otherwise) {
  etf::Cursor cursor(log_init_args);
  const std::uint32_t count = cursor.kind() == etf::TermKind::map ? cursor.map().value_or(0) : 0;
  for (std::uint32_t i = 0; i < count && cursor.ok(); ++i) {
    if (!cursor.is_atom("major_compaction_strategy")) {
      cursor.skip();
      cursor.skip();
      continue;
    }
    if (cursor.is_atom("manual")) return std::nullopt;
    if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 2U) return otherwise;
    if (!cursor.is_atom("num_minors") || cursor.kind() != etf::TermKind::integer) return otherwise;
    const std::optional<std::uint64_t> minors = cursor.u64();
    return minors ? minors : otherwise;
  }
  return otherwise;
}

}  // namespace rakv::member
