// SPDX-License-Identifier: Apache-2.0
#include "raft/member/server_config_term.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "cnode/etf/writer.h"

namespace rakv::member {
namespace {

using etf::Writer;

std::string server_id(const std::string& name, const std::string& node) {
  return Writer().tuple(2).atom(name).atom(node).take();
}

/// What start_server_rpc sends at least: key to encoded value.
std::map<std::string, std::string> smallest() {
  return {{"id", server_id("kv", "a@h")},
          {"uid", Writer().binary("KV_ABCDEF").take()},
          {"cluster_name", Writer().atom("kv").take()},
          {"initial_members",
           Writer().list(2).raw(server_id("kv", "z@h")).raw(server_id("kv", "a@h")).nil().take()},
          {"log_init_args", Writer().map(1).atom("uid").binary("KV_ABCDEF").take()},
          {"machine", Writer().tuple(3).atom("module").atom("ra_kv").map(0).take()}};
}

std::string map_of(const std::map<std::string, std::string>& pairs) {
  Writer writer;
  writer.map(pairs.size());
  for (const auto& [key, value] : pairs) writer.atom(key).raw(value);
  return writer.take();
}

std::string error_of(const std::string& term) {
  const Result<raftlog::ServerConfig> config = read_server_config_term(term);
  EXPECT_FALSE(config);
  return config ? "" : config.error().message;
}

TEST(ServerConfigTermTest, SmallestConfigGetsDefaults) {
  const Result<raftlog::ServerConfig> config = read_server_config_term(map_of(smallest()));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->id.name(), "kv");
  EXPECT_EQ(config->id.node(), "a@h");
  EXPECT_EQ(config->uid, "KV_ABCDEF");
  EXPECT_EQ(config->cluster_name, Writer().version().atom("kv").take());
  ASSERT_EQ(config->initial_members.size(), 2u);
  EXPECT_EQ(config->initial_members[0].node(), "z@h") << "the order is the caller's";
  EXPECT_EQ(config->log_init_args,
            Writer().version().map(1).atom("uid").binary("KV_ABCDEF").take());
  EXPECT_EQ(config_value(*config, "tick_timeout"), Writer().integer(1000).view());
  EXPECT_EQ(config_value(*config, "broadcast_time"), Writer().integer(100).view());
  EXPECT_EQ(config_value(*config, "no_such_key"), "");
}

TEST(ServerConfigTermTest, GivenValuesWinAndUnknownKeysAreKept) {
  auto pairs = smallest();
  pairs["tick_timeout"] = Writer().integer(5).take();
  pairs["something_new"] = Writer().tuple(1).atom("x").take();
  pairs["system_config"] = Writer().map(0).take();
  const Result<raftlog::ServerConfig> config = read_server_config_term(map_of(pairs));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config_value(*config, "tick_timeout"), Writer().integer(5).view());
  EXPECT_EQ(config_value(*config, "something_new"), pairs["something_new"]);
  EXPECT_EQ(config_value(*config, "system_config"), "") << "never stored";
}

TEST(ServerConfigTermTest, MissingOrMalformedKeysAreNamed) {
  for (const char* key : {"id", "uid", "cluster_name", "machine", "log_init_args"}) {
    auto pairs = smallest();
    pairs.erase(key);
    EXPECT_NE(error_of(map_of(pairs)).find("'" + std::string(key) + "'"), std::string::npos) << key;
  }
  for (const char* key : {"id", "uid", "initial_members"}) {
    auto pairs = smallest();
    pairs[key] = Writer().integer(7).take();
    EXPECT_NE(error_of(map_of(pairs)).find("'" + std::string(key) + "'"), std::string::npos) << key;
  }
}

TEST(ServerConfigTermTest, ValuesThatNoServerCanRunWithAreRefusedInWords) {
  const std::string text = Writer().byte_list("x").take();
  for (const char* key :
       {"broadcast_time", "tick_timeout", "install_snap_rpc_timeout", "await_condition_timeout",
        "max_pipeline_count", "max_append_entries_rpc_batch_size",
        "min_recovery_checkpoint_interval", "ra_event_formatter", "membership", "metrics_labels",
        "initial_machine_version", "log_init_args"}) {
    auto pairs = smallest();
    pairs[key] = text;
    EXPECT_NE(error_of(map_of(pairs)).find("'" + std::string(key) + "'"), std::string::npos) << key;
  }
  auto pairs = smallest();
  pairs["tick_timeout"] = Writer().integer(-1).take();
  EXPECT_NE(error_of(map_of(pairs)).find("'tick_timeout' can't be -1"), std::string::npos);
  pairs = smallest();
  pairs["friendly_name"] = Writer().integer(7).take();
  EXPECT_NE(error_of(map_of(pairs)).find("'friendly_name'"), std::string::npos);
}

