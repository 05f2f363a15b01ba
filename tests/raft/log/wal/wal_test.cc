// SPDX-License-Identifier: Apache-2.0
#include "raft/log/wal/wal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <condition_variable>
#include <mutex>
#include <random>

#include "cnode/base/executor.h"
#include "raft/log/base/checksum.h"
#include "raft/log/base/numbered_name.h"
#include "raft/log/wal/wal_format.h"
#include "raft/log/wal/wal_recovery.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;

struct Events final : CompletionSink {
  std::vector<WalEvent> all;
  void wal_events(std::vector<WalEvent> events) override {
    for (auto& event : events) all.push_back(std::move(event));
  }
  template <class T>
  std::vector<T> of() const {
    std::vector<T> found;
    for (const auto& event : all) {
      if (const auto* one = std::get_if<T>(&event)) found.push_back(*one);
    }
    return found;
  }
};

/// A WAL in memory, driven by hand.
struct Wal {
  MemoryDisk memory;
  FaultyDisk disk{memory};
  WalQueue queue;
  Events events;
  WalOptions options;
  std::unique_ptr<WalWriter> writer;

  explicit Wal(WalOptions given = {}) : options(given) {
    options.salt_seed = 1;
    EXPECT_TRUE(memory.make_directory("/w"));
    EXPECT_TRUE(memory.sync_directory("/"));
    writer = WalWriter::open(disk, "/w", 1, options, queue, events).value();
  }
  std::string file(std::uint64_t number = 1) {
    return read_file(memory, "/w/" + numbered_name(number, ".wal")).value();
  }
};

TEST(Checksum, AgreesWithZlib) {
  std::mt19937_64 random(testing::seed_of_test(1));
  std::string bytes;
  for (int i = 0; i < 20000; ++i) bytes.push_back(static_cast<char>(random()));
  const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
  for (const std::size_t size : {0, 1, 5, 63, 64, 65, 300, 5552, 5553, 20000}) {
    const auto part = std::string_view(bytes).substr(0, size);
    EXPECT_EQ(adler32(1, part), ::adler32(1, data, static_cast<uInt>(size))) << size;
    EXPECT_EQ(raftlog::crc32(0, part), ::crc32(0, data, static_cast<uInt>(size))) << size;
    const std::size_t half = size / 2;
    EXPECT_EQ(adler32(adler32(1, part.substr(0, half)), part.substr(half)), adler32(1, part));
    EXPECT_EQ(crc32c(crc32c(0, part.substr(0, half)), part.substr(half)), crc32c(0, part));
  }
  EXPECT_EQ(crc32c(0, "123456789"), 0xE3069283U);  // the check value of CRC-32C
}

TEST(WalFormat, RecordIsAsRaWritesIt) {
  // The first two records of a WAL that ra 3.1.10 wrote, up to the data of the second.
  const std::string data("\x83\x77\x09undefined", 12);
  std::string record;
  append_record_header(record, 0, "KV5ZD8UTF0JHCG", 0, 0, data);
  record += data;
  const std::string expected = std::string("\0\0\0\0\x0e", 5) + "KV5ZD8UTF0JHCG" +
                               std::string("\x1e\x78\x04\xb6", 4) + std::string("\0\0\0\x0c", 4) +
                               std::string(16, '\0') + data;
  EXPECT_EQ(record, expected);
  const auto view = view_record(record, 0);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok);
  EXPECT_EQ(view->uid, "KV5ZD8UTF0JHCG");
  EXPECT_EQ(view->data, data);
}

TEST(WalWriter, ReportsRangesPerWriterAndTerm) {
  Wal wal;
  const WriterId a = wal.queue.add_writer("A");
  const WriterId b = wal.queue.add_writer("B");
  wal.queue.append(a, 1, entries(1, 3, 1));
  wal.queue.append(b, 1, entry(7, 2));
  wal.queue.append(a, 4, entry(4, 1));
  wal.queue.append(a, 5, entry(5, 2));
  EXPECT_TRUE(wal.writer->run_one_batch());
  EXPECT_FALSE(wal.writer->run_one_batch());
  const auto written = wal.events.of<WalWritten>();
  ASSERT_EQ(written.size(), 3U);
  EXPECT_EQ(written[0].writer, a);
  EXPECT_EQ(written[0].range, (IndexRange{1, 4}));
  EXPECT_EQ(written[0].sequence, 4U);
  EXPECT_EQ(written[1].writer, b);
  EXPECT_EQ(written[1].term, 2U);
  EXPECT_EQ(written[2].range, (IndexRange{5, 5}));
  EXPECT_EQ(written[2].sequence, 5U);
}

