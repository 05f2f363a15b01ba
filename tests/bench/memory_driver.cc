// SPDX-License-Identifier: Apache-2.0
// One phase of the memory benchmarks on a member that runs: puts, overwrites, gets that verify what
// they get, a snapshot, a compaction. Prints one line about it. Run by scripts/bench_memory.sh and
// scripts/bench_keys.sh, which start and restart the members.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "tests/bench/value_client.h"

namespace rakv::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Of five keys three are overwritten: less than half of every segment stays live, and is merged.
constexpr std::size_t kPutAgain = 3;
constexpr std::size_t kOf = 5;
/// A prime that no sensible number of keys has in common: visits every key once, out of order.
constexpr std::size_t kScatter = 1'000'003;
constexpr std::chrono::seconds kQuiet{2};

struct Options {
  std::string cookie;
  std::string server;
  std::string phase;
  std::string directory;
  std::size_t keys = 1000;
  std::size_t value_bytes = 256;
  std::size_t count = 0;
  std::size_t callers = 8;
  bool pipeline = false;
  bool overwritten = false;
};

double seconds_since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

/// Snapshots that are whole, by path.
std::set<std::string> snapshots(const std::string& directory) {
  std::set<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory + "/snapshots", error)) {
    if (fs::exists(entry.path() / "snapshot.dat", error)) found.insert(entry.path());
  }
  return found;
}

/// Names and sizes of the segments.
std::string segments(const std::string& directory) {
  std::set<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    found.insert(entry.path().filename().string() + " " +
                 std::to_string(entry.is_regular_file(error) ? entry.file_size(error) : 0));
  }
  std::string all;
  for (const std::string& one : found) all += one + "\n";
  return all;
}

void print_pings(const std::vector<double>& times_us) {
  if (times_us.empty()) return;
  std::printf(", longest answer to a ping %.0f ms",
              *std::max_element(times_us.begin(), times_us.end()) / 1000);
}

void run_operations(ValueClient& client, const raft::ServerId& server, const Options& options) {
  Workload workload;
  workload.key = [](std::size_t operation) { return operation; };
  workload.value_bytes = options.value_bytes;
  const bool overwrites = options.phase == "overwrite";
  const bool overwritten = options.overwritten || overwrites;
  if (options.value_bytes >= 16) {
    workload.round = [overwritten](std::size_t key) -> std::uint64_t {
      return overwritten && key % kOf < kPutAgain ? 1 : 0;
    };
  }
  std::size_t count = options.count != 0 ? options.count : options.keys;
  if (overwrites) {
    count = options.keys / kOf * kPutAgain + std::min(options.keys % kOf, kPutAgain);
    workload.key = [](std::size_t operation) {
      return operation / kPutAgain * kOf + operation % kPutAgain;
    };
  } else if (options.phase == "get") {
    workload.key = [keys = options.keys](std::size_t operation) {
      return operation * kScatter % keys;
    };
  }
  client.set_workload(std::move(workload));
  // A member that was just started does not lead yet: it holds a call until it does, but drops what
  // is pipelined.
  if (options.pipeline) client.run_puts(server, 1, 1);
  const auto began = Clock::now();
  if (options.phase == "get") {
    client.run_gets(server, options.callers, count);
  } else if (options.pipeline) {
    client.run_pipelined(server, options.callers, count);
  } else {
    client.run_puts(server, options.callers, count);
  }
  const double took = seconds_since(began);
  const double operations = static_cast<double>(count);
  const double megabytes = operations * static_cast<double>(options.value_bytes) / 1e6;
  std::printf("%.1f s, %.0f/s, %.0f MB/s", took, operations / took, megabytes / took);
}

void run_snapshot(ValueClient& client, const raft::ServerId& server, const Options& options) {
  const std::set<std::string> before = snapshots(options.directory);
  const auto began = Clock::now();
  client.take_snapshot(server);
  client.run_pings(server, [&] {
    for (const std::string& one : snapshots(options.directory)) {
      if (!before.contains(one)) return true;
    }
    if (seconds_since(began) < 600) return false;
    std::fprintf(stderr, "memory_driver: error: no snapshot after 10 minutes\n");
    std::exit(1);
  });
  std::printf("%.1f s", seconds_since(began));
  print_pings(client.times_us());
}

/// Until the segments have not changed for a while.
void run_compaction(ValueClient& client, const raft::ServerId& server, const Options& options) {
  const auto began = Clock::now();
  auto changed = began;
  auto looked = began;
  std::string before = segments(options.directory);
  client.trigger_compaction(server);
  client.run_pings(server, [&] {
    if (Clock::now() - looked < std::chrono::milliseconds(100)) return false;
    looked = Clock::now();
    std::string now = segments(options.directory);
    if (now != before) changed = looked;
    before = std::move(now);
    return looked - changed > kQuiet;
  });
  std::printf("%.1f s", std::chrono::duration<double>(changed - began).count());
  print_pings(client.times_us());
}

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Runs one phase of a memory benchmark"};
  app.add_option("--cookie", options.cookie)->required();
  app.add_option("--server", options.server, "CLUSTER@NODE@HOST")->required();
  app.add_option("--keys", options.keys);
  app.add_option("--value-bytes", options.value_bytes);
  app.add_option("--count", options.count, "operations; default: one for each key");
  app.add_option("--callers", options.callers, "processes, each with one call");
  app.add_flag("--pipeline", options.pipeline, "puts by one process, so many unanswered");
  app.add_option("--directory", options.directory, "the server's, for snapshot and compact");
  app.add_flag("--overwritten", options.overwritten, "get: after overwrite");
  app.add_option("phase", options.phase)
      ->required()
      ->check(CLI::IsMember({"put", "overwrite", "get", "snapshot", "compact"}));
  CLI11_PARSE(app, argc, argv);
  const std::size_t at = options.server.find('@');
  if (at == std::string::npos) {
    std::fprintf(stderr, "memory_driver: error: --server must be CLUSTER@NODE@HOST\n");
    return 2;
  }
  const raft::ServerId server(options.server.substr(0, at), options.server.substr(at + 1));
  ValueClient client(options.cookie);
  client.connect(server.node());
  if (options.phase == "snapshot") {
    run_snapshot(client, server, options);
  } else if (options.phase == "compact") {
    run_compaction(client, server, options);
  } else {
    run_operations(client, server, options);
  }
  std::printf("\n");
  return 0;
}

}  // namespace
}  // namespace rakv::bench

int main(int argc, char** argv) { return rakv::bench::main(argc, argv); }
