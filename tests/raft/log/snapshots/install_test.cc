// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "raft/log/system.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

// A snapshot is taken in over a log of the member's own, and the machine stops at each step. What
// was acknowledged and may be committed is still there, and no entry that came with the snapshot is
// taken for one of the log.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::Store;
using testing::text_at;

constexpr Index kInstalledSnapshot = 80;

/// What the sender has at an index: its log is of term 1 up to 39 and of term 9 after it.
StoredEntry sent(Index index) { return entry(index, index < 40 ? 1 : 9, "leader"); }

struct Scenario {
  const char* name;
  Index own_end;            // the member's own log, of term 1, before it
  Index committed;          // of the own log; what is above may be another leader's
  std::vector<Index> live;  // of the snapshot
  bool aborted = false;     // then the leader sends entries after all
};

const std::array<Scenario, 5> kScenarios{{
    {"live entries beyond a gap", 39, 39, {20, 52, 60}},
    {"a live entry right after the log", 39, 39, {12, 40, 60}},
    {"a live entry right after an end that is not the leader's", 45, 39, {12, 46, 60}},
    {"a live entry in place of another", 45, 39, {12, 42, 60}},
    {"given up, then the log goes on", 39, 39, {20, 52, 60}, true},
}};

struct Outcome {
  Index written = 0;  // acknowledged, of the own log
  bool installed = false;
};

/// Runs a scenario until it ends or the machine stops.
Outcome run(const Scenario& scenario, Disk& disk) {
  Outcome outcome;
  Store store(disk);
  if (!store.system) return outcome;
  MemberLog* log = store.add("kv", "KVAAAA");
  if (log == nullptr || !store.vote("KVAAAA", 9, std::nullopt)) return outcome;
  const auto settle = [&] {
    store.settle();
    outcome.written =
        std::max(outcome.written, std::min(log->last_written().index, log->last().index));
  };
  for (Index i = 1; i <= scenario.own_end; ++i) log->append(entry(i, 1, "leader"));
  settle();
  for (std::size_t i = 0; i < scenario.live.size(); ++i) {
    if (scenario.live[i] > 15) log->write_sparse({sent(scenario.live[i])});
    settle();
    if (i == 1) store.system->roll_over_wal();
    settle();
  }
  if (scenario.aborted) {
    log->drop_sparse();
    for (Index i = 40; i <= 55; ++i) {
      log->append(sent(i));
      if (i % 4 == 0) settle();
    }
    settle();
    return outcome;
  }
  if (log->pending_writes() > 0) return outcome;
  outcome.installed =
      static_cast<bool>(store.install(*log, kInstalledSnapshot, 9, IndexSet::of(scenario.live)));
  if (!outcome.installed) return outcome;
  log->append(entry(kInstalledSnapshot + 1, 9, "leader"));
  settle();
  return outcome;
}

void check(const Scenario& scenario, const Outcome& outcome, Disk& disk) {
  for (int start = 0; start < 3; ++start) {
    Store store(disk);
    ASSERT_TRUE(store.system) << store.error->message;
    MemberLog* log = store.system->find("KVAAAA");
    if (log == nullptr) return;  // stopped before it was there
    EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
    Index first = 1;
    if (log->snapshot()) {
      for (const Index index : scenario.live) {
        EXPECT_EQ(text_at(*log, index), expected_text(index, sent(index).term, "leader")) << index;
      }
      first = kInstalledSnapshot + 1;
    }
    EXPECT_TRUE(!outcome.installed || log->snapshot());
    const Index safe =
        scenario.aborted ? outcome.written : std::min(outcome.written, scenario.committed);
    EXPECT_GE(log->last_written().index, safe);
    for (Index i = first; i <= log->last().index; ++i) {
      // What is not the leader's can only be the member's own end, never entries of both.
      const Term term = i < 40 || (!scenario.aborted && first == 1) ? 1 : 9;
      EXPECT_EQ(text_at(*log, i), expected_text(i, term, "leader")) << i;
    }
    if (start == 1) {  // it goes on from there, in the leader's words
      const Index next =
          std::min(log->last().index, std::max<Index>(scenario.committed, first - 1)) + 1;
      for (Index i = next; i <= next + 2; ++i) log->append(sent(i));
      store.settle();
      EXPECT_EQ(log->last_written().index, next + 2);
      return;
    }
    store.settle();
  }
}

TEST(Install, AtEveryStepOverALogOfItsOwn) {
  std::size_t stops = 0;
  for (const Scenario& scenario : kScenarios) {
    for (const CrashMode mode :
         {CrashMode::lose_unsynced, CrashMode::keep_everything, CrashMode::random}) {
      for (std::uint64_t stop = 1; !HasFailure(); ++stop) {
        SCOPED_TRACE(std::string(scenario.name) + ", mode " +
                     std::to_string(static_cast<int>(mode)) + ", stopped at operation " +
                     std::to_string(stop));
        MemoryDisk memory;
        FaultyDisk disk(memory);
        disk.stop_at(stop);
        const Outcome outcome = run(scenario, disk);
        const bool stopped = disk.stopped();
        memory.crash(mode, stop);
        check(scenario, outcome, memory);
        if (!stopped) break;
        ++stops;
      }
    }
  }
  std::printf("stopped at %zu operations\n", stops);
  EXPECT_GT(stops, 500U);
}

