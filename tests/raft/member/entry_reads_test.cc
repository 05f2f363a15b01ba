// SPDX-License-Identifier: Apache-2.0
#include "raft/member/entry_reads.h"

#include <boost/asio/io_context.hpp>

#include "parts.h"
#include "raft/log/memory_budget.h"
#include "tests/raft/log/store.h"

// Reads of log entries, over a real log whose disk is in memory.

namespace rakv::member::testing {
namespace {

using Given = std::vector<std::string>;

class EntryReadsTest : public ::testing::Test {
 protected:
  EntryReadsTest() : store_(disk_), log_(*store_.add("kv", "KVAAAA")) {
    store_.vote("KVAAAA", 1, std::nullopt);
    store_.append(log_, raftlog::testing::entries(1, 5, 1));
  }
  EntryReads make() {
    return EntryReads(
        {log_, counters_, log_id_, calls_, held_, &memory_, [this] { return applied_; },
         [this](const std::vector<raftlog::Index>& indexes,
                raftlog::MemberLog::ReadCallback callback) {
           log_.read(indexes, std::move(callback));
         },
         [this](std::string_view from, std::uint64_t bytes,
                const std::function<void(std::optional<ByteCharge>)>& then) {
           asked_room_.push_back(node_of_caller(from) + " " + (bytes > 0 ? "some" : "none"));
           if (has_room_) return then(ByteCharge(&memory_.outgoing, bytes));
           then(std::nullopt);
         },
         [this](std::string_view) { ++refused_; }});
  }
  void serve(EntryReads& reads, std::uint64_t tag, const std::string& encoded) {
    const wire::ClientRequest request = wire::decode_client_request(encoded);
    reads.serve(caller(tag), std::get<wire::request::ReadEntries>(request));
    store_.settle();
  }
  /// Reads an entry; "index 3", or what went wrong, once it is there.
  std::shared_ptr<std::string> read(EntryReads& reads, std::uint64_t index) {
    auto got = std::make_shared<std::string>();
    reads.read(index, std::chrono::hours(1),
               [got](Result<std::vector<raftlog::StoredEntry>> entries) {
                 if (entries) {
                   *got = "index " + std::to_string(entries->at(0).index);
                 } else {
                   *got = entries.error().code == ErrorCode::not_found ? "not_found"
                                                                       : entries.error().message;
                 }
               });
    store_.settle();
    return got;
  }

  boost::asio::io_context io_;
  raftlog::MemoryDisk disk_;
  raftlog::testing::Store store_;
  raftlog::MemberLog& log_;
  Counters counters_;
  std::string log_id_ = "kv";
  Answers answers_;
  MemoryAccounts memory_{raftlog::MemoryBudget::kSmallestBytes};
  ClientCalls calls_{answers_.reply(), nullptr, {}};
  HeldReads held_{io_};
  raft::Index applied_{3};
  bool has_room_ = true;
  int refused_ = 0;
  std::vector<std::string> asked_room_;
};

TEST_F(EntryReadsTest, WhatIsAppliedIsReadAndWhatIsNotIsAwaited) {
  EntryReads reads = make();
  EXPECT_EQ(*read(reads, 3), "index 3");
  const std::shared_ptr<std::string> later = read(reads, 4);
  EXPECT_EQ(*later, "") << "it may not be the committed one yet";
  EXPECT_EQ(held_.size(), 1U);
  applied_ = raft::Index{4};
  held_.reached(applied_);
  store_.settle();
  EXPECT_EQ(*later, "index 4");
  const std::shared_ptr<std::string> newest = read(reads, 5);
  EXPECT_EQ(*newest, "") << "the newest entry is no exception";
  EXPECT_EQ(*read(reads, 6), "not_found") << "the log does not have it: nobody waits for it";
  EXPECT_EQ(held_.size(), 1U);
  EXPECT_EQ(counters_.get(Counter::read_ops), 4);
}

TEST_F(EntryReadsTest, ThoseThatAreThereAreInTheAnswer) {
  EntryReads reads = make();
  serve(reads, 1, term("{read_entries, [2, 300, 0, 5, x]}"));
  ASSERT_EQ(answers_.given.size(), 1U);
  const std::string& answer = answers_.given.front();
  EXPECT_TRUE(
      answer.starts_with("1: {ok,{read_plan,\"KVAAAA\",#{2 => {2,1,<<\"value 2/1\">>},5 => "
                         "{5,1,<<\"value 5/1\">>}},[]}}"))
      << answer;
  EXPECT_EQ(asked_room_, Given{"client@host some"});
  EXPECT_EQ(memory_.outgoing.used(), 0U);
}

TEST_F(EntryReadsTest, AListThatIsNoneIsUnsupported) {
  EntryReads reads = make();
  serve(reads, 1, term("{read_entries, all}"));
  EXPECT_EQ(answers_.given, Given{"1: {error,{unsupported_call,all}}"});
}

TEST_F(EntryReadsTest, WithoutRoomThereIsNoAnswer) {
  EntryReads reads = make();
  has_room_ = false;
  serve(reads, 1, term("{read_entries, [2, 300]}"));
  EXPECT_TRUE(answers_.given.empty());
}

TEST_F(EntryReadsTest, MoreThanOneAnswerMayHoldIsRefused) {
  const std::string half(memory_.outgoing.limit() / 2 + 1, 'x');
  store_.append(log_, raftlog::testing::entry(6, 1, half));
  store_.append(log_, raftlog::testing::entry(7, 1, half));
  EntryReads reads = make();
  serve(reads, 1, term("{read_entries, [6, 7, 300]}"));
  EXPECT_EQ(refused_, 1);
  EXPECT_TRUE(asked_room_.empty());
}

}  // namespace
}  // namespace rakv::member::testing
