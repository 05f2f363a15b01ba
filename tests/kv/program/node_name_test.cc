// SPDX-License-Identifier: Apache-2.0
// Names as `erl` checks them; erlang_tests/test/names_SUITE.erl asks an erl about the same.

#include "kv/program/node_name.h"

#include <gtest/gtest.h>

namespace rakv::kv {
namespace {

std::string x(std::size_t count) { return std::string(count, 'x'); }

std::string accepted(const Result<std::string>& name) {
  return name ? *name : name.error().message;
}

TEST(NodeName, ShortNamesAreThoseOfErl) {
  for (const std::string& name :
       std::vector<std::string>{"a@h", "ok_name-1@h", "0@h", "-a@h", "a@h_x", "a@h:1", "a@::1",
                                "a@h~", "a@\xc3\xa4", "a@127", x(253) + "@h", "a@" + x(253)}) {
    EXPECT_EQ(accepted(short_node_name(name)), name);
  }
  EXPECT_TRUE(short_node_name("a")->starts_with("a@"));
  EXPECT_EQ(*short_node_name("a@"), *short_node_name("a"));
  using namespace std::string_literals;
  for (const std::string& name : std::vector<std::string>{"",
                                                          "@",
                                                          "@h",
                                                          "a.b",
                                                          "a@b@c",
                                                          "a@@h",
                                                          "a b",
                                                          " a",
                                                          "a ",
                                                          "a\tb",
                                                          "a\n",
                                                          "a\n@h",
                                                          ".",
                                                          "..",
                                                          "a@h.d",
                                                          "a@h.",
                                                          "a@.h",
                                                          "a@.",
                                                          "a@..",
                                                          "a@h h",
                                                          "a@h\n",
                                                          "a@h\x01",
                                                          "a@h\x7f",
                                                          "a@h\x1b[1m",
                                                          "a@h\xc2\x85",
                                                          "a@h\xc2\xa0",
                                                          "a@h/x",
                                                          "a@/",
                                                          "../a@h",
                                                          "a/b@h",
                                                          "a:b",
                                                          "'a'",
                                                          "undefined",
                                                          "\xc3\xa4",
                                                          "a@\xe6\x97\xa5",
                                                          "a\xff",
                                                          "a@\xff",
                                                          "a@h\xc3",
                                                          "a\0b"s,
                                                          "a@h\0"s,
                                                          x(254) + "@h",
                                                          "a@" + x(254),
                                                          x(255),
                                                          x(256),
                                                          x(100'000)}) {
    const Result<std::string> refused = short_node_name(name);
    ASSERT_FALSE(refused.has_value()) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(refused.error().message.find("is no node name: "), std::string::npos);
  }
}

TEST(NodeName, LongNamesAreThoseOfErl) {
  for (const char* name : {"n@127.0.0.1", "n@localhost", "n@h.d", "n@h", "n@::1", "n@1.2.3",
                           "n@a.b.", "n@..", "n@\xc3\xa9.d"})
    EXPECT_EQ(accepted(long_node_name(name)), name);
  for (const char* name :
       {"", "n@a.b@c", "n@a .b", "a.b@h.d", "n@h/.d", "@h.d", "n@h.d\n", "n@\xff.d"})
    EXPECT_FALSE(long_node_name(name).has_value()) << name;
}

TEST(NodeName, APeerHasAHostOrNone) {
  EXPECT_EQ(*peer_node_name("a@h"), "a@h");
  EXPECT_EQ(*peer_node_name("a@h.d"), "a@h.d");
  EXPECT_EQ(*peer_node_name("a"), *short_node_name("a"));
  for (const char* name : {"", "a@", "@h", "a b@h"}) EXPECT_FALSE(peer_node_name(name).has_value());
}

TEST(ClusterName, AnyAtomNamesOneThatIsThere) {
  for (const std::string& name : std::vector<std::string>{"kv", "a b", ".", "\xe6\x97\xa5", x(255)})
    EXPECT_TRUE(check_cluster_name(name).has_value()) << name;
  for (const std::string& name : std::vector<std::string>{"", x(256), "\xff", "a\xc3"})
    EXPECT_FALSE(check_cluster_name(name).has_value()) << name;
}

TEST(ClusterName, ANewOneCanBeTypedAndShown) {
  for (const std::string& name :
       std::vector<std::string>{"kv", "a.b", "a@b", "...", "Orders-1", "\xc3\xa9", x(255)})
    EXPECT_TRUE(check_new_cluster_name(name).has_value()) << name;
  for (const std::string& name :
       std::vector<std::string>{"", ".", "..", "undefined", "a b", " ", "a\n", "\x1b", "\x7f",
                                "a/b", "\xc2\x85", "\xff", x(256)})
    EXPECT_FALSE(check_new_cluster_name(name).has_value()) << name;
}

TEST(ListenAddress, IsLoopbackWhereTheHostIs) {
  const std::pair<const char*, const char*> cases[] = {{"n@127.0.0.1", "127.0.0.1"},
                                                       {"n@127.1.2.3", "127.1.2.3"},
                                                       {"n@localhost", "127.0.0.1"},
                                                       {"n@LocalHost", "127.0.0.1"},
                                                       {"n@a.localhost", "127.0.0.1"},
                                                       {"n@::1", "::1"},
                                                       {"n@h", "0.0.0.0"},
                                                       {"n@h.d", "0.0.0.0"},
                                                       {"n@10.0.0.1", "0.0.0.0"},
                                                       {"n@localhost.example.org", "0.0.0.0"},
                                                       {"n@notlocalhost", "0.0.0.0"}};
  for (const auto& [node, address] : cases)
    EXPECT_EQ(default_listen_address(node), address) << node;
}

}  // namespace
}  // namespace rakv::kv
