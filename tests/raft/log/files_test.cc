// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "cnode/etf/text.h"
#include "raft/log/directory/dets.h"
#include "raft/log/directory/metadata.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/memory_table.h"
#include "raft/log/segments/segment.h"
#include "raft/log/snapshots/index_set.h"
#include "raft/log/snapshots/snapshot_file.h"
#include "tests/raft/log/store.h"
#include "tests/support/memory_disk.h"

namespace rakv::raftlog {
namespace {

using ::testing::ElementsAre;
using testing::entries;
using testing::entry;
using ::testing::HasSubstr;

std::string term_of(const std::string& text) { return "\x83" + etf::parse_text(text).value(); }

// ---- DETS

std::vector<std::string> rows(int count) {
  std::vector<std::string> made;
  made.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    made.push_back(term_of("{<<\"UID" + std::to_string(i) + "\">>, " + std::to_string(i) + "}"));
  }
  return made;
}

TEST(Dets, RoundTrip) {
  for (const int count : {0, 1, 2, 255, 3000}) {
    const auto bytes = write_dets(rows(count));
    ASSERT_TRUE(bytes);
    auto content = read_dets("FILE", *bytes);
    ASSERT_TRUE(content) << content.error().message;
    EXPECT_TRUE(content->clean);
    EXPECT_THAT(content->objects, ::testing::UnorderedElementsAreArray(rows(count)));
  }
  EXPECT_EQ(write_dets({})->size(), 5464U);  // as an empty file of Erlang
}

TEST(Dets, ADirtyFileIsScanned) {
  auto bytes = write_dets(rows(100)).value();
  bytes[11] = 0;  // not closed properly
  auto content = read_dets("FILE", bytes);
  ASSERT_TRUE(content);
  EXPECT_FALSE(content->clean);
  EXPECT_EQ(content->objects.size(), 100U);
  // Cut off at any place, what is whole is found.
  for (std::size_t size = 5432; size < bytes.size(); size += 77) {
    content = read_dets("FILE", bytes.substr(0, size));
    ASSERT_TRUE(content);
    EXPECT_LE(content->objects.size(), 100U);
  }
}

TEST(Dets, BadFilesAreErrorsInWords) {
  const auto good = write_dets(rows(3)).value();
  EXPECT_THAT(read_dets("FILE", "").error().message,
              HasSubstr("FILE: is not a DETS file (0 bytes)"));
  auto bytes = good;
  bytes[7] ^= 1;
  EXPECT_EQ(read_dets("FILE", bytes).error().code, ErrorCode::malformed);
  bytes = good;
  bytes[19] = 8;
  EXPECT_THAT(read_dets("FILE", bytes).error().message, HasSubstr("version 9"));
  bytes = good;
  bytes[60] ^= 1;
  EXPECT_THAT(read_dets("FILE", bytes).error().message, HasSubstr("checksum of its header"));
  bytes = good;
  bytes[5432 + 7] ^= 1;  // the mark of the first bucket
  EXPECT_THAT(read_dets("FILE", bytes).error().message, HasSubstr("points to no intact row"));
}

TEST(Dets, NoByteOfAFileMakesTheReaderFail) {
  const auto good = write_dets(rows(3)).value();
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0xff);
    static_cast<void>(
        read_dets("FILE", bytes));  // under the sanitizers: reads nothing out of bounds
  }
}

TEST(Dets, RowsMustBeTuplesWithDifferentKeys) {
  EXPECT_THAT(write_dets({term_of("[a]")}).error().message, HasSubstr("not a tuple"));
  EXPECT_THAT(write_dets({term_of("{a,1}"), term_of("{a,2}")}).error().message,
              HasSubstr("one key"));
}

TEST(Metadata, OfADirtyFileTheNewestRowCounts) {
  MemoryDisk disk;
  const auto row = [](const char* text) { return term_of(text); };
  auto bytes =
      write_dets({row("{<<\"A\">>,3,{kv,a@host},9}"), row("{<<\"B\">>,2,undefined,1}")}).value();
  const auto old = write_dets({row("{<<\"A\">>,2,{kv,b@host},8}")}).value();
  // A moved bucket: the old place still has its mark.
  bytes.resize((bytes.size() + 7) / 16 * 16 + 8);
  bytes += old.substr(5432, 64);
  bytes[11] = 0;
  ASSERT_TRUE(replace_file(disk, "/meta.dets", bytes));
  EXPECT_EQ(
      *read_meta(disk, "/meta.dets"),
      (std::vector<MetaRow>{{"A", 3, ServerId{"kv", "a@host"}, 9}, {"B", 2, std::nullopt, 1}}));
}

