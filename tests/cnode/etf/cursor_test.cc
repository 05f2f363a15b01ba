// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/cursor.h"

#include <gtest/gtest.h>

#include <limits>

#include "cnode/etf/canonical.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/order.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "tests/cnode/etf/samples.h"

namespace rakv::etf {
namespace {

TEST(Cursor, ReadsARecordInOneGo) {
  Writer w;
  w.version().tuple(3).atom("entry").u64(1u << 31).list(2).binary("key").byte_list("ab").nil();
  Cursor c(w.view());
  EXPECT_TRUE(c.version());
  EXPECT_TRUE(c.tuple(3));
  EXPECT_TRUE(c.is_atom("entry"));
  EXPECT_EQ(c.u64(), 1u << 31);
  EXPECT_EQ(c.kind(), TermKind::list);
  EXPECT_EQ(c.list(), 2u);
  EXPECT_EQ(c.binary(), "key");
  EXPECT_EQ(c.kind(), TermKind::string);
  EXPECT_EQ(c.string(), "ab");
  EXPECT_TRUE(c.list_end(2));
  EXPECT_TRUE(c.at_end());
}

TEST(Cursor, FailureIsStickyAndStaysAtTheTerm) {
  Writer w;
  w.atom("a").u64(1);
  Cursor c(w.view());
  EXPECT_FALSE(c.u64());
  EXPECT_FALSE(c.ok());
  EXPECT_EQ(c.offset(), 0u);
  EXPECT_EQ(c.rest(), w.view());
  EXPECT_EQ(c.kind(), TermKind::invalid);
  EXPECT_FALSE(c.atom());
  EXPECT_FALSE(c.is_atom("a"));
  EXPECT_FALSE(c.skip());
  EXPECT_FALSE(c.nil());
  EXPECT_FALSE(c.at_end());
  EXPECT_EQ(c.error("an integer").message,
            "at byte 0 of the term: expected an integer, found atom (tag 119)");
  EXPECT_EQ(Cursor("").error("a term").message,
            "at byte 0 of the term: expected a term, found the end of the bytes");
}

TEST(Cursor, WrongValuesOfTheRightKindFail) {
  Writer w;
  w.tuple(2).nil().nil();
  EXPECT_FALSE(Cursor(w.view()).tuple(3));
  Writer negative;
  negative.integer(-1);
  EXPECT_FALSE(Cursor(negative.view()).u64());
  Writer large;
  large.u64(std::uint64_t{1} << 32);
  EXPECT_FALSE(Cursor(large.view()).u32());
  EXPECT_EQ(Cursor(large.view()).u64(), std::uint64_t{1} << 32);
  Writer huge;
  huge.u64(std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(Cursor(huge.view()).i64());
  EXPECT_EQ(Cursor(huge.view()).u64(), std::numeric_limits<std::uint64_t>::max());
  Writer bits;
  bits.bits({"\xa0", 3});
  EXPECT_FALSE(Cursor(bits.view()).binary());
  Cursor c(bits.view());
  ASSERT_TRUE(c.bits());
  EXPECT_TRUE(c.at_end());
}

TEST(Cursor, IsAtomLooksWithoutFailing) {
  Writer w;
  w.atom("yes").u64(1);
  Cursor c(w.view());
  EXPECT_FALSE(c.is_atom("no"));
  EXPECT_FALSE(c.is_atom("yes!"));
  EXPECT_TRUE(c.ok());
  EXPECT_TRUE(c.is_atom("yes"));
  EXPECT_FALSE(c.is_atom("yes"));
  EXPECT_TRUE(c.ok());
  EXPECT_EQ(c.u64(), 1u);
  // The older tags hold the same atoms.
  EXPECT_TRUE(Cursor("d" + be16(2) + "ok").is_atom("ok"));
  EXPECT_TRUE(Cursor("s\x01\xe5"s).is_atom("å"));
  EXPECT_FALSE(Cursor("s\x01\xe5"s).is_atom("ä"));
  EXPECT_TRUE(Cursor("v" + be16(1) + "x").is_atom("x"));
}

TEST(Cursor, ConvertsLatin1Atoms) {
  const std::string bytes = "h\x02"s + "s\x02\xe5\xff"s + "d" + be16(1) + "\xe9";
  Cursor c(bytes);
  EXPECT_TRUE(c.tuple(2));
  const auto first = c.atom();
  const auto second = c.atom();
  EXPECT_EQ(first, "åÿ");
  EXPECT_EQ(second, "é");
  EXPECT_TRUE(c.at_end());
}

TEST(Cursor, ReadsIntegersInEveryEncoding) {
  EXPECT_EQ(Cursor("n\x08\x00\x05\x00\x00\x00\x00\x00\x00\x00"s).u64(), 5u);
  EXPECT_EQ(Cursor("n\x0a\x01\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00"s).i64(), -5);
  EXPECT_EQ(Cursor("o" + be32(1) + "\x01\x07"s).i64(), -7);
  EXPECT_EQ(Cursor("n\x01\x01\x00"s).u64(), 0u);
  EXPECT_EQ(Cursor("b" + be32(0xffffffff)).i64(), -1);
  EXPECT_EQ(Cursor("n\x08\x01\x00\x00\x00\x00\x00\x00\x00\x80"s).i64(),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_FALSE(Cursor("n\x08\x01\x01\x00\x00\x00\x00\x00\x00\x80"s).i64());
}

TEST(Cursor, EmptyListsHaveNoTailToRead) {
  Cursor nil("j");
  EXPECT_EQ(nil.list(), 0u);
  EXPECT_TRUE(nil.list_end(0));
  EXPECT_TRUE(nil.at_end());
  const std::string zero = "l" + be32(0) + "j";
  Cursor header(zero);
  EXPECT_EQ(header.list(), 0u);
  EXPECT_TRUE(header.at_end());
  EXPECT_FALSE(Cursor("l" + be32(0) + "a\x01"s).list());
  EXPECT_EQ(Cursor("j").string(), "");
  EXPECT_FALSE(Cursor("k" + be16(1) + "x").list());
}

TEST(Cursor, ReadsIdentifiers) {
  const std::string node = small_atom("a@b");
  EXPECT_EQ(Cursor("X" + node + be32(1) + be32(2) + be32(3)).pid(), Pid("a@b", 1, 2, 3));
  EXPECT_EQ(Cursor("g" + node + be32(1) + be32(2) + "\x03"s).pid(), Pid("a@b", 1, 2, 3));
  EXPECT_EQ(Cursor("x" + node + be32(1) + be32(2) + be32(3)).port(), Port("a@b", 0x100000002u, 3));
  EXPECT_EQ(Cursor("Y" + node + be32(9) + be32(3)).port(), Port("a@b", 9, 3));
  EXPECT_EQ(Cursor("f" + node + be32(9) + "\x03"s).port(), Port("a@b", 9, 3));
  const Reference three("a@b", 3, {{1, 2, 3}, 3});
  EXPECT_EQ(Cursor("Z" + be16(3) + node + be32(3) + be32(1) + be32(2) + be32(3)).reference(),
            three);
  EXPECT_EQ(Cursor("r" + be16(1) + node + "\x03"s + be32(1)).reference(),
            Reference("a@b", 3, {{1}, 1}));
  EXPECT_EQ(Cursor("e" + node + be32(1) + "\x03"s).reference(), Reference("a@b", 3, {{1}, 1}));
  EXPECT_FALSE(Cursor("Z" + be16(0) + node + be32(3) + be32(3)).reference());
  EXPECT_FALSE(Cursor("Z" + be16(6) + node + be32(3) + std::string(24, '\1')).reference());
  const auto fun = Cursor("q" + small_atom("lists") + small_atom("map") + "a\x02"s).export_fun();
  ASSERT_TRUE(fun);
  EXPECT_EQ(fun->arity, 2);
}

TEST(Cursor, IdentifiersHashAlikeAsViewAndOwner) {
  const Pid pid("a@b", 1, 2, 3);
  EXPECT_EQ(std::hash<Pid>{}(pid), std::hash<PidView>{}(pid.view()));
  EXPECT_NE(std::hash<Pid>{}(pid), std::hash<Pid>{}(Pid("a@b", 2, 1, 3)));
  const Reference reference("a@b", 3, {{1, 2, 3}, 3});
  EXPECT_EQ(std::hash<Reference>{}(reference), std::hash<ReferenceView>{}(reference.view()));
  EXPECT_LT(pid, Pid("a@b", 1, 2, 4));
  EXPECT_NE(Reference("a@b", 3, {{1, 2}, 2}), Reference("a@b", 3, {{1, 2, 0}, 3}));
}

TEST(Skip, TakesEveryTagWhole) {
  for (const std::string& sample : tag_samples()) {
    Cursor c(sample);
    EXPECT_EQ(c.skip(), sample) << print_text(sample);
    EXPECT_TRUE(c.at_end());
    const std::string twice = sample + sample;
    Cursor both(twice);
    EXPECT_EQ(both.skip(), sample);
    EXPECT_EQ(both.skip(), sample);
    EXPECT_TRUE(both.at_end());
    EXPECT_NE(Cursor(sample).kind(), TermKind::invalid);
  }
}

TEST(Skip, EveryTruncationFails) {
  for (const std::string& sample : tag_samples()) {
    for (std::size_t size = 0; size < sample.size(); ++size) {
      const std::string part = sample.substr(0, size);
      EXPECT_FALSE(Cursor(part).skip()) << size;
      EXPECT_FALSE(canonicalize(part)) << size;
      EXPECT_FALSE(phash2(part)) << size;
      EXPECT_FALSE(external_size(part)) << size;
      EXPECT_FALSE(compare(part, "j")) << size;
      EXPECT_TRUE(print_text(part).starts_with("#Malformed<"));
      // No typed read takes what is not whole either.
      EXPECT_FALSE(Cursor(part).pid_view() || Cursor(part).reference_view() ||
                   Cursor(part).port_view() || Cursor(part).bits() || Cursor(part).export_fun() ||
                   Cursor(part).floating() || Cursor(part).u64() || Cursor(part).i64());
    }
  }
}

TEST(Skip, NodeNamesInEveryForm) {
  // Short ASCII names have a path of their own.
  const auto named = [](std::string_view tag_and_name, std::string_view rest) {
    return std::pair(std::string("\x58").append(tag_and_name).append(rest),
                     std::string("\x5a\0\x02", 3).append(tag_and_name).append(rest));
  };
  const std::string rest(12, '\7');  // of a pid, and of a reference of two words
  const std::vector<std::pair<std::string, bool>> names = {
      {std::string("\x77\x03") + "a@b", true},
      {std::string("\x77\x09") + "a@b\xc3\xa4xyz1", true},
      {std::string("\x77\x09") + "a@b\xc3\xffxyz1", false},  // not UTF-8, late in the name
      {std::string("\x77\x04") + "a@b\xe4", false},
      {std::string("\x73\x04") + "a@b\xe4", true},  // Latin-1
      {std::string("\x76\0\x03", 3) + "a@b", true},
      {std::string("\x77\0", 2), true},
      {std::string("\x6d\0\0\0\x03", 5) + "a@b", false},  // no atom
  };
  for (const auto& [name, valid] : names) {
    const auto [pid, reference] = named(name, rest);
    for (const std::string& term : {pid, reference}) {
      EXPECT_EQ(validate(term).has_value(), valid) << testing::PrintToString(term);
      for (std::size_t size = 0; size < term.size(); ++size) {
        EXPECT_FALSE(validate(term.substr(0, size)).has_value()) << testing::PrintToString(term);
      }
      EXPECT_FALSE(validate(term + "\7").has_value());
    }
  }
  for (const char words : {'\0', '\6'}) {
    std::string reference = named(names[0].first, std::string(4 + 4 * words, '\7')).second;
    reference[2] = words;
    EXPECT_FALSE(validate(reference).has_value()) << "1 to 5 words";
  }
}

TEST(Skip, RejectsWhatTheBeamRejects) {
  const std::string bad[] = {
      "",
      "\x83j",                                    // a version byte is not part of a term
      "P" + be32(1) + "x",                        // compressed inside
      "y",                                        // LOCAL_EXT
      "u" + be32(0),                              // the old closures
      "R\x01"s,                                   // atom cache
      "F\x7f\xf0\x00\x00\x00\x00\x00\x00"s,       // infinity
      "F\x7f\xf8\x00\x00\x00\x00\x00\x01"s,       // not a number
      "c" + "inf"s + std::string(28, '\0'),       //
      "c" + "1.5x"s + std::string(27, '\0'),      //
      small_atom("\xed\xa0\x80"),                 // half a surrogate pair
      small_atom("\xc0\x80"),                     // overlong
      small_atom("\xff"),                         //
      small_atom("\xf4\x90\x80\x80"),             // above the last code point
      "v" + be16(256) + std::string(256, 'x'),    // 256 characters
      "d" + be16(256) + std::string(256, 'x'),    //
      "M" + be32(1) + "\x09"s + "x",              // 9 bits in a byte
      "M" + be32(1) + "\x00"s + "x",              // no bits in a byte
      "M" + be32(0) + "\x03"s,                    // bits without a byte
      "Z" + be16(0) + small_atom("a") + be32(1),  // a reference of no words
      "Z" + be16(6) + small_atom("a") + be32(1) + std::string(24, '\1'),
      "X" + "a\x01"s + std::string(12, '\1'),  // the node is no atom
      "q" + small_atom("a") + small_atom("b") + "b" + be32(256),
      "q" + small_atom("a") + small_atom("b") + "j",
      closure(1, ""),   // too few free variables
      closure(0, "j"),  // too many
      "l" + be32(0),    // no tail
  };
  for (const std::string& bytes : bad) {
    EXPECT_FALSE(validate(bytes)) << print_text(bytes);
    EXPECT_FALSE(canonicalize("h\x01"s + bytes));
    EXPECT_FALSE(phash2(bytes));
    EXPECT_FALSE(external_size(bytes));
  }
  EXPECT_TRUE(validate("v" + be16(255) + std::string(255, 'x')));
  EXPECT_TRUE(validate("l" + be32(0) + "j"));
  const auto more = validate("jj");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().message, "1 bytes follow the term; pass exactly one term");
}

TEST(Skip, CountsAreCheckedBeforeAnything) {
  for (const char* tag : {"i", "l", "t", "m", "o", "C", "p"}) {
    const std::string giant = tag + be32(0xffffffff) + std::string(64, 'j');
    EXPECT_FALSE(validate(giant));
    EXPECT_FALSE(canonicalize(giant));
    EXPECT_FALSE(phash2(giant));
    EXPECT_FALSE(external_size(giant));
    Cursor c(giant);
    EXPECT_FALSE(c.tuple() || c.list() || c.map() || c.binary());
  }
}

/// `depth` tuples of one element, around [].
std::string nested(std::size_t depth) {
  std::string bytes;
  for (std::size_t i = 0; i < depth; ++i) bytes += "h\x01"s;
  return bytes + "j";
}

TEST(Skip, DepthIsBounded) {
  EXPECT_TRUE(validate(nested(10'000)));
  EXPECT_FALSE(validate(nested(10'001)));
  EXPECT_FALSE(validate(nested(1'000'000)));
  EXPECT_TRUE(canonicalize(nested(10'000)));
  EXPECT_EQ(canonicalize(nested(10'001)).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(phash2(nested(10'001)).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(external_size(nested(10'001)).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(external_size(nested(10'000)).value(), 20'002u);
  EXPECT_EQ(print_text(nested(10'000)).size(), 20'002u);
  EXPECT_TRUE(compare(nested(10'000), nested(9'999)));
  Limits shallow;
  shallow.max_depth = 3;
  EXPECT_TRUE(validate(nested(3), shallow));
  EXPECT_FALSE(validate(nested(4), shallow));
}

TEST(Skip, AChainOfTailsIsOneListAndNotDeep) {
  std::string chain;
  for (int i = 0; i < 100'000; ++i) chain += "l" + be32(1) + "j";
  chain += "j";
  EXPECT_TRUE(validate(chain));
  const auto canonical = canonicalize(chain);
  ASSERT_TRUE(canonical);
  EXPECT_EQ(*canonical, "l" + be32(100'000) + std::string(100'001, 'j'));
  EXPECT_EQ(phash2(chain).value(), phash2(*canonical).value());
  EXPECT_EQ(external_size(chain).value(), canonical->size() + 1);
}

}  // namespace
}  // namespace rakv::etf
