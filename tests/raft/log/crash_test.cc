// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A workload in which the machine stops at each disk operation in turn. Whatever was acknowledged
// must be there after the restart: servers and their deletion, terms and votes, entries, snapshots
// with their live entries. What of the unsynced writes and directory changes is left differs: none,
// all, and random choices.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::Store;
using testing::text_at;

/// What has been acknowledged of one server.
struct Promised {
  bool registered = false;
  bool deletion_asked = false;
  bool deleted = false;  // acknowledged
  Term term = 0;         // acknowledged
  std::optional<ServerId> voted_for;
  Term asked_term = 0;  // asked for, maybe not acknowledged
  std::map<Index, std::pair<Term, std::string>>
      log;  // as appended; the prefix up to `written` is acknowledged
  Index written = 0;
  Index last_applied = 0;  // acknowledged
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
    apply("KVAAAA", 30);
    roll();
    vote("KVAAAA", 3, ServerId{"kv", "c@host"});
    append("KVAAAA", 38, 44, 3);
    snapshot("KVAAAA", 36, {3, 20, 30});
    compact("KVAAAA");  // 20 is in three segments, of which one is dead
    vote("KVBBBB", 3, std::nullopt);
    install("KVBBBB", {4, 17, 33}, 60, 3);
    append("KVBBBB", 61, 66, 3);
    vote("KVBBBB", 4, ServerId{"kv2", "b@host"});
    roll();
    append("KVBBBB", 67, 70, 4);
    snapshot("KVBBBB", 69, {33, 67});
    add("kv3", "KVCCCC");
    append("KVCCCC", 1, 5, 0);
    append("KVAAAA", 45, 90, 3);
    apply("KVAAAA", 90);
    roll();
    snapshot("KVAAAA", 88, {3, 30, 50, 60, 70});  // removes segments
    remove("KVCCCC");
    compact("KVAAAA");  // two groups in a row of those that were compacted before
    install("KVAAAA", {3, 30, 95, 97}, 100, 4);
    roll();
    snapshot("KVBBBB", 70, {67});
    compact("KVBBBB");
    append("KVAAAA", 101, 104, 4);
    compact("KVAAAA");
  }

  /// After errors that pass: the WAL and what else failed is tried again.
  void try_again() {
    if (!store_.system) return;
    store_.system->retry_wal();
    store_.system->flush_metadata([](const Result<void>&) {});
    settle();
  }

  /// Major compactions that wrote a segment.
  std::uint64_t segments_merged() {
    std::uint64_t merged = 0;
    for (MemberLog* member : store_.system->members()) {
      merged += member->compaction_counts().segments_compacted;
    }
    return merged;
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

  void remove(const std::string& uid) {
    if (log(uid) == nullptr) return;
    promised[uid].deletion_asked = true;
    store_.system->delete_server(uid, [this, uid](const Result<void>& done) {
      promised[uid].deleted = static_cast<bool>(done);
    });
    settle();
  }

  void vote(const std::string& uid, Term term, const std::optional<ServerId>& voted_for) {
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

  void apply(const std::string& uid, Index index) {
    if (log(uid) == nullptr || log(uid)->last_written().index < index) return;
    store_.system->note_last_applied(uid, index);
    store_.system->flush_metadata([&, uid, index](const Result<void>& done) {
      if (done) promised[uid].last_applied = index;
    });
    settle();
  }

  void roll() {
    store_.system->roll_over_wal();
    settle();
  }

  void compact(const std::string& uid) {
    if (log(uid) == nullptr) return;
    log(uid)->trigger_major_compaction();
    settle();
  }

  void snapshot(const std::string& uid, Index index, const std::vector<Index>& live) {
    if (log(uid) == nullptr || log(uid)->last_written().index < index) return;
    auto& promise = promised[uid];
    const auto term = log(uid)->term_at(index);
    if (!term) return;
    const IndexSet there = live_of(uid, live);
    if (!store_.snapshot(*log(uid), index, *term, there)) return;
    promise.snapshot = index;
    promise.live = there;
  }

  /// What of `live` the log has: after a failed step some of it may never have been written.
  IndexSet live_of(const std::string& uid, const std::vector<Index>& live) {
    std::vector<Index> there;
    for (const Index index : live) {
      const auto& promise = promised[uid];
      const bool kept = index > promise.snapshot || promise.live.contains(index);
      if (kept && promise.log.contains(index)) there.push_back(index);
    }
    return IndexSet::of(there);
  }

  void install(const std::string& uid, const std::vector<Index>& live, Index index, Term term) {
    auto& promise = promised[uid];
    if (log(uid) == nullptr) return;
    vote(uid, std::max(term, promise.term), std::nullopt);
    if (promise.term < term) return;
    std::vector<StoredEntry> missing;
    for (const Index i : live) {
      if (!log(uid)->has(i)) missing.push_back(entry(i, term));
    }
    log(uid)->write_sparse(missing);
    settle();
    if (log(uid)->pending_writes() > 0) return;
    if (!store_.install(*log(uid), index, term, IndexSet::of(live))) return;
    promise.log.erase(promise.log.upper_bound(index), promise.log.end());
    for (const auto& one : missing) {
      promise.log[one.index] = {term, expected_text(one.index, term)};
    }
    promise.snapshot = index;
    promise.live = IndexSet::of(live);
    settle();
  }

  Store store_;
};

/// docs/protocol/disk.md 6.3, as far as a log that has just been opened shows it. The numbers are
/// those there.
void check_invariants(const MemberLog& log) {
  const Index snapshot = log.snapshot() ? log.snapshot()->meta.index : 0;
  EXPECT_GE(log.meta().term, log.last().term);                                     // 1
  EXPECT_GE(log.meta().term, log.snapshot() ? log.snapshot()->meta.term : 0);      // 1
  EXPECT_GE(std::max(log.last().index, snapshot), log.meta().last_applied);        // 2
  for (Index i = log.first_index(); !log.empty() && i <= log.last().index; ++i) {  // 3
    ASSERT_TRUE(log.read_blocking(i)) << log.uid() << " " << i;
    EXPECT_LE(*log.term_at(i), log.last().term);
  }
  EXPECT_EQ(log.last_written(), log.last());  // 4
  if (!log.snapshot()) return;
  EXPECT_TRUE(log.snapshot()->live_indexes_known);                    // 7
  for (const Index index : log.snapshot()->live_indexes.indexes()) {  // 3
    ASSERT_TRUE(log.read_blocking(index)) << log.uid() << " live " << index;
  }
}

void check_one(Store& store, const std::string& uid, const Promised& promise) {
  MemberLog* log = store.system->find(uid);
  if (!promise.registered) return;
  if (promise.deleted) {
    EXPECT_EQ(log, nullptr) << uid;
  }
  if (promise.deletion_asked && log == nullptr) return;
  ASSERT_NE(log, nullptr) << uid;
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
  EXPECT_GE(log->meta().term, promise.term);
  if (promise.term != 0 && promise.asked_term == promise.term) {
    EXPECT_EQ(log->meta().voted_for, promise.voted_for);
  }
  const Index snapshot = log->snapshot() ? log->snapshot()->meta.index : 0;
  EXPECT_GE(snapshot, promise.snapshot);
  EXPECT_GE(log->last_written().index, promise.written);
  EXPECT_GE(log->meta().last_applied, promise.last_applied);
  if (snapshot == promise.snapshot && log->snapshot()) {
    EXPECT_EQ(log->snapshot()->live_indexes, promise.live) << uid;
  }
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
    for (const MemberLog* log : store.system->members()) check_invariants(*log);
    if (restart == 0) {
      for (const auto& [uid, promise] : promised) check_one(store, uid, promise);
    }
    store.settle();  // what was recovered goes to segments; the second restart reads it from there
    for (auto& [uid, promise] : promised) {
      if (restart == 1) promise.term = promise.asked_term = 0;  // voted anew below
      check_one(store, uid, promise);
    }
    // A compaction of what the crash has left.
    for (MemberLog* log : store.system->members()) log->trigger_major_compaction();
    store.settle();
    for (const auto& [uid, promise] : promised) check_one(store, uid, promise);
    EXPECT_TRUE(store.watcher.events.empty());
    for (MemberLog* log : store.system->members()) {
      const Index next = log->empty() ? 1 : log->last().index + 1;
      const Term term = log->meta().term + 1;
      ASSERT_TRUE(store.vote(log->uid(), term, std::nullopt));
      store.append(*log, entry(next, term));
      EXPECT_EQ(log->last_written().index, next);
    }
    for (auto& one : promised) one.second.asked_term = 0;
  }
}

