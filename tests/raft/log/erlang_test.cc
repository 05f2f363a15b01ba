// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "raft/log/directory/dets.h"
#include "raft/log/directory/metadata.h"
#include "raft/log/directory/server_config.h"
#include "raft/log/offline/release.h"
#include "raft/log/segments/segment.h"
#include "raft/log/snapshots/snapshot_file.h"
#include "raft/log/system.h"
#include "raft/log/wal/wal_recovery.h"
#include "tests/raft/log/store.h"

// Files against a real Erlang: DETS in the `erl` of the PATH (OTP 25 and later) and in OTP 29,
// everything of ra's in OTP 29.

namespace rakv::raftlog {
namespace {

using testing::entries;
using testing::entry;
using ::testing::HasSubstr;
using testing::IgnoredWalEvents;
using testing::Store;

/// Runs peer.escript; the last line that it prints.
std::string ask(const std::string& escript, const std::vector<std::string>& arguments) {
  std::string command = "'" + escript + "' '" + RAKV_SOURCE_DIR + "/tests/raft/log/peer.escript'";
  for (const auto& argument : arguments) command += " '" + argument + "'";
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "can't run " + command;
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return "failed: " + command + "\n" + output;
  while (output.ends_with('\n')) output.pop_back();
  const auto line = output.rfind('\n');
  return line == std::string::npos ? output : output.substr(line + 1);
}

/// escript of the OTP in the PATH.
std::string any_escript() { return "escript"; }

/// escript of an OTP 29 with ra: beside the erl that RAKV_ERL29 names, or the one that
/// scripts/setup.sh has put into .deps.
std::string otp29_escript() {
  const char* given = std::getenv("RAKV_ERL29");
  const std::string erl =
      given != nullptr ? given : std::string(RAKV_SOURCE_DIR) + "/.deps/otp29/bin/erl";
  std::string escript = erl.substr(0, erl.rfind('/') + 1) + "escript";
  struct stat status {};
  if (::stat(escript.c_str(), &status) != 0) {
    ADD_FAILURE() << escript
                  << " is not there. Set RAKV_ERL29 to the erl of an OTP 29 that has ra, "
                  << "or run scripts/setup.sh, which puts one into .deps/otp29";
  }
  return escript;
}

/// A directory for one test, with real files.
class Erlang : public ::testing::Test {
 protected:
  Erlang() : disk_(make_posix_disk()) {
    const char* base = std::getenv("TMPDIR");
    directory_ = std::string(base != nullptr ? base : "/tmp") + "/rakv_log_XXXXXX";
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  ~Erlang() override { EXPECT_TRUE(remove_tree(*disk_, directory_)); }

  std::string file(const std::string& name) const { return directory_ + "/" + name; }

  std::unique_ptr<Disk> disk_;
  std::string directory_;
};

std::vector<MetaRow> meta_rows(int count) {
  std::vector<MetaRow> rows;
  for (int i = 1; i <= count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    rows.push_back({"UID" + std::to_string(i), number, ServerId{"kv", "a@host"}, number * 7});
  }
  return rows;
}

void expect_meta_rows(const std::vector<MetaRow>& got, int count) {
  auto sorted = meta_rows(count);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.uid < b.uid; });
  EXPECT_EQ(got, sorted);
}

TEST_F(Erlang, OpensOurDetsFilesWithoutRepair) {
  for (const auto& escript : {any_escript(), otp29_escript()}) {
    for (const int count : {0, 3, 1500}) {
      ASSERT_TRUE(write_meta(*disk_, file("meta.dets"), meta_rows(count)));
      const std::string answer = ask(escript, {"dets_rows", file("meta.dets")});
      EXPECT_THAT(answer, ::testing::StartsWith("{ok," + std::to_string(count) + ",[")) << escript;
      if (count > 0) {
        EXPECT_THAT(answer, HasSubstr("{<<\"UID1\">>,1,{kv,a@host},7}"));
      }
    }
  }
}

TEST_F(Erlang, OurNamesAreAtomsThatDetsFindsByKey) {
  for (const auto& escript : {any_escript(), otp29_escript()}) {
    ASSERT_TRUE(write_names(*disk_, file("names.dets"), {{"kv", "KVAAAA"}, {"k v2", "KVBBBB"}}));
    EXPECT_EQ(ask(escript, {"dets_rows", file("names.dets")}),
              "{ok,2,[{'k v2',<<\"KVBBBB\">>},{kv,<<\"KVAAAA\">>}]}");
  }
}

TEST_F(Erlang, DetsGoesOnWorkingOnOurFiles) {
  for (const auto& escript : {any_escript(), otp29_escript()}) {
    for (const int count : {0, 300}) {
      ASSERT_TRUE(write_meta(*disk_, file("meta.dets"), meta_rows(count)));
      EXPECT_EQ(ask(escript, {"dets_churn", file("meta.dets")}),
                "{ok," + std::to_string(count) + "," + std::to_string(count + 100) + "}");
      // And we read what it made of it.
      const auto bytes = read_file(*disk_, file("meta.dets"));
      const auto content = read_dets("meta.dets", *bytes);
      ASSERT_TRUE(content) << content.error().message;
      EXPECT_TRUE(content->clean);
      EXPECT_EQ(content->objects.size(), static_cast<std::size_t>(count + 100));
    }
  }
}

TEST_F(Erlang, WeReadDetsFilesOfErlang) {
  for (const auto& escript : {any_escript(), otp29_escript()}) {
    for (const std::string how : {"clean", "dirty"}) {
      for (const int count : {3, 1000}) {
        static_cast<void>(disk_->unlink(file("meta.dets")));
        ASSERT_EQ(ask(escript, {"dets_make", file("meta.dets"), std::to_string(count), how}), "ok");
        const auto rows = read_meta(*disk_, file("meta.dets"));
        ASSERT_TRUE(rows) << how << " " << rows.error().message;
        expect_meta_rows(*rows, count);
        const auto content = read_dets("meta.dets", *read_file(*disk_, file("meta.dets")));
        EXPECT_EQ(content->clean, how == "clean");
      }
    }
    static_cast<void>(disk_->unlink(file("names.dets")));
    ASSERT_EQ(ask(escript, {"dets_names", file("names.dets")}), "ok");
    EXPECT_EQ(*read_names(*disk_, file("names.dets")),
              (std::vector<NameRow>{{"k v2", "KVBBBB"}, {"kv", "KVAAAA"}}));
    static_cast<void>(disk_->unlink(file("undefined.dets")));
    ASSERT_EQ(ask(escript, {"dets_undefined", file("undefined.dets")}), "ok");
    EXPECT_EQ(*read_meta(*disk_, file("undefined.dets")),
              (std::vector<MetaRow>{{"KVAAAA", 0, std::nullopt, 0}}));
  }
}

TEST_F(Erlang, ReadsOurConfig) {
  auto config = testing::config("kv", "KVAAAA");
  config.initial_members.emplace_back("kv", "b-1.x@other.host");
  config.others.emplace_back("tick_timeout", std::string("\x83\x62\0\0\x03\xe8", 6));
  ASSERT_TRUE(write_server_config(*disk_, directory_, config));
  EXPECT_EQ(ask(otp29_escript(), {"consult", file("config")}),
            "{ok,[{cluster_name,kv},{id,{kv,a@host}},"
            "{initial_members,[{kv,a@host},{kv,'b-1.x@other.host'}]},{log_init_args,#{}},"
            "{machine,{module,ra_kv,#{}}},{tick_timeout,1000},{uid,<<\"KVAAAA\">>}]}");
}

TEST_F(Erlang, RaReadsOurWal) {
  WalQueue queue;
  IgnoredWalEvents sink;
  auto writer = WalWriter::open(*disk_, directory_, 1, {}, queue, sink).value();
  const WriterId a = queue.add_writer("KVAAAA");
  const WriterId b = queue.add_writer("KVBBBB");
  queue.append(a, 1, entries(1, 2, 1));
  queue.append(b, 1, entry(9, 4, std::string(5000, 'x')));
  writer->run_one_batch();
  queue.append(a, 3, entry(3, 2));
  ASSERT_TRUE(writer->close());
  const std::string answer = ask(otp29_escript(), {"wal2list", file("0000000000000001.wal")});
  EXPECT_THAT(answer, ::testing::StartsWith("{ok,[{1,1,<<\"value 1/1\">>},{2,1,<<\"value 2/1\">>},"
                                            "{9,4,<<\"xxxxx"));
  EXPECT_THAT(answer, ::testing::EndsWith("{3,2,<<\"value 3/2\">>}]}"));
}

TEST_F(Erlang, RaReadsOurSegments) {
  SegmentOptions options;
  options.max_entries = 64;
  ASSERT_TRUE(
      Segment::create(*disk_, file("0000000000000001.segment"), 1, entries(4, 6, 2), options));
  EXPECT_EQ(ask(otp29_escript(), {"segment", file("0000000000000001.segment")}),
            "{ok,[{4,2},{5,2},{6,2}],[<<\"value 4/2\">>,<<\"value 5/2\">>,<<\"value 6/2\">>]}");
}

TEST_F(Erlang, RaValidatesOurSnapshots) {
  Snapshot snapshot;
  snapshot.meta = testing::snapshot_meta(101, 2);
  snapshot.state = testing::payload("state");
  snapshot.live_indexes = IndexSet::of({3, 4, 6, 62, 63, 64, 101});
  ASSERT_TRUE(write_snapshot(*disk_, directory_, snapshot));
  EXPECT_EQ(ask(otp29_escript(), {"snapshot", file(snapshot_directory_name({101, 2}))}),
            "{ok,ok,{ok,#{index => 101,term => 2,cluster => #{{kv,a@host} => #{}},"
            "machine_version => 0}},{ok,[101,{62,64},6,4,3]}}");
}

/// A directory that a real ra has left without an orderly stop.
struct RasDirectory {
  std::string uid;
  Index last = 0;
  Term term = 0;
};

RasDirectory written_by_ra(const std::string& directory) {
  const std::string answer = ask(otp29_escript(), {"ra_write", directory});
  RasDirectory made;
  const auto term = etf::parse_text(answer);
  EXPECT_TRUE(term) << answer;
  if (!term) return made;
  etf::Cursor cursor(*term);
  EXPECT_TRUE(cursor.tuple(4) && cursor.is_atom("ok")) << answer;
  made.uid = std::string(cursor.binary().value_or(""));
  made.last = cursor.u64().value_or(0);
  made.term = cursor.u64().value_or(0);
  EXPECT_TRUE(cursor.at_end()) << answer;
  return made;
}

LogSystemOptions real_options() {
  LogSystemOptions options;
  options.wal_thread = false;
  return options;
}

TEST_F(Erlang, WeTakeOverWhatRaHasWrittenAndRaTakesItBack) {
  const RasDirectory made = written_by_ra(directory_);
  ASSERT_FALSE(made.uid.empty());
  const std::string data = directory_ + "/nonode@nohost";
  {
    Store store(*disk_, real_options(), data);
    ASSERT_TRUE(store.system) << store.error->message;
    MemberLog* log = store.system->find(made.uid);
    ASSERT_NE(log, nullptr) << ::testing::PrintToString(store.system->notices());
    EXPECT_EQ(log->config().id, (ServerId{"kv", "nonode@nohost"}));
    EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
    EXPECT_EQ(log->meta().term, made.term);
    EXPECT_EQ(log->meta().voted_for, (ServerId{"kv", "nonode@nohost"}));
    EXPECT_EQ(log->last_written(), (Position{made.last, made.term}));
    ASSERT_TRUE(log->snapshot());
    EXPECT_GT(log->snapshot()->meta.index, 120U);
    EXPECT_TRUE(log->snapshot()->live_indexes_known);
    // Keys 41 to 120 of the first round are live below the snapshot, in ra's segment.
    EXPECT_GE(log->snapshot()->live_indexes.size(), 80U);
    for (const Index index : log->snapshot()->live_indexes.indexes()) {
      EXPECT_TRUE(log->read_blocking(index)) << index;
    }
    for (Index index = log->first_index(); index <= made.last; ++index) {
      const auto read = log->read_blocking(index);
      ASSERT_TRUE(read) << index;
      EXPECT_TRUE(etf::validate(read->payload.view().substr(1)));
    }
    store.settle();  // ra's WAL becomes our segment
    EXPECT_GE(log->segment_count(), 2U);
    // A new term, entries (copies of a put), a vote; half of it in a segment, half in the WAL.
    ASSERT_TRUE(store.vote(made.uid, made.term + 4, ServerId{"kv", "nonode@nohost"}));
    StoredEntry copy = log->read_blocking(made.last).value();
    copy.term = made.term + 4;
    for (Index i = 1; i <= 20; ++i) {
      copy.index = made.last + i;
      log->append(copy);
      if (i == 10) {
        store.settle();
        store.roll_over();
      }
    }
    store.settle();
    EXPECT_EQ(log->last_written().index, made.last + 20);
    EXPECT_TRUE(store.system->stop());
  }
  // While it is ours, ra's system does not come up on it.
  EXPECT_THAT(ask(otp29_escript(), {"ra_read", directory_}),
              HasSubstr("{error,badarg,[{dets,lookup,[ra_directory_reverse,"));
  const auto released = release(*disk_, data, [](std::string_view) -> Result<IndexSet> {
    return make_error(ErrorCode::malformed, "the live indexes are known");
  });
  ASSERT_TRUE(released) << released.error().message;
  EXPECT_TRUE(released->was_ours);
  // ra has elected itself in a term above ours, and has all values of the keys that were put once.
  EXPECT_EQ(ask(otp29_escript(), {"ra_read", directory_}),
            "{ok," + std::to_string(made.term + 5) + ",100}");
  Store store(*disk_, real_options(), data);
  ASSERT_TRUE(store.system) << store.error->message;
  MemberLog* log = store.system->find(made.uid);
  ASSERT_NE(log, nullptr);
  EXPECT_GE(log->last_written().index, made.last + 22);  // its noop and a put
  EXPECT_EQ(log->last_written().term, made.term + 5);
  EXPECT_FALSE(log->amnesia()) << log->amnesia()->reason;
}

}  // namespace
}  // namespace rakv::raftlog
