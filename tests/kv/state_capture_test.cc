// SPDX-License-Identifier: Apache-2.0
#include "kv/state_capture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "cnode/etf/version.h"
#include "kv/machine.h"

// A capture has the state of the moment when it was begun, whatever is applied before it is done.

namespace rakv::kv {
namespace {

std::string key(std::uint64_t number) {
  return etf::Writer().binary("key" + std::to_string(number)).take();
}

void put(KvMachine& machine, std::uint64_t index, const std::string& at,
         std::string_view hash = "a\x07") {
  machine.apply(index, {KvCommand::Kind::put, at, "j", hash});
}

void remove(KvMachine& machine, std::uint64_t index, const std::string& at) {
  machine.apply(index, {KvCommand::Kind::remove, at, {}, {}});
}

/// As a set: a capture need not have the order of write_state().
std::vector<std::string> pairs(std::string_view state) {
  etf::Cursor cursor(state);
  EXPECT_TRUE(cursor.tuple(2) && cursor.is_atom("ra_kv"));
  std::vector<std::string> all(cursor.map().value_or(0));
  for (std::string& pair : all) {
    pair = std::string(cursor.skip().value_or(""));
    pair += cursor.skip().value_or("");
  }
  EXPECT_TRUE(cursor.at_end());
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::string> pairs_of_state(const KvMachine& machine) {
  etf::Writer writer;
  machine.write_state(writer);
  return pairs(writer.view());
}

TEST(KvStateCapture, HasTheStateOfItsBeginning) {
  KvMachine machine;
  constexpr std::uint64_t kKeys = 30'000;  // more than one piece
  for (std::uint64_t number = 1; number <= kKeys; ++number) put(machine, number, key(number));
  put(machine, kKeys + 1, key(5), etf::Writer().atom("odd").view());
  const auto before = pairs_of_state(machine);
  std::vector<std::uint64_t> live = machine.live_indexes();
  std::sort(live.begin(), live.end());

  const auto capture = machine.capture();
  std::mt19937_64 random(1);
  std::uint64_t index = kKeys + 1;
  put(machine, ++index, key(5));
  int pieces = 1;
  for (; capture->copy_more(); ++pieces) {
    for (int i = 0; i < 100; ++i) {
      put(machine, ++index, key(random() % (2 * kKeys)));
      remove(machine, ++index, key(random() % (2 * kKeys)));
    }
  }
  EXPECT_GT(pieces, 1);
  const SharedBytes state = capture->take_state();
  ASSERT_EQ(state.view().front(), '\x83');
  EXPECT_EQ(pairs(etf::without_version(state.view())), before);
  EXPECT_NE(pairs_of_state(machine), before);
  std::vector<std::uint64_t> captured = capture->take_live_indexes();
  std::sort(captured.begin(), captured.end());
  EXPECT_EQ(captured, live);
}

TEST(KvStateCapture, OfAnEmptyMachineAndOneAfterTheOther) {
  KvMachine machine;
  for (int round = 0; round < 2; ++round) {
    const auto capture = machine.capture();
    EXPECT_FALSE(capture->copy_more());
    EXPECT_TRUE(pairs(etf::without_version(capture->take_state().view())).empty());
  }
  put(machine, 1, key(1));  // nobody looks on any more
}

}  // namespace
}  // namespace rakv::kv
