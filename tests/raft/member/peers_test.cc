// SPDX-License-Identifier: Apache-2.0
#include "raft/member/peers.h"

#include "cnode/etf/text.h"
#include "cnode/node/gen.h"
#include "shell.h"

// What a member takes from other members, and what it keeps back from them, in a whole member.

namespace rakv::member::testing {
namespace {

/// A member that votes for everybody; its answers to pre-votes carry this token, or the right one.
class Voter : public node::Process {
 public:
  Voter(Shell& shell, const std::string& name, std::string token)
      : shell_(shell), token_(std::move(token)), pid_(shell.node().spawn(*this)) {
    EXPECT_TRUE(shell.node().register_name(name, pid_));
  }
  void on_message(std::string_view message) override {
    const auto gen = node::parse_gen_message(message);
    if (!gen || gen->kind != node::GenMessage::Kind::call) return;
    const auto call = wire::decode_peer_call(gen->request);
    if (!call || !*call) return;
    shell_.node().reply(pid_, gen->from, [&](distribution::OutMessage& out) {
      etf::Writer writer(out.text);
      if (const auto* vote = std::get_if<raft::RequestVoteRpc>(&**call)) {
        wire::write_request_vote_result(writer, {vote->term, true});
      } else if (const auto* pre_vote = std::get_if<wire::PreVoteCall>(&**call)) {
        ++pre_votes;
        wire::write_pre_vote_result(writer, {pre_vote->rpc.term, true},
                                    token_.empty() ? pre_vote->token : std::string_view(token_));
      }
    });
  }
  int pre_votes = 0;

 private:
  Shell& shell_;
  std::string token_;
  etf::Pid pid_;
};

TEST(Peers, APreVoteCountsWithItsTokenOnly) {
  for (const bool honest : {false, true}) {
    Shell shell;
    const std::string other = etf::Writer().reference(shell.node().make_reference()).take();
    Voter b(shell, "b", honest ? "" : other);
    shell.member()->trigger_election();
    shell.run();
    EXPECT_GT(b.pre_votes, 0);
    EXPECT_EQ(shell.member()->core().current_term(), raft::Term{honest ? 1U : 0U});
  }
}

/// By its monitor: the failure detector needs ten times as long.
TEST(Peers, ALeaderThatEndsIsNoticedAtOnce) {
  Shell shell;
  for (const char* name : {"b", "c"}) {
    Peer leader(shell, name);
    leader.leads(name[0] == 'b' ? 1 : 2, {});
    shell.run();
    EXPECT_EQ(shell.member()->core().leader(), shell.id(name));
    shell.node().terminate(*shell.node().whereis(name), etf::Writer().atom("killed").view());
    shell.run();
    EXPECT_FALSE(shell.member()->core().leader()) << name;
  }
}

TEST(Peers, TheAnswersToASnapshotsPartsWaitUntilTheDiskKeepsUp) {
  Shell::Options options;
  options.log.memory_budget_bytes = raftlog::MemoryBudget::kSmallestBytes;
  Shell shell(options);
  Peer b(shell, "b");
  b.leads(1, {});
  shell.run();
  const std::string head = snapshot_head(10, 1);
  const Shell::Answer init = b.sends_snapshot(1, head, 0, raft::ChunkFlag::init, {}, {});
  shell.run();
  EXPECT_NE(init->value_or(""), "");
  shell.hold.wal = true;
  const std::uint64_t bytes = shell.log_system().memory_budget().waiting_bytes();
  b.sends_snapshot(1, head, 0, raft::ChunkFlag::pre, {user(1, 1, std::string(bytes, 'x'))}, {});
  shell.run();
  ASSERT_GT(shell.log_system().queued_bytes(), bytes / 2);
  const Shell::Answer second =
      b.sends_snapshot(1, head, 0, raft::ChunkFlag::pre, {user(2, 1, "y")}, {});
  shell.run();
  EXPECT_EQ(second->value_or(""), "") << "the leader waits with the next part";
  shell.hold.wal = false;
  shell.run();
  EXPECT_NE(second->value_or(""), "");
}

}  // namespace
}  // namespace rakv::member::testing
