// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/rpc.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cnode/etf/writer.h"

namespace rakv::node {
namespace {

using etf::Writer;

/// What a call was answered with.
struct Answers {
  std::vector<std::pair<RpcOutcome, std::string>> given;

  RpcCall::Answer recorder() {
    return [this](RpcOutcome outcome, const RpcTerm& term, std::string_view stack) {
      EXPECT_EQ(stack, Writer().nil().view());
      given.emplace_back(outcome, term.flat());
    };
  }
};

std::optional<RpcCall> make_call(Answers& answers) {
  return RpcCall::make("b@h", Writer().list(2).integer(1).atom("x").nil().view(),
                       answers.recorder());
}

TEST(ListElementsTest, EveryFormOfAProperList) {
  std::string storage;
  const auto empty = list_elements(Writer().nil().view(), storage);
  ASSERT_TRUE(empty.has_value());
  EXPECT_TRUE(empty->empty());

  std::string two_storage;
  const auto two = list_elements(Writer().list(2).atom("a").binary("b").nil().view(), two_storage);
  ASSERT_TRUE(two.has_value());
  EXPECT_EQ(*two, (std::vector<std::string_view>{Writer().atom("a").take(),
                                                 Writer().binary("b").take()}));
}

TEST(ListElementsTest, StringFormGivesIntegers) {
  std::string storage;
  const auto bytes = list_elements(Writer().byte_list(std::string("\0a\xff", 3)).view(), storage);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(*bytes,
            (std::vector<std::string_view>{Writer().integer(0).take(), Writer().integer('a').take(),
                                           Writer().integer(255).take()}));
}

TEST(ListElementsTest, WhatIsNoProperList) {
  for (const std::string& bad :
       {Writer().atom("a").take(), Writer().tuple(0).take(), std::string(),
        Writer().list(1).integer(1).integer(2).take(),          // improper
        Writer().list(2).integer(1).take(),                     // cut off
        Writer().nil().nil().take(),                            // something after it
        Writer().byte_list("ab").nil().take(),                  // the same
        std::string("\x6b\xff\xff\x01", 4),                     // a string of 65535 bytes, with one
        std::string("\x6c\xff\xff\xff\xff\x61\x01\x6a", 8)}) {  // 2^32-1 elements
    std::string storage;
    EXPECT_FALSE(list_elements(bad, storage).has_value());
  }
}

TEST(ListElementsTest, NotMoreThanAFunctionHasArguments) {
  const auto list_of = [](std::uint32_t count) {
    Writer list;
    list.list(count);
    for (std::uint32_t i = 0; i < count; ++i) list.nil();
    return list.nil().take();
  };
  std::string storage;
  EXPECT_EQ(list_elements(list_of(kMaxArguments), storage)->size(), kMaxArguments);
  // A list of millions would take 16 times its bytes.
  EXPECT_FALSE(list_elements(list_of(kMaxArguments + 1), storage).has_value());
  EXPECT_EQ(list_length(list_of(1'000'000)), 1'000'000u);
  EXPECT_EQ(list_length(Writer().byte_list(std::string(300, 'x')).view()), 300u);
  EXPECT_EQ(list_length(Writer().nil().view()), 0u);
  EXPECT_FALSE(list_length(Writer().list(1).integer(1).integer(2).view()).has_value());
  EXPECT_FALSE(list_length(Writer().atom("a").view()).has_value());
}

TEST(UndefStackTest, NamesFunctionAndArguments) {
  const std::string arguments = Writer().list(1).integer(1).nil().take();
  const std::string expected =
      Writer().list(1).tuple(4).atom("m").atom("f").raw(arguments).nil().nil().take();
  EXPECT_EQ(undef_stack("m", "f", arguments), expected);
}

TEST(RpcCallTest, ArgumentsAndCaller) {
  Answers answers;
  std::optional<RpcCall> call = make_call(answers);
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->caller_node(), "b@h");
  ASSERT_EQ(call->arguments().size(), 2u);
  EXPECT_EQ(call->argument(1), Writer().atom("x").view());
  // moving does not invalidate the views
  const std::string_view first = call->argument(0);
  const RpcCall moved = std::move(*call);
  EXPECT_EQ(moved.argument(0).data(), first.data());
}

TEST(RpcCallTest, ArgumentsThatAreNoListMakeNoCallAndNoAnswer) {
  Answers answers;
  EXPECT_FALSE(RpcCall::make("b@h", Writer().atom("x").view(), answers.recorder()).has_value());
  EXPECT_TRUE(answers.given.empty());
}

TEST(RpcCallTest, AnsweredOnce) {
  Answers answers;
  {
    std::optional<RpcCall> call = make_call(answers);
    ASSERT_TRUE(call.has_value());
    call->answer(Writer().atom("yes").view());
    call->raise_badarg();
    call->exit(Writer().atom("late").view());
  }
  ASSERT_EQ(answers.given.size(), 1u);
  EXPECT_EQ(answers.given[0], std::pair(RpcOutcome::returned, Writer().atom("yes").take()));
  // In two parts, the second one shared.
  const SharedBytes shared = SharedBytes::copy_of("...value...");
  std::optional<RpcCall> second = make_call(answers);
  ASSERT_TRUE(second.has_value());
  second->answer({"head,", shared, shared.view().substr(3, 5)});
  EXPECT_EQ(answers.given.back(), std::pair(RpcOutcome::returned, std::string("head,value")));
}

TEST(RpcCallTest, EachOutcome) {
  Answers answers;
  make_call(answers)->raise(Writer().atom("r").view());
  make_call(answers)->raise_badarg();
  make_call(answers)->throw_term(Writer().atom("t").view());
  make_call(answers)->exit(Writer().atom("e").view());
  EXPECT_EQ(answers.given, (std::vector<std::pair<RpcOutcome, std::string>>{
                               {RpcOutcome::raised, Writer().atom("r").take()},
                               {RpcOutcome::raised, Writer().atom("badarg").take()},
                               {RpcOutcome::thrown, Writer().atom("t").take()},
                               {RpcOutcome::exited, Writer().atom("e").take()}}));
}

TEST(RpcCallTest, DroppedIsKilled) {
  const std::pair killed(RpcOutcome::exited, Writer().atom("killed").take());
  Answers dropped;
  make_call(dropped).reset();
  EXPECT_EQ(dropped.given, std::vector{killed});

  Answers overwritten;
  Answers kept;
  RpcCall call = std::move(*make_call(overwritten));
  call = std::move(*make_call(kept));
  EXPECT_EQ(overwritten.given, std::vector{killed});
  EXPECT_TRUE(kept.given.empty()) << "a call that was moved from answers nothing";
  call.disarm();
  EXPECT_TRUE(kept.given.empty());
}

TEST(RpcTableTest, FindsByModuleFunctionAndArity) {
  RpcTable table;
  int applied = 0;
  table.add("m", "f", 2, [&applied](RpcCall call) {
    ++applied;
    call.disarm();
  });
  EXPECT_EQ(table.find("m", "f", 1), nullptr);
  EXPECT_EQ(table.find("m", "g", 2), nullptr);
  EXPECT_EQ(table.find("n", "f", 2), nullptr);
  const RpcFunction* found = table.find("m", "f", 2);
  ASSERT_NE(found, nullptr);
  Answers answers;
  (*found)(std::move(*make_call(answers)));
  EXPECT_EQ(applied, 1);
  EXPECT_TRUE(answers.given.empty());
}

}  // namespace
}  // namespace rakv::node
