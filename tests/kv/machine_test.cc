// SPDX-License-Identifier: Apache-2.0
// The ra_kv machine against the clauses of ra_kv.erl, and its state against a real BEAM.

#include "kv/machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>

#include "cnode/etf/hash.h"
#include "cnode/etf/text.h"
#include "tests/support/beam_eval.h"
#include "tests/support/term_text.h"

namespace rakv::kv {
namespace {

/// Parses and applies a command given as text.
CommandOutcome apply(KvMachine& machine, std::uint64_t index, std::string_view text) {
  const std::string encoded = term(text);
  const Result<KvCommand> command = parse_command(encoded);
  EXPECT_TRUE(command.has_value()) << text;
  return command ? machine.apply(index, *command) : CommandOutcome::not_found;
}

std::string state_of(const KvMachine& machine) {
  etf::Writer writer;
  machine.write_state(writer);
  return writer.take();
}

std::string state_text(const KvMachine& machine) { return etf::print_text(state_of(machine)); }

TEST(ParseCommand, Put) {
  const std::string encoded = term("{put, <<\"k\">>, {some, [value]}, #{size => 3, hash => 77}}");
  const Result<KvCommand> command = parse_command(encoded);
  ASSERT_TRUE(command.has_value());
  EXPECT_EQ(command->kind, KvCommand::Kind::put);
  EXPECT_EQ(command->key, term("<<\"k\">>"));
  EXPECT_EQ(command->value, term("{some, [value]}"));
  EXPECT_EQ(command->hash, term("77"));
}

TEST(ParseCommand, Delete) {
  const std::string encoded = term("{delete, any_term}");
  const Result<KvCommand> command = parse_command(encoded);
  ASSERT_TRUE(command.has_value());
  EXPECT_EQ(command->kind, KvCommand::Kind::remove);
  EXPECT_EQ(command->key, term("any_term"));
}

TEST(ParseCommand, SizeIsNotNeededAndHashMayBeAnything) {
  for (const char* text : {"{put, k, v, #{hash => 1}}", "{put, k, v, #{other => x, hash => [a]}}",
                           "{put, k, v, #{[1] => 2, hash => #{}}}"}) {
    EXPECT_TRUE(parse_command(term(text)).has_value()) << text;
  }
}

// What has no clause in ra_kv:apply/3 would crash its BEAM replicas for ever.
TEST(ParseCommand, PoisonIsRefused) {
  for (const char* text :
       {"{put, k, v, #{size => 1}}", "{put, k, v, #{}}", "{put, k, v, []}", "{put, k, v}",
        "{put, k, v, #{hash => 1}, more}", "{delete}", "{delete, k, v}", "{get, k}", "noop",
        "{'Put', k, v, #{hash => 1}}", "put", "<<\"put\">>", "[put]", "{}", "#{}", "1"}) {
    const Result<KvCommand> command = parse_command(term(text));
    ASSERT_FALSE(command.has_value()) << text;
    EXPECT_EQ(command.error().code, ErrorCode::unsupported);
    EXPECT_NE(command.error().message.find("{put, Key, Value"), std::string::npos);
  }
  EXPECT_FALSE(parse_command("").has_value());
  EXPECT_FALSE(parse_command(term("{delete, k}") + "x").has_value());
}

TEST(ParseCommand, EveryTruncationIsRefused) {
  const std::string encoded = term("{put, {k, [1|2]}, #{a => 1.5}, #{size => 3, hash => 77}}");
  for (std::size_t size = 0; size < encoded.size(); ++size) {
    const std::string cut = encoded.substr(0, size);
    EXPECT_FALSE(parse_command(cut).has_value()) << size;
  }
}

TEST(KvMachine, IsEmptyAtFirst) {
  KvMachine machine;
  EXPECT_EQ(machine.key_count(), 0u);
  EXPECT_EQ(machine.find(term("k")), 0u);
  EXPECT_TRUE(machine.live_indexes().empty());
  EXPECT_EQ(state_text(machine), "{ra_kv,#{}}");
}

TEST(KvMachine, PutReplacesAndDeleteRemoves) {
  KvMachine machine;
  EXPECT_EQ(apply(machine, 3, "{put, <<\"a\">>, 1, #{hash => 10}}"), CommandOutcome::ok);
  EXPECT_EQ(apply(machine, 4, "{put, <<\"b\">>, 2, #{hash => 20}}"), CommandOutcome::ok);
  EXPECT_EQ(apply(machine, 5, "{put, <<\"a\">>, 3, #{hash => 30}}"), CommandOutcome::ok);
  EXPECT_EQ(machine.find(term("<<\"a\">>")), 5u);
  EXPECT_EQ(machine.find(term("<<\"b\">>")), 4u);
  EXPECT_EQ(machine.key_count(), 2u);
  EXPECT_EQ(apply(machine, 6, "{delete, <<\"b\">>}"), CommandOutcome::ok);
  EXPECT_EQ(machine.find(term("<<\"b\">>")), 0u);
  EXPECT_EQ(apply(machine, 7, "{delete, <<\"b\">>}"), CommandOutcome::not_found);
  EXPECT_EQ(machine.live_indexes(), std::vector<std::uint64_t>{5});
  EXPECT_EQ(state_text(machine), "{ra_kv,#{<<\"a\">> => [5|30]}}");
}

// Maps of the BEAM compare keys by =:=, and so does this.
TEST(KvMachine, KeysAreComparedExactly) {
  KvMachine machine;
  const std::vector<std::string> keys = {"1",           "1.0",
                                         "0.0",         "-0.0",
                                         "k",           "<<\"k\">>",
                                         "\"k\"",       "{k}",
                                         "[]",          "<<>>",
                                         "#{}",         "#{1 => 2}",
                                         "#{1.0 => 2}", "256",
                                         "-1",          "16#ffffffffffffffffff",
                                         "<<1:3>>",     "<<2:3>>",
                                         "[a|b]",       "'\\x{e9}'",
                                         "\"\\x{e9}\"", "fun lists:map/2"};
  std::uint64_t index = 0;
  for (const std::string& key : keys) {
    ++index;
    ASSERT_EQ(apply(machine, index, "{put, " + key + ", v, #{hash => 1}}"), CommandOutcome::ok);
    EXPECT_EQ(machine.key_count(), index) << key;
    EXPECT_EQ(machine.find(term(key)), index) << key;
  }
}

// One value, several encodings: 107 and 108 for lists, non-minimal integers, old atom tags, map
// order.
TEST(KvMachine, OneKeyInManyEncodings) {
  const std::vector<std::vector<std::string>> groups = {
      {term("[1, 2]"), std::string("\x6c\0\0\0\2\x61\1\x61\2\x6a", 10)},
      {term("7"), std::string("\x62\0\0\0\7", 5), std::string("\x6e\1\0\7", 4)},
      {term("ab"), std::string("\x64\0\2ab", 5), std::string("\x73\2ab", 4),
       std::string("\x76\0\2ab", 5)},
      {std::string("\x74\0\0\0\2\x61\1\x61\2\x61\3\x61\4", 13),
       std::string("\x74\0\0\0\2\x61\3\x61\4\x61\1\x61\2", 13)},
  };
  for (const auto& group : groups) {
    for (const std::string& stored : group) {
      KvMachine machine;
      machine.apply(9, {KvCommand::Kind::put, stored, "j", term("5")});
      for (const std::string& asked : group) {
        EXPECT_EQ(machine.find(asked), 9u) << test::to_hex(stored) << " " << test::to_hex(asked);
        machine.apply(9, {KvCommand::Kind::put, asked, "j", term("5")});
        EXPECT_EQ(machine.key_count(), 1u);
      }
      EXPECT_EQ(machine.apply(10, {KvCommand::Kind::remove, group.front(), {}, {}}),
                CommandOutcome::ok);
    }
  }
}

TEST(KvMachine, WhatIsNotATermIsNotThere) {
  KvMachine machine;
  apply(machine, 1, "{put, <<\"a\">>, 1, #{hash => 10}}");
  for (const std::string& bad : {std::string(), std::string("\xff"), std::string("\x6d\0\0\0\5", 5),
                                 term("<<\"a\">>") + "x", std::string("\x68")}) {
    EXPECT_EQ(machine.find(bad), 0u);
  }
}

TEST(KvMachine, HashesThatPhash2NeverMakes) {
  const std::vector<std::string> hashes = {
      "4294967294", "4294967295", "4294967296", "-1",   "1.5", "none",      "[]",       "[1, 2]",
      "[300, a]",   "[1|2]",      "[[]]",       "<<>>", "{1}", "#{a => 1}", "\"text\"", "0"};
  KvMachine machine;
  std::uint64_t index = 0;
  for (const std::string& hash : hashes) {
    ++index;
    apply(machine, index, "{put, " + std::to_string(index) + ", v, #{hash => " + hash + "}}");
  }
  // Indexes below 256 with a hash that is a list of bytes come back from a BEAM as one STRING.
  std::string map = "#{";
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (i > 0) map += ", ";
    map += std::to_string(i + 1) + " => [" + std::to_string(i + 1) + "|" + hashes[i] + "]";
  }
  map += "}";
  const std::string state = state_of(machine);
  test::expect_same_in_beam({{state, "{ra_kv, " + map + "}"}});

