// SPDX-License-Identifier: Apache-2.0
#include "raft/log/offline/release.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/log/base/numbered_name.h"
#include "raft/log/directory/dets.h"
#include "raft/log/directory/ownership.h"
#include "raft/log/directory/server_marks.h"
#include "raft/log/offline/ra_view.h"
#include "raft/log/segments/segment.h"
#include "tests/raft/log/names_in.h"
#include "tests/raft/log/store.h"

// Whose a directory is, and handing it back. Whether a real ra takes it is takeover_SUITE's matter.

namespace rakv::raftlog {
namespace {

using ::testing::ElementsAre;
using testing::entries;
using testing::entry;
using testing::expected_text;
using ::testing::HasSubstr;
using testing::kServerDirectory;
using testing::kSystemDirectory;
using testing::names_in;
using testing::Store;
using testing::text_at;

Result<IndexSet> no_state(std::string_view) {
  return make_error(ErrorCode::malformed, "nobody asked for it");
}

DirectoryOwner owner_of(Disk& disk) {
  return read_registered(disk, kSystemDirectory).value().owner;
}

/// A server with a snapshot, overwritten entries, segments and a WAL.
void write_log_with_snapshot(Disk& disk) {
  Store store(disk);
  if (!store.system) return;
  MemberLog* log = store.add("kv", "KVAAAA");
  if (log == nullptr) return;
  store.vote("KVAAAA", 1, ServerId{"kv", "a@host"});
  store.append(*log, entries(1, 40, 1));
  store.roll_over();
  store.vote("KVAAAA", 2, std::nullopt);
  store.append(*log, entries(35, 50, 2));
  store.snapshot(*log, 34, 1, IndexSet::of({3, 17}));
  store.append(*log, entries(51, 60, 2));
}

void expect_log(Disk& disk) {
  Store store(disk);
  ASSERT_TRUE(store.system) << store.error->message;
  const MemberLog* log = store.system->find("KVAAAA");
  ASSERT_NE(log, nullptr);
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
  EXPECT_EQ(log->meta().term, 2U);
  EXPECT_EQ(log->last_written(), (Position{60, 2}));
  for (const Index i : {3, 17}) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
  for (Index i = 35; i <= 60; ++i) EXPECT_EQ(text_at(*log, i), expected_text(i, 2));
}

TEST(Ownership, AnOpenDirectoryIsOursAndStaysSo) {
  MemoryDisk disk;
  {
    Store store(disk);
    ASSERT_TRUE(store.system);
    EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
    store.add("kv", "KVAAAA");
    EXPECT_TRUE(store.system->stop());
  }
  EXPECT_EQ(read_file(disk, kSystemDirectory + "/names.dets").value(), "");
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
  EXPECT_THAT(read_registered(disk, kSystemDirectory)->rows, ElementsAre(NameRow{"kv", "KVAAAA"}));
}

TEST(Ownership, NamesWithContentAreBelieved) {
  MemoryDisk disk;
  ASSERT_TRUE(disk.make_directory("/data"));
  ASSERT_TRUE(disk.make_directory(kSystemDirectory));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::nobody);
  ASSERT_TRUE(write_registered(disk, kSystemDirectory, {{"old", "OLDAAA"}}));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);  // whoever deleted the empty file
  ASSERT_TRUE(write_names(disk, kSystemDirectory + "/names.dets", {{"kv", "KVAAAA"}}));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::beam);
  EXPECT_THAT(read_registered(disk, kSystemDirectory)->rows, ElementsAre(NameRow{"kv", "KVAAAA"}));
  ASSERT_TRUE(remove_tree(disk, kSystemDirectory + "/names.dets.rakv"));
  ASSERT_TRUE(replace_file(disk, kSystemDirectory + "/names.dets", ""));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::nobody);  // a BEAM's that was lost
}

TEST(Ownership, ARefusedTakeoverChangesNothing) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  const auto before = names_in(disk, kSystemDirectory);
  LogSystemOptions options = testing::small_options();
  options.admit = [](const ServerConfig& config) -> Result<void> {
    return make_error(ErrorCode::unsupported, config.id.name() + " is not to be run here");
  };
  Store store(disk, options);
  ASSERT_FALSE(store.system);
  EXPECT_EQ(store.error->code, ErrorCode::unsupported);
  EXPECT_THAT(store.error->message, HasSubstr("server kv (UId KVAAAA): kv is not to be run here"));
  EXPECT_EQ(names_in(disk, kSystemDirectory), before);
  EXPECT_EQ(owner_of(disk), DirectoryOwner::beam);
}

