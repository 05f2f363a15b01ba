// SPDX-License-Identifier: Apache-2.0
#include "raft/member/append_entries_sender.h"

#include "parts.h"
#include "shell.h"
#include "tests/cnode/node/peers_harness.h"
#include "tests/raft/log/store.h"

// What a leader's messages say of the entries in them, when they are cut, and when their term ends;
// and a peer whose connection is full.

namespace rakv::member::testing {
namespace {

/// A sender to a peer on another node.
class AppendEntriesSenderTest : public node::testing::PeersTest {
 protected:
  AppendEntriesSenderTest() : store_(disk_), log_(*store_.add("kv", "KVAAAA")) {}
  PeerContext context() {
    pid_ = *node_->whereis("net_kernel");
    return {*node_,
            log_,
            core_,
            counters_,
            pid_,
            log_id_,
            [this](const raft::Event& event) {
              if (std::holds_alternative<raft::event::PeerSuspended>(event))
                events_.emplace_back("suspended");
              if (std::holds_alternative<raft::event::PeerResumed>(event))
                events_.emplace_back("resumed");
            },
            [](const std::vector<raftlog::Index>&, const raftlog::MemberLog::ReadCallback&) {}};
  }
  /// Nothing more is queued for the peer.
  void fill_link() {
    node_->hold_link(kPeerNode, std::chrono::hours(1));
    const auto large = [](distribution::OutMessage& out) {
      etf::Writer(out.text).binary(std::string(1 << 20, 'x'));
    };
    while (node_->room(kPeerNode) == node::Delivery::queued)
      node_->send(*node_->whereis("net_kernel"), self_, large, false);
  }
  raft::effect::SendAppendEntries probe() const {
    raft::effect::SendAppendEntries message;
    message.to = {"kv", kPeerNode};
    message.term = core_.current_term();
    message.first = raft::Index{1};
    return message;
  }

  static constexpr char kPeerNode[] = "p@127.0.0.1";
  raftlog::MemoryDisk disk_;
  raftlog::testing::Store store_;
  raftlog::MemberLog& log_;
  const raft::Core core_ = leading_core();
  Counters counters_;
  std::string log_id_ = "kv";
  etf::Pid pid_;
  std::vector<std::string> events_;
};

using Events = std::vector<std::string>;

TEST_F(AppendEntriesSenderTest, APeerWhoseConnectionIsFullIsSuspendedUntilThereIsRoom) {
  connect(distribution::kOfferedFlags);
  PeerContext parts = context();
  AppendEntriesSender sender(parts, {"kv", kPeerNode});
  fill_link();
  sender.add(probe());
  sender.add(probe());
  EXPECT_EQ(events_, Events{"suspended"});
  node_->release_link(kPeerNode);
  ASSERT_TRUE(node::testing::run_until(
      io_, [&] { return node_->room(kPeerNode) == node::Delivery::queued; }));
  sender.pump();
  EXPECT_EQ(events_, (Events{"suspended", "resumed"}));
}

TEST_F(AppendEntriesSenderTest, APeerWhoseConnectionEndsIsNotSuspendedAnyMore) {
  connect(distribution::kOfferedFlags);
  PeerContext parts = context();
  AppendEntriesSender sender(parts, {"kv", kPeerNode});
  fill_link();
  sender.add(probe());
  endpoint_.reset();
  peer_.reset();
  node_->release_link(kPeerNode);
  ASSERT_TRUE(node::testing::run_until(io_, [&] { return !node_->is_connected(kPeerNode); }));
  sender.pump();
  EXPECT_EQ(events_, (Events{"suspended", "resumed"}));
}

TEST(AppendEntries, AMessageThatIsCutGoesOnWithTheTermOfItsLastEntry) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  const std::string large(3 << 20, 'x');
  b.leads(1, {user(1, 1, large), user(2, 1, large), user(3, 1, "small")});
  shell.run();
  b.votes_for_kv();
  shell.member()->trigger_election();
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::leader);
  const std::size_t before = c.appends().size();
  c.refuses(2, 1, 0, 0);
  shell.run();
  ASSERT_EQ(c.appends().size(), before + 2) << "more than fits one message";
  const raft::AppendEntriesRpc& first = c.appends()[before];
  const raft::AppendEntriesRpc& second = c.appends()[before + 1];
  EXPECT_EQ(first.prev_index, raft::Index{0});
  ASSERT_EQ(first.entries.size(), 2U);
  EXPECT_EQ(second.prev_index, raft::Index{2});
  EXPECT_EQ(second.prev_term, raft::Term{1});
  ASSERT_EQ(second.entries.size(), 2U);
  EXPECT_EQ(second.entries.back().term, raft::Term{2});
}

TEST(AppendEntries, WhatWasToBeSentInAnOlderTermIsDropped) {
  Shell shell;
  Peer b(shell, "b");
  Peer c(shell, "c");
  b.votes_for_kv();
  shell.member()->trigger_election();
  shell.run();
  ASSERT_EQ(shell.member()->core().role(), raft::Role::leader);
  b.acknowledges(1, 1);
  shell.put("kv", "two");
  shell.put("kv", "three");
  shell.run();
  shell.log_system().roll_over_wal();
  shell.run();
  ASSERT_EQ(shell.log().fetch(2), nullptr);

  // b asks for what has to be read first; before it is there, c leads, and the log is another one.
  shell.hold.worker = true;
  b.refuses(1, 2, 1, 1);
  shell.run();
  const std::size_t before = b.appends().size();
  c.leads(2, {user(2, 2, "new")}, 1, 1);
  shell.run();
  shell.hold.worker = false;
  shell.run();
  ASSERT_EQ(shell.member()->core().current_term(), raft::Term{2});
  EXPECT_EQ(shell.log().term_at(2), 2U);
  EXPECT_EQ(b.appends().size(), before);
}

}  // namespace
}  // namespace rakv::member::testing
