// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/run_options.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

namespace rakv::simulation {
namespace {

struct FaultName {
  FaultKind kind;
  std::string_view name;
};
constexpr FaultName kFaultNames[] = {
    {FaultKind::kill, "kill"},
    {FaultKind::halt, "halt"},
    {FaultKind::stop_in_disk, "stop_in_disk"},
    {FaultKind::power_cut, "power_cut"},
    {FaultKind::restart_server, "restart_server"},
    {FaultKind::stop_server, "stop_server"},
    {FaultKind::crash_server, "crash_server"},
    {FaultKind::slow_wal, "slow_wal"},
    {FaultKind::slow_worker, "slow_worker"},
    {FaultKind::slow_background, "slow_background"},
    {FaultKind::slow_restart, "slow_restart"},
    {FaultKind::cut, "cut"},
    {FaultKind::cut_one_way, "cut_one_way"},
    {FaultKind::isolate, "isolate"},
    {FaultKind::reset, "reset"},
    {FaultKind::freeze, "freeze"},
    {FaultKind::snapshot, "snapshot"},
    {FaultKind::transfer, "transfer"},
    {FaultKind::election, "election"},
    {FaultKind::membership, "membership"},
    {FaultKind::disk_errors, "disk_errors"},
    {FaultKind::full_disk, "full_disk"},
    {FaultKind::flap, "flap"},
    {FaultKind::epmd, "epmd"},
    {FaultKind::clock_jump, "clock_jump"},
    {FaultKind::flip_bits, "flip_bits"},
    {FaultKind::vanish, "vanish"},
    {FaultKind::stranger, "stranger"},
    {FaultKind::descriptors, "descriptors"},
    {FaultKind::replacement, "replacement"},
};

struct NumberOption {
  std::string_view name;
  std::uint64_t RunOptions::*member;
  /// What is drawn from.
  std::vector<std::uint64_t> values;
};
const std::vector<NumberOption>& number_options() {
  static const std::vector<NumberOption> kOptions = {
      {"seed", &RunOptions::seed, {}},
      {"nodes", &RunOptions::nodes, {1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7}},
      {"beam_nodes", &RunOptions::beam_nodes, {0, 0, 0, 0, 0, 1, 1, 2, 3}},
      {"clusters", &RunOptions::clusters, {1, 1, 1, 2}},
      {"clients", &RunOptions::clients, {1, 2, 3, 4}},
      {"keys", &RunOptions::keys, {1, 2, 3, 8}},
      {"operations", &RunOptions::operations, {25, 50, 100}},
      {"think_ms", &RunOptions::think_ms, {5, 50, 200}},
      {"deadline_ms", &RunOptions::deadline_ms, {500, 2000, 5000}},
      {"large_bytes", &RunOptions::large_bytes, {600, 6'000, 40'000}},
      {"fault_seconds", &RunOptions::fault_seconds, {2, 5, 10}},
      {"fault_pause_ms", &RunOptions::fault_pause_ms, {30, 100, 300, 1000}},
      {"fault_length_ms", &RunOptions::fault_length_ms, {20, 200, 1000, 3000}},
      {"wal_bytes", &RunOptions::wal_bytes, {2'000, 8'000, 32'000, 256'000}},
      {"segment_entries", &RunOptions::segment_entries, {4, 16, 64}},
      {"far_ms", &RunOptions::far_ms, {0, 0, 0, 0, 0, 0, 0, 10, 100, 300}},
      {"store_ms", &RunOptions::store_ms, {0, 0, 0, 0, 0, 0, 0, 20, 250}},
      {"minority", &RunOptions::minority, {0, 0, 1}},
  };
  return kOptions;
}

/// What an operation takes on connections that are there, and a few more.
constexpr std::uint64_t kRoundTrips = 8;

Error bad_option(std::string_view name, std::string_view value) {
  return make_error(ErrorCode::invalid_argument,
                    "--" + std::string(name) + " can't be " + std::string(value));
}

}  // namespace

const std::vector<FaultKind>& all_fault_kinds() {
  static const std::vector<FaultKind> kAll = [] {
    std::vector<FaultKind> all;
    for (const FaultName& each : kFaultNames) all.push_back(each.kind);
    return all;
  }();
  return kAll;
}

std::string_view to_string(FaultKind kind) {
  return kFaultNames[static_cast<std::size_t>(kind)].name;
}

RunOptions RunOptions::draw(std::uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  std::mt19937_64 random(seed * 0x9E3779B97F4A7C15U + 1);
  for (const NumberOption& option : number_options()) {
    if (!option.values.empty())
      options.*option.member = option.values[random() % option.values.size()];
  }
  options.beam_nodes = std::min(options.beam_nodes, options.nodes);
  options.deadline_ms = std::max(options.deadline_ms, kRoundTrips * 2 * options.far_ms);
  // Few kinds together show more than all of them: each gets room.
  const std::uint64_t one_in = 2 + random() % 4;
  const auto& kinds = all_fault_kinds();
  for (const FaultKind kind : kinds) {
    if (random() % one_in == 0) options.faults.insert(kind);
  }
  options.faults.insert(kinds[random() % kinds.size()]);
  // A member that has lost what it promised and one that is being replaced are two of three.
  if (options.faults.contains(FaultKind::membership)) options.faults.erase(FaultKind::flip_bits);
  // A server that is made again under its UId does not know what it promised before the damage.
  if (options.faults.contains(FaultKind::replacement)) options.faults.erase(FaultKind::flip_bits);
  // Neither is a majority then that could do alone.
  if (options.faults.contains(FaultKind::membership) ||
      options.faults.contains(FaultKind::flip_bits))
    options.minority = 0;
  return options;
}

Result<void> RunOptions::set(std::string_view name, std::string_view value) {
  if (name == "faults") {
    faults.clear();
    while (!value.empty()) {
      const std::string_view word = value.substr(0, value.find(','));
      value.remove_prefix(std::min(value.size(), word.size() + 1));
      const auto* const found =
          std::find_if(std::begin(kFaultNames), std::end(kFaultNames),
                       [&](const FaultName& each) { return each.name == word; });
      if (found == std::end(kFaultNames)) return bad_option(name, word);
      faults.insert(found->kind);
    }
    return {};
  }
  for (const NumberOption& option : number_options()) {
    if (option.name != name) continue;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size()) return bad_option(name, value);
    this->*option.member = number;
    return {};
  }
  return make_error(ErrorCode::invalid_argument, "there is no option --" + std::string(name));
}

Result<RunOptions> RunOptions::parse(std::string_view text) {
  RunOptions options;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const std::size_t equals = word.find('=');
    if (!word.starts_with("--") || equals == std::string_view::npos)
      return make_error(ErrorCode::invalid_argument, "not --NAME=VALUE: " + std::string(word));
    if (auto set = options.set(word.substr(2, equals - 2), word.substr(equals + 1)); !set)
      return set.error();
  }
  return options;
}

std::string RunOptions::text() const {
  std::string text;
  for (const NumberOption& option : number_options()) {
    text += "--" + std::string(option.name) + "=" + std::to_string(this->*option.member) + " ";
  }
  text += "--faults=";
  const char* separator = "";
  for (const FaultKind kind : faults) {
    text += std::exchange(separator, ",");
    text += to_string(kind);
  }
  return text;
}

}  // namespace rakv::simulation