  const std::vector<std::string> from_beam = test::encode_in_beam({"{ra_kv, " + map + "}"});
  ASSERT_EQ(from_beam.size(), 1u);
  KvMachine other;
  const Result<void> read = other.read_state(from_beam[0]);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  test::expect_same_in_beam({{state_of(other), "{ra_kv, " + map + "}"}});

  // Plain hashes replace odd ones and odd ones plain ones.
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    apply(machine, 100 + i, "{put, " + std::to_string(i + 1) + ", v, #{hash => 7}}");
  }
  EXPECT_NE(state_text(machine).find("2 => [101|7]"), std::string::npos) << state_text(machine);
  apply(machine, 200, "{put, 2, v, #{hash => odd}}");
  EXPECT_NE(state_text(machine).find("2 => [200|odd]"), std::string::npos) << state_text(machine);
  EXPECT_EQ(apply(machine, 201, "{delete, 2}"), CommandOutcome::ok);
  EXPECT_EQ(apply(machine, 202, "{put, 2, v, #{hash => 8}}"), CommandOutcome::ok);
  EXPECT_NE(state_text(machine).find("2 => [202|8]"), std::string::npos) << state_text(machine);
}

TEST(KvMachine, MakesTheCommandOfALiveIndexFromItsValue) {
  KvMachine machine;
  const std::string value = term("{some, [value], #{1 => 2.5}}");
  const std::string hash = std::to_string(*etf::phash2(value));
  const std::string put =
      "{put, {user, <<\"k\">>}, {some, [value], #{1 => 2.5}}, #{size => 1, hash => " + hash + "}}";
  apply(machine, 7, put);
  apply(machine, 8, "{put, other, 1, #{hash => [odd]}}");
  const Result<std::string> made = machine.command_at(7, value);
  ASSERT_TRUE(made) << made.error().message;
  const Result<KvCommand> command = parse_command(*made);
  ASSERT_TRUE(command);
  EXPECT_EQ(command->key, term("{user, <<\"k\">>}"));
  EXPECT_EQ(command->value, value);
  EXPECT_EQ(command->hash, term(hash));
  const std::string before = state_of(machine);
  machine.apply(7, *command);
  EXPECT_EQ(state_of(machine), before);
  EXPECT_EQ(machine.command_at(7, term("another")).error().code, ErrorCode::corrupt);
  EXPECT_EQ(machine.command_at(7, value.substr(1)).error().code, ErrorCode::malformed);
  EXPECT_EQ(machine.command_at(8, term("1")).error().code, ErrorCode::corrupt);  // who knows
  EXPECT_EQ(machine.command_at(6, value).error().code, ErrorCode::not_found);
}

