// SPDX-License-Identifier: Apache-2.0
#include "kv/program/line_limiter.h"

#include <gtest/gtest.h>

#include <vector>

namespace rakv::kv {
namespace {

TEST(LineLimiter, AFloodIsBoundedAndCounted) {
  std::vector<std::string> lines;
  LineLimiter limiter([&](const std::string& line) { lines.push_back(line); });
  LineLimiter::Clock::time_point now{};
  for (int i = 0; i < 100'000; ++i) limiter.line("refused", now);
  EXPECT_EQ(lines, std::vector<std::string>(50, "refused"));
  // Ten seconds of flood, 1,000 lines a second.
  lines.clear();
  for (int i = 0; i < 10'000; ++i) limiter.line("refused", now += std::chrono::milliseconds(1));
  EXPECT_GE(lines.size(), 98u);  // each with one that counts those before it
  EXPECT_LE(lines.size(), 102u);
  EXPECT_EQ(lines[0].substr(0, lines[0].find(' ')), std::to_string(100'000 - 50 + 199));
  EXPECT_EQ(lines[1], "refused");
}

TEST(LineLimiter, WhatComesSlowlyIsAllThere) {
  std::vector<std::string> lines;
  LineLimiter limiter([&](const std::string& line) { lines.push_back(line); });
  LineLimiter::Clock::time_point now{};
  for (int i = 0; i < 1000; ++i) limiter.line("lost", now += std::chrono::milliseconds(200));
  EXPECT_EQ(lines, std::vector<std::string>(1000, "lost"));
}

TEST(LineLimiter, AClockThatStandsStillOrFallsBackGivesNothing) {
  std::vector<std::string> lines;
  LineLimiter limiter([&](const std::string& line) { lines.push_back(line); });
  LineLimiter::Clock::time_point now{std::chrono::hours(1)};
  for (int i = 0; i < 200; ++i) limiter.line("x", now -= std::chrono::milliseconds(1));
  EXPECT_EQ(lines.size(), 50u);
}

}  // namespace
}  // namespace rakv::kv
