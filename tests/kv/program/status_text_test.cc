// SPDX-License-Identifier: Apache-2.0
#include "kv/program/status_text.h"

#include <gtest/gtest.h>

// What rakv status prints, as a table and as JSON.

namespace rakv::kv {
namespace {

std::vector<StatusRow> rows() {
  StatusRow leader;
  leader.member = {"kv", "n1@host"};
  leader.reachable = true;
  leader.metrics.state = "leader";
  leader.metrics.membership = "voter";
  leader.metrics.term = 12;
  leader.metrics.last_index = 1000;
  leader.metrics.last_written_index = 999;
  leader.metrics.commit_index = 998;
  leader.metrics.last_applied = 997;
  leader.metrics.snapshot_index = 500;
  StatusRow gone;
  gone.member = {"kv", "n2@host"};
  return {leader, gone};
}

TEST(StatusTextTest, EachMemberHasALine) {
  EXPECT_EQ(status_table(rows()),
            "MEMBER  NODE     ROLE     TERM  LAST  WRITTEN  COMMIT  APPLIED  SNAPSHOT  MEMBERSHIP  "
            "REACHABLE\n"
            "kv      n1@host  leader   12    1000  999      998     997      500       voter       "
            "yes\n"
            "kv      n2@host  unknown  -     -     -        -       -        -         unknown     "
            "no\n");
}

TEST(StatusTextTest, ANoteHasALineOfItsOwn) {
  std::vector<StatusRow> one{rows().front()};
  one.front().metrics.snapshot_index = -1;
  one.front().metrics.note = "waits";
  const std::string table = status_table(one);
  EXPECT_NE(table.find("997      -         voter"), std::string::npos) << table;
  EXPECT_TRUE(table.ends_with("\n{kv,n1@host} waits\n")) << table;
}

TEST(StatusTextTest, WhatActsOnATerminalIsNotPrinted) {
  std::vector<StatusRow> one{rows().front()};
  one.front().metrics.state = "\x1b[2J";
  one.front().metrics.note = "\x1b[2J";
  EXPECT_EQ(status_table(one).find('\x1b'), std::string::npos);
  EXPECT_EQ(status_json("kv", one).find('\x1b'), std::string::npos);
}

TEST(StatusTextTest, JsonSaysNullForWhatIsNotKnown) {
  EXPECT_EQ(status_json("kv", rows()),
            R"({"cluster":"kv","members":[{"name":"kv","node":"n1@host","role":"leader","term":12,)"
            R"("last_index":1000,"last_written_index":999,"commit_index":998,"last_applied":997,)"
            R"("snapshot_index":500,"membership":"voter","reachable":true},)"
            R"({"name":"kv","node":"n2@host","role":"unknown","term":null,"last_index":null,)"
            R"("last_written_index":null,"commit_index":null,"last_applied":null,)"
            R"("snapshot_index":null,"membership":"unknown","reachable":false}]})"
            "\n");
}

TEST(StatusTextTest, JsonHasANoteWhereThereIsOne) {
  std::vector<StatusRow> one{rows().front()};
  one.front().metrics.note = "waits for \"n3\"";
  EXPECT_NE(status_json("kv", one).find(R"("reachable":true,"note":"waits for \"n3\""}]})"),
            std::string::npos);
}

}  // namespace
}  // namespace rakv::kv
