// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

// What several tests of this room share.

namespace rakv::distribution::test {

/// A generator whose seed is printed and can be given again as RAKV_SEED.
std::mt19937_64 seeded_generator();

/// Runs the io_context until `condition` holds; false if it does not within `deadline`.
bool run_until(boost::asio::io_context& io, const std::function<bool()>& condition,
               std::chrono::milliseconds deadline = std::chrono::seconds(20));

/// A TCP port of the loopback that is free now.
std::uint16_t free_port();

/// A child process that is killed (by its pid) and reaped at the end of the scope.
class Child {
 public:
  /// Runs argv[0] from PATH with the extra variables ("NAME=value") in its environment. Standard
  /// output goes to a file that output() reads.
  Child(std::vector<std::string> argv, std::vector<std::string> variables);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  std::string output() const;
  void kill();

 private:
  pid_t pid_ = -1;
  std::string output_path_;
};

/// A directory that is removed at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// This host's name up to the first dot, as nodes started with -sname use it.
std::string short_host_name();

}  // namespace rakv::distribution::test
