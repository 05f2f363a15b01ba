// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/peer_memory.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rakv::distribution {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// A connection that only holds.
struct Peer : PeerMemory::Holder {
  Peer(const std::shared_ptr<PeerMemory>& memory, std::string named)
      : name(std::move(named)), part(memory, *this) {}
  void cut(Error error) override {
    reason = error.message;
    part.release();
  }
  void read_on() override {
    ++reads_on;
    if (before_reading) before_reading();
    goes_on = part.hold(held, largest);
  }
  const std::string& peer_name() const override { return name; }
  std::uint64_t bytes_read() const override { return read; }
  std::uint64_t bytes_written() const override { return written; }

  bool hold(std::uint64_t bytes, std::uint64_t of_one) {
    held = bytes;
    largest = of_one;
    read += bytes;
    return goes_on = part.hold(bytes, of_one);
  }
  /// One message.
  bool hold(std::uint64_t bytes) { return hold(bytes, bytes); }
  bool queue(std::uint64_t bytes) {
    if (!part.admit(bytes)) return false;
    queued += bytes;
    part.set_queued(queued);
    return true;
  }

  std::string name;
  PeerMemory::Part part;
  std::uint64_t held = 0;
  std::uint64_t largest = 0;
  std::uint64_t queued = 0;
  std::uint64_t read = 0;
  std::uint64_t written = 0;
  int reads_on = 0;
  std::function<void()> before_reading;
  bool goes_on = true;
  std::optional<std::string> reason;  ///< why it was cut
};

class PeerMemoryTest : public ::testing::Test {
 protected:
  Peer& peer(const std::string& name) {
    peers_.push_back(std::make_unique<Peer>(memory_, name));
    return *peers_.back();
  }
  /// What was posted is done; timers are left alone.
  void settle() {
    io_.restart();
    io_.poll();
  }
  void look(int times) {
    for (; times > 0; --times) memory_->look();
    settle();
  }

  MemoryAccounts accounts_{64 * kMiB};
  boost::asio::io_context io_;
  std::shared_ptr<PeerMemory> memory_ = std::make_shared<PeerMemory>(io_, accounts_);
  std::deque<std::unique_ptr<Peer>> peers_;
};

TEST_F(PeerMemoryTest, AConnectionIsCountedUntilItIsOver) {
  const std::uint64_t all = accounts_.connections.limit() / PeerMemory::kConnectionBytes;
  for (std::uint64_t i = 0; i < all; ++i) {
    EXPECT_TRUE(memory_->has_room_for_connection());
    peer("p");
  }
  EXPECT_FALSE(memory_->has_room_for_connection());
  peers_.clear();
  EXPECT_EQ(accounts_.sum.used(), 0u);
}

TEST_F(PeerMemoryTest, UnfinishedMessagesFitWithinTheShareAndOneBeyondIt) {
  Peer& one = peer("one");
  Peer& large = peer("large");
  Peer& waits = peer("waits");
  EXPECT_TRUE(one.hold(3 * kMiB));
  EXPECT_TRUE(large.hold(10 * kMiB)) << "one message may be larger than the share";
  EXPECT_TRUE(large.hold(40 * kMiB));
  EXPECT_FALSE(waits.hold(2 * kMiB)) << "only one";
  EXPECT_TRUE(waits.hold(kMiB)) << "but within the share there is room";
  EXPECT_FALSE(waits.hold(3 * kMiB));
  EXPECT_TRUE(one.hold(0));
  settle();
  EXPECT_EQ(waits.reads_on, 1);
  EXPECT_TRUE(waits.goes_on);
  for (const auto& peer : peers_) EXPECT_FALSE(peer->reason);
}

TEST_F(PeerMemoryTest, WhoMayOvershootPassesItOnWhenTheMessageIsWhole) {
  Peer& large = peer("large");
  Peer& next = peer("next");
  Peer& last = peer("last");
  EXPECT_TRUE(large.hold(20 * kMiB));
  EXPECT_TRUE(next.hold(3 * kMiB));
  EXPECT_FALSE(next.hold(8 * kMiB));
  EXPECT_FALSE(last.hold(8 * kMiB));
  EXPECT_TRUE(large.hold(0));
  settle();
  EXPECT_TRUE(next.goes_on);
  EXPECT_FALSE(last.goes_on);
  next.part.release();
  settle();
  EXPECT_TRUE(last.goes_on);
}

