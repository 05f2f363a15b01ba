#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "raft/log/memory_disk.h"
#include "raft/log/system.h"
#include "tests/raft_log/store.h"

// A small workload in which the machine stops at each disk operation in turn. Whatever was
// acknowledged must be there after the restart: servers, terms and votes, entries, snapshots with
// their live entries.

namespace rakv::log {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::Store;
using testing::text_at;

/// What has been acknowledged of one server.
struct Promised {
  bool registered = false;
  Term term = 0;  // acknowledged
  std::optional<ServerId> voted_for;
  Term asked_term = 0;  // asked for, maybe not acknowledged
  std::map<Index, std::pair<Term, std::string>>
      log;  // as appended; the prefix up to `written` is acknowledged
  Index written = 0;
  Index snapshot = 0;
  IndexSet live;
};

class Workload {
 public:
  explicit Workload(Disk& disk) : store_(disk) {}

  void run() {
    if (!store_.system) return;
    add("kv", "KVAAAA");
    vote("KVAAAA", 1, ServerId{"kv", "a@host"});
    append("KVAAAA", 1, 20, 1);
    add("kv2", "KVBBBB");
    vote("KVBBBB", 1, std::nullopt);
    append("KVBBBB", 1, 6, 1);
    roll();
    vote("KVAAAA", 2, std::nullopt);
    append("KVAAAA", 15, 25, 2);  // overwrites
    snapshot("KVAAAA", 12, {3, 7});
    append("KVAAAA", 26, 40, 2);
    roll();
    vote("KVAAAA", 3, ServerId{"kv", "c@host"});
    append("KVAAAA", 38, 44, 3);
    snapshot("KVAAAA", 36, {3, 20, 30});
    vote("KVBBBB", 3, std::nullopt);
    install("KVBBBB", {4, 17, 33}, 60, 3);
    append("KVBBBB", 61, 66, 3);
    vote("KVBBBB", 4, ServerId{"kv2", "b@host"});
    roll();
    append("KVBBBB", 67, 70, 4);
    snapshot("KVBBBB", 69, {33, 67});
  }

  /// After errors that pass: the WAL and what else failed is tried again.
  void try_again() {
    if (!store_.system) return;
    store_.system->retry_wal();
    store_.system->flush_metadata([](const Result<void>&) {});
    settle();
  }

  std::map<std::string, Promised> promised;

 private:
  MemberLog* log(const std::string& uid) { return store_.system->find(uid); }

  void settle() {
    store_.settle();
    for (auto& [uid, promise] : promised) {
      if (log(uid) != nullptr) promise.written = log(uid)->last_written().index;
    }
  }

  void add(const std::string& name, const std::string& uid) {
    promised[uid].registered = store_.add(name, uid) != nullptr;
    settle();
  }

  void vote(const std::string& uid, Term term, std::optional<ServerId> voted_for) {
    if (log(uid) == nullptr) return;
    auto& promise = promised[uid];
    promise.asked_term = term;
    if (!store_.vote(uid, term, voted_for)) return;
    promise.term = term;
    promise.voted_for = voted_for;
  }

  void append(const std::string& uid, Index first, Index last, Term term) {
    // A member appends only what it may append: after a failed step the log is not where this one
    // begins.
    if (log(uid) == nullptr || first > log(uid)->last().index + 1) return;
    auto& promise = promised[uid];
    if (promise.term < term) return;  // the term is durable before anything of it is written
    promise.log.erase(promise.log.lower_bound(first), promise.log.end());
    promise.written = std::min(promise.written, first - 1);
    for (Index i = first; i <= last; ++i) {
      promise.log[i] = {term, expected_text(i, term)};
      log(uid)->append(entry(i, term));
      if (i % 4 == 0) store_.system->wal_writer().run_one_batch();
    }
    settle();
  }

  void roll() {
    store_.system->roll_over_wal();
    settle();
  }

  void snapshot(const std::string& uid, Index index, std::vector<Index> live) {
    if (log(uid) == nullptr || log(uid)->last_written().index < index) return;
    auto& promise = promised[uid];
    const Term term = log(uid)->term_at(index).value();
    if (!store_.snapshot(*log(uid), index, term, IndexSet::of(live))) return;
    promise.snapshot = index;
    promise.live = IndexSet::of(live);
  }

  void install(const std::string& uid, const std::vector<Index>& live, Index index, Term term) {
    auto& promise = promised[uid];
    if (log(uid) == nullptr || promise.term < term) return;
    std::vector<Entry> missing;
    for (const Index i : live) {
      if (!log(uid)->has(i)) missing.push_back(entry(i, term));
    }
    log(uid)->write_sparse(missing);
    settle();
    if (log(uid)->pending_writes() > 0) return;
    if (!store_.install(*log(uid), index, term, IndexSet::of(live))) return;
    for (const auto& one : missing) {
      promise.log[one.index] = {term, expected_text(one.index, term)};
    }
    promise.snapshot = index;
    promise.live = IndexSet::of(live);
    settle();
  }