TEST(Metadata, StrangeRowsAreErrors) {
  MemoryDisk disk;
  ASSERT_TRUE(
      replace_file(disk, "/meta.dets", *write_dets({term_of("{<<\"A\">>,x,undefined,1}")})));
  EXPECT_THAT(read_meta(disk, "/meta.dets").error().message, HasSubstr("{UId, Term, VotedFor"));
  ASSERT_TRUE(replace_file(disk, "/names.dets", *write_dets({term_of("{kv,\"text\"}")})));
  EXPECT_THAT(read_names(disk, "/names.dets").error().message, HasSubstr("{Name, UId}"));
  EXPECT_TRUE(read_names(disk, "/missing.dets")->empty());
}

// ---- config

TEST(ServerConfig, ReadsWhatRaWrites) {
  const auto config = parse_server_config(
      "#{id => {kv,'a@b.c'},\n  uid => <<\"KVABCDEF\">>,cluster_name => kv,machine => "
      "{module,ra_kv,#{}},"
      "initial_members => [{kv,'a@b.c'},{kv,d@e}], log_init_args => #{uid => <<\"KVABCDEF\">>},"
      "tick_timeout => 1000}.\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->id, (ServerId{"kv", "a@b.c"}));
  EXPECT_EQ(config->uid, "KVABCDEF");
  EXPECT_EQ(config->initial_members.size(), 2U);
  EXPECT_EQ(config->machine, term_of("{module,ra_kv,#{}}"));
  ASSERT_EQ(config->others.size(), 1U);
  EXPECT_EQ(config->others[0].first, "tick_timeout");
  const auto again = parse_server_config(print_server_config(*config).value());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->log_init_args, config->log_init_args);
  EXPECT_EQ(again->others, config->others);
  EXPECT_EQ(again->initial_members, config->initial_members);
}

TEST(ServerConfig, BadTextNamesTheKey) {
  const std::string rest =
      "cluster_name => kv, machine => {module,ra_kv,#{}}, log_init_args => #{}, ";
  const auto message = [](const std::string& text) {
    return parse_server_config(text).error().message;
  };
  EXPECT_THAT(message("#{id => "), HasSubstr("server config: "));
  EXPECT_THAT(message("[]."), HasSubstr("is not a map"));
  EXPECT_THAT(message("#{" + rest + "id => {kv,a@b}, initial_members => []}."),
              HasSubstr("`uid` is missing"));
  EXPECT_THAT(message("#{" + rest + "id => kv}."), HasSubstr("`id` is not {Name, Node}"));
  EXPECT_THAT(message("#{" + rest + "uid => <<\"a/b\">>}."), HasSubstr("`uid` is not a UId"));
  EXPECT_THAT(message("#{" + rest + "uid => <<\"_CPPBATCH\">>}."), HasSubstr("`uid` is not a UId"));
  EXPECT_THAT(message("#{initial_members => [{kv}]}."), HasSubstr("`initial_members`"));
  EXPECT_THAT(message("#{initial_members => [{kv,a@b}|x]}."), HasSubstr("`initial_members`"));
  EXPECT_THAT(message("#{machine => none}."), HasSubstr("`machine`"));
  EXPECT_THAT(message("#{log_init_args => []}."), HasSubstr("`log_init_args`"));
  EXPECT_THAT(message("#{1 => []}."), HasSubstr("no atom"));
}

TEST(ServerConfig, UidsAreMadeAsRaMakesThem) {
  const std::string uid = new_uid("my cluster name", Randomness::system());
  EXPECT_EQ(uid.size(), 18U);
  EXPECT_EQ(uid.substr(0, 6), "MYCLUS");
  EXPECT_TRUE(valid_uid(uid));
  EXPECT_EQ(new_uid("kv", Randomness::system()).size(), 14U);
  EXPECT_NE(new_uid("kv", Randomness::system()), new_uid("kv", Randomness::system()));
  EXPECT_FALSE(valid_uid(""));
  EXPECT_FALSE(valid_uid(".."));
}

// ---- ra_seq and snapshots