/// A log of ten entries that are on disk.
struct OnAFaultyDisk {
  OnAFaultyDisk() {
    log->append(entries(1, 10, 1));
    store.settle();
  }
  MemoryDisk memory;
  FaultyDisk disk{memory};
  Store store{disk};
  MemberLog* log = store.add("kv", "KVAAAA");
};

TEST(Install, AMarkThatCantBeWrittenHoldsTheEntriesBack) {
  OnAFaultyDisk on;
  on.disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::sync || path.find("installing") == std::string::npos)
      return std::nullopt;
    return make_error(ErrorCode::no_space, path + ": can't sync: No space left on device");
  });
  on.log->write_sparse({entry(17, 2)});
  on.store.settle();
  EXPECT_EQ(on.log->pending_writes(), 1U);
  EXPECT_EQ(on.store.watcher.events.size(), 1U);
  on.disk.set_rule({});
  on.log->write_sparse({entry(33, 2)});
  on.store.settle();
  EXPECT_EQ(on.log->pending_writes(), 0U);
  EXPECT_TRUE(on.memory.exists("/data/a@host/KVAAAA/installing").value());
  EXPECT_TRUE(on.store.install(*on.log, 100, 3, IndexSet::of({17, 33})));
  EXPECT_FALSE(on.memory.exists("/data/a@host/KVAAAA/installing").value());
}

/// Nothing else comes that would try it again: all entries of the snapshot are here, and it waits
/// for them to be on disk.
TEST(Install, AMarkThatCouldNotBeWrittenIsTriedAgain) {
  for (const DiskOperation fails : {DiskOperation::create, DiskOperation::sync_directory}) {
    OnAFaultyDisk on;
    on.disk.set_rule([&](DiskOperation operation, const std::string& path) -> std::optional<Error> {
      if (operation != fails || path.find("KVAAAA") == std::string::npos) return std::nullopt;
      return make_error(ErrorCode::io, path + ": Too many open files");
    });
    on.log->write_sparse({entry(17, 2)});
    on.store.settle();
    EXPECT_EQ(on.log->pending_writes(), 1U);
    on.disk.set_rule({});
    on.store.system->flush_metadata([](const Result<void>&) {});
    on.store.settle();
    EXPECT_EQ(on.log->pending_writes(), 0U);
    EXPECT_TRUE(on.store.install(*on.log, 100, 3, IndexSet::of({17})));
  }
}

/// The same for its removal: what was appended after it is durable, and waits to count as that.
TEST(Install, AMarkThatCouldNotBeRemovedIsTriedAgain) {
  OnAFaultyDisk on;
  on.log->write_sparse({entry(17, 2)});
  on.store.settle();
  on.disk.set_rule([](DiskOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != DiskOperation::unlink || path.find("installing") == std::string::npos)
      return std::nullopt;
    return make_error(ErrorCode::io, path + ": can't remove: Input/output error");
  });
  on.log->append(entries(11, 12, 1));  // another leader's
  on.store.settle();
  EXPECT_EQ(on.log->last_written().index, 10U);
  on.disk.set_rule({});
  on.store.system->flush_metadata([](const Result<void>&) {});
  on.store.settle();
  EXPECT_EQ(on.log->last_written().index, 12U);
}

TEST(Install, ADamagedMarkMeansAmnesia) {
  MemoryDisk disk;
  {
    Store store(disk);
    MemberLog* log = store.add("kv", "KVAAAA");
    log->append(entries(1, 10, 1));
    store.vote("KVAAAA", 1, std::nullopt);
    log->write_sparse({entry(17, 2)});
    store.settle();
  }
  ASSERT_TRUE(replace_file(disk, "/data/a@host/KVAAAA/installing", "17 log_end 10"));
  Store store(disk);
  MemberLog* log = store.system->find("KVAAAA");
  ASSERT_TRUE(log->amnesia());
  EXPECT_EQ(log->last().index, 0U);
  log->append(entries(1, 11, 1));
  store.settle();
  EXPECT_FALSE(disk.exists("/data/a@host/KVAAAA/installing").value());
  EXPECT_EQ(log->last_written().index, 11U);
}

/// The leader gives up while the mark of its transfer is still being written: what the next leader
/// sends is acknowledged before that is on disk.
TEST(Install, AMarkThatComesLateVoidsNothing) {
  for (const bool written_before : {true, false}) {
    MemoryDisk memory;
    Index acknowledged = 0;
    {
      ManualExecutor background;
      LogSystemOptions options = testing::small_options();
      options.background = &background;
      Store store(memory, options);
      MemberLog* log = store.add("kv", "KVAAAA");
      ASSERT_TRUE(store.vote("KVAAAA", 9, std::nullopt));
      store.append(*log, entries(1, 39, 1));
      log->write_sparse({entry(50, 9)});
      log->append(entries(40, 45, 9));
      if (written_before) {
        store.settle();  // but for the background
        acknowledged = log->last_written().index;
      }
      background.run_all();
      acknowledged = std::max(acknowledged, log->last_written().index);
      const auto cut = memory.clone();
      cut->crash(CrashMode::lose_unsynced);
      {
        Store after(*cut);
        EXPECT_GE(after.system->find("KVAAAA")->last_written().index, acknowledged);
      }
      store.background = &background;
      store.settle();
      EXPECT_EQ(log->last_written().index, 45U);
    }
    memory.crash(CrashMode::lose_unsynced);
    Store store(memory);
    EXPECT_EQ(store.system->find("KVAAAA")->last_written().index, 45U);
  }
}

}  // namespace
}  // namespace rakv::raftlog
