// SPDX-License-Identifier: Apache-2.0
// A second opinion: OTP's own C library reads what Writer writes and the other way round
// (docs/ei.md).

#include <ei.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <random>

#include "cnode/etf/canonical.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "tests/cnode/etf/samples.h"

namespace rakv::etf {
namespace {

class Ei : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_EQ(ei_init(), 0); }
};

/// A growing buffer of ei.
struct EiBuffer {
  ei_x_buff x;
  EiBuffer() { ei_x_new(&x); }
  ~EiBuffer() { ei_x_free(&x); }
  EiBuffer(const EiBuffer&) = delete;
  EiBuffer& operator=(const EiBuffer&) = delete;
  std::string_view view() const { return {x.buff, static_cast<std::size_t>(x.index)}; }
};

/// What ei prints; ei reads without knowing where the bytes end, so some zero bytes follow.
std::string ei_print(std::string bytes) {
  const auto size = static_cast<int>(bytes.size());
  bytes.append(64, '\0');
  char* text = nullptr;
  int index = 0;
  const int length = ei_s_print_term(&text, bytes.data(), &index);
  const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
  EXPECT_EQ(index, size);
  return length < 0 ? "error" : std::string(text, static_cast<std::size_t>(length));
}

TEST_F(Ei, ReadsWhatTheWriterWrites) {
  Writer w;
  w.version().tuple(10).atom("hello").atom("å").integer(-42).u64(
      std::numeric_limits<std::uint64_t>::max());
  w.integer(std::numeric_limits<std::int64_t>::min())
      .floating(1.0e-300)
      .binary("bytes")
      .byte_list("text");
  w.pid({"a@b", 1, 2, 3}).reference({"a@b", 3, {{1, 2, 3}, 3}});
  const std::string bytes = w.take() + std::string(64, '\0');
  const char* p = bytes.data();
  int index = 0;
  int version = 0;
  int arity = 0;
  char atom[MAXATOMLEN_UTF8];
  ASSERT_EQ(ei_decode_version(p, &index, &version), 0);
  EXPECT_EQ(version, 131);
  ASSERT_EQ(ei_decode_tuple_header(p, &index, &arity), 0);
  EXPECT_EQ(arity, 10);
  ASSERT_EQ(ei_decode_atom(p, &index, atom), 0);
  EXPECT_STREQ(atom, "hello");
  ASSERT_EQ(ei_decode_atom_as(p, &index, atom, sizeof atom, ERLANG_UTF8, nullptr, nullptr), 0);
  EXPECT_STREQ(atom, "å");
  long small = 0;
  ASSERT_EQ(ei_decode_long(p, &index, &small), 0);
  EXPECT_EQ(small, -42);
  unsigned long long u = 0;
  ASSERT_EQ(ei_decode_ulonglong(p, &index, &u), 0);
  EXPECT_EQ(u, std::numeric_limits<std::uint64_t>::max());
  long long i = 0;
  ASSERT_EQ(ei_decode_longlong(p, &index, &i), 0);
  EXPECT_EQ(i, std::numeric_limits<std::int64_t>::min());
  double d = 0;
  ASSERT_EQ(ei_decode_double(p, &index, &d), 0);
  EXPECT_EQ(d, 1.0e-300);
  char binary[16];
  long size = 0;
  ASSERT_EQ(ei_decode_binary(p, &index, binary, &size), 0);
  EXPECT_EQ(std::string_view(binary, static_cast<std::size_t>(size)), "bytes");
  char text[16];
  ASSERT_EQ(ei_decode_string(p, &index, text), 0);
  EXPECT_STREQ(text, "text");
  erlang_pid pid;
  ASSERT_EQ(ei_decode_pid(p, &index, &pid), 0);
  EXPECT_STREQ(pid.node, "a@b");
  EXPECT_EQ(pid.num, 1u);
  EXPECT_EQ(pid.serial, 2u);
  EXPECT_EQ(pid.creation, 3u);
  erlang_ref reference;
  ASSERT_EQ(ei_decode_ref(p, &index, &reference), 0);
  EXPECT_EQ(reference.len, 3);
  EXPECT_EQ(reference.n[2], 3u);
  EXPECT_EQ(static_cast<std::size_t>(index), bytes.size() - 64);
}