TEST(IndexSet, IsEncodedAsRaSeq) {
  EXPECT_EQ(IndexSet::of({}).encode(), term_of("[]"));
  EXPECT_EQ(IndexSet::of({101, 3, 4, 64, 63, 62, 6}).encode(), term_of("[101,{62,64},6,4,3]"));
  std::vector<Index> many;
  for (Index i = 62; i <= 101; ++i) many.push_back(i);
  EXPECT_EQ(IndexSet::of(many).encode(),
            std::string("\x83\x6c\0\0\0\1\x68\2\x61\x3e\x61\x65\x6a", 13));
}

TEST(IndexSet, ReadsAllForms) {
  EXPECT_EQ(*IndexSet::decode(term_of("[7,5,4]")), IndexSet::of({4, 5, 7}));  // as STRING_EXT
  EXPECT_EQ(*IndexSet::decode(term_of("[1000,{62,64},7]")), IndexSet::of({7, 62, 63, 64, 1000}));
  EXPECT_EQ(*IndexSet::decode(term_of("[]")), IndexSet{});
  for (const char* bad : {"[1,2]", "[5,5]", "[{7,3}]", "[{1,5},4]", "[a]", "{1,2}", "[1000,3|2]"}) {
    const auto set = IndexSet::decode(term_of(bad));
    ASSERT_FALSE(set) << bad;
    EXPECT_THAT(set.error().message, HasSubstr("ra_seq"));
  }
  EXPECT_FALSE(IndexSet::decode(""));
}

TEST(IndexSet, IsUnitedWithAnother) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 2000; ++i) {
    std::vector<Index> one(random() % 12);
    std::vector<Index> other(random() % 12);
    for (auto& index : one) index = random() % 40;
    for (auto& index : other) index = random() % 40;
    IndexSet set = IndexSet::of(one);
    set.unite(IndexSet::of(other));
    one.insert(one.end(), other.begin(), other.end());
    EXPECT_EQ(set, IndexSet::of(one)) << i;
  }
}

TEST(IndexSet, RandomSetsRoundTrip) {
  std::mt19937_64 random(testing::seed_of_test(5));
  for (int round = 0; round < 200; ++round) {
    std::vector<Index> chosen;
    for (Index i = 1; i < 400; ++i) {
      if (random() % 3 != 0) chosen.push_back(i);
    }
    const IndexSet set = IndexSet::of(chosen);
    EXPECT_EQ(set.indexes(), chosen);
    EXPECT_EQ(set.size(), chosen.size());
    EXPECT_EQ(*IndexSet::decode(set.encode()), set);
    for (Index i = 0; i < 401; ++i) {
      EXPECT_EQ(set.contains(i), std::binary_search(chosen.begin(), chosen.end(), i));
    }
  }
}

TEST(SnapshotFile, RoundTripAndHeader) {
  const auto meta = testing::snapshot_meta(332, 2);
  const std::string bytes = encode_snapshot_file(meta, term_of("{ra_kv,#{}}"));
  EXPECT_EQ(bytes.substr(0, 5), std::string("RASN\x01", 5));
  const auto snapshot = decode_snapshot_file("FILE", bytes);
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  EXPECT_EQ(snapshot->meta.index, 332U);
  EXPECT_EQ(snapshot->meta.term, 2U);
  EXPECT_EQ(snapshot->meta.cluster, meta.cluster);
  EXPECT_EQ(snapshot->state.view(), term_of("{ra_kv,#{}}"));
  EXPECT_EQ(snapshot_directory_name({332, 2}), "0000000000000002_000000000000014C");
  EXPECT_EQ(position_of_snapshot_name("0000000000000002_000000000000014C"), (Position{332, 2}));
  EXPECT_FALSE(position_of_snapshot_name("0000000000000002_000000000000014C.bad"));
}

TEST(SnapshotFile, EveryFlippedByteAndEveryCutIsDetected) {
  const std::string bytes = encode_snapshot_file(testing::snapshot_meta(332, 2), term_of("[a]"));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    EXPECT_FALSE(decode_snapshot_file("FILE", bad)) << at;
    EXPECT_FALSE(decode_snapshot_file("FILE", bytes.substr(0, at))) << at;
  }
  const std::string indexes = encode_indexes_file(IndexSet::of({3, 9}));
  for (std::size_t at = 0; at < indexes.size(); ++at) {
    std::string bad = indexes;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    EXPECT_FALSE(decode_indexes_file("FILE", bad)) << at;
    EXPECT_FALSE(decode_indexes_file("FILE", indexes.substr(0, at))) << at;
  }
  EXPECT_EQ(*decode_indexes_file("FILE", term_of("[9,3]")), IndexSet::of({3, 9}));  // old ra
}

