// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/inspection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "raft/log/disk/overlay_disk.h"
#include "raft/log/segments/segment.h"
#include "tests/raft/log/store.h"

namespace rakv::raftlog {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::entries;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kServerDirectory;
using testing::kSystemDirectory;
using testing::Store;

using Severity = Finding::Severity;
/// Path to content; of directories "(directory)".
using Tree = std::map<std::string, std::string>;

void collect_tree(Disk& disk, const std::string& path, Tree& tree) {
  for (const auto& entry : disk.list(path).value()) {
    const std::string child = (path == "/" ? "" : path) + "/" + entry.name;
    if (entry.kind == DirectoryEntry::Kind::directory) {
      tree[child] = "(directory)";
      collect_tree(disk, child, tree);
    } else {
      tree[child] = read_file(disk, child).value();
    }
  }
}

Tree tree_of(Disk& disk) {
  Tree tree;
  collect_tree(disk, "/", tree);
  return tree;
}

void write_file(Disk& disk, const std::string& path, const std::string& bytes) {
  auto file = disk.create(path);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE((*file)->pwrite(0, bytes));
}

// ---- OverlayDisk

/// One random change of what `tree` shows; gives whether it worked.
bool change(Disk& disk, const Tree& tree, std::mt19937_64 random) {
  std::vector<std::string> files;
  std::vector<std::string> directories{""};
  for (const auto& [path, content] : tree) {
    (content == "(directory)" ? directories : files).push_back(path);
  }
  const auto pick = [&](const std::vector<std::string>& from) {
    return from.empty() ? "/none" : from[random() % from.size()];
  };
  const auto fresh = [&] {
    return pick(directories) + "/" + static_cast<char>('a' + random() % 8);
  };
  switch (random() % 7) {
    case 0: {
      auto file = disk.create(files.empty() || random() % 2 == 0 ? fresh() : pick(files));
      return file && (*file)->pwrite(0, "made " + std::to_string(random() % 100));
    }
    case 1: {
      auto file = disk.open_write(pick(files));
      return file && (*file)->pwrite(random() % 12, "changed");
    }
    case 2:
      return static_cast<bool>(disk.unlink(pick(files)));
    case 3:
      return static_cast<bool>(disk.make_directory(fresh()));
    case 4:
      return static_cast<bool>(disk.remove_directory(pick(directories)));
    case 5:
      return static_cast<bool>(
          disk.rename(pick(files), random() % 2 == 0 ? fresh() + ".f" : pick(files)));
    default: {
      const std::string from = pick(directories);
      const std::string to = fresh() + ".d" + std::to_string(random() % 1000);
      // Not into itself, nor over something.
      if (from.empty() || to.starts_with(from + "/") || tree.contains(to)) return false;
      return static_cast<bool>(disk.rename(from, to));
    }
  }
}

TEST(OverlayDisk, ShowsWhatTheChangesWouldHaveMade) {
  const std::uint64_t seed = testing::seed_of_test(11);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    MemoryDisk changed;
    MemoryDisk below;
    for (Disk* disk : {static_cast<Disk*>(&changed), static_cast<Disk*>(&below)}) {
      ASSERT_TRUE(disk->make_directory("/a"));
      ASSERT_TRUE(disk->make_directory("/a/b"));
      write_file(*disk, "/one", "first content");
      write_file(*disk, "/a/two", "second content");
      write_file(*disk, "/a/b/three", "third content");
    }
    const Tree before = tree_of(below);
    OverlayDisk overlay(below);
    for (int step = 0; step < 30; ++step) {
      const Tree tree = tree_of(changed);
      const auto choice = random();
      const bool done = change(changed, tree, std::mt19937_64(choice));
      ASSERT_EQ(change(overlay, tree, std::mt19937_64(choice)), done)
          << "round " << round << " step " << step;
      ASSERT_EQ(tree_of(overlay), tree_of(changed)) << "round " << round << " step " << step;
    }
    EXPECT_EQ(tree_of(below), before);
  }
}