TEST(Ownership, OnlyADirectoryThatWasNotOursIsAskedAbout) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  LogSystemOptions options = testing::small_options();
  options.admit = [](const ServerConfig&) -> Result<void> {
    return make_error(ErrorCode::unsupported, "no");
  };
  Store store(disk, options);
  EXPECT_TRUE(store.system);
}

TEST(Release, LeavesWhatABeamNeedsAndNothingElse) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(replace_file(disk, kSystemDirectory + "/writers.snapshot", "old"));
  ASSERT_TRUE(replace_file(disk, kSystemDirectory + "/rakv.reserve", "room"));
  ASSERT_TRUE(replace_file(disk, kServerDirectory + "/0000000000000001.link", "old"));
  const auto released = release(disk, kSystemDirectory, no_state);
  ASSERT_TRUE(released) << released.error().message;
  EXPECT_TRUE(released->was_ours);
  EXPECT_THAT(released->servers, ElementsAre("kv"));
  EXPECT_THAT(names_in(disk, kSystemDirectory),
              ElementsAre("KVAAAA", "meta.dets", "names.dets", "rakv.lock"));
  EXPECT_THAT(names_in(disk, kServerDirectory),
              ElementsAre("0000000000000001.segment", "0000000000000002.segment",
                          "0000000000000003.segment", "0000000000000004.segment", "checkpoints",
                          "config", "recovery_checkpoint", "snapshots"));
  for (const char* name : {"/names.dets", "/meta.dets"}) {
    const auto bytes = read_file(disk, kSystemDirectory + name).value();
    const auto content = read_dets(name, bytes).value();
    EXPECT_TRUE(content.clean) << name;
    // Without our seal: a BEAM that updates the file in place would break it.
    EXPECT_EQ(bytes, write_dets(content.objects).value()) << name;
  }
  EXPECT_THAT(read_registered(disk, kSystemDirectory)->rows, ElementsAre(NameRow{"kv", "KVAAAA"}));
  expect_log(disk);
}

TEST(Release, OfABeamsDirectoryDoesNothing) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  const auto before = names_in(disk, kSystemDirectory);
  ASSERT_TRUE(write_registered(disk, kSystemDirectory, {}));  // as a stopped release may leave it
  const auto again = release(disk, kSystemDirectory, no_state);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->was_ours);
  EXPECT_EQ(names_in(disk, kSystemDirectory), before);
}

TEST(Release, StoppedAtEveryOperationItCanBeRepeated) {
  for (const CrashMode mode : {CrashMode::lose_unsynced, CrashMode::keep_everything}) {
    std::uint64_t points = 0;
    for (std::uint64_t at = 1;; ++at, ++points) {
      MemoryDisk memory;
      write_log_with_snapshot(memory);
      FaultyDisk disk(memory);
      disk.stop_at(at);
      const bool done = static_cast<bool>(release(disk, kSystemDirectory, no_state));
      memory.crash(mode);
      if (owner_of(memory) != DirectoryOwner::beam) {
        ASSERT_FALSE(done) << at;
        EXPECT_EQ(owner_of(memory), DirectoryOwner::rakv) << at;
      } else {  // a BEAM finds all that it needs, in files that it reads
        const auto segments = names_in(memory, kServerDirectory);
        EXPECT_EQ(std::count_if(segments.begin(), segments.end(),
                                [](const auto& name) { return name.ends_with(".segment"); }),
                  4)
            << at;
        for (const auto& name : names_in(memory, kSystemDirectory))
          EXPECT_FALSE(name.ends_with(".wal"));
      }
      const auto again = release(memory, kSystemDirectory, no_state);
      ASSERT_TRUE(again) << at << " " << again.error().message;
      EXPECT_EQ(owner_of(memory), DirectoryOwner::beam) << at;
      EXPECT_FALSE(memory.exists(kSystemDirectory + "/names.dets.rakv").value()) << at;
      expect_log(memory);
      if (done) break;
    }
    std::printf("%llu operations at which it was stopped\n",
                static_cast<unsigned long long>(points));
    EXPECT_GT(points, 30U);
  }
}

