// SPDX-License-Identifier: Apache-2.0
#include "raft/log/base/numbered_name.h"

#include <charconv>

namespace rakv::raftlog {
namespace {

constexpr std::size_t kNumberDigits = 16;

}  // namespace

std::string numbered_name(std::uint64_t number, std::string_view suffix) {
  std::string digits = std::to_string(number);
  if (digits.size() < kNumberDigits) digits.insert(0, kNumberDigits - digits.size(), '0');
  return digits.append(suffix);
}

std::optional<std::uint64_t> number_of_name(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  if (name.size() != kNumberDigits && name.size() != 8) return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace rakv::raftlog
