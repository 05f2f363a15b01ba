// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/hash.h"

#include <gtest/gtest.h>

#include "cnode/etf/text.h"
#include "tests/cnode/etf/samples.h"

namespace rakv::etf {
namespace {

struct Vector {
  std::string text;
  std::uint32_t phash2;
  std::size_t size;
};

/// Made by OTP 25 and 29 alike (the sizes by 26 and later).
std::vector<Vector> vectors() {
  return {{"[]", 113427502, 2},
          {"{}", 87486268, 3},
          {"<<>>", 13708901, 6},
          {"#{}", 39679005, 6},
          {"a", 97, 4},
          {"''", 0, 3},
          {"'日本'", 117588076, 9},
          {"'å'", 229, 5},
          {"0", 88723725, 3},
          {"-1", 44071773, 6},
          {"134217728", 12354923, 6},
          {"18446744073709551616", 103122609, 13},
          {"-18446744073709551616", 13457787, 13},
          {"1.5", 10380315, 10},
          {"-0.0", 20875736, 10},
          {"\"abc\"", 117343302, 7},
          {"\"abcde\"", 71169904, 9},
          {"[1,2,a|b]", 130116302, 16},
          {"{ok,[]}", 127535150, 8},
          {"[{k,<<\"v\">>}]", 27587642, 18},
          {"#{a=>1,<<\"k\">>=>[2]}", 100416564, 21},
          {"<<\"hello\">>", 47480723, 11},
          {"<<\"0123456789ab\">>", 115360506, 18},
          {"<<\"" + std::string(1000, 'x') + "\">>", 40754910, 1006},
          {"<<5:3>>", 133543196, 8},
          {"<<1,2,5:3>>", 31620904, 10},
          {"fun lists:map/2", 34981515, 16}};
}

TEST(Hash, VectorsOfTheBeam) {
  for (const Vector& vector : vectors()) {
    const std::string term = parse_text(vector.text).value();
    EXPECT_EQ(phash2(term).value(), vector.phash2) << vector.text;
    EXPECT_EQ(external_size(term).value(), vector.size) << vector.text;
    EXPECT_EQ(term.size() + 1, vector.size) << vector.text;
  }
  EXPECT_EQ(phash2_binary(""), 13708901u);
  EXPECT_EQ(phash2_binary("hello"), 47480723u);
  EXPECT_EQ(external_size_binary(5), 11u);
}

TEST(Hash, DoesNotDependOnTheEncoding) {
  const auto same = [](const std::string& loose, const char* text) {
    const std::string term = parse_text(text).value();
    EXPECT_EQ(phash2(loose).value(), phash2(term).value()) << text;
    EXPECT_EQ(external_size(loose).value(), external_size(term).value()) << text;
  };
  same("n\x08\x00\x05\x00\x00\x00\x00\x00\x00\x00"s, "5");
  same("s\x01\xe5"s, "'å'");
  same("l" + be32(1) + "aa" + "l" + be32(4) + "aaaaaaaa" + "k" + be16(1) + "a", "\"aaaaaa\"");
  same("l" + be32(0) + "k" + be16(2) + "ab", "\"ab\"");
  same("l" + be32(2) + "aab" + be32(300) + "k" + be16(2) + "ab", "[97,300,97,98]");
  same("l" + be32(1) + "aa" + "l" + be32(0) + "a\x01", "[97|1]");
  same("l" + be32(0) + "a\x01", "1");
  same("k" + be16(0), "[]");
  same("M" + be32(1) + "\x03" + "\xbf", "<<5:3>>");
  same("M" + be32(1) + "\x08" + "x", "<<\"x\">>");
  same("t" + be32(2) + "a\x02jb" + be32(1) + "j", "#{1 => [], 2 => []}");
  same("c" + "1.50000000000000000000e+00"s + std::string(5, '\0'), "1.5");
}

TEST(Hash, RangeIsChecked) {
  EXPECT_EQ(phash2("a\x05"s, 1).value(), 0u);
  EXPECT_LT(phash2("a\x05"s, 1000).value(), 1000u);
  EXPECT_EQ(phash2("a\x05"s, 0).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(phash2("a\x05"s, (std::uint64_t{1} << 32) + 1).error().code,
            ErrorCode::invalid_argument);
}

TEST(Hash, NativeRecordsHaveNoHashHere) {
  const std::string record = "C" + be32(1) + "\x00"s + small_atom("mod") + small_atom("rec") +
                             small_atom("field") + "a\x01";
  EXPECT_EQ(phash2(record).error().code, ErrorCode::unsupported);
  EXPECT_EQ(external_size(record).value(), 1 + record.size());
}

}  // namespace
}  // namespace rakv::etf