TEST(SnapshotFile, MetaMustBeWhole) {
  EXPECT_THAT(decode_snapshot_meta(term_of("#{index => 3}")).error().message,
              HasSubstr("snapshot meta"));
  EXPECT_TRUE(decode_snapshot_meta(
      term_of("#{index => 3, term => 1, cluster => #{}, machine_version => 0, later => x}")));
}

TEST(SnapshotFile, TheNewestCompleteOneIsFoundAndOthersGo) {
  MemoryDisk disk;
  ASSERT_TRUE(disk.make_directory("/s"));
  Snapshot snapshot;
  snapshot.state = testing::payload("state");
  for (const Index index : {10, 20, 30}) {
    snapshot.meta = testing::snapshot_meta(index, 1);
    snapshot.live_indexes = IndexSet::of({index - 1});
    ASSERT_TRUE(write_snapshot(disk, "/s", snapshot));
  }
  ASSERT_TRUE(
      disk.unlink("/s/" + snapshot_directory_name({30, 1}) + "/snapshot.dat"));  // unfinished
  const auto found = find_snapshot(disk, "/s");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->snapshot->meta.index, 20U);
  EXPECT_EQ(found->snapshot->live_indexes, IndexSet::of({19}));
  EXPECT_TRUE(found->damaged.empty());
  EXPECT_EQ(disk.list("/s")->size(), 1U);
  EXPECT_FALSE(find_snapshot(disk, "/none")->snapshot);
}

// ---- segments

TEST(SegmentFile, RoundTripAndLayout) {
  MemoryDisk disk;
  SegmentOptions options;
  options.max_entries = 64;
  ASSERT_TRUE(Segment::create(disk, "/1.segment", 1, entries(5, 9, 3), options));
  const std::string bytes = *read_file(disk, "/1.segment");
  EXPECT_EQ(bytes.substr(0, 8), std::string("RASG\0\2\0\x40", 8));
  const auto segment = Segment::open(disk, "/1.segment", 1);
  ASSERT_TRUE(segment);
  ASSERT_EQ((*segment)->slots().size(), 5U);
  EXPECT_EQ((*segment)->slots()[0].offset, 0x808U);
  EXPECT_EQ((*segment)->find(4), nullptr);
  const auto read = (*segment)->read(*(*segment)->find(7));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->payload.view(), entry(7, 3).payload.view());
  EXPECT_EQ(read->term, 3U);
}

TEST(SegmentFile, EveryFlippedByteOfAnEntryIsDetected) {
  MemoryDisk disk;
  SegmentOptions options;
  options.max_entries = 4;
  ASSERT_TRUE(Segment::create(disk, "/1.segment", 1, entries(1, 2, 1), options));
  const std::string bytes = *read_file(disk, "/1.segment");
  constexpr std::size_t kSealSize = 8;
  for (std::size_t at = 8 + 4 * 32; at < bytes.size() - kSealSize; ++at) {
    std::string bad = bytes;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    ASSERT_TRUE(replace_file(disk, "/2.segment", bad));
    const auto segment = Segment::open(disk, "/2.segment", 2);
    int corrupt = 0;
    for (const Index index : {1, 2}) {
      const auto read = (*segment)->read(*(*segment)->find(index));
      if (read) continue;
      ++corrupt;
      EXPECT_EQ(read.error().code, ErrorCode::corrupt);
      EXPECT_THAT(read.error().message, HasSubstr("/2.segment"));
    }
    EXPECT_EQ(corrupt, 1) << at;
  }
  ASSERT_TRUE(replace_file(disk, "/2.segment", bytes.substr(0, bytes.size() - kSealSize - 1)));
  const auto cut = Segment::open(disk, "/2.segment", 2);
  EXPECT_THAT((*cut)->read(*(*cut)->find(2)).error().message, HasSubstr("beyond the end"));
}

