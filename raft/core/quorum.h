// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace rakv::raft {

/// So many of `voters` are a majority.
constexpr std::size_t majority_of(std::size_t voters) { return voters / 2 + 1; }

/// What a majority has reached. Each voter adds its number (the index that it has durably, the
/// round that it has answered); agreed is the highest number that a majority has reached, some of
/// them with a higher one (dissertation 3.6.2, 6.4).
class Quorum {
 public:
  void add(std::uint64_t number) { numbers_.push_back(number); }

  /// Nothing if nobody added one. The numbers are forgotten, their memory is kept.
  std::optional<std::uint64_t> take_agreed() {
    if (numbers_.empty()) return std::nullopt;
    // In falling order majority_of(size) of them stand up to here.
    const auto middle = numbers_.begin() + static_cast<std::ptrdiff_t>(numbers_.size() / 2);
    std::nth_element(numbers_.begin(), middle, numbers_.end(), std::greater<>());
    const std::uint64_t agreed = *middle;
    numbers_.clear();
    return agreed;
  }

 private:
  std::vector<std::uint64_t> numbers_;
};

}  // namespace rakv::raft