  Store store_;
};

void check_one(Store& store, const std::string& uid, const Promised& promise) {
  MemberLog* log = store.system->find(uid);
  if (!promise.registered) return;
  ASSERT_NE(log, nullptr) << uid;
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
  EXPECT_GE(log->meta().term, promise.term);
  if (promise.term != 0 && promise.asked_term == promise.term) {
    EXPECT_EQ(log->meta().voted_for, promise.voted_for);
  }
  const Index snapshot = log->snapshot() ? log->snapshot()->meta.index : 0;
  EXPECT_GE(snapshot, promise.snapshot);
  EXPECT_GE(log->last_written().index, promise.written);
  for (const auto& [index, content] : promise.log) {
    if (index > promise.written) break;
    const bool kept = index > snapshot || log->snapshot()->live_indexes.contains(index);
    if (!kept) continue;
    EXPECT_EQ(log->term_at(index), content.first) << uid << " " << index;
    EXPECT_EQ(text_at(*log, index), content.second) << uid << " " << index;
  }
}

void check(Disk& disk, std::map<std::string, Promised> promised) {
  for (int restart = 0; restart < 2; ++restart) {
    Store store(disk);
    ASSERT_TRUE(store.system) << store.error->message;
    EXPECT_TRUE(store.system->broken_servers().empty());
    if (restart == 0) {
      for (const auto& [uid, promise] : promised) check_one(store, uid, promise);
    }
    store.settle();  // what was recovered goes to segments; the second restart reads it from there
    for (auto& [uid, promise] : promised) {
      if (restart == 1) promise.term = promise.asked_term = 0;  // voted anew below
      check_one(store, uid, promise);
    }
    EXPECT_TRUE(store.watcher.events.empty());
    for (MemberLog* log : store.system->members()) {
      const Index next = log->empty() ? 1 : log->last().index + 1;
      const Term term = log->meta().term + 1;
      ASSERT_TRUE(store.vote(log->uid(), term, std::nullopt));
      log->append(entry(next, term));
      store.settle();
      EXPECT_EQ(log->last_written().index, next);
    }
  }
}

/// Runs the workload until the machine stops at `stop`; false when it never did.
bool crash_once(std::uint64_t stop, CrashMode mode, std::uint64_t seed, std::uint64_t second_stop) {
  MemoryDisk memory;
  std::map<std::string, Promised> promised;
  bool stopped = false;
  {
    FaultyDisk disk(memory);
    disk.stop_at(stop);
    Workload workload(disk);
    workload.run();
    promised = workload.promised;
    stopped = disk.stopped();
  }
  memory.crash(mode, seed);
  if (second_stop != 0) {  // and again, while it recovers
    FaultyDisk disk(memory);
    disk.stop_at(second_stop);
    {
      Store store(disk);
      if (store.system) store.settle();
    }
    memory.crash(mode, seed + 1);
  }
  check(memory, promised);
  return stopped;
}

void crash_everywhere(CrashMode mode, std::uint64_t seed, bool twice) {
  std::mt19937_64 random(seed);
  std::uint64_t stop = 1;
  for (; !::testing::Test::HasFailure(); ++stop) {
    SCOPED_TRACE("stopped at operation " + std::to_string(stop) + ", seed " + std::to_string(seed));
    if (!crash_once(stop, mode, seed + stop, twice ? 1 + random() % 40 : 0)) break;
  }
  std::printf("stopped at %llu operations\n", static_cast<unsigned long long>(stop - 1));
  EXPECT_GT(stop, 100U);
}

TEST(Crash, AtEveryOperationUnsyncedWritesLost) {
  crash_everywhere(CrashMode::lose_unsynced, 1, false);
}

TEST(Crash, AtEveryOperationProcessKilled) {
  crash_everywhere(CrashMode::keep_everything, 1, false);
}

TEST(Crash, AtEveryOperationUnsyncedWritesTorn) {
  const std::uint64_t seed = testing::seed_of_test(20);
  for (std::uint64_t i = 0; i < 4; ++i) crash_everywhere(CrashMode::random, seed + 1000 * i, false);
}

TEST(Crash, TwiceTheSecondTimeWhileRecovering) {
  const std::uint64_t seed = testing::seed_of_test(30);
  crash_everywhere(CrashMode::lose_unsynced, seed, true);
  crash_everywhere(CrashMode::keep_everything, seed, true);
  crash_everywhere(CrashMode::random, seed, true);
}

/// Disk operations fail by chance, some for good as on a full disk, then the machine stops.
void fail_by_chance(std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  MemoryDisk memory;
  std::map<std::string, Promised> promised;
  int failures = 0;
  {
    FaultyDisk disk(memory);
    bool full = false;
    const std::uint64_t one_in = 8 + random() % 60;
    Workload workload(disk);
    disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      const bool chosen = operation == DiskOperation::sync || operation == DiskOperation::write ||
                          operation == DiskOperation::sync_directory ||
                          operation == DiskOperation::create || operation == DiskOperation::rename;
      if (!chosen) return std::nullopt;
      if (random() % (one_in * 4) == 0) full = !full;
      if (random() % one_in != 0 && !full) return std::nullopt;
      ++failures;
      return make_error(full ? ErrorCode::no_space : ErrorCode::io, path + ": failed by chance");
    });
    workload.run();
    if (random() % 2 == 0) {
      full = false;
      disk.set_rule({});
      workload.try_again();
    }
    promised = workload.promised;
  }
  const auto mode = std::array{CrashMode::lose_unsynced, CrashMode::keep_everything,
                               CrashMode::random}[random() % 3];
  memory.crash(mode, seed);
  check(memory, promised);
}

TEST(Crash, AfterDiskErrorsByChance) {
  const std::uint64_t seed = testing::seed_of_test(40);
  for (std::uint64_t i = 0; i < 300 && !HasFailure(); ++i) fail_by_chance(seed + i);
}

}  // namespace
}  // namespace rakv::log
