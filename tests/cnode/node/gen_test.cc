// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/gen.h"

#include <gtest/gtest.h>

#include <string>

namespace rakv::node {
namespace {

using etf::Writer;

const etf::Pid& caller() {
  static const etf::Pid kPid = [] {
    const std::string encoded(
        "\x58\x77\x03"
        "b@h"
        "\0\0\0\x05\0\0\0\0\0\0\0\x07",
        18);
    etf::Cursor cursor(encoded);
    return etf::Pid(*cursor.pid_view());
  }();
  return kPid;
}

std::string pid_bytes() {
  return std::string(
      "\x58\x77\x03"
      "b@h"
      "\0\0\0\x05\0\0\0\0\0\0\0\x07",
      18);
}

std::string reference_bytes() {
  return std::string(
      "\x5a\0\x02\x77\x03"
      "b@h"
      "\0\0\0\x07\0\0\0\x01\0\0\0\x02",
      20);
}

/// `[alias|Tail]`.
std::string alias_cell(const std::string& tail) {
  Writer writer;
  writer.list(1).atom("alias").raw(tail);
  return writer.take();
}

std::string from(const std::string& tag) {
  Writer writer;
  writer.tuple(2).raw(pid_bytes()).raw(tag);
  return writer.take();
}

/// Reads `{Pid, Tag}`; the tag must come back as it is.
bool has_alias(const std::string& tag) {
  const std::string encoded = from(tag);
  etf::Cursor cursor(encoded);
  const std::optional<ReplyAddress> address = parse_from(cursor);
  EXPECT_TRUE(address.has_value());
  if (!address) return false;
  EXPECT_EQ(address->tag, tag);
  EXPECT_EQ(etf::Pid(address->pid), caller());
  EXPECT_TRUE(cursor.at_end());
  if (address->alias) {
    etf::Writer again;
    EXPECT_EQ(again.reference(*address->alias).view(), reference_bytes());
  }
  return address->alias.has_value();
}

TEST(ParseFromTest, EveryFormOfTag) {
  EXPECT_TRUE(has_alias(alias_cell(reference_bytes()))) << "gen_server:call since 24";
  EXPECT_TRUE(has_alias(Writer().list(1).raw(alias_cell(reference_bytes())).nil().take()))
      << "multi_call of 29: [[alias|Ref]|_]";
  EXPECT_TRUE(
      has_alias(Writer().list(1).raw(alias_cell(reference_bytes())).raw(reference_bytes()).take()));
  EXPECT_FALSE(has_alias(reference_bytes())) << "callers written by hand";
  EXPECT_FALSE(has_alias(Writer().tuple(2).raw(reference_bytes()).atom("b@h").take()))
      << "multi_call of 25: {Ref, Node}";
}

TEST(ParseFromTest, TagsThatOnlyLookLikeAnAlias) {
  EXPECT_FALSE(has_alias(Writer().list(1).atom("alias").nil().take()));
  EXPECT_FALSE(has_alias(Writer().list(1).atom("other").raw(reference_bytes()).take()));
  EXPECT_FALSE(has_alias(Writer().list(2).atom("alias").raw(reference_bytes()).nil().take()));
  EXPECT_FALSE(has_alias(Writer().atom("alias").take()));
  EXPECT_FALSE(has_alias(Writer().nil().take()));
  // two levels of nesting are one too many
  const std::string once = Writer().list(1).raw(alias_cell(reference_bytes())).nil().take();
  EXPECT_FALSE(has_alias(Writer().list(1).raw(once).nil().take()));
}

TEST(ParseFromTest, WhatIsNoAddress) {
  for (const std::string& bad :
       {Writer().atom("from").take(), Writer().tuple(1).raw(pid_bytes()).take(),
        Writer().tuple(2).atom("pid").atom("tag").take(), std::string(),
        from(reference_bytes()).substr(0, 25)}) {
    etf::Cursor cursor(bad);
    EXPECT_FALSE(parse_from(cursor).has_value());
  }
}

TEST(ParseGenMessageTest, Call) {
  const std::string address = from(reference_bytes());
  const std::string request = Writer().tuple(2).atom("is_auth").atom("b@h").take();
  const std::string message = Writer().tuple(3).atom("$gen_call").raw(address).raw(request).take();
  const std::optional<GenMessage> parsed = parse_gen_message(message);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->kind, GenMessage::Kind::call);
  EXPECT_EQ(parsed->from, address);
  EXPECT_EQ(parsed->request, request);
}

TEST(ParseGenMessageTest, Cast) {
  const std::string message = Writer().tuple(2).atom("$gen_cast").integer(5).take();
  const std::optional<GenMessage> parsed = parse_gen_message(message);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->kind, GenMessage::Kind::cast);
  EXPECT_EQ(parsed->request, Writer().integer(5).take());
}

