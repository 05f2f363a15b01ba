// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "raft/log/base/numbered_name.h"
#include "raft/log/segments/segment.h"
#include "tests/raft/log/store.h"

// What a BEAM that was stopped in the middle of a major compaction leaves (ra_log_segments.erl
// major_compaction, recover_compaction): every state has all live entries, whichever of ra's own
// holes it is (docs/protocol/disk.md 7.1).

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using testing::expected_text;
using testing::Store;
using testing::text_at;

constexpr Index kLeftSnapshot = 50;

/// Segments 1 to 4 with entries 1 to 64, a snapshot at 50 with live entries 3, 20, 40 and 49.
class BeamLeftovers : public ::testing::Test {
 protected:
  BeamLeftovers() : disk_(make_posix_disk()) {
    const char* base = std::getenv("TMPDIR");
    directory_ = std::string(base != nullptr ? base : "/tmp") + "/rakv_leftovers_XXXXXX";
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    server_ = directory_ + "/KVAAAA";
    Store store(*disk_, testing::small_options(), directory_);
    MemberLog* log = store.add("kv", "KVAAAA");
    store.vote("KVAAAA", 1, std::nullopt);
    store.append(*log, entries(1, 64, 1));
    store.roll_over();
    EXPECT_TRUE(store.snapshot(*log, kLeftSnapshot, 1, live_));
    EXPECT_TRUE(store.system->stop());
    for (std::uint64_t number = 1; number <= 4; ++number) {
      EXPECT_TRUE(disk_->exists(segment(number)).value()) << number;
    }
  }
  ~BeamLeftovers() override { EXPECT_TRUE(remove_tree(*disk_, directory_)); }

  std::string segment(std::uint64_t number) const {
    return server_ + "/" + numbered_name(number, ".segment");
  }

  void write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(replace_file(*disk_, server_ + "/" + name, bytes));
  }

  /// The group's marker: its content does not matter to us.
  void mark() { write("0000000000000001.compaction_group", "\x83\x6a"); }

  /// Step 4 of ra's order: the live entries of segments 1 to 3 are in the first now.
  void compact_leader() {
    const auto compacted = {entry(3, 1), entry(20, 1), entry(40, 1)};
    ASSERT_TRUE(Segment::create(*disk_, segment(1), 1, compacted, {}));
  }

  /// Step 5: a member becomes an absolute link to the leader.
  void link(std::uint64_t number) {
    ASSERT_TRUE(disk_->unlink(segment(number)));
    ASSERT_EQ(::symlink(segment(1).c_str(), segment(number).c_str()), 0);
  }

  void expect_all() {
    for (int start = 1; start <= 2; ++start) {  // what the first start has done is sound, too
      Store store(*disk_, testing::small_options(), directory_);
      ASSERT_TRUE(store.system) << store.error->message;
      store.settle();
      const MemberLog* log = store.system->find("KVAAAA");
      ASSERT_NE(log, nullptr);
      EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
      EXPECT_EQ(log->last_written(), (Position{64, 1}));
      for (const Index i : live_.indexes()) EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
      for (Index i = kLeftSnapshot + 1; i <= 64; ++i)
        EXPECT_EQ(text_at(*log, i), expected_text(i, 1));
      for (const auto& file : disk_->list(server_).value()) {
        EXPECT_NE(file.kind, DirectoryEntry::Kind::other) << file.name;
        for (const char* end : {".compacting", ".compaction_group", ".link"}) {
          EXPECT_FALSE(file.name.ends_with(end)) << file.name;
        }
      }
    }
  }

  std::unique_ptr<Disk> disk_;
  std::string directory_;
  std::string server_;
  const IndexSet live_ = IndexSet::of({3, 20, 40, 49});
};

/// ra takes this for "renamed" and makes links of the other members: its hole H2.
TEST_F(BeamLeftovers, MarkerAlone) {
  mark();
  expect_all();
}

TEST_F(BeamLeftovers, UnfinishedCompactingFile) {
  mark();
  write("0000000000000001.compacting", std::string("RASG\0\2\0\x03", 8));
  expect_all();
}

TEST_F(BeamLeftovers, CompactedLeaderBesideTheOriginals) {
  mark();
  compact_leader();
  expect_all();
}

TEST_F(BeamLeftovers, OneOfTwoLinksMade) {
  mark();
  compact_leader();
  link(2);
  ASSERT_EQ(::symlink(segment(1).c_str(), (server_ + "/0000000000000003.link").c_str()), 0);
  expect_all();
}

TEST_F(BeamLeftovers, AllLinksMade) {
  mark();
  compact_leader();
  link(2);
  link(3);
  expect_all();
}

/// As after the directory was moved: the links lead nowhere.
TEST_F(BeamLeftovers, LinksThatDangle) {
  compact_leader();
  link(2);
  ASSERT_TRUE(disk_->unlink(segment(3)));
  ASSERT_EQ(::symlink("/nowhere/0000000000000001.segment", segment(3).c_str()), 0);
  expect_all();
}

/// A file without a live entry that was to be removed is there again: its range hides the compacted
/// leader's entries from ra (its hole H4).
TEST_F(BeamLeftovers, ADeadMemberBehindACompactedLeader) {
  compact_leader();
  ASSERT_TRUE(Segment::create(*disk_, segment(2), 2, entries(5, 16, 1), {}));
  ASSERT_TRUE(disk_->unlink(segment(3)));
  expect_all();
}

TEST_F(BeamLeftovers, ASegmentOfZeroBytes) {
  ASSERT_TRUE(replace_file(*disk_, segment(5), ""));
  expect_all();
  EXPECT_FALSE(disk_->exists(segment(5)).value());
}

}  // namespace
}  // namespace rakv::raftlog
