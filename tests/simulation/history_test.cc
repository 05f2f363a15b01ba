// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/history.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

// Good and bad histories of one key. A line is an operation: who waits stands under the moments
// that it takes.

namespace rakv::simulation {
namespace {

using Kind = ClientOperation::Kind;
using Outcome = ClientOperation::Outcome;

ClientOperation put(std::uint64_t value, std::uint64_t from, std::uint64_t to) {
  return {Kind::put, "key", value, Outcome::done, from, to};
}
ClientOperation open_put(std::uint64_t value, std::uint64_t from) {
  return {Kind::put, "key", value, Outcome::open, from, 0};
}
ClientOperation get(std::uint64_t value, std::uint64_t from, std::uint64_t to) {
  return {Kind::get, "key", value, value == 0 ? Outcome::not_found : Outcome::done, from, to};
}
ClientOperation remove(Outcome outcome, std::uint64_t from, std::uint64_t to) {
  return {Kind::remove, "key", 0, outcome, from, to};
}
bool good(const std::vector<ClientOperation>& operations) {
  const LinearizabilityVerdict verdict = check_linearizable(operations);
  EXPECT_TRUE(verdict.decided);
  EXPECT_EQ(verdict.linearizable, verdict.why.empty());
  return verdict.linearizable;
}

TEST(Linearizability, OneAfterTheOther) {
  EXPECT_TRUE(good({}));
  EXPECT_TRUE(good({get(0, 1, 2), put(1, 3, 4), get(1, 5, 6)}));
  EXPECT_FALSE(good({put(1, 1, 2), get(0, 3, 4)})) << "an acknowledged write is lost";
  EXPECT_FALSE(good({put(1, 1, 2), put(2, 3, 4), get(1, 5, 6)})) << "a stale read";
  EXPECT_FALSE(good({get(7, 1, 2)})) << "a value that nobody put";
}

TEST(Linearizability, ConcurrentOperationsMayHaveEitherOrder) {
  EXPECT_TRUE(good({put(1, 1, 4), get(0, 2, 3)}));
  EXPECT_TRUE(good({put(1, 1, 4), get(1, 2, 3)}));
  EXPECT_TRUE(good({put(1, 1, 4), put(2, 2, 3), get(1, 5, 6)}));
  EXPECT_TRUE(good({put(1, 1, 4), put(2, 2, 3), get(2, 5, 6)}));
  EXPECT_FALSE(good({put(1, 1, 4), put(2, 2, 3), get(1, 5, 6), get(2, 7, 8)}))
      << "the order is what the first read saw";
  EXPECT_FALSE(good({put(1, 1, 10), get(1, 2, 3), get(0, 4, 5)})) << "seen, and gone again";
}

TEST(Linearizability, WithoutAnAnswerAWriteMayComeLaterOrNever) {
  EXPECT_TRUE(good({open_put(1, 1), get(0, 2, 3)}));
  EXPECT_TRUE(good({open_put(1, 1), get(1, 2, 3)}));
  EXPECT_TRUE(good({open_put(1, 1), get(0, 2, 3), put(2, 4, 5), get(1, 6, 7)}));
  EXPECT_FALSE(good({open_put(1, 1), get(1, 2, 3), get(0, 4, 5)}));
  EXPECT_FALSE(good({get(1, 1, 2), open_put(1, 3)})) << "read before it was asked for";
}

TEST(Linearizability, WhatWasRefusedNeverHappens) {
  const ClientOperation refused{Kind::put, "key", 1, Outcome::refused, 1, 2};
  EXPECT_TRUE(good({refused, get(0, 3, 4)}));
  EXPECT_FALSE(good({refused, get(1, 3, 4)}));
}

TEST(Linearizability, ARemovalSaysWhatItFound) {
  EXPECT_TRUE(good({put(1, 1, 2), remove(Outcome::done, 3, 4), get(0, 5, 6)}));
  EXPECT_FALSE(good({put(1, 1, 2), remove(Outcome::not_found, 3, 4)}));
  EXPECT_FALSE(good({remove(Outcome::done, 1, 2)}));
  EXPECT_FALSE(good({put(1, 1, 2), remove(Outcome::done, 3, 4), get(1, 5, 6)}));
  EXPECT_TRUE(good({open_put(1, 1), remove(Outcome::done, 2, 3)}));
  EXPECT_TRUE(good({put(1, 1, 2), remove(Outcome::open, 3, 0), get(1, 4, 5), get(0, 6, 7)}));
  EXPECT_FALSE(good({put(1, 1, 2), remove(Outcome::open, 3, 0), get(0, 4, 5), get(1, 6, 7)}));
}

TEST(Linearizability, ALongSearchIsGivenUp) {
  std::vector<ClientOperation> operations;
  for (std::uint64_t i = 1; i <= 40; ++i) operations.push_back(put(i, i, 100 + i));
  operations.push_back(get(99, 200, 201));
  const LinearizabilityVerdict verdict = check_linearizable(operations, 1000);
  EXPECT_FALSE(verdict.decided);
  EXPECT_TRUE(verdict.linearizable);
}

TEST(HistoryTest, KnowsWhatMayHaveReplacedAPut) {
  History history;
  const std::size_t before = history.invoke(Kind::put, "key", 1);
  history.answer(before, Outcome::done);
  const std::size_t put = history.invoke(Kind::put, "key", 2);
  EXPECT_FALSE(history.may_be_superseded(put));
  EXPECT_TRUE(history.may_be_superseded(before));
  history.invoke(Kind::put, "other", 3);
  history.invoke(Kind::get, "key", 0);
  EXPECT_FALSE(history.may_be_superseded(put));
  const std::size_t refused = history.invoke(Kind::remove, "key", 0);
  EXPECT_TRUE(history.may_be_superseded(put)) << "not answered yet";
  history.answer(refused, Outcome::refused);
  EXPECT_FALSE(history.may_be_superseded(put));
}

}  // namespace
}  // namespace rakv::simulation
