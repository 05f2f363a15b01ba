// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/map_pairs.h"

#include <gtest/gtest.h>

#include <string>

#include "cnode/etf/text.h"
#include "tests/support/term_text.h"

// Maps whose unknown pairs do not matter.

namespace rakv::etf {
namespace {

std::string value_of(std::string_view map, std::string_view key) {
  const std::string encoded = term(map);
  const std::optional<std::string_view> value = map_value(encoded, key);
  return value ? print_text(*value) : "none";
}

/// All that for_each_atom_pair sees in what the cursor is at.
std::string pairs_of(Cursor& cursor) {
  std::string all;
  const bool read = for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
    all += std::string(key) + "=" + print_text(value) + " ";
  });
  return all + (read ? "end" : "bad");
}

TEST(MapPairsTest, EachAtomKeyIsVisited) {
  const std::string encoded = term("{#{a => 1, {a} => 2, \"a\" => 3, b => [c]}, next}");
  Cursor cursor(encoded);
  ASSERT_TRUE(cursor.tuple(2));
  EXPECT_EQ(pairs_of(cursor), "a=1 b=[c] end");
  EXPECT_TRUE(cursor.is_atom("next")) << "all of the map is read";
}

TEST(MapPairsTest, WhatIsNoMapIsAFailure) {
  for (std::string encoded : {term("[{a,1}]"), term("#{a => 1, b => 2}")}) {
    encoded.pop_back();
    Cursor cursor(encoded);
    const std::string seen = pairs_of(cursor);
    EXPECT_TRUE(seen.ends_with("bad")) << seen;
    EXPECT_FALSE(cursor.ok());
  }
}

TEST(MapPairsTest, TheValueOfAKey) {
  const std::string map = "#{1 => one, a => {b, 2}, \"c\" => 3, d => #{a => 4}}";
  EXPECT_EQ(value_of(map, "a"), "{b,2}");
  EXPECT_EQ(value_of(map, "d"), "#{a => 4}");
  EXPECT_EQ(value_of(map, "b"), "none");
  EXPECT_EQ(value_of(map, "c"), "none") << "a string is no atom";
  EXPECT_EQ(value_of("#{}", "a"), "none");
  EXPECT_EQ(value_of("[a]", "a"), "none");
  EXPECT_FALSE(map_value("", "a").has_value());
}

TEST(MapPairsTest, AMapThatIsCutOffHasNoValue) {
  std::string encoded = term("#{a => <<1,2,3>>}");
  encoded.pop_back();
  EXPECT_FALSE(map_value(encoded, "a").has_value());
  EXPECT_FALSE(map_value(encoded, "b").has_value());
}

TEST(MapPairsTest, TheIntegerOfAKey) {
  const std::string map = term("#{a => 5, b => 5.0, c => -5, d => 16#ffffffffffffffff, e => no}");
  EXPECT_EQ(map_u64(map, "a"), 5U);
  EXPECT_EQ(map_u64(map, "d"), UINT64_MAX);
  for (const std::string_view key : {"b", "c", "e", "f"})
    EXPECT_FALSE(map_u64(map, key).has_value()) << key;
}

}  // namespace
}  // namespace rakv::etf
