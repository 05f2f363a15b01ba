// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

#include "raft/log/base/checksum.h"
#include "tests/raft/log/store.h"

namespace rakv::raftlog::testing {

/// A value of which the record's Adler-32 comes to 0. From about 700 bytes on there is one.
inline SharedBytes value_with_adler_zero(Index index, Term term, std::size_t size) {
  std::string value(size, 'd');
  std::string covered;
  for (const std::uint64_t number : {index, term}) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      covered.push_back(static_cast<char>(number >> shift & 0xff));
    }
  }
  const auto sums = [&] {
    const SharedBytes data = payload(value);
    const std::uint32_t adler = adler32(adler32(1, covered), data.view());
    return std::pair(adler & 0xffff, adler >> 16);
  };
  constexpr std::uint32_t kModulus = 65521;
  // First the plain sum, then, by pairs of changes that leave it, the other.
  std::uint32_t missing = (kModulus - sums().first) % kModulus;
  for (std::size_t i = 0; i < size && missing > 0; ++i) {
    const std::uint32_t added = std::min<std::uint32_t>(missing, 100);
    value[i] = static_cast<char>(value[i] + added);
    missing -= added;
  }
  missing = (kModulus - sums().second) % kModulus;
  for (std::size_t distance = size - 1; distance > 0 && missing > 0; --distance) {
    for (std::size_t i = 0; i + distance < size && missing >= distance; ++i) {
      if (value[i] == '\xff' || value[i + distance] == 0) continue;
      value[i] = static_cast<char>(value[i] + 1);
      value[i + distance] = static_cast<char>(value[i + distance] - 1);
      missing -= distance;
    }
  }
  EXPECT_EQ(sums(), std::pair(0U, 0U));
  return payload(value);
}

}  // namespace rakv::raftlog::testing
