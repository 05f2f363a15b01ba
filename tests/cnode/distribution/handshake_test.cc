// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/handshake.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cnode/base/byte_order.h"
#include "cnode/distribution/challenges.h"
#include "tests/cnode/distribution/support.h"

namespace rakv::distribution {
namespace {

constexpr char kInitiatorName[] = "a@host";
constexpr char kAcceptorName[] = "b@host";

HandshakeSetup setup(const std::string& name, std::uint32_t challenge,
                     const std::string& cookie = "secret") {
  HandshakeSetup made;
  made.own_name = name;
  made.own_creation = 1000 + challenge;
  made.cookie = cookie;
  made.own_challenge = challenge;
  return made;
}

/// What one side has come to.
struct Side {
  explicit Side(Handshake handshake) : machine(std::move(handshake)) {}

  Handshake machine;
  std::string outgoing;
  std::optional<Handshake::Finished> finished;
  std::optional<Error> failed;
  bool nok = false;
  Status status_to_give = Status::ok;
  bool alive_answer = true;
  bool asked_alive = false;
  std::optional<PeerIdentity> asked_status;
  std::optional<std::string> cookie_to_give;

  void take(Handshake::Actions actions) {
    for (Handshake::Action& action : actions) {
      if (auto* bytes = std::get_if<Handshake::Send>(&action)) outgoing += bytes->bytes;
      if (auto* done = std::get_if<Handshake::Finished>(&action)) finished = std::move(*done);
      if (auto* fault = std::get_if<Handshake::Failed>(&action)) failed = fault->error;
      if (std::holds_alternative<Handshake::WaitForInbound>(action)) nok = true;
      if (auto* ask = std::get_if<Handshake::AskStatus>(&action)) {
        asked_status = ask->peer;
        take(machine.answer_status(status_to_give, cookie_to_give));
      }
      if (std::holds_alternative<Handshake::AskAlive>(action)) {
        asked_alive = true;
        take(machine.answer_alive(alive_answer));
      }
    }
  }
  void feed(std::string_view bytes) { take(machine.feed(bytes)); }
};

Side initiator(HandshakeSetup made = setup(kInitiatorName, 1)) {
  return Side(Handshake::initiator(std::move(made), kAcceptorName));
}
Side acceptor(HandshakeSetup made = setup(kAcceptorName, 2)) {
  return Side(Handshake::acceptor(std::move(made)));
}

/// Lets both talk until neither has anything to say; `cut` gives the size of the next piece.
void talk(Side& a, Side& b, const std::function<std::size_t(std::size_t)>& cut) {
  a.take(a.machine.start());
  b.take(b.machine.start());
  while (true) {
    Side* from = !a.outgoing.empty() ? &a : !b.outgoing.empty() ? &b : nullptr;
    if (from == nullptr) return;
    Side& to = from == &a ? b : a;
    const std::size_t size = std::min(from->outgoing.size(), cut(from->outgoing.size()));
    const std::string piece = from->outgoing.substr(0, size);
    from->outgoing.erase(0, size);
    if (to.machine.done()) continue;  // closed its socket
    to.feed(piece);
  }
}

void talk(Side& a, Side& b) {
  talk(a, b, [](std::size_t all) { return all; });
}

std::string handshake_frame(const std::string& body, std::size_t width = 2) {
  std::string bytes;
  put_number(bytes, body.size(), width);
  return bytes + body;
}

std::string name_message(const std::string& name, Flags flags = kOfferedFlags,
                         const std::string& trailing = "") {
  std::string body = "N";
  put_number(body, flags, 8);
  put_number(body, 77, 4);
  put_number(body, name.size(), 2);
  return handshake_frame(body + name + trailing);
}

std::string challenge_message(const std::string& name, Flags flags = kOfferedFlags) {
  std::string body = "N";
  put_number(body, flags, 8);
  put_number(body, 5, 4);
  put_number(body, 77, 4);
  put_number(body, name.size(), 2);
  return handshake_frame(body + name);
}

TEST(DigestTest, Vectors) {
  const auto hex = [](const Digest& value) {
    std::string text;
    for (const std::uint8_t byte : value) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  };
  // erlang:md5(["secret" | integer_to_list(C)]), as an OTP 25 computes it.
  EXPECT_EQ(hex(digest("secret", 0)), "175ec77a7f63082590987d0d8b051aff");
  EXPECT_EQ(hex(digest("secret", 4294967295u)), "5dfd181e69aa587cc812eb333e6536b6");
  EXPECT_EQ(hex(digest("ABCDEFGHIJKLMNOPQRST", 2147483648u)), "be8e186f2d2d898f97659baf5784f0db");
}

TEST(DigestTest, EqualOnlyIfEveryByteIs) {
  const Digest a = digest("x", 1);
  EXPECT_TRUE(digests_equal(a, a));
  for (std::size_t i = 0; i < a.size(); ++i) {
    Digest b = a;
    b[i] ^= 1;
    EXPECT_FALSE(digests_equal(a, b));
  }
}

TEST(NodeNameTest, Parts) {
  const Result<NodeName> name = parse_node_name("kv1@host.example.org");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->alive, "kv1");
  EXPECT_EQ(name->host, "host.example.org");
  for (const std::string bad : {"", "kv1", "@host", "kv1@", "a@b@c", "a b@host", "a@ho\nst"}) {
    EXPECT_FALSE(parse_node_name(bad).has_value()) << bad;
  }
  EXPECT_FALSE(parse_node_name(std::string(2000, 'x') + "@host").has_value());
}

TEST(HandshakeTest, BothRolesFinishInEverySplit) {
  std::size_t total = 0;
  for (const LengthWidth width : {LengthWidth::two, LengthWidth::four}) {
    // Every fixed piece size up to the longest message covers every place where a message can be
    // cut.
    for (std::size_t piece = 1; piece < 64; ++piece) {
      HandshakeSetup ours = setup(kInitiatorName, 11), theirs = setup(kAcceptorName, 22);
      ours.width = theirs.width = width;
      Side a = initiator(ours), b = acceptor(theirs);
      talk(a, b, [piece](std::size_t) { return piece; });
      ASSERT_TRUE(a.finished && b.finished) << piece;
      EXPECT_EQ(a.finished->peer.name, kAcceptorName);
      EXPECT_EQ(a.finished->peer.creation, 1022u);
      EXPECT_EQ(b.finished->peer.name, kInitiatorName);
      EXPECT_EQ(b.finished->peer.creation, 1011u);
      EXPECT_EQ(a.finished->peer.flags, kOfferedFlags);
      EXPECT_TRUE(a.finished->leftover.empty() && b.finished->leftover.empty());
      ++total;
    }
  }
  EXPECT_EQ(total, 126u);
}

TEST(HandshakeTest, RandomSplits) {
  auto random = test::seeded_generator();
  for (int round = 0; round < 500; ++round) {
    Side a = initiator(), b = acceptor();
    talk(a, b, [&random](std::size_t all) { return 1 + random() % all; });
    ASSERT_TRUE(a.finished && b.finished);
  }
}

TEST(HandshakeTest, BytesAfterTheLastMessageAreLeftOver) {
  Side a = initiator(), b = acceptor();
  a.take(a.machine.start());
  b.take(b.machine.start());
  b.feed(std::exchange(a.outgoing, {}));
  a.feed(std::exchange(b.outgoing, {}));
  b.feed(std::exchange(a.outgoing, {}) + "first frames of a");
  ASSERT_TRUE(b.finished);
  EXPECT_EQ(b.finished->leftover, "first frames of a");
  a.feed(std::exchange(b.outgoing, {}) + std::string(3 * kMaxHandshakeMessageBytes, 'z'));
  ASSERT_TRUE(a.finished);
  EXPECT_EQ(a.finished->leftover, std::string(3 * kMaxHandshakeMessageBytes, 'z'));
}

TEST(HandshakeTest, HiddenPeerIsNotPublished) {
  HandshakeSetup hidden = setup(kInitiatorName, 1);
  hidden.own_flags = kOfferedFlagsHidden;
  Side a = initiator(hidden), b = acceptor();
  talk(a, b);
  ASSERT_TRUE(a.finished && b.finished);
  EXPECT_EQ(b.finished->peer.flags & kFlagPublished, 0u);
  EXPECT_EQ(a.finished->peer.flags & kFlagPublished, 0u);
}

TEST(HandshakeTest, OkSimultaneousGoesOn) {
  Side a = initiator(), b = acceptor();
  b.status_to_give = Status::ok_simultaneous;
  talk(a, b);
  EXPECT_TRUE(a.finished && b.finished);
  EXPECT_FALSE(b.finished->takeover);
}

TEST(HandshakeTest, NokMakesTheInitiatorWait) {
  Side a = initiator(), b = acceptor();
  b.status_to_give = Status::nok;
  talk(a, b);
  EXPECT_TRUE(a.nok);
  EXPECT_FALSE(a.failed);
  ASSERT_TRUE(b.failed);
  EXPECT_EQ(b.failed->code, ErrorCode::refused);
}

TEST(HandshakeTest, NotAllowedFailsBoth) {
  Side a = initiator(), b = acceptor();
  b.status_to_give = Status::not_allowed;
  talk(a, b);
  ASSERT_TRUE(a.failed && b.failed);
  EXPECT_EQ(a.failed->code, ErrorCode::refused);
  EXPECT_NE(a.failed->message.find("not_allowed"), std::string::npos);
}

TEST(HandshakeTest, AliveTakeoverFinishesOnlyAfterTheDigest) {
  Side a = initiator(), b = acceptor();
  b.status_to_give = Status::alive;
  talk(a, b);
  ASSERT_TRUE(a.finished && b.finished);
  EXPECT_TRUE(a.asked_alive);
  EXPECT_TRUE(b.finished->takeover);
  EXPECT_FALSE(a.finished->takeover);

  Side thief = initiator(setup(kInitiatorName, 1, "guess")), victim = acceptor();
  victim.status_to_give = Status::alive;
  talk(thief, victim);
  EXPECT_FALSE(victim.finished);
  ASSERT_TRUE(victim.failed);
  EXPECT_EQ(victim.failed->code, ErrorCode::refused);
}

TEST(HandshakeTest, AliveAnsweredFalseEndsBoth) {
  Side a = initiator(), b = acceptor();
  b.status_to_give = Status::alive;
  a.alive_answer = false;
  talk(a, b);
  ASSERT_TRUE(a.failed && b.failed);
  EXPECT_EQ(a.failed->code, ErrorCode::already_exists);
  EXPECT_EQ(b.failed->code, ErrorCode::already_exists);
}

TEST(HandshakeTest, AliveAnsweredWithNonsenseFails) {
  Side b = acceptor();
  b.status_to_give = Status::alive;
  b.take(b.machine.start());
  b.feed(name_message(kInitiatorName));
  b.feed(handshake_frame("smaybe"));
  ASSERT_TRUE(b.failed);
  EXPECT_EQ(b.failed->code, ErrorCode::malformed);
}

TEST(HandshakeTest, UnknownStatusFails) {
  for (const std::string status : {"sokay", "snamed:xyz", "", "s", "xok"}) {
    Side a = initiator();
    a.take(a.machine.start());
    a.feed(handshake_frame(status));
    ASSERT_TRUE(a.failed) << status;
    EXPECT_EQ(a.failed->code, ErrorCode::malformed);
  }
}

TEST(HandshakeTest, WrongCookieIsRefusedByTheAcceptor) {
  Side a = initiator(setup(kInitiatorName, 1, "wrong")), b = acceptor();
  talk(a, b);
  EXPECT_FALSE(a.finished || b.finished);
  ASSERT_TRUE(b.failed);
  EXPECT_EQ(b.failed->code, ErrorCode::refused);
  EXPECT_NE(b.failed->message.find("cookie"), std::string::npos);
  EXPECT_TRUE(a.machine.awaits_ack());
}

TEST(HandshakeTest, TheCookieOfThePeerMayDiffer) {
  Side a = initiator(setup(kInitiatorName, 1, "of_a")), b = acceptor();
  b.cookie_to_give = "of_a";
  talk(a, b);
  EXPECT_TRUE(a.finished && b.finished);
}

TEST(HandshakeTest, AnAcceptorThatDoesNotKnowTheCookieIsRefused) {
  Side a = initiator();
  a.take(a.machine.start());
  a.feed(handshake_frame("sok"));
  a.feed(challenge_message(kAcceptorName));
  a.feed(handshake_frame("a" + std::string(16, 'x')));
  ASSERT_TRUE(a.failed);
  EXPECT_EQ(a.failed->code, ErrorCode::refused);
}

TEST(HandshakeTest, MissingFlagsAreNamedAndAnsweredNotAllowed) {
  Side b = acceptor();
  b.take(b.machine.start());
  b.feed(name_message(kInitiatorName, kDemandedFlags & ~(kFlagUnlinkId | kFlagMapTag)));
  ASSERT_TRUE(b.failed);
  EXPECT_EQ(b.failed->code, ErrorCode::refused);
  EXPECT_NE(b.failed->message.find("unlink with id"), std::string::npos) << b.failed->message;
  EXPECT_NE(b.failed->message.find("maps"), std::string::npos);
  EXPECT_EQ(b.outgoing, handshake_frame("snot_allowed"));
  Side a = initiator();
  a.take(a.machine.start());
  a.feed(handshake_frame("sok"));
  a.feed(challenge_message(kAcceptorName, kOfferedFlags & ~kFlagV4NodeContainers));
  ASSERT_TRUE(a.failed);
  EXPECT_NE(a.failed->message.find("V4_NC"), std::string::npos);
}

TEST(HandshakeTest, WhatOtp26DemandsIsEnough) {
  // What ei of OTP 25 and 29 offers, and the least.
  for (const Flags offered : {Flags{0x407074f9c}, kDemandedFlags}) {
    HandshakeSetup poor = setup(kInitiatorName, 1);
    poor.own_flags = offered;
    Side a = initiator(poor);
    Side b = acceptor();
    talk(a, b);
    ASSERT_TRUE(a.finished && b.finished);
    EXPECT_EQ(b.finished->peer.flags, offered & kOfferedFlags);
    HandshakeSetup poor_acceptor = setup(kAcceptorName, 2);
    poor_acceptor.own_flags = offered;
    Side c = initiator();
    Side d = acceptor(poor_acceptor);
    talk(c, d);
    EXPECT_TRUE(c.finished && d.finished);
  }
}

/// The flags of a challenge message that `side` has sent after a status of `status_bytes`.
Flags challenge_flags(const Side& side, std::size_t status_bytes) {
  return load_number(std::string_view(side.outgoing).substr(status_bytes + 2 + 1), 8);
}

TEST(HandshakeTest, APeerWithoutANameIsGivenOne) {
  Side b = acceptor();
  b.take(b.machine.start());
  Handshake::Actions actions =
      b.machine.feed(name_message("other.host", kOfferedFlags | kFlagNameMe));
  ASSERT_EQ(actions.size(), 1u);
  const auto* ask = std::get_if<Handshake::AskStatus>(&actions[0]);
  ASSERT_NE(ask, nullptr);
  EXPECT_TRUE(ask->wants_name);
  EXPECT_EQ(ask->peer.name, "other.host");
  b.take(b.machine.answer_name("XYZ@other.host", 0x01020304));
  const std::string status =
      handshake_frame(std::string("snamed:\0\x0e", 9) + "XYZ@other.host\1\2\3\4");
  ASSERT_EQ(b.outgoing.substr(0, status.size()), status);
  EXPECT_EQ(challenge_flags(b, status.size()), (kOfferedFlags & ~kFlagPublished) | kFlagNameMe);
  const Digest right = digest("secret", 2);
  b.feed(handshake_frame(std::string("r\0\0\0\7", 5) + std::string(right.begin(), right.end())));
  ASSERT_TRUE(b.finished);
  EXPECT_EQ(b.finished->peer.name, "XYZ@other.host");
  EXPECT_EQ(b.finished->peer.creation, 0x01020304u);
  EXPECT_EQ(b.finished->peer.flags & kFlagPublished, 0u) << "it is hidden";
  for (const std::string host : {"", "a@b", "a b"}) {
    Side bad = acceptor();
    bad.take(bad.machine.start());
    bad.feed(name_message(host, kOfferedFlags | kFlagNameMe));
    ASSERT_TRUE(bad.failed) << host;
    EXPECT_EQ(bad.outgoing, handshake_frame("snot_allowed"));
  }
}

std::string old_name_message(Flags lower_flags, const std::string& name = kInitiatorName) {
  std::string body("n\0\5", 3);
  put_number(body, lower_flags & 0xffffffff, 4);
  return handshake_frame(body + name);
}

TEST(HandshakeTest, ANameOfTheOldFormNeedsAComplement) {
  const Digest right = digest("secret", 2);
  const std::string reply =
      handshake_frame(std::string("r\0\0\0\7", 5) + std::string(right.begin(), right.end()));
  const auto complement = [](Flags flags) {
    std::string body = "c";
    put_number(body, flags >> 32, 4);
    put_number(body, 4711, 4);
    return handshake_frame(body);
  };
  Side b = acceptor();
  b.take(b.machine.start());
  b.feed(old_name_message(kOfferedFlags));
  EXPECT_TRUE(b.asked_status);
  b.feed(complement(kOfferedFlags) + reply);
  ASSERT_TRUE(b.finished) << (b.failed ? b.failed->message : "");
  EXPECT_EQ(b.finished->peer.name, kInitiatorName);
  EXPECT_EQ(b.finished->peer.creation, 4711u);
  EXPECT_EQ(b.finished->peer.flags, kOfferedFlags);
  for (const std::string& second :
       {reply, complement(0), handshake_frame("c"), handshake_frame("")}) {
    Side c = acceptor();
    c.take(c.machine.start());
    c.feed(old_name_message(kOfferedFlags));
    c.feed(second);
    EXPECT_TRUE(c.failed) << second.size();
  }
}

TEST(HandshakeTest, AChallengeThatMayNotBeAnsweredIsNot) {
  HandshakeSetup careful = setup(kInitiatorName, 1);
  std::vector<std::uint32_t> asked;
  careful.may_answer = [&asked](std::uint32_t challenge) {
    asked.push_back(challenge);
    return false;
  };
  Side a = initiator(careful);
  a.take(a.machine.start());
  a.outgoing.clear();
  a.feed(handshake_frame("sok"));
  a.feed(challenge_message(kAcceptorName));
  EXPECT_EQ(asked, std::vector<std::uint32_t>{5});
  ASSERT_TRUE(a.failed);
  EXPECT_EQ(a.failed->code, ErrorCode::refused);
  EXPECT_EQ(a.outgoing, "") << "nothing is told";
}

TEST(ChallengesTest, OwnOnesAreNotAnsweredAndAnsweredOnesAreNotDrawn) {
  const auto book = std::make_shared<Challenges>(Randomness::system());
  std::shared_ptr<const Challenges::Own> own = book->draw();
  const std::uint32_t value = own->value();
  EXPECT_FALSE(book->answer(value));
  own.reset();
  EXPECT_EQ(book->outstanding(), 0u);
  EXPECT_TRUE(book->answer(value));
  for (std::uint32_t i = 0; i < 3 * Challenges::kRememberedAnswers; ++i)
    ASSERT_TRUE(book->answer(i));
}

TEST(HandshakeTest, TheDigestBitStandsForTheOldMandatoryFlags) {
  Side b = acceptor();
  b.take(b.machine.start());
  b.feed(name_message(kInitiatorName, kDemandedFlags & ~kFlagsImpliedByDigest));
  EXPECT_TRUE(b.failed);
  Side c = acceptor();
  c.take(c.machine.start());
  c.feed(name_message(kInitiatorName,
                      (kDemandedFlags & ~kFlagsImpliedByDigest) | kFlagMandatory25Digest));
  EXPECT_FALSE(c.failed);
}

TEST(HandshakeTest, TheInitiatorChecksWhoAnswers) {
  Side a = initiator();
  a.take(a.machine.start());
  a.feed(handshake_frame("sok"));
  a.feed(challenge_message("c@host"));
  ASSERT_TRUE(a.failed);
  EXPECT_EQ(a.failed->code, ErrorCode::refused);
  EXPECT_NE(a.failed->message.find("'c@host' answered"), std::string::npos);
}

TEST(HandshakeTest, BadNamesAreNotAllowed) {
  for (const std::string name : {"", "nohost", "a@b@c", "b@host"}) {
    Side b = acceptor();
    b.take(b.machine.start());
    b.feed(name_message(name));
    ASSERT_TRUE(b.failed) << name;
    EXPECT_EQ(b.failed->code, ErrorCode::refused);
    EXPECT_EQ(b.outgoing, handshake_frame("snot_allowed"));
  }
}

TEST(HandshakeTest, APeerOfTheOldHandshakeIsNotAllowed) {
  Side b = acceptor();
  b.take(b.machine.start());
  b.feed(old_name_message(0));
  ASSERT_TRUE(b.failed);
  EXPECT_EQ(b.failed->code, ErrorCode::refused);
  EXPECT_NE(b.failed->message.find("handshake 23"), std::string::npos) << b.failed->message;
  EXPECT_EQ(b.outgoing, handshake_frame("snot_allowed"));
}

TEST(HandshakeTest, TrailingBytesOfNameAreIgnored) {
  Side b = acceptor();
  b.take(b.machine.start());
  b.feed(name_message(kInitiatorName, kOfferedFlags, "of a later release"));
  ASSERT_TRUE(b.asked_status);
  EXPECT_EQ(b.asked_status->name, kInitiatorName);
}

TEST(HandshakeTest, OversizeAndTruncatedMessagesFail) {
  Side b = acceptor();
  b.take(b.machine.start());
  b.feed("GET / HTTP/1.1\r\n");
  ASSERT_TRUE(b.failed);
  EXPECT_EQ(b.failed->code, ErrorCode::limit_exceeded);
  const std::string whole = name_message(kInitiatorName);
  for (std::size_t size = 0; size + 2 < whole.size(); ++size) {
    Side c = acceptor();
    c.take(c.machine.start());
    c.feed(handshake_frame(whole.substr(2, size)));
    ASSERT_TRUE(c.failed) << size;
    EXPECT_EQ(c.failed->code, ErrorCode::malformed);
  }
  for (std::size_t size = 0; size < 21; ++size) {
    Side c = acceptor();
    c.take(c.machine.start());
    c.feed(whole);
    c.feed(handshake_frame(std::string(size, 'r')));
    ASSERT_TRUE(c.failed) << size;
    EXPECT_EQ(c.failed->code, ErrorCode::malformed);
  }
  for (const std::size_t size : {0u, 1u, 16u, 18u}) {
    Side a = initiator();
    a.take(a.machine.start());
    a.feed(handshake_frame("sok") + challenge_message(kAcceptorName));
    a.feed(handshake_frame(std::string(size, 'a')));
    ASSERT_TRUE(a.failed) << size;
    EXPECT_EQ(a.failed->code, ErrorCode::malformed);
  }
}

TEST(HandshakeTest, FloodingWhileTheOwnerDecidesFails) {
  Handshake machine = Handshake::acceptor(setup(kAcceptorName, 2));
  machine.start();
  Handshake::Actions actions = machine.feed(name_message(kInitiatorName));
  ASSERT_TRUE(std::holds_alternative<Handshake::AskStatus>(actions.back()));
  actions = machine.feed(std::string(3 * kMaxHandshakeMessageBytes, 'x'));
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Handshake::Failed>(actions[0]));
}

TEST(FlagsTest, WordsForWhatIsMissing) {
  EXPECT_EQ(missing_flag_names(kOfferedFlags), "");
  EXPECT_EQ(missing_flag_names(kOfferedFlags & ~kFlagUnlinkId), "unlink with id");
  EXPECT_EQ(missing_flag_names(kOfferedFlags & ~kFlagFragments), "") << "not demanded";
  EXPECT_EQ(missing_flag_names(0, kFlagSpawn | Flags{1} << 50), "spawn requests, bit 50");
  // OTP 25 and 29 as seen on the wire.
  EXPECT_EQ(missing_flag_names(0xd07df7fbd), "");
  EXPECT_EQ(missing_flag_names(0x6d07df7fbd), "");
}

}  // namespace
}  // namespace rakv::distribution
