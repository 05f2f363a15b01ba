// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "raft/log/offline/release.h"
#include "tests/raft/log/store.h"

// What the log makes is for the user alone, whatever the umask; what is there keeps working.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::Store;

class Permissions : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "rakv-modes-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
    directory_ = base_ + "/data/a@host";
    umask_ = ::umask(0);
  }
  void TearDown() override {
    ::umask(umask_);
    std::filesystem::remove_all(base_);
  }

  void work(Disk& disk, Index first) {
    Store store(disk, testing::small_options(), directory_);
    ASSERT_TRUE(store.system) << store.error->message;
    MemberLog* log = store.system->find("KVAAAA");
    if (log == nullptr) log = store.add("kv", "KVAAAA");
    const Term term = log->meta().term + 1;
    ASSERT_TRUE(store.vote("KVAAAA", term, ServerId{"kv", "a@host"}));
    store.append(*log, entries(first, first + 39, term));
    store.roll_over();
    store.append(*log, entries(first + 40, first + 59, term));
    ASSERT_TRUE(store.snapshot(*log, first + 30, term, IndexSet::of({first + 3, first + 20})));
    log->trigger_major_compaction();
    store.settle();
    EXPECT_TRUE(store.watcher.events.empty());
    ASSERT_TRUE(store.system->stop());
  }

  std::string base_;
  std::string directory_;
  mode_t umask_ = 0;
};

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777U;
}

TEST_F(Permissions, WhatIsMadeIsForTheUserAlone) {
  const auto disk = make_posix_disk();
  work(*disk, 1);
  std::size_t files = 0;
  EXPECT_EQ(mode_of(base_ + "/data"), 0700U);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(base_ + "/data")) {
    const std::string path = entry.path().string();
    EXPECT_EQ(mode_of(path), entry.is_directory() ? 0700U : 0600U) << path;
    files += entry.is_directory() ? 0U : 1U;
  }
  EXPECT_GE(files, 8U);
}

TEST_F(Permissions, WhatOthersMadeWithOtherModesIsTakenOver) {
  const auto disk = make_posix_disk();
  work(*disk, 1);
  const auto live = [](std::string_view) -> Result<IndexSet> { return IndexSet::of({4, 21}); };
  ASSERT_TRUE(release(*disk, directory_, live));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(base_ + "/data")) {
    ASSERT_EQ(::chmod(entry.path().c_str(), entry.is_directory() ? 0755 : 0644), 0);
  }
  work(*disk, 61);
  work(*disk, 121);
}

}  // namespace
}  // namespace rakv::raftlog