TEST(OverlayDisk, TellsWhatWouldHaveHappenedToWhatIsThere) {
  MemoryDisk below;
  write_file(below, "/one", "1");
  write_file(below, "/two", "2");
  write_file(below, "/three", "3");
  OverlayDisk overlay(below);
  ASSERT_TRUE(overlay.unlink("/one"));
  ASSERT_TRUE(overlay.rename("/two", "/two.bad"));
  ASSERT_TRUE(replace_file(overlay, "/three", "new"));
  ASSERT_TRUE(replace_file(overlay, "/four", "new"));
  ASSERT_TRUE(overlay.unlink("/four"));
  ASSERT_TRUE(replace_file(overlay, "/empty", {}));  // nothing at all, from nowhere
  EXPECT_EQ(read_file(overlay, "/empty").value(), "");
  ASSERT_TRUE(overlay.unlink("/empty"));
  EXPECT_THAT(overlay.changes(),
              ElementsAre("remove /one", "rename /two to /two.bad", "replace /three"));
}

// ---- inspect

InspectionOptions options_with(IndexSet live) {
  InspectionOptions options;
  options.live_indexes_of = [live = std::move(live)](std::string_view) -> Result<IndexSet> {
    return live;
  };
  return options;
}

/// A server with entries 1 to 60, a snapshot at 30 with live entries 3 and 17, segments and a WAL.
class Inspect : public ::testing::Test {
 protected:
  Inspect() {
    Store store(disk_);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 1, ServerId{"kv", "a@host"});
    store.append(*log, entries(1, 40, 1));
    store.roll_over();
    EXPECT_TRUE(store.snapshot(*log, 30, 1, IndexSet::of({3, 17})));
    store.append(*log, entries(41, 60, 1));
    EXPECT_TRUE(store.system->stop());
  }

  /// Inspects, and checks that nothing has changed.
  Inspection look(const InspectionOptions& options = options_with(IndexSet::of({3, 17}))) {
    const Tree before = tree_of(disk_);
    auto found = inspect(disk_, kSystemDirectory, options);
    EXPECT_TRUE(found) << found.error().message;
    EXPECT_EQ(tree_of(disk_), before);
    return found ? *found : Inspection{};
  }

  void expect_damage(const std::string& text) {
    const Inspection found = look();
    EXPECT_FALSE(found.sound());
    EXPECT_THAT(found.findings, Contains(AllOf(Field(&Finding::severity, Severity::damage),
                                               Field(&Finding::text, HasSubstr(text)))));
  }

  MemoryDisk disk_;
  const std::string server_ = kServerDirectory;
};

TEST_F(Inspect, ReadsEverythingThatIsNeeded) {
  const Inspection found = look();
  EXPECT_TRUE(found.sound());
  EXPECT_THAT(found.findings, IsEmpty());
  EXPECT_EQ(found.owner, DirectoryOwner::rakv);
  EXPECT_EQ(found.wal_files, 1U);
  ASSERT_EQ(found.servers.size(), 1U);
  const ServerReport& server = found.servers[0];
  EXPECT_EQ(server.name, "kv");
  EXPECT_EQ(server.uid, "KVAAAA");
  EXPECT_EQ(server.meta.term, 1U);
  EXPECT_EQ(server.snapshot, (Position{30, 1}));
  EXPECT_EQ(server.live_entries, 2U);
  EXPECT_EQ(server.first_index, 31U);
  EXPECT_EQ(server.last, (Position{60, 1}));
  EXPECT_EQ(server.entries_read, 32U);
}

TEST_F(Inspect, TellsWhatAStartWouldRemove) {
  write_file(disk_, server_ + "/0000000000000001.compacting", "half");
  ASSERT_TRUE(disk_.make_directory(server_ + "/snapshots/" + snapshot_directory_name({20, 1})));
  const Inspection found = look();
  EXPECT_TRUE(found.sound());
  EXPECT_THAT(found.changes, Contains("remove " + server_ + "/0000000000000001.compacting"));
  EXPECT_THAT(found.changes,
              Contains("remove " + server_ + "/snapshots/" + snapshot_directory_name({20, 1})));
}