/// What a crash leaves, as many ways as are tried at each point.
struct Order {
  CrashMode mode;
  std::uint64_t seed;
};

std::vector<Order> all_orders(std::uint64_t seed, std::uint64_t random_ones) {
  std::vector<Order> orders{{CrashMode::lose_unsynced, 0}, {CrashMode::keep_everything, 0}};
  for (std::uint64_t i = 0; i < random_ones; ++i) orders.push_back({CrashMode::random, seed + i});
  return orders;
}

/// Runs the workload on a disk that stops at `stop`; false when it never did.
bool run_until(MemoryDisk& memory, std::uint64_t stop, std::map<std::string, Promised>& promised) {
  FaultyDisk disk(memory);
  disk.stop_at(stop);
  Workload workload(disk);
  workload.run();
  promised = workload.promised;
  return disk.stopped();
}

TEST(Crash, TheWorkloadMergesSegments) {
  MemoryDisk memory;
  Workload workload(memory);
  workload.run();
  EXPECT_GE(workload.segments_merged(), 4U);
  EXPECT_TRUE(workload.promised["KVCCCC"].deleted);
  EXPECT_EQ(workload.promised["KVAAAA"].snapshot, 100U);
  EXPECT_EQ(workload.promised["KVBBBB"].snapshot, 70U);
}

