// SPDX-License-Identifier: Apache-2.0
// The table of settings, and configuration files against it.

#include "kv/program/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kv/program/number_text.h"
#include "kv/program/settings_file.h"

namespace rakv::kv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

FileFaults faults_of(const std::string& text) {
  StartOptions options;
  return read_settings_text(text, "f", options);
}

StartOptions options_of(const std::string& text) {
  StartOptions options;
  EXPECT_THAT(read_settings_text(text, "f", options), IsEmpty()) << text;
  return options;
}

TEST(NumberText, TakesNumbersAndNothingElse) {
  EXPECT_EQ(whole_number("40123"), 40123u);
  EXPECT_EQ(whole_number("18446744073709551615"), 18446744073709551615u);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "a", "18446744073709551616"})
    EXPECT_EQ(whole_number(text), std::nullopt) << text;
  EXPECT_EQ(decimal_number("0.5"), 0.5);
  EXPECT_EQ(decimal_number("5"), 5.0);
  EXPECT_EQ(decimal_number("1e3"), 1000.0);
  for (const char* text : {"", "nan", "NaN", "inf", "-inf", "infinity", "-1", "+1", " 1", "1 ",
                           "1s", "0x10", "1e999", "1e", ".", "-", "--", "1,5", "\xff"})
    EXPECT_EQ(decimal_number(text), std::nullopt) << text;
  EXPECT_EQ(size_in_bytes("67108864"), 67108864u);
  for (const char* text : {"64MB", "64M", "64mib", "64 MiB", "65536kb", "67108864B"})
    EXPECT_EQ(size_in_bytes(text), 67108864u) << text;
  EXPECT_EQ(size_in_bytes("2GB"), std::uint64_t{2} << 30);
  EXPECT_EQ(size_in_bytes("1T"), std::uint64_t{1} << 40);
  for (const char* text : {"", "MB", "-1MB", "1.5GB", "64XB", "64x", "64MBs", "64  MB", "nan",
                           "64MB ", "99999999999TB"})
    EXPECT_EQ(size_in_bytes(text), std::nullopt) << text;
}

/// A value for each setting that differs from its default, as a text and as TOML, and the field.
struct Sample {
  const char* name;
  std::vector<std::string> texts;
  const char* toml;
};
const Sample kSamples[] = {
    {"sname", {"n"}, "'n'"},
    {"name", {"n@h.d"}, "'n@h.d'"},
    {"cookie-file", {"/a b"}, "'/a b'"},
    {"cookie", {"a#b,[c]\"1'"}, "'''a#b,[c]\"1''''"},
    {"data-dir", {"/d"}, "'/d'"},
    {"memory-budget", {"64MB"}, "'64MB'"},
    {"bootstrap", {"kv"}, "'kv'"},
    {"connect", {"a@h", "b@h"}, "['a@h', 'b@h']"},
    {"listen-address", {"127.0.0.1"}, "'127.0.0.1'"},
    {"listen-port", {"40123"}, "40123"},
    {"net-ticktime", {"7"}, "7"},
    {"log-level", {"debug"}, "'debug'"},
    {"exit-with-parent", {}, "true"},
    {"test-hooks", {}, "true"},
};

bool same(const Setting& setting, const StartOptions& a, const StartOptions& b) {
  return std::visit([&](auto place) { return a.*place == b.*place; }, setting.place);
}