TEST(ParseGenMessageTest, MayNestAsDeepAsTheTermsOfABeam) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "h\x01";
  deep += "j";
  const std::string call =
      Writer().tuple(3).atom("$gen_call").raw(from(reference_bytes())).raw(deep).take();
  const std::optional<GenMessage> asked = parse_gen_message(call);
  ASSERT_TRUE(asked.has_value()) << "nobody would answer";
  EXPECT_EQ(asked->request, deep);
  const std::optional<GenMessage> cast =
      parse_gen_message(Writer().tuple(2).atom("$gen_cast").raw(deep).view());
  ASSERT_TRUE(cast.has_value()) << "entries that a leader sends would be dropped for ever";
  EXPECT_TRUE(parse_gen_message(deep).has_value());
}

TEST(ParseGenMessageTest, EverythingElseIsInfoWithTheWholeMessage) {
  for (const std::string& message :
       {Writer().atom("$gen_call").take(), Writer().tuple(2).atom("$gen_call").integer(1).take(),
        Writer().tuple(3).atom("$gen_cast").integer(1).integer(2).take(), Writer().tuple(0).take(),
        Writer().nil().take(), Writer().tuple(3).integer(1).integer(2).integer(3).take()}) {
    const std::optional<GenMessage> parsed = parse_gen_message(message);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->kind, GenMessage::Kind::info);
    EXPECT_EQ(parsed->request, message);
  }
}

TEST(ParseGenMessageTest, NothingThatIsCutOffOrTooLong) {
  const std::string call =
      Writer().tuple(3).atom("$gen_call").raw(from(reference_bytes())).binary("request").take();
  for (std::size_t bytes = 0; bytes < call.size(); ++bytes) {
    EXPECT_FALSE(parse_gen_message(std::string_view(call).substr(0, bytes)).has_value()) << bytes;
  }
  EXPECT_FALSE(parse_gen_message(call + call).has_value());
  EXPECT_FALSE(parse_gen_message(Writer().tuple(2).atom("$gen_cast").take() + "\xff").has_value());
  EXPECT_FALSE(parse_gen_message(Writer().integer(1).integer(2).take()).has_value());
}

TEST(ParseSystemMessageTest, TakesOneApart) {
  const std::string caller = from(reference_bytes());
  const std::string state = Writer().tuple(3).atom("system").raw(caller).atom("get_state").take();
  const std::optional<SystemMessage> parsed = parse_system_message(state);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->from, caller);
  EXPECT_EQ(parsed->request, Writer().atom("get_state").take());
  EXPECT_FALSE(parsed->end_for.has_value());
  const std::string end =
      Writer().tuple(3).atom("system").raw(caller).tuple(2).atom("terminate").atom("normal").take();
  EXPECT_EQ(parse_system_message(end)->end_for, Writer().atom("normal").view());
}

TEST(ParseSystemMessageTest, OtherMessagesAreNone) {
  for (const std::string& message :
       {Writer().atom("system").take(), Writer().tuple(2).atom("system").integer(1).take(),
        Writer().tuple(3).atom("other").integer(1).integer(2).take(), Writer().tuple(0).take()})
    EXPECT_FALSE(parse_system_message(message).has_value());
}

}  // namespace
}  // namespace rakv::node