TEST(Crash, AtEveryDiskOperation) {
  constexpr std::uint64_t kRandomOrders = 6;
  const std::uint64_t seed = testing::seed_of_test(20);
  std::uint64_t points = 0;
  std::uint64_t recoveries = 0;
  for (; !HasFailure(); ++points) {
    MemoryDisk memory;
    memory.reserve_at_most(3000);  // some WALs end in reserved room, some have outgrown it
    std::map<std::string, Promised> promised;
    if (!run_until(memory, points + 1, promised)) break;
    for (const Order& order : all_orders(seed + points * kRandomOrders, kRandomOrders)) {
      SCOPED_TRACE("stopped at operation " + std::to_string(points + 1) + ", order " +
                   std::to_string(static_cast<int>(order.mode)) + "/" + std::to_string(order.seed));
      const auto left = memory.clone();
      left->crash(order.mode, order.seed);
      check(*left, promised);
      ++recoveries;
    }
  }
  std::printf(
      "crashed at each of %llu disk operations, recovered in %llu orders each, %llu in all\n",
      static_cast<unsigned long long>(points), 2 + static_cast<unsigned long long>(kRandomOrders),
      static_cast<unsigned long long>(recoveries));
  EXPECT_GT(points, 400U);
}

/// The machine stops, and again at a random operation of the recovery or of the work after it.
TEST(Crash, TwiceTheSecondTimeWhileRecovering) {
  const std::uint64_t seed = testing::seed_of_test(30);
  std::mt19937_64 random(seed);
  std::uint64_t points = 0;
  for (; !HasFailure(); ++points) {
    MemoryDisk memory;
    std::map<std::string, Promised> promised;
    if (!run_until(memory, points + 1, promised)) break;
    for (const Order& order : all_orders(seed + points, 1)) {
      const std::uint64_t second = 1 + random() % 80;
      SCOPED_TRACE("stopped at operations " + std::to_string(points + 1) + " and " +
                   std::to_string(second) + ", order " +
                   std::to_string(static_cast<int>(order.mode)) + "/" + std::to_string(order.seed));
      const auto left = memory.clone();
      left->crash(order.mode, order.seed);
      {
        FaultyDisk disk(*left);
        disk.stop_at(second);
        Store store(disk);
        if (store.system) {
          store.settle();
          for (MemberLog* log : store.system->members()) log->trigger_major_compaction();
          store.settle();
        }
      }
      left->crash(order.mode, order.seed + 1);
      check(*left, promised);
    }
  }
  std::printf("crashed twice from each of %llu disk operations\n",
              static_cast<unsigned long long>(points));
  EXPECT_GT(points, 400U);
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
                          operation == DiskOperation::create ||
                          operation == DiskOperation::rename || operation == DiskOperation::unlink;
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
}  // namespace rakv::raftlog
