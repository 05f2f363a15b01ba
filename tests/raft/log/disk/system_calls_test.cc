// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "raft/log/disk/disk.h"

// What the real disk asks of the kernel. A memory disk can't tell whether fdatasync is called at
// all, and a process that is killed can't either: the page cache stays. So the calls of this
// program come here first, are noted, and go on to the kernel, or fail.

namespace {

struct Kernel {
  std::vector<std::string> calls;  ///< "fdatasync PATH"
  bool syncs_fail = false;
  std::size_t most_bytes = SIZE_MAX;  ///< that one write takes
  bool watches = false;
};

Kernel& kernel() {
  static Kernel the_kernel;
  return the_kernel;
}

std::string path_of(int file) {
  char path[4096];
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path, sizeof path);
  return size < 0 ? "?" : std::string(path, static_cast<std::size_t>(size));
}

int sync_call(const char* name, long number, int file) {
  if (kernel().watches) {
    kernel().calls.push_back(std::string(name) + " " + path_of(file));
    if (kernel().syncs_fail) {
      errno = EIO;
      return -1;
    }
  }
  return static_cast<int>(::syscall(number, file));
}

}  // namespace

extern "C" {

int fdatasync(int fildes) { return sync_call("fdatasync", SYS_fdatasync, fildes); }
int fsync(int fd) { return sync_call("fsync", SYS_fsync, fd); }

ssize_t pwritev(int fd, const iovec* iovec, int count, off_t offset) {
  if (!kernel().watches || kernel().most_bytes == SIZE_MAX)
    return ::syscall(SYS_pwritev, fd, iovec, count, offset, 0);
  std::string bytes;
  for (int i = 0; i < count; ++i)
    bytes.append(static_cast<const char*>(iovec[i].iov_base), iovec[i].iov_len);
  return ::pwrite(fd, bytes.data(), std::min(bytes.size(), kernel().most_bytes), offset);
}

}  // extern "C"

namespace rakv::raftlog {
namespace {

using Calls = std::vector<std::string>;

class SystemCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string made = (std::filesystem::temp_directory_path() / "rakv_calls_XXXXXX").string();
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    directory_ = std::filesystem::canonical(made).string();
    kernel() = {};
    kernel().watches = true;
  }
  void TearDown() override {
    kernel() = {};
    std::filesystem::remove_all(directory_);
  }

  std::string directory_;
  std::unique_ptr<Disk> disk_ = make_posix_disk();
};

TEST_F(SystemCallsTest, ASyncOfAFileIsOneOfTheKernel) {
  const std::string path = directory_ + "/file";
  const auto file = disk_->create(path);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->pwrite(0, "bytes"));
  EXPECT_EQ(kernel().calls, Calls{});
  EXPECT_TRUE((*file)->fdatasync());
  EXPECT_EQ(kernel().calls, Calls{"fdatasync " + path});
  kernel().syncs_fail = true;
  EXPECT_FALSE((*file)->fdatasync());
}

TEST_F(SystemCallsTest, ASyncOfADirectoryIsOneOfTheKernel) {
  EXPECT_TRUE(disk_->sync_directory(directory_));
  EXPECT_EQ(kernel().calls, Calls{"fsync " + directory_});
  kernel().syncs_fail = true;
  EXPECT_FALSE(disk_->sync_directory(directory_));
}

TEST_F(SystemCallsTest, AFileIsReplacedInThreeDurableSteps) {
  ASSERT_TRUE(replace_file(*disk_, directory_ + "/file", "bytes"));
  EXPECT_EQ(kernel().calls,
            (Calls{"fdatasync " + directory_ + "/file.tmp", "fsync " + directory_}));
}

TEST_F(SystemCallsTest, AWriteThatTheKernelCutsGoesOn) {
  const std::string path = directory_ + "/file";
  const std::vector<IoSlice> slices = {{"one", 3}, {"", 0}, {"twotwo", 6}, {"3", 1}};
  for (const std::size_t most : {1U, 2U, 4U, 9U, 10U}) {
    kernel().most_bytes = most;
    const auto file = disk_->create(path);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->pwritev(2, slices));
    EXPECT_EQ(*read_file(*disk_, path), std::string("\0\0", 2) + "onetwotwo3") << most;
  }
}

}  // namespace
}  // namespace rakv::raftlog
