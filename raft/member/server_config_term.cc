// SPDX-License-Identifier: Apache-2.0
#include "raft/member/server_config_term.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cnode/etf/cursor.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "cnode/etf/writer.h"
#include "cnode/node/rpc.h"
#include "raft/member/event_formatter.h"
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

Error bad_key(std::string_view key) {
  return make_error(ErrorCode::malformed,
                    fmt::format("server config: '{}' is missing or malformed", key));
}

constexpr std::array<std::string_view, 7> kNaturalKeys = {"broadcast_time",
                                                          "tick_timeout",
                                                          "install_snap_rpc_timeout",
                                                          "await_condition_timeout",
                                                          "max_pipeline_count",
                                                          "max_append_entries_rpc_batch_size",
                                                          "min_recovery_checkpoint_interval"};

/// A binary, an atom or a flat list of characters as UTF-8; nothing when it is something else.
std::optional<std::string> characters(std::string_view term) {
  etf::Cursor cursor(term);
  if (term.empty()) return std::nullopt;
  if (cursor.kind() == etf::TermKind::binary) return std::string(cursor.binary().value_or(""));
  if (cursor.kind() == etf::TermKind::atom) return std::string(cursor.atom().value_or(""));
  std::string storage;
  const auto elements = node::list_elements(term, storage);
  if (!elements) return std::nullopt;
  std::string text;
  for (const std::string_view element : *elements) {
    etf::Cursor character(element);
    const auto code = character.kind() == etf::TermKind::integer ? character.u64()
                                                                 : std::optional<std::uint64_t>();
    if (!code || *code > 0x10FFFF) return std::nullopt;
    etf::scan::append_utf8(text, static_cast<std::uint32_t>(*code));
  }
  return text;
}

bool is_natural(std::string_view term) {
  etf::Cursor cursor(term);
  return cursor.kind() == etf::TermKind::integer && cursor.u64().has_value();
}

/// Whether a server can run with this value; those of keys that mean nothing to ra are kept as they
/// are.
bool is_good_value(std::string_view key, std::string_view value) {
  etf::Cursor cursor(value);
  if (std::find(kNaturalKeys.begin(), kNaturalKeys.end(), key) != kNaturalKeys.end())
    return is_natural(value);
  if (key == "ra_event_formatter")
    return cursor.is_atom("undefined") || EventFormatter::is_formatter(value);
  if (key == "friendly_name") return characters(value).has_value();
  if (key == "metrics_labels") return cursor.kind() == etf::TermKind::map;
  if (key == "initial_machine_version") return is_natural(value);
  if (key == "membership")
    return cursor.is_atom("voter") || cursor.is_atom("promotable") || cursor.is_atom("non_voter");
  return true;
}

Error bad_value(std::string_view key, std::string_view value) {
  return make_error(
      ErrorCode::invalid_argument,
      fmt::format("server config: '{}' can't be {}", key, etf::print_brief(value).substr(0, 200)));
}

bool read_members(std::string_view term, std::vector<raft::ServerId>& members) {
  etf::Cursor cursor(term);
  const std::optional<raft::Cluster> cluster = wire::read_cluster(cursor);
  if (!cluster) return false;
  // The order of the list is kept: ra's config file shows it.
  etf::Cursor again(term);
  const std::uint32_t count = again.list().value_or(0);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::optional<raft::ServerId> id = wire::read_server_id(again);
    if (!id) return false;
    members.push_back(*id);
  }
  return true;
}

void set_other(raftlog::ServerConfig& config, std::string_view key, std::string encoded) {
  for (auto& [name, value] : config.others) {
    if (name == key) {
      value = std::move(encoded);
      return;
    }
  }
  config.others.emplace_back(std::string(key), std::move(encoded));
}

void add_default(raftlog::ServerConfig& config, std::string_view key, std::int64_t value) {
  if (!config_value(config, key).empty()) return;
  set_other(config, key, etf::Writer().version().integer(value).take());
}

}  // namespace

Result<raftlog::ServerConfig> read_server_config_term(std::string_view term) {
  raftlog::ServerConfig config;
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
      config.id = *id;
    } else if (name == "uid") {
      const std::optional<std::string_view> uid = value_cursor.binary();
      if (!uid) return bad_key(name);
      config.uid = *uid;
    } else if (name == "initial_members") {
      if (!read_members(*value, config.initial_members)) return bad_key(name);
    } else if (name == "cluster_name") {
      config.cluster_name = etf::with_version(*value);
    } else if (name == "machine") {
      config.machine = etf::with_version(*value);
    } else if (name == "log_init_args") {
      if (value_cursor.kind() != etf::TermKind::map) return bad_key(name);
      config.log_init_args = etf::with_version(*value);
    } else if (name != "system_config") {  // never stored
      if (!is_good_value(name, *value)) return bad_value(name, *value);
      set_other(config, name, etf::with_version(*value));
    }
  }
  if (config.id.name().empty()) return bad_key("id");
  if (!raftlog::valid_uid(config.uid)) return bad_key("uid");
  if (config.machine.empty()) return bad_key("machine");
  if (config.cluster_name.empty()) return bad_key("cluster_name");
  if (config.log_init_args.empty()) return bad_key("log_init_args");
  add_default(config, "broadcast_time", 100);
  add_default(config, "tick_timeout", 1000);
  add_default(config, "install_snap_rpc_timeout", 120'000);
  add_default(config, "await_condition_timeout", 30'000);
  return config;
}

Result<bool> merge_restart_config(raftlog::ServerConfig& config, std::string_view additions) {
  const raftlog::EncodedTerm cluster_name = config.cluster_name;
  const auto others = config.others;
  std::optional<Error> bad;
  etf::Cursor cursor(additions);
  etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
    const bool counts =
        std::find(kRestartKeys.begin(), kRestartKeys.end(), key) != kRestartKeys.end();
    if (!counts || bad) return;
    if (!is_good_value(key, value)) {
      bad = bad_value(key, value);
    } else if (key == "cluster_name") {
      config.cluster_name = etf::with_version(value);
    } else {
      set_other(config, key, etf::with_version(value));
    }
  });
  if (bad) return *bad;
  return config.cluster_name != cluster_name || config.others != others;
}

std::string_view config_value(const raftlog::ServerConfig& config, std::string_view key) {
  for (const auto& [name, value] : config.others) {
    if (name == key && !value.empty()) return etf::without_version(value);
  }
  return {};
}

std::string friendly_name(const raftlog::ServerConfig& config) {
  std::string name = characters(config_value(config, "friendly_name")).value_or("");
  // It must not make lines of its own.
  for (char& byte : name) {
    if (static_cast<unsigned char>(byte) < ' ' || byte == '\x7f') byte = '?';
  }
  return name;
}

std::optional<std::uint64_t> minors_before_major(std::string_view log_init_args,
                                                 std::optional<std::uint64_t> otherwise) {
  const std::optional<std::string_view> strategy =
      etf::map_value(log_init_args, "major_compaction_strategy");
  if (!strategy) return otherwise;
  etf::Cursor cursor(*strategy);
  if (cursor.is_atom("manual")) return std::nullopt;
  if (!cursor.tuple(2) || !cursor.is_atom("num_minors")) return otherwise;
  const std::optional<std::uint64_t> minors = cursor.u64();
  return minors ? minors : otherwise;
}

}  // namespace rakv::member