TEST_F(PeerMemoryTest, MoreThanOneMessageBeyondTheShareIsTooMuchOfOnePeer) {
  Peer& greedy = peer("greedy");
  EXPECT_TRUE(greedy.hold(4 * kMiB, kMiB));
  EXPECT_FALSE(greedy.hold(6 * kMiB, kMiB));
  ASSERT_TRUE(greedy.reason);
  EXPECT_NE(greedy.reason->find("greedy sends too much at once: 6 MB"), std::string::npos)
      << *greedy.reason;
  EXPECT_NE(greedy.reason->find("--memory-budget"), std::string::npos);
  EXPECT_EQ(accounts_.incoming.used(), 0u);
}

TEST_F(PeerMemoryTest, SmallMessagesAndMembersNeverWait) {
  Peer& one = peer("one");
  Peer& large = peer("large");
  Peer& small = peer("small");
  Peer& member = peer("member");
  member.part.set_member(true);
  EXPECT_TRUE(one.hold(4 * kMiB));
  EXPECT_TRUE(large.hold(20 * kMiB));
  EXPECT_TRUE(small.hold(PeerMemory::kSmallBytes));
  EXPECT_TRUE(member.hold(3 * kMiB));
}

TEST_F(PeerMemoryTest, WhoStandsStillGoesWhenOthersWait) {
  Peer& still = peer("still");
  Peer& stiller = peer("stiller");
  Peer& moves = peer("moves");
  EXPECT_TRUE(still.hold(kMiB));
  EXPECT_TRUE(stiller.hold(3 * kMiB));
  EXPECT_TRUE(moves.hold(20 * kMiB));
  look(10);
  EXPECT_FALSE(still.reason || stiller.reason || moves.reason) << "nobody needs the room";
  Peer& waits = peer("waits");
  EXPECT_FALSE(waits.hold(3 * kMiB));
  for (int i = 0; i < PeerMemory::kPatience; ++i) {
    moves.hold(moves.held + kMiB);
    look(1);
  }
  EXPECT_TRUE(stiller.reason) << "it held most of those that stand still";
  EXPECT_FALSE(still.reason || moves.reason);
  EXPECT_NE(stiller.reason->find("stiller does not finish what it sends: 3 MB"), std::string::npos)
      << *stiller.reason;
  EXPECT_TRUE(waits.goes_on);
}

TEST_F(PeerMemoryTest, AnswersBeyondTheShareCutOffThePeerWithMost) {
  Peer& most = peer("most");
  Peer& less = peer("less");
  Peer& other = peer("other");
  EXPECT_TRUE(most.queue(4 * kMiB));
  EXPECT_TRUE(less.queue(3 * kMiB));
  EXPECT_TRUE(other.queue(kMiB));
  EXPECT_TRUE(other.queue(kMiB));
  ASSERT_TRUE(most.reason);
  EXPECT_NE(most.reason->find("most does not fetch its answers: 4 MB"), std::string::npos)
      << *most.reason;
  EXPECT_FALSE(less.reason || other.reason);
  EXPECT_EQ(accounts_.outgoing.used(), 5 * kMiB);
  EXPECT_FALSE(less.queue(4 * kMiB)) << "it would have most itself";
}

TEST_F(PeerMemoryTest, OneAnswerMayBeLargerThanTheShare) {
  Peer& small = peer("small");
  Peer& large = peer("large");
  EXPECT_TRUE(small.queue(kMiB));
  EXPECT_TRUE(large.queue(50 * kMiB));
  EXPECT_FALSE(small.reason);
  EXPECT_FALSE(large.queue(1)) << "a second message is more than one";
}

TEST_F(PeerMemoryTest, TwoAnswersLargerThanTheShareAreOneTooMany) {
  Peer& first = peer("first");
  Peer& second = peer("second");
  EXPECT_TRUE(first.queue(50 * kMiB));
  EXPECT_TRUE(second.queue(40 * kMiB));
  EXPECT_TRUE(first.reason);
  EXPECT_EQ(accounts_.outgoing.used(), 40 * kMiB);
}

TEST_F(PeerMemoryTest, AMemberGoesLast) {
  Peer& member = peer("member");
  member.part.set_member(true);
  Peer& client = peer("client");
  EXPECT_TRUE(member.queue(5 * kMiB));
  EXPECT_TRUE(client.queue(2 * kMiB));
  Peer& other = peer("other");
  EXPECT_TRUE(other.queue(kMiB));
  EXPECT_TRUE(member.queue(100)) << "its heartbeats cut off the client";
  EXPECT_FALSE(member.reason);
  EXPECT_TRUE(client.reason);
}