TEST(SegmentFile, EveryFlippedByteOfTheIndexIsDetected) {
  MemoryDisk disk;
  SegmentOptions options;
  options.max_entries = 4;
  ASSERT_TRUE(Segment::create(disk, "/1.segment", 1, entries(1, 2, 1), options));
  const std::string bytes = *read_file(disk, "/1.segment");
  for (std::size_t at = 0; at < 8 + 4 * 32; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = bytes;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      ASSERT_TRUE(replace_file(disk, "/2.segment", bad));
      EXPECT_FALSE(Segment::open(disk, "/2.segment", 2)) << at;
    }
  }
}

TEST(SegmentFile, ReadsVersion1AndOverwritesOfRa) {
  // Index records 1, 2, 3, then 2 of a later term: 3 is void.
  std::string bytes("RASG\0\1\0\4", 8);
  const auto u32 = [&](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
  };
  const std::uint32_t data_at = 8 + 4 * 28;
  for (const auto& [index, term] :
       {std::pair(1, 1), std::pair(2, 1), std::pair(3, 1), std::pair(2, 2)}) {
    u32(0), u32(static_cast<std::uint32_t>(index));
    u32(0), u32(static_cast<std::uint32_t>(term));
    u32(data_at), u32(3), u32(0);
  }
  bytes += term_of("[]").append("x");
  MemoryDisk disk;
  ASSERT_TRUE(replace_file(disk, "/1.segment", bytes));
  const auto segment = Segment::open(disk, "/1.segment", 1);
  ASSERT_TRUE(segment);
  ASSERT_EQ((*segment)->slots().size(), 2U);
  EXPECT_EQ((*segment)->slots()[1].term, 2U);
  EXPECT_TRUE((*segment)->read((*segment)->slots()[1]));
}

TEST(SegmentFile, RefusesWhatIsNone) {
  MemoryDisk disk;
  ASSERT_TRUE(replace_file(disk, "/1.segment", "RASX\0\2\0\4"));
  EXPECT_THAT(Segment::open(disk, "/1.segment", 1).error().message, HasSubstr("is not a segment"));
  ASSERT_TRUE(replace_file(disk, "/1.segment", std::string("RASG\0\3\0\4", 8)));
  EXPECT_THAT(Segment::open(disk, "/1.segment", 1).error().message, HasSubstr("version 3"));
}

// ---- memory

TEST(MemoryTable, AppendTruncateDrop) {
  MemoryTable table;
  for (const auto& one : entries(5, 14, 1)) table.append(one);
  EXPECT_EQ(table.tail_range(), (IndexRange{5, 14}));
  EXPECT_EQ(table.find(4), nullptr);
  EXPECT_EQ(table.find(9)->index, 9U);
  EXPECT_EQ(table.find(15), nullptr);
  table.truncate_after(12);
  EXPECT_EQ(table.tail_range(), (IndexRange{5, 12}));
  table.drop_prefix(8, [](Index index) { return index == 6; });
  EXPECT_EQ(table.tail_range(), (IndexRange{9, 12}));
  EXPECT_NE(table.find(6), nullptr);
  EXPECT_EQ(table.find(7), nullptr);
  std::vector<Index> seen;
  table.for_each({6, 10}, [&](const StoredEntry& one) {
    seen.push_back(one.index);
    return true;
  });
  EXPECT_THAT(seen, ElementsAre(6, 9, 10));
  EXPECT_FALSE(table.drop_flushed(9, 2));  // another entry by now
  EXPECT_TRUE(table.drop_flushed(9, 1));
  EXPECT_FALSE(table.drop_flushed(11, 1));  // not at the front
  EXPECT_TRUE(table.drop_flushed(6, 1));
  std::uint64_t bytes = 0;
  table.for_each({0, 99}, [&](const StoredEntry& one) {
    bytes += one.payload.size();
    return true;
  });
  EXPECT_EQ(table.bytes(), bytes);
  EXPECT_EQ(table.size(), 3U);
  table.clear();
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.bytes(), 0U);
}

// ---- disks

