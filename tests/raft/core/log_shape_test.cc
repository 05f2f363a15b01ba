// SPDX-License-Identifier: Apache-2.0
#include "raft/core/log_shape.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace rakv::raft {
namespace {

IndexTerm at(std::uint64_t index, std::uint64_t term) { return {Index(index), Term(term)}; }

LogShape with(const std::vector<std::uint64_t>& terms) {
  LogShape log;
  for (const std::uint64_t term : terms) log.append(log.next(), Term(term));
  return log;
}

TEST(LogShapeTest, AFreshLogHoldsTheDummyEntry) {
  const LogShape log;
  EXPECT_EQ(log.last(), at(0, 0));
  EXPECT_EQ(log.next(), Index(1));
  EXPECT_EQ(log.term_at(Index(0)), Term(0));
  EXPECT_EQ(log.term_at(Index(1)), std::nullopt);
}

TEST(LogShapeTest, KeepsOneRunPerTerm) {
  const LogShape log = with({1, 1, 1, 3, 3, 7});
  EXPECT_EQ(log.runs().size(), 3u);
  EXPECT_EQ(log.term_at(Index(3)), Term(1));
  EXPECT_EQ(log.term_at(Index(4)), Term(3));
  EXPECT_EQ(log.term_at(Index(6)), Term(7));
  EXPECT_EQ(log.last(), at(6, 7));
}

TEST(LogShapeTest, DurableIndexMovesForwardOnly) {
  LogShape log = with({1, 1, 2});
  EXPECT_TRUE(log.written(Term(1), Index(2)));
  EXPECT_FALSE(log.written(Term(1), Index(1)));
  EXPECT_FALSE(log.written(Term(2), Index(4))) << "beyond the end";
  EXPECT_TRUE(log.written(Term(2), Index(3)));
  EXPECT_EQ(log.last_written(), at(3, 2));
}

TEST(LogShapeTest, OverwritingLowersTheDurableIndexAndVoidsOldReports) {
  LogShape log = with({1, 1, 1, 1});
  log.written(Term(1), Index(4));
  log.append(Index(3), Term(2));
  EXPECT_EQ(log.last(), at(3, 2));
  EXPECT_EQ(log.last_written(), at(2, 1));
  EXPECT_FALSE(log.written(Term(1), Index(3))) << "a report about the entry that was overwritten";
  EXPECT_TRUE(log.written(Term(2), Index(3)));
}

TEST(LogShapeTest, TruncationStopsAtTheSnapshot) {
  LogShape log = with({1, 1, 2, 2});
  log.snapshot_taken(at(3, 2));
  log.truncate(Index(1));
  EXPECT_EQ(log.last(), at(3, 2));
  EXPECT_EQ(log.term_at(Index(3)), Term(2));
  EXPECT_EQ(log.term_at(Index(2)), std::nullopt);
}

TEST(LogShapeTest, AnInstalledSnapshotReplacesEverything) {
  LogShape log = with({1, 1});
  log.snapshot_installed(at(9, 4));
  EXPECT_EQ(log.last(), at(9, 4));
  EXPECT_EQ(log.last_written(), at(9, 4));
  log.append(Index(10), Term(5));
  EXPECT_EQ(log.term_at(Index(10)), Term(5));
  EXPECT_EQ(log.term_at(Index(8)), std::nullopt);
}

TEST(LogShapeTest, RecoveryIgnoresRunsBelowTheSnapshot) {
  const LogShape log(at(5, 2), {{Index(1), Term(1)}, {Index(4), Term(2)}, {Index(8), Term(3)}},
                     Index(9));
  EXPECT_EQ(log.last(), at(9, 3));
  EXPECT_EQ(log.last_written(), at(9, 3));
  EXPECT_EQ(log.term_at(Index(6)), Term(2));
  EXPECT_EQ(log.term_at(Index(4)), std::nullopt);
  const LogShape bare(at(5, 2), {}, Index(5));
  EXPECT_EQ(bare.last(), at(5, 2));
}

/// Random operations against a plain map of terms.
TEST(LogShapeTest, AgreesWithAPlainMap) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  LogShape log;
  std::map<std::uint64_t, std::uint64_t> plain;
  std::uint64_t snapshot = 0;
  std::uint64_t snapshot_term = 0;
  std::uint64_t term = 1;
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t last = plain.empty() ? snapshot : plain.rbegin()->first;
    switch (random() % 8) {
      case 0:
        ++term;
        break;
      case 1: {
        const std::uint64_t keep = snapshot + random() % (last - snapshot + 1);
        plain.erase(plain.upper_bound(keep), plain.end());
        log.truncate(Index(keep));
        break;
      }
      case 2: {
        if (last == snapshot || random() % 4 != 0) break;
        const std::uint64_t upto = snapshot + 1 + random() % (last - snapshot);
        snapshot_term = plain.at(upto);
        snapshot = upto;
        plain.erase(plain.begin(), plain.upper_bound(upto));
        log.snapshot_taken(at(snapshot, snapshot_term));
        break;
      }
      case 3: {
        const std::uint64_t index = snapshot + 1 + random() % (last - snapshot + 1);
        plain.erase(plain.lower_bound(index), plain.end());
        plain[index] = term;
        log.append(Index(index), Term(term));
        break;
      }
      default:
        plain[last + 1] = term;
        log.append(Index(last + 1), Term(term));
        break;
    }
    const std::uint64_t end = plain.empty() ? snapshot : plain.rbegin()->first;
    ASSERT_EQ(log.last().index, Index(end));
    for (std::uint64_t index = snapshot; index <= end + 1; ++index) {
      std::optional<Term> expected;
      if (index == snapshot) expected = Term(snapshot_term);
      if (plain.contains(index)) expected = Term(plain.at(index));
      ASSERT_EQ(log.term_at(Index(index)), expected) << index;
    }
    ASSERT_LE(log.last_written().index, log.last().index);
    if (end - snapshot > 40) {
      plain.erase(plain.upper_bound(snapshot + 5), plain.end());
      log.truncate(Index(snapshot + 5));
    }
  }
}

}  // namespace
}  // namespace rakv::raft
