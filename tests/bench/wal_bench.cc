// SPDX-License-Identifier: Apache-2.0
// What a durable append costs: the WAL's logic with real files, one batch per iteration, with and
// without reserved blocks; and a round trip through the WAL's thread.
//
// Files go below $TMPDIR (default /tmp): point it at the disk that matters.

#include <benchmark/benchmark.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>

#include "raft/log/base/checksum.h"
#include "raft/log/wal/wal.h"

namespace rakv::raftlog {
namespace {

/// A directory of its own, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : disk_(make_posix_disk()) {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/rakv_bench_XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TemporaryDirectory() { static_cast<void>(remove_tree(*disk_, path_)); }
  const std::string& path() const { return path_; }
  Disk& disk() { return *disk_; }

 private:
  std::unique_ptr<Disk> disk_;
  std::string path_;
};

struct Ignore final : CompletionSink {
  void wal_events(std::vector<WalEvent>) override {}
};

StoredEntry entry_of(Index index, std::size_t size) {
  return {index, 1, SharedBytes::copy_of(std::string(size, 'v'))};
}

/// Arguments: entries per batch, bytes per entry, blocks reserved ahead (0 or 1).
void write_batch(benchmark::State& state) {
  TemporaryDirectory directory;
  WalQueue queue;
  Ignore sink;
  WalOptions options;
  if (state.range(2) == 0) options.preallocate_bytes = 0;
  auto writer =
      WalWriter::open(directory.disk(), directory.path(), 1, options, queue, sink).value();
  const WriterId id = queue.add_writer("KVBENCH");
  const auto count = static_cast<Index>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  Index index = 1;
  for (auto _ : state) {
    for (Index i = 0; i < count; ++i, ++index) queue.append(id, index, entry_of(index, size));
    writer->run_one_batch();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(index - 1));
  state.SetBytesProcessed(static_cast<std::int64_t>((index - 1) * size));
}
BENCHMARK(write_batch)
    ->ArgsProduct({{1, 16, 1024}, {300, 4096}, {0, 1}})
    ->ArgNames({"entries", "bytes", "reserved"})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

/// One entry through the thread: queue, wake-up, write, sync, event.
void through_the_thread(benchmark::State& state) {
  struct Waiting final : CompletionSink {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t sequence = 0;
    void wal_events(std::vector<WalEvent> events) override {
      {
        std::lock_guard lock(mutex);
        for (const auto& event : events) {
          if (const auto* written = std::get_if<WalWritten>(&event)) sequence = written->sequence;
        }
      }
      changed.notify_one();
    }
  } sink;
  TemporaryDirectory directory;
  WalQueue queue;
  WalThread thread(WalWriter::open(directory.disk(), directory.path(), 1, {}, queue, sink).value());
  const WriterId id = queue.add_writer("KVBENCH");
  Index index = 0;
  for (auto _ : state) {
    ++index;
    queue.append(id, index, entry_of(index, 300));
    std::unique_lock lock(sink.mutex);
    sink.changed.wait(lock, [&] { return sink.sequence == index; });
  }
}
BENCHMARK(through_the_thread)->UseRealTime()->Unit(benchmark::kMicrosecond);

template <std::uint32_t (*Sum)(std::uint32_t, std::string_view)>
void checksum(benchmark::State& state) {
  const std::string bytes(static_cast<std::size_t>(state.range(0)), 'v');
  for (auto _ : state) benchmark::DoNotOptimize(Sum(1, bytes));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(checksum<adler32>)->Arg(300)->Arg(65536);
BENCHMARK(checksum<crc32>)->Arg(300)->Arg(65536);
BENCHMARK(checksum<crc32c>)->Arg(300)->Arg(65536);

}  // namespace
}  // namespace rakv::raftlog