TEST(Release, RefusesADirectoryInUse) {
  MemoryDisk disk;
  Store store(disk);
  store.add("kv", "KVAAAA");
  const auto released = release(disk, kSystemDirectory, no_state);
  ASSERT_FALSE(released);
  EXPECT_EQ(released.error().code, ErrorCode::unavailable);
  EXPECT_THAT(released.error().message, HasSubstr("in use"));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
}

TEST(Release, RefusesAServerThatMayHaveForgotten) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(disk.unlink(kSystemDirectory + "/meta.dets"));
  const auto released = release(disk, kSystemDirectory, no_state);
  ASSERT_FALSE(released);
  EXPECT_EQ(released.error().code, ErrorCode::corrupt);
  EXPECT_THAT(released.error().message, HasSubstr("may have forgotten what it promised"));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
}

TEST(Release, RefusesAServerThatCannotBeRead) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(replace_file(disk, kServerDirectory + "/config", "#{"));
  const auto released = release(disk, kSystemDirectory, no_state);
  ASSERT_FALSE(released);
  EXPECT_THAT(released.error().message, HasSubstr("KVAAAA can't be read"));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
}

TEST(Release, SaysWhatIsNoSystemsDirectory) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  EXPECT_EQ(release(disk, "/nowhere", no_state).error().code, ErrorCode::not_found);
  const auto parent = release(disk, "/data", no_state);
  ASSERT_FALSE(parent);
  EXPECT_EQ(parent.error().code, ErrorCode::not_found);
  EXPECT_THAT(parent.error().message, HasSubstr("/data/a@host is one"));
}

TEST(Release, WritesMissingIndexesBecauseABeamTakesThemForEmpty) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  const std::string indexes =
      kServerDirectory + "/snapshots/" + snapshot_directory_name({34, 1}) + "/indexes";
  ASSERT_TRUE(disk.unlink(indexes));
  const auto unknown = release(disk, kSystemDirectory, no_state);
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("nobody asked for it"));
  const auto released =
      release(disk, kSystemDirectory, [](std::string_view state) -> Result<IndexSet> {
        EXPECT_EQ(state, testing::payload("state").view());
        return IndexSet::of({3, 17});
      });
  ASSERT_TRUE(released) << released.error().message;
  EXPECT_EQ(decode_indexes_file("", read_file(disk, indexes).value()).value(),
            IndexSet::of({3, 17}));
  expect_log(disk);
}

TEST(Release, KeepsEvidenceFromABeamsCleaning) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  const std::string server = kServerDirectory;
  const std::string bad = snapshot_directory_name({7, 1}) + ".bad";
  ASSERT_TRUE(disk.make_directory(server + "/snapshots/" + bad));
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  EXPECT_THAT(names_in(disk, server + "/snapshots"), ElementsAre(snapshot_directory_name({34, 1})));
  EXPECT_TRUE(disk.exists(server + "/snapshot-" + bad).value());
}

/// Replaces segments 1 and 2 of a released log.
void replace_segments(Disk& disk, const std::vector<Index>& first,
                      const std::vector<Index>& second) {
  write_log_with_snapshot(disk);
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  ASSERT_TRUE(Store(disk).system);  // ours again
  std::uint64_t number = 1;
  for (const auto& indexes : {first, second}) {
    std::vector<StoredEntry> content;
    content.reserve(indexes.size());
    for (const Index index : indexes) content.push_back(entry(index, 1));
    const std::string path = kServerDirectory + "/" + numbered_name(number, ".segment");
    ASSERT_TRUE(Segment::create(disk, path, number, content, {}));
    ++number;
  }
}

TEST(Release, RemovesADeadSegmentThatWouldHideALiveEntry) {
  MemoryDisk disk;
  replace_segments(disk, {3, 17}, {5, 6});
  const auto released = release(disk, kSystemDirectory, no_state);
  ASSERT_TRUE(released) << released.error().message;
  EXPECT_FALSE(disk.exists(kServerDirectory + "/0000000000000002.segment").value());
  expect_log(disk);
}

