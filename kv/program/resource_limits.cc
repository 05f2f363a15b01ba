// SPDX-License-Identifier: Apache-2.0
#include "kv/program/resource_limits.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "raft/log/memory_budget.h"

namespace rakv::kv {

Result<DescriptorShares> DescriptorShares::of(std::uint64_t limit) {
  if (limit < kSmallestLimit) {
    return make_error(ErrorCode::limit_exceeded,
                      fmt::format("the limit on open files (ulimit -n) is {}; a node needs at "
                                  "least {}, better 4096: raise it, and start again",
                                  limit, kSmallestLimit));
  }
  constexpr std::uint64_t kEnough = 1 << 20;  // "unlimited" is no number to share out
  const std::size_t rest = static_cast<std::size_t>(std::min(limit, kEnough)) - kReserve;
  DescriptorShares shares;
  shares.segments = std::min(kMostSegments, rest / 4);
  shares.handshakes = std::min(kMostHandshakes, rest / 4);
  shares.connections = rest - shares.segments - shares.handshakes;
  return shares;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return DescriptorShares::kSmallestLimit;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return raised.rlim_cur;
  }
  return limit.rlim_cur;
}

namespace {

std::optional<std::uint64_t> leading_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return number;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// `0::/PATH` is version 2's line, `N:...memory...:/PATH` version 1's.
std::string cgroup_limit() {
  std::istringstream lines(text_of("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      const std::string limit = text_of("/sys/fs/cgroup" + path + "/memory.max");
      return limit.empty() ? text_of("/sys/fs/cgroup/memory.max") : limit;
    }
    if (controllers.find("memory") != std::string::npos) {
      const std::string root = "/sys/fs/cgroup/memory";
      const std::string limit = text_of(root + path + "/memory.limit_in_bytes");
      return limit.empty() ? text_of(root + "/memory.limit_in_bytes") : limit;
    }
  }
  return {};
}

std::string megabytes(std::uint64_t bytes) { return std::to_string(bytes >> 20) + "MB"; }

}  // namespace

std::optional<std::uint64_t> memory_in(std::string_view meminfo, std::string_view cgroup_limit) {
  constexpr std::string_view kTotal = "MemTotal:";
  std::optional<std::uint64_t> memory;
  if (const auto at = meminfo.find(kTotal); at != std::string_view::npos) {
    std::string_view rest = meminfo.substr(at + kTotal.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    if (const auto kilobytes = leading_number(rest)) memory = *kilobytes << 10;
  }
  const auto limit = leading_number(cgroup_limit);  // `max` is no limit
  if (limit && *limit > 0) memory = std::min(memory.value_or(*limit), *limit);
  return memory;
}

std::optional<std::uint64_t> available_memory() {
  return memory_in(text_of("/proc/meminfo"), cgroup_limit());
}

BudgetChoice choose_budget(std::uint64_t asked_for, std::optional<std::uint64_t> memory) {
  if (!memory) return {asked_for, {}};
  const std::uint64_t half = std::max(*memory / 2, raftlog::MemoryBudget::kSmallestBytes);
  const std::string there = "this process can have " + megabytes(*memory) + " of memory";
  if (asked_for == raftlog::MemoryBudget::kDefaultBytes && half < asked_for) {
    return {half, fmt::format("{}: the memory budget is {}; --memory-budget sets another one",
                              there, megabytes(half))};
  }
  if (asked_for > *memory) {
    return {asked_for, fmt::format("{}, and the memory budget is {}: the system may kill it; "
                                   "choose a smaller --memory-budget",
                                   there, megabytes(asked_for))};
  }
  return {asked_for, {}};
}

}  // namespace rakv::kv
