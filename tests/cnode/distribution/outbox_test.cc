// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/outbox.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "cnode/distribution/frames.h"
#include "tests/cnode/distribution/support.h"

namespace rakv::distribution {
namespace {

OutMessage message_of(const std::string& text) {
  OutMessage message;
  message.text = text;
  return message;
}

/// Takes one batch to the other side: the messages that are whole now.
std::vector<std::string> deliver_batch(Outbox& outbox, FrameAssembler& assembler,
                                       std::size_t* bytes = nullptr) {
  std::vector<std::string> messages;
  for (const std::string_view piece : outbox.next_batch()) {
    EXPECT_FALSE(piece.empty());
    assembler.feed(piece);
    if (bytes != nullptr) *bytes += piece.size();
  }
  outbox.written();
  for (;;) {
    const auto event = assembler.next();
    if (!event) {
      ADD_FAILURE() << event.error().message;
      return messages;
    }
    if (!*event) return messages;
    const auto* message = std::get_if<FrameAssembler::Message>(&**event);
    messages.push_back(message == nullptr ? "tick" : std::string(message->terms));
  }
}

std::vector<std::string> deliver_all(Outbox& outbox) {
  FrameAssembler assembler;
  std::vector<std::string> messages;
  while (!outbox.empty()) {
    for (std::string& message : deliver_batch(outbox, assembler))
      messages.push_back(std::move(message));
  }
  EXPECT_EQ(assembler.unfinished_sequences(), 0u);
  return messages;
}

TEST(OutMessageTest, RangesOfTextAndSharedParts) {
  auto random = test::seeded_generator();
  for (int round = 0; round < 200; ++round) {
    OutMessage message;
    std::string wanted;
    for (std::size_t parts = 1 + random() % 8; parts > 0; --parts) {
      const std::string part(random() % 1500, static_cast<char>('a' + parts));
      if (random() % 2 == 0) {
        message.text += part;
      } else {
        message.share(SharedBytes::copy_of(part));
      }
      wanted += part;
    }
    ASSERT_EQ(message.size(), wanted.size());
    for (int i = 0; i < 20; ++i) {
      const std::size_t offset = random() % (wanted.size() + 1);
      const std::size_t length = random() % (wanted.size() - offset + 1);
      std::vector<std::string_view> pieces;
      message.append_range(offset, length, pieces);
      std::string got;
      for (const std::string_view piece : pieces) got += piece;
      ASSERT_TRUE(got == wanted.substr(offset, length));
    }
  }
}

TEST(OutMessageTest, ALongSharedPartIsNotCopied) {
  const SharedBytes value = SharedBytes::copy_of(std::string(100'000, 'v'));
  Outbox outbox;
  OutMessage message = message_of("head");
  message.end_control();
  message.share(value);
  outbox.send(1, std::move(message));
  bool found = false;
  for (const std::string_view piece : outbox.next_batch()) {
    found |= piece.data() == value.view().data();
  }
  EXPECT_TRUE(found);
  outbox.written();
}

TEST(OutboxTest, SmallMessagesLeaveInOrderInOneRun) {
  Outbox outbox;
  for (const char* text : {"one", "two", "three"}) outbox.send(1, message_of(text));
  outbox.tick();
  EXPECT_EQ(outbox.next_batch().size(), 1u) << "coalesced";
  outbox.written();
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.bytes_written(), 4u + 3 * 7 + 11);
  outbox.send(1, message_of("four"));
  outbox.send(2, message_of("five"));
  EXPECT_EQ(deliver_all(outbox), (std::vector<std::string>{"four", "five"}));
}

TEST(OutboxTest, ExactlyTheFragmentSizeIsOneFrame) {
  for (const std::size_t size : {65535u, 65536u, 65537u, 131072u, 131073u}) {
    Outbox outbox;
    const std::string text(size, 'x');
    outbox.send(1, message_of(text));
    FrameAssembler assembler;
    std::size_t bytes = 0;
    const auto got = deliver_batch(outbox, assembler, &bytes);
    ASSERT_EQ(got.size(), 1u) << size;
    EXPECT_TRUE(got[0] == text);
    const std::size_t fragments = (size + 65535) / 65536;
    EXPECT_EQ(bytes, fragments == 1 ? size + 7 : size + 23 + 22 * (fragments - 1));
    EXPECT_TRUE(outbox.empty());
  }
}

TEST(OutboxTest, AControlTermIsNeverCut) {
  OutboxLimits limits;
  limits.fragment_bytes = 100;
  Outbox outbox(limits);
  OutMessage message = message_of(std::string(250, 'c'));
  message.end_control();
  message.text += std::string(170, 'p');
  outbox.send(1, std::move(message));
  std::string bytes;
  for (const std::string_view piece : outbox.next_batch()) bytes += piece;
  // Header of 19 bytes, then the whole control term.
  EXPECT_EQ(bytes.substr(4 + 19, 250), std::string(250, 'c'));
  EXPECT_NE(bytes[4 + 19 + 250], 'p');
  outbox.written();
  EXPECT_TRUE(outbox.empty());
}

TEST(OutboxTest, WithoutFragmentsEveryMessageIsOneFrame) {
  Outbox outbox({}, Framing::pass_through);
  FrameAssembler assembler({}, Framing::pass_through);
  const auto message = [](const std::string& control, const std::string& payload) {
    OutMessage made;
    made.text = control;
    made.end_control();
    if (payload.size() > 1000) {
      made.share(SharedBytes::copy_of(payload));
    } else {
      made.text += payload;
    }
    return made;
  };
  constexpr std::size_t kLarge = 10'000'000;
  const std::string large(kLarge, 'x');
  outbox.send(1, message("c1", "p1"));
  outbox.send(1, message("c2", large));
  outbox.send(1, message("c3", ""));
  outbox.send(2, message("c4", "p4"));
  outbox.tick();
  std::vector<std::string> got;
  while (!outbox.empty()) {
    for (std::string& one : deliver_batch(outbox, assembler)) got.push_back(std::move(one));
  }
  EXPECT_EQ(got,
            (std::vector<std::string>{"tick", "c1\x83p1", "c2\x83" + large, "c3", "c4\x83p4"}));
  EXPECT_EQ(outbox.queued_bytes(), 0u);
}

TEST(OutboxTest, BulkDoesNotDelayOthers) {
  Outbox outbox;
  outbox.send(1, message_of(std::string(10 << 20, 'x')));
  FrameAssembler assembler;
  deliver_batch(outbox, assembler);
  for (int i = 0; i < 30; ++i) {
    outbox.send(2, message_of("small"));
    EXPECT_EQ(deliver_batch(outbox, assembler), std::vector<std::string>{"small"}) << i;
  }
}

TEST(OutboxTest, BulkOfTwoSendersTakesTurns) {
  Outbox outbox;
  outbox.send(1, message_of(std::string(20 << 20, 'x')));
  outbox.send(2, message_of(std::string(1 << 20, 'y')));
  FrameAssembler assembler;
  std::size_t bytes = 0;
  while (deliver_batch(outbox, assembler, &bytes).empty()) {
  }
  EXPECT_LT(bytes, std::size_t{3} << 20) << "the shorter one is there after twice its size";
}

TEST(OutboxTest, MessagesOfOneSenderKeepTheirOrder) {
  Outbox outbox;
  outbox.send(1, message_of("before"));
  outbox.send(1, message_of(std::string(300'000, 'x')));
  outbox.send(1, message_of("middle"));
  outbox.send(1, message_of(std::string(200'000, 'y')));
  outbox.send(1, message_of("last"));
  outbox.send(2, message_of("other"));
  const auto got = deliver_all(outbox);
  ASSERT_EQ(got.size(), 6u);
  std::vector<std::string> of_one;
  for (const std::string& message : got) {
    if (message != "other") of_one.push_back(message.substr(0, 6));
  }
  EXPECT_EQ(of_one, (std::vector<std::string>{"before", "xxxxxx", "middle", "yyyyyy", "last"}));
  EXPECT_NE(got.back(), "other") << "it does not wait for the bulk of sender 1";
}

TEST(OutboxTest, RandomTrafficArrivesWholeAndInOrderPerSender) {
  auto random = test::seeded_generator();
  for (int round = 0; round < 30; ++round) {
    Outbox outbox;
    FrameAssembler assembler;
    std::map<char, std::vector<std::string>> sent, got;
    const auto note = [&got](const std::vector<std::string>& messages) {
      for (const std::string& message : messages) got[message[0]].push_back(message);
    };
    for (int i = 0; i < 150; ++i) {
      const char sender = static_cast<char>('a' + random() % 4);
      const std::string number = sender + std::to_string(i) + ":";
      const std::string body(random() % 5 == 0 ? random() % 400'000 : random() % 4000, sender);
      OutMessage message = message_of(number);
      if (random() % 2 == 0) {
        message.share(SharedBytes::copy_of(body));
      } else {
        message.text += body;
      }
      ASSERT_EQ(outbox.send(static_cast<SenderKey>(sender), std::move(message)),
                Outbox::Admission::queued);
      sent[sender].push_back(number + body);
      if (random() % 3 == 0) note(deliver_batch(outbox, assembler));
    }
    while (!outbox.empty()) note(deliver_batch(outbox, assembler));
    ASSERT_TRUE(got == sent);
    EXPECT_EQ(assembler.unfinished_sequences(), 0u);
    EXPECT_EQ(outbox.queued_bytes(), 0u);
  }
}

TEST(OutboxTest, BeatsAndTicksOvertakeBulk) {
  Outbox outbox;
  outbox.send(1, message_of("early"));
  outbox.send(1, message_of(std::string(5 << 20, 'x')));
  outbox.send_beat(message_of("beat"));
  outbox.tick();
  FrameAssembler assembler;
  EXPECT_EQ(deliver_batch(outbox, assembler), (std::vector<std::string>{"tick", "beat", "early"}));
  outbox.send_beat(message_of("beat"));
  EXPECT_EQ(deliver_batch(outbox, assembler), std::vector<std::string>{"beat"});
}

TEST(OutboxTest, BoundsAreKept) {
  OutboxLimits limits;
  limits.soft_bytes = 1000;
  limits.hard_bytes = 2000;
  Outbox outbox(limits);
  const std::string text(493, 'x');  // 500 with its header
  EXPECT_EQ(outbox.try_send(1, message_of(text)), Outbox::Admission::queued);
  EXPECT_FALSE(outbox.would_block());
  EXPECT_EQ(outbox.try_send(1, message_of(text)), Outbox::Admission::queued);
  EXPECT_TRUE(outbox.would_block());
  EXPECT_EQ(outbox.try_send(1, message_of("x")), Outbox::Admission::would_block);
  EXPECT_EQ(outbox.send(1, message_of(text)), Outbox::Admission::queued);
  EXPECT_EQ(outbox.send(1, message_of(text)), Outbox::Admission::queued);
  EXPECT_EQ(outbox.queued_bytes(), 2000u);
  EXPECT_EQ(outbox.send(1, message_of("")), Outbox::Admission::overflow);
  EXPECT_EQ(outbox.send_beat(message_of("")), Outbox::Admission::overflow);
  EXPECT_EQ(deliver_all(outbox).size(), 4u);
  EXPECT_EQ(outbox.queued_bytes(), 0u);
  EXPECT_EQ(outbox.try_send(1, message_of("x")), Outbox::Admission::queued);
  EXPECT_EQ(Outbox(limits).send(1, message_of(std::string(3000, 'x'))),
            Outbox::Admission::overflow);
}

TEST(OutboxTest, AMessageIsCountedUntilItIsWritten) {
  Outbox outbox;
  outbox.send(1, message_of(std::string(1 << 20, 'x')));
  const std::size_t queued = outbox.queued_bytes();
  outbox.next_batch();
  EXPECT_EQ(outbox.queued_bytes(), queued);
  outbox.written();
  EXPECT_LT(outbox.queued_bytes(), queued);
}

}  // namespace
}  // namespace rakv::distribution