TEST(Release, RefusesWhatRaWouldNotFind) {
  MemoryDisk disk;
  replace_segments(disk, {3, 17}, {3});
  const auto refused = release(disk, kSystemDirectory, no_state);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_THAT(refused.error().message, HasSubstr("would not find entry 17"));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
}

TEST(Release, RefusesEntriesThatRaWouldTakeForTheLogsContinuation) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  ASSERT_TRUE(Store(disk).system);
  // Of a lower term than the end of the log: what remained of a snapshot that was being taken in.
  const std::string path = kServerDirectory + "/0000000000000009.segment";
  ASSERT_TRUE(Segment::create(disk, path, 9, entries(61, 62, 1), {}));
  const auto released = release(disk, kSystemDirectory, no_state);
  ASSERT_FALSE(released);
  EXPECT_THAT(released.error().message, HasSubstr("entry 61"));
  EXPECT_EQ(owner_of(disk), DirectoryOwner::rakv);
}

TEST(Release, RemovesTheMarkOfASnapshotThatWasBeingTakenIn) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(write_install_mark(disk, kServerDirectory, 60));
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  EXPECT_EQ(read_install_mark(disk, kServerDirectory).value(), std::nullopt);
}

/// While the BEAM runs the server its peers may be replaced one by one: what was known of them then
/// would have it take its own cluster for another one.
TEST(Release, WhoTheVotersWereIsForgottenWhenItComesBack) {
  MemoryDisk disk;
  write_log_with_snapshot(disk);
  ASSERT_TRUE(write_known_voters(disk, kServerDirectory, "voters"));
  {
    Store store(disk);
    EXPECT_EQ(store.system->find("KVAAAA")->known_voters(), "voters");
  }
  ASSERT_TRUE(release(disk, kSystemDirectory, no_state));
  Store store(disk);
  ASSERT_TRUE(store.system);
  EXPECT_EQ(store.system->find("KVAAAA")->known_voters(), "");
}

// ---- what ra finds in segments

using Segments = std::vector<std::shared_ptr<const Segment>>;

void add_segment(Disk& disk, Segments& segments, const std::vector<Index>& indexes, Term term) {
  std::vector<StoredEntry> content;
  content.reserve(indexes.size());
  for (const Index index : indexes) content.push_back(entry(index, term));
  const std::uint64_t number = segments.size() + 1;
  segments.push_back(
      Segment::create(disk, "/" + std::to_string(number), number, content, {}).value());
}

TEST(RaView, RangesCutOlderFiles) {
  MemoryDisk disk;
  Segments segments;
  add_segment(disk, segments, {1, 2, 3, 4, 5, 6}, 1);
  add_segment(disk, segments, {5, 6, 7, 8}, 2);
  EXPECT_EQ(first_hidden_from_ra(segments, IndexSet::of({1, 2, 3, 4, 5, 6, 7, 8})), std::nullopt);
  // The wide range of a compacted file is cut by a file that has nothing of what follows.
  Segments compacted;
  add_segment(disk, compacted, {2, 9, 15}, 1);
  add_segment(disk, compacted, {5, 6}, 1);
  EXPECT_EQ(first_hidden_from_ra(compacted, IndexSet::of({2, 9, 15})), Index{9});
  EXPECT_EQ(first_hidden_from_ra(compacted, IndexSet::of({2, 5, 6})), std::nullopt);
  // What no file has is not ra's fault.
  EXPECT_EQ(first_hidden_from_ra(compacted, IndexSet::of({3, 40})), std::nullopt);
}

TEST(RaView, ASparseNewerFileHidesWhatItSpans) {
  MemoryDisk disk;
  Segments segments;
  add_segment(disk, segments, {1, 2, 3, 4, 5, 6, 7, 8}, 1);
  add_segment(disk, segments, {3, 7}, 1);
  EXPECT_EQ(first_hidden_from_ra(segments, IndexSet::of({1, 2, 3})), std::nullopt);
  EXPECT_EQ(first_hidden_from_ra(segments, IndexSet::of({3, 5})), Index{5});
  EXPECT_EQ(first_hidden_from_ra(segments, IndexSet::of({8})), Index{8});
}

TEST(RaView, NothingIsHiddenWithoutFiles) {
  EXPECT_EQ(first_hidden_from_ra({}, IndexSet::of({1})), std::nullopt);
}

}  // namespace
}  // namespace rakv::raftlog