TEST_F(Ei, WritesWhatTheWriterWrites) {
  EiBuffer ei;
  Writer w;
  ei_x_encode_tuple_header(&ei.x, 7), w.tuple(7);
  ei_x_encode_atom(&ei.x, "ok"), w.atom("ok");
  ei_x_encode_long(&ei.x, 255), w.integer(255);
  ei_x_encode_map_header(&ei.x, 1), w.map(1);
  ei_x_encode_double(&ei.x, -1.5), w.floating(-1.5);
  ei_x_encode_binary(&ei.x, "abc", 3), w.binary("abc");
  ei_x_encode_string(&ei.x, "abc"), w.byte_list("abc");
  ei_x_encode_list_header(&ei.x, 1), w.list(1);
  ei_x_encode_ulonglong(&ei.x, 1ull << 40), w.u64(1ull << 40);
  ei_x_encode_empty_list(&ei.x), w.nil();
  ei_x_encode_bitstring(&ei.x, "\x01\xa0", 0, 11), w.bits({"\x01\xa0", 3});
  EXPECT_EQ(ei.view(), w.view());
}

/// A term of the kinds that ei prints right.
void random_term(Writer& w, std::mt19937& random, int depth) {
  const auto below = [&random](unsigned n) { return random() % n; };
  switch (below(depth > 0 ? 8 : 5)) {
    case 0:
      w.integer(static_cast<std::int64_t>(random()) - (1ll << 31));
      break;
    case 1:
      w.atom("atom" + std::to_string(below(1000)));
      break;
    case 2:
      w.nil();
      break;
    case 3:
      w.atom("It has spaces");
      break;
    case 4:
      w.byte_list("plain text");
      break;
    case 5: {
      const unsigned count = below(4);
      w.tuple(count);
      for (unsigned i = 0; i < count; ++i) random_term(w, random, depth - 1);
      break;
    }
    case 6: {
      const unsigned count = 1 + below(3);
      w.list(count);
      // An atom first, so that the list is none of bytes, which ei prints otherwise.
      w.atom("l");
      for (unsigned i = 1; i < count; ++i) random_term(w, random, depth - 1);
      below(3) == 0 ? w.atom("tail") : w.nil();
      break;
    }
    default:
      w.map(1).atom("key");
      random_term(w, random, depth - 1);
      break;
  }
}

TEST_F(Ei, PrintsAsWeDo) {
  const char* given = std::getenv("RAKV_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                                         : std::random_device{}();
  std::cout << "RAKV_SEED=" << seed << "\n";
  std::mt19937 random(seed);
  for (int i = 0; i < 2000; ++i) {
    Writer w;
    random_term(w, random, 5);
    const std::string canonical = canonicalize(w.view()).value();
    // ei writes a space after commas and around bars.
    std::string theirs = ei_print(canonical);
    for (const auto& [from, to] : {std::pair{", ", ","}, std::pair{" | ", "|"}}) {
      for (std::size_t at = 0; (at = theirs.find(from, at)) != std::string::npos;) {
        theirs.replace(at, std::strlen(from), to);
        at += std::strlen(to);
      }
    }
    ASSERT_EQ(print_text(canonical), theirs);
  }
}

TEST_F(Ei, PrintsIdentifiersWithTheSameNumbers) {
  Writer w;
  w.pid({"a@b", 1, 2, 3});
  EXPECT_EQ(ei_print(w.take()), "<a@b.1.2>");
  w.reference({"a@b", 3, {{1, 2, 3}, 3}});
  EXPECT_EQ(ei_print(w.take()), "#Ref<1.2.3>");
}

TEST_F(Ei, ReadsTextAsWeDo) {
  for (const char* text : {"a", "'hello world'", "'end'", "''", "1", "-5", "2147483648",
                           "9223372036854775807", "1.5", "1.0e22", "1.0e-300", "\"abc\"", "[300,1]",
                           "[1,2,3]", "[]", "{}", "{a,{b,[c]}}", "[[],[a,[b]]]", "{a,1}."}) {
    EiBuffer ei;
    ASSERT_EQ(ei_x_format_wo_ver(&ei.x, text), 0) << text;
    EXPECT_EQ(canonicalize(ei.view()).value(), parse_text(text).value()) << text;
  }
}

TEST_F(Ei, SkipsWhatWeSkip) {
  for (const std::string& sample : tag_samples()) {
    // Tags that ei does not know: the oldest float and the records of OTP 29.
    if (sample[0] == 'c' || sample[0] == 'C') continue;
    const std::string padded = sample + std::string(64, '\0');
    int index = 0;
    EXPECT_EQ(ei_skip_term(padded.data(), &index), 0) << print_text(sample);
    EXPECT_EQ(static_cast<std::size_t>(index), sample.size()) << print_text(sample);
  }
}

}  // namespace
}  // namespace rakv::etf
