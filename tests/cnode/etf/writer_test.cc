// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/cnode/etf/samples.h"

namespace rakv::etf {
namespace {

template <class Write>
std::string written(Write write) {
  Writer w;
  write(w);
  return w.take();
}

TEST(Writer, WritesTheFormsOfOtp26) {
  EXPECT_EQ(written([](Writer& w) { w.version().nil(); }), "\x83j");
  EXPECT_EQ(written([](Writer& w) { w.tuple(255); }), "h\xff");
  EXPECT_EQ(written([](Writer& w) { w.tuple(256); }), "i" + be32(256));
  EXPECT_EQ(written([](Writer& w) { w.list(2); }), "l" + be32(2));
  EXPECT_EQ(written([](Writer& w) { w.list(0).nil(); }), "j");
  EXPECT_EQ(written([](Writer& w) { w.map(1); }), "t" + be32(1));
  EXPECT_EQ(written([](Writer& w) { w.boolean(true).boolean(false); }),
            "w\x04true"
            "w\x05"
            "false");
  EXPECT_EQ(written([](Writer& w) { w.atom("日本"); }), small_atom("日本"));
  const std::string long_name = std::string(255, 'x').replace(0, 1, "é");
  EXPECT_EQ(written([&](Writer& w) { w.atom(long_name); }), "v" + be16(256) + long_name);
  EXPECT_EQ(written([](Writer& w) { w.floating(1.5); }), "F\x3f\xf8\x00\x00\x00\x00\x00\x00"s);
  EXPECT_EQ(written([](Writer& w) { w.binary("abc"); }), "m" + be32(3) + "abc");
  EXPECT_EQ(written([](Writer& w) { w.binary_header(3).append("abc"); }), "m" + be32(3) + "abc");
  EXPECT_EQ(written([](Writer& w) { w.bits({"ab", 8}); }), "m" + be32(2) + "ab");
  EXPECT_EQ(written([](Writer& w) { w.bits({"\x01\xff", 3}); }), "M" + be32(2) + "\x03\x01\xe0"s);
  EXPECT_EQ(written([](Writer& w) { w.export_fun("lists", "map", 2); }),
            "q" + small_atom("lists") + small_atom("map") + "a\x02"s);
  EXPECT_EQ(written([](Writer& w) { w.raw("a\x01"s); }), "a\x01"s);
}

TEST(Writer, WritesTheSmallestInteger) {
  const auto integer = [](std::int64_t value) {
    return written([=](Writer& w) { w.integer(value); });
  };
  EXPECT_EQ(integer(0), "a\x00"s);
  EXPECT_EQ(integer(255), "a\xff"s);
  EXPECT_EQ(integer(256), "b" + be32(256));
  EXPECT_EQ(integer(-1), "b" + be32(0xffffffff));
  EXPECT_EQ(integer(2147483647), "b" + be32(0x7fffffff));
  EXPECT_EQ(integer(2147483648), "n\x04\x00\x00\x00\x00\x80"s);
  EXPECT_EQ(integer(-2147483648LL), "b" + be32(0x80000000));
  EXPECT_EQ(integer(-2147483649LL), "n\x04\x01\x01\x00\x00\x80"s);
  EXPECT_EQ(integer(std::numeric_limits<std::int64_t>::min()),
            "n\x08\x01\x00\x00\x00\x00\x00\x00\x00\x80"s);
  EXPECT_EQ(written([](Writer& w) { w.u64(~std::uint64_t{0}); }),
            "n\x08\x00"s + std::string(8, '\xff'));
}

TEST(Writer, WritesBigIntegersFromTheirMagnitude) {
  const auto big = [](bool negative, const std::string& magnitude) {
    return written([&](Writer& w) { w.big(negative, magnitude); });
  };
  EXPECT_EQ(big(false, ""), "a\x00"s);
  EXPECT_EQ(big(true, "\0\0"s), "a\x00"s);
  EXPECT_EQ(big(true, "\x05\0\0\0\0\0\0\0\0\0"s), "b" + be32(0xfffffffb));
  EXPECT_EQ(big(true, "\0\0\0\0\0\0\0\x80"s), "n\x08\x01\0\0\0\0\0\0\0\x80"s);
  EXPECT_EQ(big(true, "\1\0\0\0\0\0\0\x80"s), "n\x08\x01\1\0\0\0\0\0\0\x80"s);
  EXPECT_EQ(big(false, std::string(255, '\1')), "n\xff\x00"s + std::string(255, '\1'));
  EXPECT_EQ(big(true, std::string(256, '\1') + "\0"s),
            "o" + be32(256) + "\x01" + std::string(256, '\1'));
}

TEST(Writer, WritesListsOfBytesAsTheBeamDoes) {
  const auto bytes = [](const std::string& list) {
    return written([&](Writer& w) { w.byte_list(list); });
  };
  EXPECT_EQ(bytes(""), "j");
  EXPECT_EQ(bytes("ab"), "k" + be16(2) + "ab");
  EXPECT_EQ(bytes(std::string(65535, 'x')), "k" + be16(65535) + std::string(65535, 'x'));
  const std::string large = bytes(std::string(65536, 'x'));
  EXPECT_EQ(large.substr(0, 9), "l" + be32(65536) + "axax");
  EXPECT_EQ(large.size(), 5 + 2 * 65536 + 1u);
}

TEST(Writer, WritesIdentifiersThatComeBack) {
  const Pid pid("a@b", 0xffffffff, 7, 0x80000001);
  const Reference reference("b@c", 9, {{1, 2, 3, 4, 5}, 5});
  const Port port("c@d", std::uint64_t{1} << 40, 3);
  Writer w;
  w.pid(pid).reference(reference).port(port);
  EXPECT_EQ(w.view().substr(0, 1), "X");
  Cursor c(w.view());
  EXPECT_EQ(c.pid(), pid);
  EXPECT_EQ(c.kind(), TermKind::reference);
  EXPECT_EQ(c.reference(), reference);
  EXPECT_EQ(c.rest().substr(0, 1), "x");
  EXPECT_EQ(c.port(), port);
  EXPECT_TRUE(c.at_end());
}

TEST(Writer, AppendsToABorrowedString) {
  std::string out = "head";
  Writer w(out);
  w.nil();
  EXPECT_EQ(out, "headj");
  w.clear();
  EXPECT_TRUE(out.empty());
  w.u64(1);
  EXPECT_EQ(w.take(), "a\x01"s);
  EXPECT_TRUE(w.view().empty());
}

TEST(Writer, ChecksAtomsOfUsers) {
  EXPECT_TRUE(is_valid_atom(""));
  EXPECT_TRUE(is_valid_atom(std::string(255, 'x')));
  EXPECT_FALSE(is_valid_atom(std::string(256, 'x')));
  EXPECT_FALSE(is_valid_atom("\xff"));
  std::string wide;
  for (int i = 0; i < 255; ++i) wide += "😀";
  EXPECT_TRUE(is_valid_atom(wide));
  EXPECT_FALSE(is_valid_atom(wide + "x"));
}

TEST(WriterDeathTest, ProgrammerFaultsAbort) {
  Writer w;
  EXPECT_DEATH(w.atom(std::string(256, 'x')), "255 characters");
  EXPECT_DEATH(w.floating(std::nan("")), "NaN");
  EXPECT_DEATH(w.reference({"a@b", 1, {}}), "check failed");
}

}  // namespace
}  // namespace rakv::etf
