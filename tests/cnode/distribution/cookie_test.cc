// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/cookie.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/cnode/distribution/support.h"

namespace rakv::distribution {
namespace {

void write_file(const std::filesystem::path& path, const std::string& text, mode_t mode = 0400) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
  ::chmod(path.c_str(), mode);
}

class CookieTest : public ::testing::Test {
 protected:
  std::filesystem::path home_file() const { return places_.home / ".erlang.cookie"; }
  std::filesystem::path config_file() const {
    return places_.config_home / "erlang" / ".erlang.cookie";
  }

  test::TemporaryDirectory directory_;
  CookiePlaces places_{directory_.path(), std::filesystem::path(directory_.path()) / ".config"};
};

TEST(CookieTextTest, EndsAtTheLine) {
  EXPECT_EQ(*parse_cookie("ABC"), "ABC");
  EXPECT_EQ(*parse_cookie("ABC\n"), "ABC");
  EXPECT_EQ(*parse_cookie("A B C\r\n \n"), "A B C");
  EXPECT_EQ(*parse_cookie("ABC \n"), "ABC ") << "blanks before the line's end belong to the cookie";
  EXPECT_EQ(parse_cookie("").error().code, ErrorCode::malformed);
  EXPECT_EQ(parse_cookie("\n").error().code, ErrorCode::malformed);
  EXPECT_EQ(parse_cookie("ABC\nDEF\n").error().code, ErrorCode::malformed);
  EXPECT_EQ(parse_cookie("AB\xc3\xa9\n").error().code, ErrorCode::malformed);
  EXPECT_EQ(parse_cookie("AB\tC").error().code, ErrorCode::malformed);
}

TEST_F(CookieTest, HomeComesBeforeTheConfigDirectory) {
  write_file(config_file(), "FROMCONFIG\n");
  EXPECT_EQ(*read_cookie(places_), "FROMCONFIG");
  write_file(home_file(), "FROMHOME\n");
  EXPECT_EQ(*read_cookie(places_), "FROMHOME");
}

TEST_F(CookieTest, AFileOthersCanReadIsRefused) {
  for (const mode_t mode : {0440, 0404, 0420, 0401}) {
    std::filesystem::remove(home_file());
    write_file(home_file(), "ABC\n", mode);
    const Result<std::string> cookie = read_cookie(places_);
    ASSERT_FALSE(cookie.has_value());
    EXPECT_EQ(cookie.error().code, ErrorCode::refused);
    EXPECT_NE(cookie.error().message.find("chmod"), std::string::npos);
  }
}

TEST_F(CookieTest, ADirectoryIsRefused) {
  std::filesystem::create_directories(home_file());
  EXPECT_EQ(read_cookie(places_).error().code, ErrorCode::refused);
}

TEST_F(CookieTest, AnEmptyOrEndlessFileIsMalformed) {
  write_file(home_file(), "");
  EXPECT_EQ(read_cookie(places_).error().code, ErrorCode::malformed);
  EXPECT_NE(read_cookie(places_).error().message.find("is empty"), std::string::npos);
  std::filesystem::remove(home_file());
  write_file(home_file(), std::string(1 << 20, 'x'));
  EXPECT_EQ(read_cookie(places_).error().code, ErrorCode::malformed);
}

TEST_F(CookieTest, NoFileSaysWhereWeLooked) {
  const Result<std::string> cookie = read_cookie(places_);
  ASSERT_FALSE(cookie.has_value());
  EXPECT_EQ(cookie.error().code, ErrorCode::not_found);
  EXPECT_NE(cookie.error().message.find(home_file().string()), std::string::npos);
  EXPECT_NE(cookie.error().message.find(config_file().string()), std::string::npos);
  EXPECT_EQ(read_cookie({}).error().code, ErrorCode::not_found);
}

TEST_F(CookieTest, OneIsMadeAsErlMakesIt) {
  const Result<std::string> made = read_or_create_cookie(places_);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_EQ(made->size(), 20u);
  for (const char letter : *made) EXPECT_TRUE(letter >= 'A' && letter <= 'Z') << letter;
  struct stat about {};
  ASSERT_EQ(::stat(home_file().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0400u);
  EXPECT_EQ(*read_or_create_cookie(places_), *made) << "the second time it is read";
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(places_.home))
    ++files;
  EXPECT_EQ(files, 1) << "nothing temporary is left";
}

TEST_F(CookieTest, AHomeThatDoesNotExistIsAnError) {
  places_.home /= "missing";
  const Result<std::string> made = read_or_create_cookie(places_);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, ErrorCode::io);
  EXPECT_NE(made.error().message.find("--cookie"), std::string::npos);
}

}  // namespace
}  // namespace rakv::distribution