TEST(ServerConfigTermTest, FriendlyNamesMakeNoLinesOfTheirOwn) {
  for (const std::string& given :
       {Writer().byte_list("a\nb").take(), Writer().binary("a\nb").take()}) {
    auto pairs = smallest();
    pairs["friendly_name"] = given;
    const Result<raftlog::ServerConfig> config = read_server_config_term(map_of(pairs));
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(friendly_name(*config), "a?b");
  }
  EXPECT_EQ(friendly_name(*read_server_config_term(map_of(smallest()))), "");
}

TEST(ServerConfigTermTest, UidsThatWouldLeaveTheDirectory) {
  for (const char* uid : {"", "../up", "a/b", "with space"}) {
    auto pairs = smallest();
    pairs["uid"] = Writer().binary(uid).take();
    EXPECT_NE(error_of(map_of(pairs)).find("'uid'"), std::string::npos) << uid;
  }
}

TEST(ServerConfigTermTest, WhatIsNoMapOfAtoms) {
  EXPECT_NE(error_of(Writer().atom("x").take()).find("not a map"), std::string::npos);
  EXPECT_NE(error_of("").find("not a map"), std::string::npos);
  EXPECT_NE(error_of(Writer().map(1).integer(1).integer(2).take()).find("not an atom"),
            std::string::npos);
}

TEST(ServerConfigTermTest, EveryTruncationIsAnError) {
  const std::string whole = map_of(smallest());
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_FALSE(read_server_config_term(std::string_view(whole).substr(0, bytes))) << bytes;
  }
}

TEST(ServerConfigTermTest, RestartChangesOnlyWhatItMay) {
  Result<raftlog::ServerConfig> config = read_server_config_term(map_of(smallest()));
  ASSERT_TRUE(config);
  const std::string additions = map_of({{"tick_timeout", Writer().integer(9).take()},
                                        {"uid", Writer().binary("OTHER").take()},
                                        {"machine", Writer().atom("other").take()},
                                        {"cluster_name", Writer().atom("renamed").take()},
                                        {"unknown", Writer().integer(1).take()}});
  const Result<bool> changed = merge_restart_config(*config, additions);
  ASSERT_TRUE(changed);
  EXPECT_TRUE(*changed);
  const Result<bool> again = merge_restart_config(*config, additions);
  ASSERT_TRUE(again);
  EXPECT_FALSE(*again) << "nothing is another value now";
  EXPECT_EQ(config_value(*config, "tick_timeout"), Writer().integer(9).view());
  EXPECT_EQ(config->cluster_name, Writer().version().atom("renamed").take());
  EXPECT_EQ(config->uid, "KV_ABCDEF");
  EXPECT_EQ(config_value(*config, "unknown"), "");
  const raftlog::ServerConfig before = *config;
  EXPECT_FALSE(
      merge_restart_config(*config, map_of({{"tick_timeout", Writer().byte_list("x").take()}})));
  EXPECT_EQ(config->others, before.others);
}

TEST(ServerConfigTermTest, MinorCompactionsBeforeAMajorOne) {
  const auto strategy = [](const std::string& term) {
    return minors_before_major(
        map_of({{"a", Writer().integer(5).take()}, {"major_compaction_strategy", term}}), 8);
  };
  EXPECT_EQ(strategy(Writer().tuple(2).atom("num_minors").integer(2).take()), 2u);
  EXPECT_EQ(strategy(Writer().atom("manual").take()), std::nullopt);
  EXPECT_EQ(strategy(Writer().tuple(2).atom("num_minors").integer(-2).take()), 8u);
  EXPECT_EQ(strategy(Writer().tuple(2).atom("other").integer(2).take()), 8u);
  EXPECT_EQ(strategy(Writer().integer(2).take()), 8u);
  EXPECT_EQ(minors_before_major(Writer().map(0).view(), 8), 8u);
  EXPECT_EQ(minors_before_major(Writer().nil().view(), 8), 8u);
}

}  // namespace
}  // namespace rakv::member
