// SPDX-License-Identifier: Apache-2.0
#include "tests/support/file_bytes.h"

#include <gtest/gtest.h>

#include <random>

// The bytes of the memory disk's files: copies share blocks, and nobody sees it.

namespace rakv::raftlog {
namespace {

std::string read_all(const FileBytes& bytes) {
  std::string all(bytes.size(), 'x');
  bytes.read(0, all.data(), all.size());
  return all;
}

TEST(FileBytes, AWriteChangesNoCopy) {
  FileBytes bytes;
  bytes.write(0, std::string(10000, 'a'));
  FileBytes copy = bytes;
  copy.write(4095, "bb");
  EXPECT_EQ(bytes.text(), std::string(10000, 'a'));
  EXPECT_EQ(copy.text(), std::string(4095, 'a') + "bb" + std::string(5903, 'a'));
}

TEST(FileBytes, WhatWasCutOffIsZeroWhenTheFileGrowsAgain) {
  FileBytes bytes;
  bytes.write(0, std::string(5000, 'a'));
  bytes.resize(4100);
  bytes.resize(9000);
  EXPECT_EQ(bytes.text(), std::string(4100, 'a') + std::string(4900, '\0'));
}

TEST(FileBytes, IsTheSameAsAString) {
  std::mt19937_64 random(1);
  std::vector<std::pair<FileBytes, std::string>> files(3);
  for (int step = 0; step < 3000; ++step) {
    auto& [bytes, expected] = files[random() % files.size()];
    switch (random() % 4) {
      case 0: {
        const std::size_t size = random() % 20000;
        bytes.resize(size);
        expected.resize(size, '\0');
        break;
      }
      case 1: {
        const auto copied = files[random() % files.size()];
        bytes = copied.first;
        expected = copied.second;
        break;
      }
      default: {
        const std::size_t offset = random() % 20000;
        const std::string part(1 + random() % 9000, random() % 3 == 0 ? '\0' : 'w');
        bytes.write(offset, part);
        if (expected.size() < offset + part.size()) expected.resize(offset + part.size(), '\0');
        expected.replace(offset, part.size(), part);
      }
    }
    for (const auto& [actual, wanted] : files) ASSERT_EQ(read_all(actual), wanted) << step;
  }
}

}  // namespace
}  // namespace rakv::raftlog
