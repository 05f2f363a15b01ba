// SPDX-License-Identifier: Apache-2.0
#include "kv/program/json_output.h"

#include <gtest/gtest.h>

namespace rakv::kv {
namespace {

TEST(JsonOutput, AStringIsAlwaysValidAndCanBeShownOnATerminal) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "\"\""},
      {"a \"b\" \\ c", "\"a \\\"b\\\" \\\\ c\""},
      {"é日😀", "\"é日😀\""},
      {"a\nb\t\x1b[31m", "\"a\\nb\\t\\u001b[31m\""},
      {"\x7f\xc2\x9b", "\"\\u007f\\u009b\""},
      {"\xe2\x80\xae\xef\xbb\xbf", "\"\\u202e\\ufeff\""},
      {"a\xff\xc3", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
  };
  for (const auto& [text, json] : cases) EXPECT_EQ(json_line(json_string(text)), json + "\n");
}

}  // namespace
}  // namespace rakv::kv
