// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cnode/etf/writer.h"
#include "raft/log/system.h"
#include "raft/log/wal/wal.h"
#include "tests/support/memory_disk.h"

// What the log's tests share: terms, entries, and a LogSystem on one thread.

namespace rakv::raftlog::testing {

/// Where a Store has its files.
inline const std::string kSystemDirectory = "/data/a@host";
/// Of its server with the UID KVAAAA.
inline const std::string kServerDirectory = kSystemDirectory + "/KVAAAA";

inline constexpr std::uint64_t kMiB = 1 << 20;

/// The seed of a randomised test: RAKV_SEED, or `standard`. Printed, so that a failure can be
/// repeated.
inline std::uint64_t seed_of_test(std::uint64_t standard) {
  const char* given = std::getenv("RAKV_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : standard;
  std::printf("RAKV_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

/// ETF of a binary with these bytes.
inline SharedBytes payload(std::string_view text) {
  etf::Writer writer;
  writer.version().binary(text);
  return SharedBytes::copy_of(writer.view());
}

inline StoredEntry entry(Index index, Term term, const std::string& text = "value") {
  return {index, term, payload(text + " " + std::to_string(index) + "/" + std::to_string(term))};
}

inline std::vector<StoredEntry> entries(Index first, Index last, Term term,
                                        const std::string& text = "value") {
  std::vector<StoredEntry> made;
  for (Index index = first; index <= last; ++index) made.push_back(entry(index, term, text));
  return made;
}

inline EncodedTerm atom_term(std::string_view name) {
  etf::Writer writer;
  writer.version().atom(name);
  return writer.take();
}

inline EncodedTerm empty_map() { return std::string("\x83\x74\0\0\0\0", 6); }

inline EncodedTerm machine_term() {
  etf::Writer writer;
  writer.version().tuple(3).atom("module").atom("ra_kv").map(0);
  return writer.take();
}

inline ServerConfig config(const std::string& name, const std::string& uid,
                           const std::string& node = "a@host") {
  ServerConfig made;
  made.id = {name, node};
  made.uid = uid;
  made.cluster_name = atom_term("kv");
  made.initial_members = {{name, node}};
  made.machine = machine_term();
  made.log_init_args = empty_map();
  return made;
}

inline StoredSnapshotMeta snapshot_meta(Index index, Term term) {
  etf::Writer cluster;
  cluster.version().map(1).tuple(2).atom("kv").atom("a@host").map(0);
  return {index, term, cluster.take(), 0};
}

/// Notes what a system tells its owner.
struct Watcher final : LogSystemObserver {
  std::vector<std::string> events;
  std::uint64_t segments_downs = 0;
  void wal_down(const Error& error) override { events.push_back("down: " + error.message); }
  void wal_up() override { events.emplace_back("up"); }
  void space_low(const DiskSpace& space) override {
    events.push_back("low: " + std::to_string(space.free));
  }
  void space_enough() override { events.emplace_back("enough"); }
  void segments_down(MemberLog& log, const Error&) override {
    ++segments_downs;
    events.push_back(log.uid() + " down");
  }
  void segments_up(MemberLog& log) override { events.push_back(log.uid() + " up"); }
  void background_job_failed(const Error& error) override {
    events.push_back("background job failed: " + error.message);
  }
};

/// For a WAL whose events nobody waits for.
struct IgnoredWalEvents final : CompletionSink {
  void wal_events(std::vector<WalEvent>) override {}
};

inline LogSystemOptions small_options() {
  LogSystemOptions options;
  options.wal_thread = false;
  options.wal.salt_seed = 7;
  options.segment.max_entries = 16;
  options.reserve_bytes = 0;
  options.keep_superseded_for = {};
  return options;
}

/// A LogSystem whose threads are all this one.
struct Store {
  ManualExecutor owner;
  ManualExecutor worker;
  ManualExecutor* background = nullptr;  ///< the options' one, for settle()
  Watcher watcher;
  std::unique_ptr<LogSystem> system;

  explicit Store(Disk& disk, LogSystemOptions options = small_options(),
                 const std::string& directory = kSystemDirectory) {
    auto opened = LogSystem::open(directory, disk, owner, worker, std::move(options));
    if (!opened) {
      error = opened.error();
      return;
    }
    system = std::move(*opened);
    system->set_observer(&watcher);
  }
  ~Store() {
    system.reset();
    owner.clear();
    worker.clear();
  }

  /// Until nothing is left to do.
  void settle() {
    for (bool worked = true; worked;) {
      worked = owner.run_all() > 0;
      worked = worker.run_all() > 0 || worked;
      if (background != nullptr) worked = background->run_all() > 0 || worked;
      worked = system->wal_writer().run_one_batch() || worked;
    }
  }

  /// One entry or several, and all that follows from it.
  template <class Entries>
  void append(MemberLog& log, Entries appended) {
    log.append(std::move(appended));
    settle();
  }

  /// The entries of all WAL files so far go to segments.
  void roll_over() {
    system->roll_over_wal();
    settle();
  }

  MemberLog* add(const std::string& name, const std::string& uid) {
    Result<MemberLog*> outcome = make_error(ErrorCode::timeout, "no answer");
    system->register_server(config(name, uid),
                            [&](Result<MemberLog*> got) { outcome = std::move(got); });
    settle();
    return outcome ? *outcome : nullptr;
  }

  Result<void> vote(const std::string& uid, Term term, std::optional<ServerId> voted_for) {
    Result<void> outcome = make_error(ErrorCode::timeout, "no answer");
    system->store_term_vote(uid, term, std::move(voted_for),
                            [&](Result<void> got) { outcome = std::move(got); });
    settle();
    return outcome;
  }

  Result<void> snapshot(MemberLog& log, Index index, Term term, IndexSet live) {
    Result<void> outcome = make_error(ErrorCode::timeout, "no answer");
    log.write_snapshot(snapshot_meta(index, term), payload("state"), std::move(live),
                       [&](Result<void> got) { outcome = std::move(got); });
    settle();
    return outcome;
  }

  Result<void> install(MemberLog& log, Index index, Term term, IndexSet live) {
    Result<void> outcome = make_error(ErrorCode::timeout, "no answer");
    log.install_snapshot(snapshot_meta(index, term), payload("state"), std::move(live),
                         [&](Result<void> got) { outcome = std::move(got); });
    settle();
    return outcome;
  }

  std::optional<Error> error;
};

/// A server's config is damaged, so that it can't be started, until repair().
class DamagedConfig {
 public:
  DamagedConfig(Disk& disk, const std::string& uid)
      : disk_(disk), path_(kSystemDirectory + "/" + uid + "/config") {
    original_ = read_file(disk_, path_).value();
    EXPECT_TRUE(replace_file(disk_, path_, "no term"));
  }
  void repair() { EXPECT_TRUE(replace_file(disk_, path_, original_)); }

 private:
  Disk& disk_;
  std::string path_;
  std::string original_;
};

/// A server whose entries 1..160 of term 1 are in ten segments of 16.
inline MemberLog* add_with_ten_segments(Store& store) {
  MemberLog* log = store.add("kv", "KVAAAA");
  store.vote("KVAAAA", 1, std::nullopt);
  store.append(*log, entries(1, 160, 1));
  store.roll_over();
  return log;
}

/// Another letter in the value of an entry of term 1, in place.
inline void damage_value(Disk& disk, const std::string& path, Index index) {
  const std::string bytes = read_file(disk, path).value();
  const auto at = bytes.find("value " + std::to_string(index) + "/1");
  ASSERT_NE(at, std::string::npos) << path;
  auto file = disk.open_write(path).value();
  ASSERT_TRUE(file->pwrite(at, "V"));
  ASSERT_TRUE(file->fdatasync());
}

/// The text of entry `index` as read back, or what went wrong.
inline std::string text_at(const MemberLog& log, Index index) {
  const auto read = log.read_blocking(index);
  if (!read) return "error: " + read.error().message;
  etf::Cursor cursor(read->payload.view());
  cursor.version();
  const auto text = cursor.binary();
  return text ? std::string(*text) : "not a binary";
}

inline std::string expected_text(Index index, Term term, const std::string& text = "value") {
  return text + " " + std::to_string(index) + "/" + std::to_string(term);
}

}  // namespace rakv::raftlog::testing