TEST(KvMachine, StateAsTheBeamHasIt) {
  const std::string source =
      "{ra_kv, maps:from_list([{integer_to_binary(I), [I|erlang:phash2(I)]} || I <- "
      "lists:seq(1, 300)] ++ [{{complex, #{k => [I]}}, [I|7]} || I <- lists:seq(1, 50)])}";
  const std::vector<std::string> encoded = test::encode_in_beam({source});
  ASSERT_EQ(encoded.size(), 1u);
  KvMachine machine;
  const Result<void> read = machine.read_state(encoded[0]);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(machine.key_count(), 350u);
  EXPECT_EQ(machine.find(term("<<\"17\">>")), 17u);
  EXPECT_EQ(machine.find(term("{complex, #{k => [9]}}")), 9u);
  test::expect_same_in_beam({{state_of(machine), source}});
}

TEST(KvMachine, OverviewAsTheBeamHasIt) {
  KvMachine machine;
  etf::Writer empty;
  machine.write_overview(empty);
  apply(machine, 300, "{put, k, v, #{hash => 7}}");
  etf::Writer one;
  machine.write_overview(one);
  test::expect_same_in_beam({{empty.take(), "#{num_keys => 0, live_indexes => []}"},
                             {one.take(), "#{num_keys => 1, live_indexes => [300]}"}});
}