TEST_F(Inspect, NamesUnreadableEntries) {
  const std::string path = server_ + "/0000000000000003.segment";
  const auto segment = Segment::open(disk_, path, 3).value();
  auto file = disk_.open_write(path).value();
  for (const auto& slot : segment->slots()) ASSERT_TRUE(file->pwrite(slot.offset + 4, "#"));
  const Inspection found = look();
  EXPECT_FALSE(found.sound());
  // Entries 33 to 40: five are named.
  ASSERT_EQ(found.findings.size(), 6U);
  EXPECT_THAT(found.findings[0].text,
              AllOf(HasSubstr("server kv (UId KVAAAA)"), HasSubstr("checksum of entry 33")));
  EXPECT_THAT(found.findings[5].text, HasSubstr("3 further entries can't be read"));
}

TEST_F(Inspect, FindsAMissingLiveEntry) {
  ASSERT_TRUE(disk_.unlink(server_ + "/0000000000000001.segment"));
  expect_damage("has no entry 3");
}

TEST_F(Inspect, ComparesTheLiveIndexesWithTheState) {
  const Inspection found = look(options_with(IndexSet::of({3, 17, 20})));
  EXPECT_FALSE(found.sound());
  EXPECT_THAT(found.findings,
              Contains(Field(&Finding::text, HasSubstr("is not that of its state"))));
  ASSERT_TRUE(
      disk_.unlink(server_ + "/snapshots/" + snapshot_directory_name({30, 1}) + "/indexes"));
  const Inspection recomputed = look();
  EXPECT_TRUE(recomputed.sound());
  EXPECT_THAT(recomputed.findings,
              ElementsAre(Field(&Finding::text, HasSubstr("no readable list of live indexes"))));
}

TEST_F(Inspect, FindsADamagedSnapshot) {
  const std::string path = server_ + "/snapshots/" + snapshot_directory_name({30, 1});
  ASSERT_TRUE(disk_.open_write(path + "/snapshot.dat").value()->pwrite(12, "#"));
  expect_damage("snapshot is damaged");
  EXPECT_THAT(look().changes, Contains("rename " + path + " to " + path + ".bad"));
}

TEST_F(Inspect, FindsABrokenConfig) {
  ASSERT_TRUE(replace_file(disk_, server_ + "/config", "#{"));
  expect_damage("KVAAAA/config");
}

TEST_F(Inspect, FindsALostMetaFile) {
  ASSERT_TRUE(disk_.unlink(kSystemDirectory + "/meta.dets"));
  expect_damage("meta.dets knew of term 0 only");
}

TEST_F(Inspect, FindsADamagedMetaFile) {
  ASSERT_TRUE(disk_.open_write(kSystemDirectory + "/meta.dets").value()->pwrite(40, "####"));
  expect_damage("meta.dets");
}

TEST_F(Inspect, FindsADamagedWal) {
  ASSERT_TRUE(
      disk_.open_write(kSystemDirectory + "/0000000000000002.wal").value()->pwrite(200, "#"));
  expect_damage("0000000000000002.wal");
}

TEST_F(Inspect, ATakeoverIsForABeamsDirectoryWithServersThatCanBeRun) {
  InspectionOptions options = options_with(IndexSet::of({3, 17}));
  options.admit = [](const ServerConfig&) -> Result<void> { return {}; };
  EXPECT_THAT(look(options).findings,
              ElementsAre(AllOf(Field(&Finding::severity, Severity::obstacle),
                                Field(&Finding::text, HasSubstr("is rakv's already")))));
  ASSERT_TRUE(release(disk_, kSystemDirectory, options.live_indexes_of));
  EXPECT_TRUE(look(options).sound());
  options.admit = [](const ServerConfig&) -> Result<void> {
    return make_error(ErrorCode::unsupported, "runs another machine");
  };
  EXPECT_THAT(
      look(options).findings,
      Contains(Field(&Finding::text, HasSubstr("server kv (UId KVAAAA): runs another machine"))));
}

TEST_F(Inspect, RefusesWhatIsInUseOrNoSystems) {
  const auto lock = disk_.lock(kSystemDirectory + "/rakv.lock");
  ASSERT_TRUE(lock);
  const auto used = inspect(disk_, kSystemDirectory, options_with({}));
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().code, ErrorCode::unavailable);
  EXPECT_EQ(inspect(disk_, "/data", options_with({})).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace rakv::raftlog
