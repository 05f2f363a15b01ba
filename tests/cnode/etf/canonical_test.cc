// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/canonical.h"

#include <gtest/gtest.h>

#include "cnode/etf/compress.h"
#include "cnode/etf/order.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "tests/cnode/etf/samples.h"
#include "tests/support/term_text.h"

namespace rakv::etf {
namespace {

std::string canonical(const std::string& bytes) {
  auto made = canonicalize(bytes);
  return made ? *made : "error: " + made.error().message;
}

TEST(Canonical, OneFormPerValue) {
  EXPECT_EQ(canonical("n\x08\x00\x05\x00\x00\x00\x00\x00\x00\x00"s), "a\x05"s);
  EXPECT_EQ(canonical("b" + be32(5)), "a\x05"s);
  EXPECT_EQ(canonical("n\x01\x01\x00"s), "a\x00"s);
  EXPECT_EQ(canonical("o" + be32(9) + "\x00"s + std::string(8, '\xff') + "\x00"s),
            "n\x08\x00"s + std::string(8, '\xff'));
  EXPECT_EQ(canonical("c" + "1.50000000000000000000e+00"s + std::string(5, '\0')),
            "F\x3f\xf8\x00\x00\x00\x00\x00\x00"s);
  EXPECT_EQ(canonical("s\x01\xe5"s), small_atom("å"));
  EXPECT_EQ(canonical("v" + be16(2) + "ok"), small_atom("ok"));
  EXPECT_EQ(canonical("i" + be32(1) + "j"), "h\x01j"s);
  EXPECT_EQ(canonical("M" + be32(1) + "\x08" + "x"), "m" + be32(1) + "x");
  EXPECT_EQ(canonical("M" + be32(0) + "\x00"s), "m" + be32(0));
  EXPECT_EQ(canonical("M" + be32(1) + "\x03" + "\xbf"), "M" + be32(1) + "\x03" + "\xa0");
  EXPECT_EQ(canonical("k" + be16(0)), "j");
  EXPECT_EQ(canonical("\x83"
                      "a\x05"),
            "a\x05"s);
}

TEST(Canonical, ListsOfBytesAreStrings) {
  const std::string abc = "k" + be16(3) + "abc";
  EXPECT_EQ(canonical("l" + be32(3) + "aaabacj"), abc);
  EXPECT_EQ(canonical("l" + be32(1) + "aa" + "l" + be32(2) + "abacj"), abc);
  EXPECT_EQ(canonical("l" + be32(1) + "aa" + "k" + be16(2) + "bc"), abc);
  EXPECT_EQ(canonical("l" + be32(0) + "l" + be32(0) + "k" + be16(3) + "abc"), abc);
  EXPECT_EQ(canonical("l" + be32(3) + "aaab" + "l" + be32(0) + "ac" + "l" + be32(0) + "j"), abc);
  EXPECT_EQ(canonical("l" + be32(1) + "aa" + "l" + be32(0) + "l" + be32(0) + "a\x01"s),
            "l" + be32(1) + "aa" + "a\x01"s);
  // 65536 bytes do not fit the short form; nor does an element that only looks as long as one.
  EXPECT_EQ(
      canonical("l" + be32(1) + "ax" + "k" + be16(65535) + std::string(65535, 'x')).substr(0, 5),
      "l" + be32(65536));
  EXPECT_EQ(canonical("l" + be32(2) + "jb" + be32(300) + "j"),
            "l" + be32(2) + "jb" + be32(300) + "j");
}

TEST(Canonical, TailsOfListsInMapsAreNotChildren) {
  // #{[1|2] => [[3|4]|5]}
  const std::string bytes = "t" + be32(1) + "l" + be32(1) + "a\x01" + "a\x02" + "l" + be32(1) +
                            "l" + be32(1) + "a\x03" + "a\x04" + "a\x05";
  EXPECT_EQ(canonical(bytes), bytes);
  EXPECT_EQ(print_text(bytes), "#{[1|2] => [[3|4]|5]}");
}

TEST(Canonical, MapsAreSortedInTheOrderOfKeys) {
  const std::string sorted =
      term("#{1 => a, 2 => b, -0.0 => c, 0.0 => d, 1.0 => e, k => f, {} => g}");
  EXPECT_EQ(canonical(sorted), sorted);
  EXPECT_EQ(term("#{{} => g, k => f, 1.0 => e, 0.0 => d, 2 => b, -0.0 => c, 1 => a}"), sorted);
  EXPECT_EQ(print_text(sorted), "#{1 => a,2 => b,-0.0 => c,0.0 => d,1.0 => e,k => f,{} => g}");
}

TEST(Canonical, TheSameKeyTwiceIsAnError) {
  const std::string twice = "t" + be32(2) + "a\x01j" + "b" + be32(1) + "j";
  EXPECT_EQ(canonical(twice), "error: a map has the same key twice");
  EXPECT_FALSE(compare(twice, "j"));
  EXPECT_FALSE(equal_exact("j", twice));
}

TEST(Canonical, OldIdentifiersTakeTheirNewTags) {
  const std::string node = small_atom("a@b");
  EXPECT_EQ(canonical("g" + node + be32(1) + be32(2) + "\x03"s),
            "X" + node + be32(1) + be32(2) + be32(3));
  EXPECT_EQ(canonical("f" + node + be32(1) + "\x03"s), "x" + node + be32(0) + be32(1) + be32(3));
  EXPECT_EQ(canonical("Y" + node + be32(1) + be32(3)), "x" + node + be32(0) + be32(1) + be32(3));
  // Missing words of a reference are 0: the BEAM takes all these for equal.
  const std::string reference = "Z" + be16(3) + node + be32(3) + be32(1) + be32(0) + be32(0);
  EXPECT_EQ(canonical("e" + node + be32(1) + "\x03"s), reference);
  EXPECT_EQ(canonical("r" + be16(2) + node + "\x03"s + be32(1) + be32(0)), reference);
  EXPECT_EQ(canonical("Z" + be16(5) + node + be32(3) + be32(1) + std::string(16, '\0')), reference);
}

TEST(Canonical, ClosuresKeepTheirFieldsAndGetTheirSize) {
  const std::string loose = closure(1, "b" + be32(1));
  const std::string tight = closure(1, "a\x01");
  EXPECT_EQ(canonical(loose), tight);
  EXPECT_EQ(canonical(tight), tight);
}

TEST(Canonical, EverySampleIsIdempotent) {
  for (const std::string& sample : tag_samples()) {
    const std::string once = canonical(sample);
    EXPECT_EQ(canonical(once), once) << print_text(sample);
    EXPECT_TRUE(compare(sample, once).value() == 0);
    EXPECT_TRUE(equal_exact(sample, once).value());
    EXPECT_TRUE(!is_plainly_canonical(sample) || once == sample);
  }
}

TEST(Canonical, AnErrorLeavesTheOutputAlone) {
  std::string out = "before";
  EXPECT_FALSE(
      canonicalize_to("h\x02"
                      "a\x01"
                      "?",
                      out));
  EXPECT_EQ(out, "before");
  EXPECT_TRUE(canonicalize_to("b" + be32(1), out));
  EXPECT_EQ(out, "beforea\x01");
  EXPECT_EQ(canonical("jj"), "error: 1 bytes follow the term; pass exactly one term");
  EXPECT_EQ(canonical(""), "error: no bytes: expected a term");
}

TEST(Canonical, OutputIsBounded) {
  Limits small;
  small.max_output_bytes = 100;
  EXPECT_TRUE(canonicalize("i" + be32(90) + std::string(90, 'j'), small));
  EXPECT_EQ(canonicalize("i" + be32(101) + std::string(101, 'j'), small).error().code,
            ErrorCode::limit_exceeded);
}

TEST(Compress, RoundTrip) {
  const std::string plain = term("{ok, \"" + std::string(5000, 'x') + "\"}");
  const std::string packed = compress(plain).value();
  EXPECT_TRUE(is_compressed(packed));
  EXPECT_LT(packed.size(), 100u);
  EXPECT_EQ(uncompress(packed).value(), plain);
  EXPECT_EQ(canonical(packed), plain);
  EXPECT_EQ(canonical(packed.substr(1)), plain);
  EXPECT_EQ(compress(plain, 0).value(), "\x83" + plain);
  // Not compressed when that would be no smaller.
  EXPECT_EQ(compress("a\x05"s).value(),
            "\x83"
            "a\x05");
  EXPECT_EQ(uncompress("\x83"
                       "a\x05")
                .value(),
            "a\x05");
  EXPECT_EQ(compress(plain, 10).error().code, ErrorCode::invalid_argument);
}

TEST(Compress, BombsAndDamage) {
  const std::string plain = "m" + be32(1'000'000) + std::string(1'000'000, 'x');
  const std::string packed = compress(plain).value();
  Limits small;
  small.max_output_bytes = 999'999;
  EXPECT_EQ(uncompress(packed, small).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(canonicalize(packed, small).error().code, ErrorCode::limit_exceeded);
  for (const std::uint32_t stated : {0u, 5u, 1'000'004u, 1'000'006u, 200'000'000u}) {
    std::string wrong = packed;
    wrong.replace(2, 4, be32(stated));
    EXPECT_FALSE(uncompress(wrong)) << stated;
  }
  for (std::size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(canonicalize(packed.substr(0, size))) << size;
  }
  EXPECT_FALSE(uncompress("j"));
  EXPECT_FALSE(uncompress(""));
}

TEST(Compress, DoesNotNest) {
  std::string inner = compress("m" + be32(1000) + std::string(1000, 'x')).value();
  EXPECT_FALSE(canonicalize("\x83P" + be32(static_cast<std::uint32_t>(inner.size())) + "?"));
  // Pad so that the outer one compresses too.
  const std::string outer = compress(inner + std::string(1000, 'x')).value();
  ASSERT_TRUE(is_compressed(outer));
  EXPECT_FALSE(canonicalize(outer));
}

}  // namespace
}  // namespace rakv::etf