TEST(WalWriter, WritesNothingWhileTheQueueIsSuspended) {
  Wal wal;
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.suspend(true);
  wal.queue.append(a, 1, entry(1, 1));
  EXPECT_FALSE(wal.queue.has_work());
  EXPECT_FALSE(wal.writer->run_one_batch());
  EXPECT_TRUE(wal.events.of<WalWritten>().empty());
  wal.queue.suspend(false);
  EXPECT_TRUE(wal.queue.has_work());
  EXPECT_TRUE(wal.writer->run_one_batch());
  EXPECT_EQ(wal.events.of<WalWritten>().size(), 1U);
}

TEST(WalWriter, OneWriteAndOneSyncPerBatch) {
  WalOptions options;
  options.preallocate_bytes = 0;
  Wal wal(options);
  const WriterId a = wal.queue.add_writer("A");
  for (Index i = 1; i <= 1000; ++i) wal.queue.append(a, i, entry(i, 1, std::string(i, 'x')));
  const auto before = wal.disk.operations();
  EXPECT_TRUE(wal.writer->run_one_batch());
  EXPECT_EQ(wal.disk.operations() - before, 2U);
}

TEST(WalWriter, BatchesAreBounded) {
  WalOptions options;
  options.max_batch_entries = 10;
  options.max_batch_bytes = 5000;
  Wal wal(options);
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.append(a, 1, entries(1, 25, 1));
  wal.queue.append(a, 26, entry(26, 1, std::string(9000, 'x')));
  wal.queue.append(a, 27, entry(27, 1));
  std::vector<Index> ends;
  while (wal.writer->run_one_batch()) ends.push_back(wal.events.of<WalWritten>().back().range.last);
  EXPECT_THAT(ends, ::testing::ElementsAre(10, 20, 25, 26, 27));
}

TEST(WalWriter, RollsOverAndClosesWithRanges) {
  WalOptions options;
  options.max_size_bytes = 1000;
  Wal wal(options);
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.append(a, 1, entries(1, 50, 1));
  wal.writer->run_one_batch();
  wal.queue.append(a, 51, entries(51, 52, 1));
  wal.writer->run_one_batch();
  const auto closed = wal.events.of<WalClosed>();
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].path, "/w/0000000000000001.wal");
  ASSERT_EQ(closed[0].ranges.size(), 1U);
  EXPECT_EQ(closed[0].ranges[0].second, (IndexRange{1, 50}));
  EXPECT_EQ(wal.writer->file_number(), 2U);
  // The new file tells the UId again, and both files together give the whole log, durably.
  wal.memory.crash(CrashMode::lose_unsynced);
  const auto recovered = recover_wal(wal.memory, "/w");
  ASSERT_TRUE(recovered);
  EXPECT_EQ(recovered->writers.at("A").records.size(), 52U);
  EXPECT_EQ(recovered->last_number, 2U);
  EXPECT_THAT(recovered->notices, ::testing::IsEmpty());
}

TEST(WalWriter, NeverSyncsAFileAgainAfterAFailure) {
  Wal wal;
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.append(a, 1, entries(1, 3, 1));
  wal.writer->run_one_batch();
  int failures = 0;
  std::vector<std::string> synced;
  wal.disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::sync) return std::nullopt;
    synced.push_back(path);
    if (failures++ > 0) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't sync");
  });
  wal.queue.append(a, 4, entries(4, 6, 1));
  wal.writer->run_one_batch();
  // The file that failed is not synced a second time; the batch is durable in the next one.
  EXPECT_THAT(synced, ::testing::ElementsAre("/w/0000000000000001.wal", "/w/0000000000000002.tmp",
                                             "/w/0000000000000002.wal"));
  EXPECT_FALSE(wal.writer->down());
  EXPECT_EQ(wal.events.of<WalWritten>().back().range, (IndexRange{4, 6}));
  wal.memory.crash(CrashMode::lose_unsynced);
  const auto recovered = recover_wal(wal.memory, "/w");
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->writers.at("A").records.size(), 6U);
}

TEST(WalWriter, FullDiskIsReportedAndNothingIsAcknowledged) {
  Wal wal;
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.append(a, 1, entries(1, 3, 1));
  wal.writer->run_one_batch();
  wal.disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::write) return std::nullopt;
    return make_error(ErrorCode::no_space, path + ": can't write: No space left on device");
  });
  wal.queue.append(a, 4, entries(4, 6, 1));
  wal.writer->run_one_batch();
  ASSERT_EQ(wal.events.of<WalDown>().size(), 1U);
  EXPECT_EQ(wal.events.of<WalDown>()[0].error.code, ErrorCode::no_space);
  EXPECT_TRUE(wal.writer->down());
  EXPECT_EQ(wal.events.of<WalWritten>().size(), 1U);
  // A retry while it is still full changes nothing; once there is room everything kept is written.
  wal.queue.append(a, 7, entry(7, 1));
  wal.queue.retry();
  wal.writer->run_one_batch();
  EXPECT_TRUE(wal.writer->down());
  wal.disk.set_rule({});
  wal.queue.retry();
  wal.writer->run_one_batch();
  EXPECT_EQ(wal.events.of<WalUp>().size(), 1U);
  EXPECT_EQ(wal.events.of<WalWritten>().back().range, (IndexRange{4, 7}));
  const auto recovered = recover_wal(wal.memory, "/w");
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->writers.at("A").records.size(), 7U);
}