TEST(KvMachine, BadStatesAreRefusedAndChangeNothing) {
  KvMachine machine;
  apply(machine, 3, "{put, a, 1, #{hash => 10}}");
  const std::string before = state_of(machine);
  const std::string twice = std::string("\x68\2\x77\5ra_kv\x74\0\0\0\2", 14) + term("7") +
                            term("[1|2]") + std::string("\x62\0\0\0\7", 5) + term("[1|2]");
  const std::vector<std::string> bad = {
      std::string(),
      term("{ra_kv, []}"),
      term("{other, #{}}"),
      term("{ra_kv, #{}, 1}"),
      term("ra_kv"),
      term("{ra_kv, #{k => 1}}"),
      term("{ra_kv, #{k => []}}"),
      term("{ra_kv, #{k => [a|1]}}"),
      term("{ra_kv, #{k => [-1|1]}}"),
      term("{ra_kv, #{k => {1, 2}}}"),
      term("{ra_kv, #{}}") + "x",
      twice,
  };
  for (const std::string& state : bad) {
    const Result<void> read = machine.read_state(state);
    ASSERT_FALSE(read.has_value()) << test::to_hex(state);
    EXPECT_EQ(read.error().code, ErrorCode::malformed);
    EXPECT_EQ(state_of(machine), before);
  }
  const std::string good = term("{ra_kv, #{<<\"k\">> => [1|2], [1, 2] => [70000|[a|b]]}}");
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(machine.read_state(std::string(good, 0, size)).has_value()) << size;
  }
  EXPECT_EQ(state_of(machine), before);
}

std::uint64_t seed() {
  const char* given = std::getenv("RAKV_SEED");
  const std::uint64_t value =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::cout << "RAKV_SEED=" << value << "\n";
  return value;
}

// Long random runs against the plainest of maps, across growth and shrinking of the table.
TEST(KvMachine, BehavesLikeAMap) {
  std::mt19937_64 random(seed());
  KvMachine machine;
  std::map<std::string, std::uint64_t> model;
  const std::string hash = term("99");
  for (std::uint64_t index = 1; index <= 200'000; ++index) {
    etf::Writer key;
    key.binary("key" + std::to_string(random() % 30'000));
    const std::string encoded = key.take();
    if (random() % 3 == 0) {
      const CommandOutcome result =
          machine.apply(index, {KvCommand::Kind::remove, encoded, {}, {}});
      ASSERT_EQ(result == CommandOutcome::ok, model.erase(encoded) == 1);
    } else {
      machine.apply(index, {KvCommand::Kind::put, encoded, "j", hash});
      model[encoded] = index;
    }
    ASSERT_EQ(machine.find(encoded), model.contains(encoded) ? model[encoded] : 0);
  }
  ASSERT_EQ(machine.key_count(), model.size());
  for (const auto& [key, index] : model) ASSERT_EQ(machine.find(key), index);
  std::vector<std::uint64_t> live = machine.live_indexes();
  std::vector<std::uint64_t> expected;
  expected.reserve(model.size());
  for (const auto& [key, index] : model) expected.push_back(index);
  std::sort(live.begin(), live.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(live, expected);

  KvMachine copy;
  ASSERT_TRUE(copy.read_state(state_of(machine)).has_value());
  ASSERT_EQ(copy.key_count(), model.size());
  for (const auto& [key, index] : model) ASSERT_EQ(copy.find(key), index);
}

}  // namespace
}  // namespace rakv::kv