TEST_F(PeerMemoryTest, WhoHasMuchToFetchIsNotReadFrom) {
  Peer& peer_one = peer("one");
  EXPECT_TRUE(peer_one.queue(kMiB));
  EXPECT_FALSE(peer_one.part.holds_back());
  EXPECT_TRUE(peer_one.queue(1));
  EXPECT_TRUE(peer_one.part.holds_back());
  Peer& member = peer("member");
  member.part.set_member(true);
  EXPECT_TRUE(member.queue(4 * kMiB));
  EXPECT_FALSE(member.part.holds_back()) << "its heartbeats are read";
  Peer& small = peer("small");
  EXPECT_TRUE(small.queue(PeerMemory::kSmallBytes + 1));
  EXPECT_TRUE(small.part.holds_back()) << "more than half of the account is used";
}

TEST_F(PeerMemoryTest, LargeAnswersWaitForRoomInTurn) {
  std::vector<std::string> got;
  std::vector<ByteCharge> rooms;
  const auto ask = [&](const std::string& name, std::uint64_t bytes) {
    memory_->when_room(name, bytes, [&got, &rooms, name](std::optional<ByteCharge> room) {
      got.push_back(name + (room ? "" : " gone"));
      if (room) rooms.push_back(std::move(*room));
    });
  };
  ask("a", kMiB);
  ask("b", kMiB);
  EXPECT_EQ(got, (std::vector<std::string>{"a", "b"}));
  ask("c", kMiB);
  ask("lost", kMiB);
  ask("large", 20 * kMiB);
  ask("last", 10);
  settle();
  EXPECT_EQ(got.size(), 2u);
  EXPECT_EQ(memory_->waiting_answers(), 4u);
  memory_->forget_peer("lost");
  EXPECT_EQ(got.back(), "lost gone");
  Peer& fetches = peer("fetches");
  EXPECT_TRUE(fetches.queue(kMiB));
  rooms.clear();
  fetches.queued = 0;
  fetches.part.set_queued(0);
  settle();
  EXPECT_EQ(got.back(), "c") << "the large one waits until no other is read";
  rooms.clear();
  fetches.queue(1);
  fetches.part.set_queued(0);
  settle();
  EXPECT_EQ(got.back(), "large");
  EXPECT_EQ(accounts_.reading.used(), 20 * kMiB);
}

TEST_F(PeerMemoryTest, AnswersForAPeerThatFetchesNothingAreInNobodysWay) {
  Peer& still = peer("still");
  EXPECT_TRUE(still.queue(2 * kMiB));
  std::vector<std::string> got;
  const auto ask = [&](const std::string& name) {
    memory_->when_room(name, kMiB, [&got, name](std::optional<ByteCharge> room) {
      if (room) got.push_back(name);
    });
  };
  ask("still");
  ask("other");
  EXPECT_EQ(got, (std::vector<std::string>{"other"}));
  look(2 * PeerMemory::kPatience);
  EXPECT_FALSE(still.reason) << "nobody else needs the room";
  still.queued = 0;
  still.part.set_queued(0);
  settle();
  EXPECT_EQ(got, (std::vector<std::string>{"other", "still"}));
}

TEST_F(PeerMemoryTest, WhoFetchesNothingGoesWhenAnswersWait) {
  Peer& still = peer("still");
  EXPECT_TRUE(still.queue(7 * kMiB));
  Peer& moves = peer("moves");
  EXPECT_TRUE(moves.queue(kMiB));
  std::optional<ByteCharge> room;
  memory_->when_room("other", kMiB,
                     [&](std::optional<ByteCharge> made) { room = std::move(made); });
  for (int i = 0; i < PeerMemory::kPatience; ++i) {
    moves.written += PeerMemory::kProgressBytes;
    look(1);
  }
  EXPECT_TRUE(still.reason);
  EXPECT_FALSE(moves.reason);
  EXPECT_TRUE(room);
}

/// What one reads may end the connection of another that waits, too (address sanitizer).
TEST_F(PeerMemoryTest, WhoReadsOnMayEndAnother) {
  Peer& one = peer("one");
  Peer& large = peer("large");
  EXPECT_TRUE(one.hold(3 * kMiB));
  EXPECT_TRUE(large.hold(10 * kMiB));
  Peer& first = peer("first");
  auto second = std::make_unique<Peer>(memory_, "second");
  EXPECT_FALSE(first.hold(2 * kMiB));
  EXPECT_FALSE(second->hold(2 * kMiB));
  first.before_reading = [&] { second.reset(); };
  EXPECT_TRUE(large.hold(0));
  EXPECT_TRUE(one.hold(0));
  settle();
  EXPECT_TRUE(first.goes_on);
  EXPECT_EQ(accounts_.incoming.used(), 2 * kMiB);
}

}  // namespace
}  // namespace rakv::distribution