TEST(Settings, EachIsSetByTextAndByFileToTheSameAndCanBeTakenBack) {
  std::set<std::string> seen;
  for (const Sample& sample : kSamples) {
    const Setting* setting = find_setting(sample.name);
    ASSERT_NE(setting, nullptr) << sample.name;
    seen.insert(sample.name);
    StartOptions by_text;
    const Result<void> applied = apply_texts(*setting, sample.texts, by_text);
    EXPECT_TRUE(applied.has_value()) << sample.name << ": " << applied.error().message;
    const StartOptions by_file = options_of(std::string(sample.name) + " = " + sample.toml);
    EXPECT_FALSE(same(*setting, by_text, {})) << sample.name << " does nothing";
    EXPECT_TRUE(same(*setting, by_text, by_file)) << sample.name;
    for (const Setting& other : start_settings()) {
      if (&other == setting) continue;
      EXPECT_TRUE(same(other, by_text, {}) && same(other, by_file, {}))
          << sample.name << " changes " << other.name;
    }
    clear_setting(*setting, by_text);
    EXPECT_TRUE(same(*setting, by_text, {})) << sample.name;
  }
  for (const Setting& setting : start_settings())
    EXPECT_TRUE(seen.contains(std::string(setting.name))) << setting.name << " has no sample";
}

TEST(Settings, BadValuesAreRefusedInWordsAndChangeNothing) {
  const std::pair<const char*, const char*> cases[] = {
      {"sname", "a b"},
      {"sname", ""},
      {"name", "n@h d"},
      {"cookie", ""},
      {"cookie", "日本"},
      {"cookie-file", ""},
      {"data-dir", ""},
      {"memory-budget", ""},
      {"memory-budget", "1MB"},
      {"memory-budget", "-64MB"},
      {"bootstrap", ""},
      {"bootstrap", ".."},
      {"connect", "nobody@"},
      {"connect", "a b"},
      {"listen-address", "nowhere"},
      {"listen-address", ""},
      {"listen-port", "-1"},
      {"listen-port", "65536"},
      {"listen-port", ""},
      {"listen-port", "1e3"},
      {"listen-port", "99999999999999999999"},
      {"net-ticktime", "0"},
      {"net-ticktime", "nan"},
      {"net-ticktime", "86401"},
      {"net-ticktime", "1.5"},
      {"log-level", "loud"},
      {"log-level", ""},
  };
  for (const auto& [name, text] : cases) {
    StartOptions options;
    const Result<void> applied = apply_texts(*find_setting(name), {text}, options);
    ASSERT_FALSE(applied.has_value()) << name << "=" << text;
    EXPECT_EQ(applied.error().code, ErrorCode::invalid_argument);
    EXPECT_GT(applied.error().message.size(), 10u);
    EXPECT_TRUE(same(*find_setting(name), options, {})) << name;
  }
}

TEST(Settings, AFlagMayBeTakenBackByItsText) {
  const Setting& flag = *find_setting("exit-with-parent");
  StartOptions options;
  const auto after = [&](const std::vector<std::string>& texts) {
    EXPECT_TRUE(apply_texts(flag, texts, options));
    return options.exit_with_parent;
  };
  EXPECT_TRUE(after({}));
  EXPECT_FALSE(after({"false"})) << "--exit-with-parent=false on the command line";
  EXPECT_TRUE(after({"true"}));
  EXPECT_FALSE(after({"true", "false"}));
  EXPECT_FALSE(apply_texts(flag, {"maybe"}, options));
}