TEST(MemoryDisk, KnowsWhatIsDurable) {
  MemoryDisk disk;
  ASSERT_TRUE(disk.make_directory("/d"));
  ASSERT_TRUE(disk.sync_directory("/"));
  {
    auto file = disk.create("/d/a").value();
    ASSERT_TRUE(file->pwrite(0, "one"));
    ASSERT_TRUE(file->fdatasync());
    ASSERT_TRUE(disk.sync_directory("/d"));
    ASSERT_TRUE(file->pwrite(3, "two"));
    ASSERT_TRUE(disk.create("/d/b"));
  }
  std::map<std::string, std::string> durable;
  disk.visit_durable(
      [&](const std::string& path, const std::string& bytes) { durable[path] = bytes; });
  EXPECT_EQ(durable, (std::map<std::string, std::string>{{"/d/a", "one"}}));
  disk.crash(CrashMode::lose_unsynced);
  EXPECT_EQ(*read_file(disk, "/d/a"), "one");
  EXPECT_FALSE(*disk.exists("/d/b"));
  ASSERT_TRUE(disk.rename("/d/a", "/d/c"));
  disk.crash(CrashMode::lose_unsynced);
  EXPECT_TRUE(*disk.exists("/d/a"));
}

TEST(FaultyDisk, StopsAtTheOperationAndStaysOff) {
  MemoryDisk memory;
  FaultyDisk disk(memory);
  disk.stop_at(3);
  EXPECT_TRUE(disk.make_directory("/d"));
  auto file = disk.create("/d/a");
  ASSERT_TRUE(file);
  EXPECT_FALSE((*file)->pwrite(0, "1234"));  // half of it is there
  EXPECT_EQ(*read_file(memory, "/d/a"), "12");
  EXPECT_FALSE(disk.list("/d"));
  EXPECT_FALSE((*file)->fdatasync());
}

TEST(PosixDisk, DoesWhatItSays) {
  const char* base = std::getenv("TMPDIR");
  std::string directory = std::string(base != nullptr ? base : "/tmp") + "/rakv_log_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const auto disk = make_posix_disk();
  {
    auto file = disk->create(directory + "/a").value();
    std::vector<std::string> parts;
    parts.reserve(3000);
    for (int i = 0; i < 3000; ++i)
      parts.push_back(std::string(static_cast<std::size_t>(i % 7), 'x') + ",");
    std::vector<IoSlice> slices;
    std::string expected = "..";
    for (const auto& part : parts) {
      slices.push_back({part.data(), part.size()});
      expected += part;
    }
    ASSERT_TRUE(file->pwrite(0, ".."));
    ASSERT_TRUE(file->reserve(0, 1 << 20));
    ASSERT_TRUE(file->pwritev(2, slices));
    ASSERT_TRUE(file->fdatasync());
    // What was reserved reads as zeros, where the file system can do that.
    const std::string bytes = *read_file(*disk, directory + "/a");
    EXPECT_EQ(bytes.substr(0, expected.size()), expected);
    EXPECT_EQ(bytes.find_first_not_of('\0', expected.size()), std::string::npos);
    EXPECT_TRUE(bytes.size() == expected.size() || bytes.size() == 1 << 20) << bytes.size();
    EXPECT_EQ(read_file(*disk, directory + "/a", 10).error().code, ErrorCode::limit_exceeded);
  }
  EXPECT_EQ(disk->open_read(directory + "/none").error().code, ErrorCode::not_found);
  EXPECT_THAT(disk->open_read(directory + "/none").error().message, HasSubstr("No such file"));
  EXPECT_EQ(disk->make_directory(directory).error().code, ErrorCode::already_exists);
  EXPECT_EQ(disk->list(directory + "/none").error().code, ErrorCode::not_found);
  ASSERT_TRUE(disk->make_directory(directory + "/sub"));
  ASSERT_EQ(::symlink("a", (directory + "/link").c_str()), 0);
  const auto listed = disk->list(directory).value();
  ASSERT_EQ(listed.size(), 3U);
  EXPECT_EQ(listed[1].kind, DirectoryEntry::Kind::other);
  EXPECT_EQ(listed[2].kind, DirectoryEntry::Kind::directory);
  EXPECT_TRUE(disk->sync_directory(directory));
  {
    const auto lock = disk->lock(directory + "/lock");
    ASSERT_TRUE(lock);
    EXPECT_EQ(disk->lock(directory + "/lock").error().code, ErrorCode::unavailable);
  }
  EXPECT_TRUE(disk->lock(directory + "/lock"));
  // A full disk has an error code of its own.
  auto full = disk->open_write("/dev/full");
  ASSERT_TRUE(full);
  EXPECT_EQ((*full)->pwrite(0, "x").error().code, ErrorCode::no_space);
  EXPECT_TRUE(remove_tree(*disk, directory));
  EXPECT_FALSE(*disk->exists(directory));
}

}  // namespace
}  // namespace rakv::raftlog