TEST(WalWriter, KilledItGoesDownWhereItStandsAndComesBack) {
  Wal wal;
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.append(a, 1, entries(1, 3, 1));
  wal.writer->run_one_batch();
  wal.queue.append(a, 4, entries(4, 6, 1));
  wal.queue.fail();
  wal.writer->run_one_batch();
  EXPECT_TRUE(wal.writer->down());
  EXPECT_EQ(wal.events.of<WalWritten>().size(), 1U) << "what was queued is not acknowledged";
  ASSERT_EQ(wal.events.of<WalClosed>().size(), 1U);
  // Killed and started again in one go, as ra's supervisor does it.
  wal.queue.retry();
  wal.queue.append(a, 7, entry(7, 1));
  wal.writer->run_one_batch();
  wal.queue.fail();
  wal.queue.retry();
  wal.queue.append(a, 8, entry(8, 1));
  wal.writer->run_one_batch();
  EXPECT_FALSE(wal.writer->down());
  EXPECT_EQ(wal.events.of<WalDown>().size(), 2U);
  EXPECT_EQ(wal.events.of<WalUp>().size(), 2U);
  const auto recovered = recover_wal(wal.memory, "/w");
  ASSERT_TRUE(recovered) << recovered.error().message;
  EXPECT_EQ(recovered->writers.at("A").records.size(), 8U);
}

TEST(WalWriter, SaysWhyItCannotOpenItsFirstFile) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  ASSERT_TRUE(memory.make_directory("/w"));
  disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::create) return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't create: Permission denied");
  });
  WalQueue queue;
  Events events;
  const auto writer = WalWriter::open(disk, "/w", 1, {}, queue, events);
  ASSERT_FALSE(writer);
  EXPECT_THAT(writer.error().message, ::testing::HasSubstr("Permission denied"));
}

TEST(WalWriter, CloseEndsTheFileInOrder) {
  Wal wal;
  const WriterId a = wal.queue.add_writer("A");
  wal.queue.append(a, 1, entries(1, 3, 1));
  EXPECT_TRUE(wal.writer->close());
  std::string bytes = wal.file();
  EXPECT_TRUE(parse_wal("wal", bytes, nullptr));
  // Nothing follows a final mark.
  const auto damaged = parse_wal("wal", bytes + "x", nullptr);
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().message, ::testing::HasSubstr("after the final mark"));
}

TEST(WalThread, WritesEverythingThatWasQueuedBeforeStop) {
  MemoryDisk disk;
  ASSERT_TRUE(disk.make_directory("/w"));
  WalQueue queue;
  struct Waiting final : CompletionSink {
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t sequence = 0;
    void wal_events(std::vector<WalEvent> events) override {
      std::lock_guard lock(mutex);
      for (const auto& event : events) {
        if (const auto* written = std::get_if<WalWritten>(&event)) sequence = written->sequence;
      }
      changed.notify_all();
    }
  } sink;
  const WriterId a = queue.add_writer("A");
  {
    auto writer = WalWriter::open(disk, "/w", 1, {}, queue, sink);
    ASSERT_TRUE(writer);
    WalThread thread(std::move(*writer));
    for (Index i = 1; i <= 500; ++i) queue.append(a, i, entry(i, 1));
    {
      std::unique_lock lock(sink.mutex);
      sink.changed.wait(lock, [&] { return sink.sequence == 500; });
    }
    queue.append(a, 501, entry(501, 1));
    EXPECT_TRUE(thread.stop());
  }
  EXPECT_EQ(sink.sequence, 501U);
  const auto recovered = recover_wal(disk, "/w");
  ASSERT_TRUE(recovered);
  EXPECT_EQ(recovered->writers.at("A").records.size(), 501U);
}

TEST(WorkerThread, RunsJobsInOrderAndAllBeforeItEnds) {
  std::vector<int> ran;
  {
    WorkerThread worker;
    for (int i = 0; i < 100; ++i) worker.post([&ran, i] { ran.push_back(i); });
  }
  ASSERT_EQ(ran.size(), 100U);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

}  // namespace
}  // namespace rakv::raftlog