TEST(SettingsFile, CookiesSurviveWhateverTheyHold) {
  EXPECT_EQ(options_of(R"(cookie = "a#b, [c] \"d\" 'e' = 1")").cookie, R"(a#b, [c] "d" 'e' = 1)");
  EXPECT_EQ(options_of("cookie = '12345'").cookie, "12345");
  EXPECT_EQ(options_of("cookie = '1e5' # not a number").cookie, "1e5");
  EXPECT_EQ(options_of("cookie = 'true'").cookie, "true");
  EXPECT_EQ(options_of("cookie = \"\\u00e9\"").cookie, "\u00e9");
}

TEST(SettingsFile, AllFaultsAreSaidWithTheirPlaces) {
  EXPECT_THAT(
      faults_of("sname = 7\n"
                "data_dir = 'x'\n"
                "\n"
                "  listen-port = 70000 # too many\n"
                "nothing-like-it = 1\n"
                "log-level = 'loud'\n"
                "connect = ['a@h', 3]\n"
                "cookie = 12345\n"
                "exit-with-parent = 'yes'\n"
                "net-ticktime = 1.5\n"
                "memory-budget = -1\n"
                "bootstrap = 2026-01-01\n"
                "[node]\n"
                "name = 'n@h.d'\n"),
      ElementsAre(
          "f: line 1, column 9: sname: must be a text in quotes",
          "f: line 2, column 1: there is no setting 'data_dir'; is it data-dir?",
          "f: line 4, column 17: listen-port: must be a whole number from 0 to 65535",
          "f: line 5, column 1: there is no setting 'nothing-like-it'; rakv start --help has "
          "their names, without the --",
          "f: line 6, column 13: log-level: must be trace, debug, info, warning, error or "
          "critical",
          "f: line 7, column 11: connect: must be a list of texts, as [\"a\", \"b\"]",
          "f: line 8, column 10: cookie: must be a text in quotes",
          "f: line 9, column 20: exit-with-parent: must be true or false",
          "f: line 10, column 16: net-ticktime: must be a whole number from 1 to 86400",
          "f: line 11, column 17: memory-budget: must be a size, as 512MB or 4GB",
          "f: line 12, column 13: bootstrap: must be a text in quotes",
          HasSubstr("f: line 13, column 2: there is no setting 'node'")));
}

TEST(SettingsFile, WhatExcludesEachOtherIsAFault) {
  EXPECT_THAT(faults_of("sname = 'a'\nname = 'a@h.d'\n"),
              ElementsAre("f: line 2, column 1: give either name or sname"));
  EXPECT_THAT(faults_of("cookie = 'a'\ncookie-file = 'f'\n"),
              ElementsAre("f: line 2, column 1: give either cookie-file or cookie"));
}

TEST(SettingsFile, SyntaxErrorsHaveTheirPlace) {
  for (const char* text : {"sname = 'a'\ncookie = \n", "sname = 'a'\nsname = 'b'\n",
                           "sname = 'a'\n= 1\n", "\nlisten-port = 1 2\n", "\n[x\n", "\n\xff = 1\n",
                           "\nsname = 'never closed\n", "\nsname = \"\\q\"\n"}) {
    const FileFaults faults = faults_of(text);
    ASSERT_EQ(faults.size(), 1u) << text;
    EXPECT_THAT(faults[0], HasSubstr("f: line 2, column ")) << text;
    EXPECT_EQ(faults[0].find('\n'), std::string::npos);
  }
  EXPECT_THAT(faults_of(""), IsEmpty());
  EXPECT_THAT(faults_of("# nothing\n"), IsEmpty());
}

TEST(SettingsFile, FaultsAreOneLineWhateverTheFileHolds) {
  const FileFaults faults = faults_of("\"a\\nb\\u001b[31m\" = 1\n");
  EXPECT_THAT(faults, ElementsAre(HasSubstr("'a\\nb\\x1B[31m'")));
}

TEST(SettingsFile, SecretsAreInNoFault) {
  for (const char* text :
       {"cookie = ['SECRET']", "cookie = { a = 'SECRET' }", "cookie = \"SECRET\xe6\x97\xa5\""}) {
    for (const std::string& fault : faults_of(text))
      EXPECT_EQ(fault.find("SECRET"), std::string::npos);
    EXPECT_EQ(faults_of(text).size(), 1u);
  }
}

TEST(SettingsFile, FilesThatCantBeReadAreSaid) {
  StartOptions options;
  EXPECT_THAT(read_settings_file("/no/such/file", options),
              ElementsAre("/no/such/file: can't be read: No such file or directory"));
  EXPECT_THAT(read_settings_file("/", options), ElementsAre(HasSubstr("not a regular file")));
  EXPECT_THAT(read_settings_file("/dev/zero", options),
              ElementsAre(HasSubstr("not a regular file")));
  EXPECT_THAT(read_settings_file("", options), ElementsAre(HasSubstr("can't be read")));
}

}  // namespace
}  // namespace rakv::kv
