// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/order.h"

#include <gtest/gtest.h>

#include "cnode/etf/canonical.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "tests/cnode/etf/samples.h"
#include "tests/support/term_text.h"

namespace rakv::etf {
namespace {

TEST(Order, IsErlangs) {
  // Each before the next; identifiers stand between atoms and tuples.
  std::vector<std::string> ascending;
  for (const char* text :
       {"-1.0e300", "-18446744073709551616", "-1", "0", "0.5", "1", "9007199254740992",
        "9007199254740993", "18446744073709551616", "18446744073709551617", "1.0e308", "''", "a",
        "aa", "b", "'é'", "'日'"}) {
    ascending.push_back(term(text));
  }
  Writer w;
  const auto add = [&] { ascending.push_back(w.take()); };
  w.reference({"a@b", 1, {{9, 1, 1}, 3}}), add();
  w.reference({"a@b", 1, {{1, 1, 2}, 3}}), add();
  w.reference({"a@b", 2, {{0, 0, 0}, 3}}), add();
  w.reference({"b@b", 1, {{0, 0, 0}, 3}}), add();
  ascending.push_back(closure(0, ""));
  ascending.push_back(closure(1, "a\x01"));
  ascending.push_back(closure(1, "a\x02"));
  ascending.push_back(term("fun a:b/1"));
  ascending.push_back(term("fun a:b/2"));
  w.port({"a@b", 9, 1}), add();
  w.port({"a@b", 1, 2}), add();
  w.port({"b@b", 1, 1}), add();
  w.pid({"b@b", 9, 0, 1}), add();
  w.pid({"a@b", 1, 1, 2}), add();
  w.pid({"b@b", 1, 1, 1}), add();
  w.pid({"a@b", 2, 1, 1}), add();
  for (const char* text : {"{}",
                           "{9}",
                           "{1,2}",
                           "{1,3}",
                           "#{}",
                           "#{b => 1}",
                           "#{a => 1, b => 2}",
                           "#{a => 2, b => 1}",
                           "#{a => 0, c => 0}",
                           "[]",
                           "[1|a]",
                           "[1]",
                           "[1,2]",
                           "[1,2,3]",
                           "[1|<<>>]",
                           "[2]",
                           "[256]",
                           "[a]",
                           "<<>>",
                           "<<0:1>>",
                           "<<0>>",
                           "<<1:1>>",
                           "<<255>>",
                           "<<255,0:1>>"}) {
    ascending.push_back(term(text));
  }
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      EXPECT_EQ(compare(ascending[i], ascending[j]).value(),
                static_cast<std::weak_ordering>(i <=> j))
          << print_text(ascending[i]) << " and " << print_text(ascending[j]);
    }
  }
}

TEST(Order, IntegersAndFloatsByValue) {
  const auto equal = [](const char* a, const char* b) {
    return compare(term(a), term(b)).value() == 0;
  };
  EXPECT_TRUE(equal("1", "1.0"));
  EXPECT_TRUE(equal("{1,[2|3]}", "{1.0,[2.0|3.0]}"));
  EXPECT_TRUE(equal("[1,2]", "[1.0,2]"));
  EXPECT_TRUE(equal("0", "-0.0"));
  EXPECT_TRUE(equal("18446744073709551616", "18446744073709551616.0"));
  EXPECT_FALSE(equal("18446744073709551617", "18446744073709551616.0"));
  EXPECT_TRUE(equal("#{a => 1}", "#{a => 1.0}"));
  EXPECT_FALSE(equal("#{1 => a}", "#{1.0 => a}"));
  EXPECT_FALSE(equal_exact(term("1"), term("1.0")).value());
  EXPECT_FALSE(equal_exact(term("0.0"), term("-0.0")).value());
  EXPECT_TRUE(equal_exact(term("#{a => 1, b => 2}"), term("#{b => 2, a => 1}")).value());
}

TEST(Order, KeysHaveIntegersBeforeFloats) {
  EXPECT_TRUE(compare_keys(term("2"), term("1.5")) < 0);
  EXPECT_TRUE(compare_keys(term("-0.0"), term("0.0")) < 0);
  EXPECT_TRUE(compare(term("#{2 => a}"), term("#{1.5 => a}")).value() < 0);
  EXPECT_TRUE(compare_keys(term("{1}"), term("{1}")) == 0);
  EXPECT_TRUE(compare_keys(closure(0, ""), closure(0, "").replace(10, 1, "x")) != 0);
}

TEST(Order, MalformedTermsAreErrors) {
  EXPECT_EQ(compare("j", "?").error().code, ErrorCode::malformed);
  EXPECT_EQ(compare("?", "j").error().code, ErrorCode::malformed);
  EXPECT_EQ(equal_exact("", "j").error().code, ErrorCode::malformed);
}

}  // namespace
}  // namespace rakv::etf
