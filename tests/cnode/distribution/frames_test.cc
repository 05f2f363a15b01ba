// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/frames.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "cnode/base/byte_order.h"
#include "tests/cnode/distribution/support.h"

namespace rakv::distribution {
namespace {

std::string framed(const std::string& body) {
  std::string bytes;
  put_number(bytes, body.size(), 4);
  return bytes + body;
}

std::string whole(const std::string& terms) {
  return framed(std::string("\x83\x44\x00", 3) + terms);
}

std::string fragment(bool first, std::uint64_t sequence, std::uint64_t number,
                     const std::string& part) {
  std::string body(first ? "\x83\x45" : "\x83\x46");
  put_number(body, sequence, 8);
  put_number(body, number, 8);
  if (first) body += '\0';
  return framed(body + part);
}

/// Everything that came out so far: messages as text, ticks as "tick".
struct Collected {
  std::vector<std::string> events;
  std::optional<Error> error;
};

void collect(FrameAssembler& assembler, Collected& into) {
  for (;;) {
    const auto event = assembler.next();
    if (!event) {
      into.error = event.error();
      return;
    }
    if (!*event) return;
    const auto* message = std::get_if<FrameAssembler::Message>(&**event);
    into.events.push_back(message == nullptr ? "tick" : std::string(message->terms));
  }
}

Collected all_at_once(const std::string& bytes, AssemblerLimits limits = {}) {
  FrameAssembler assembler(limits);
  assembler.feed(bytes);
  Collected result;
  collect(assembler, result);
  return result;
}

TEST(FrameAssemblerTest, TicksAndMessages) {
  const std::string tick(4, '\0');
  const Collected got = all_at_once(tick + whole("one") + tick + whole("") + whole("two"));
  EXPECT_FALSE(got.error);
  EXPECT_EQ(got.events, (std::vector<std::string>{"tick", "one", "tick", "", "two"}));
}

TEST(FrameAssemblerTest, AnAssembledMessageCanBeKept) {
  FrameAssembler assembler;
  assembler.feed(fragment(true, 7, 2, "abc") + fragment(false, 7, 1, "def") + whole("small"));
  auto event = assembler.next();
  ASSERT_TRUE(event && *event);
  const std::string_view terms = std::get<FrameAssembler::Message>(**event).terms;
  const std::string elsewhere = "abcdef";
  EXPECT_TRUE(assembler.take_assembled(elsewhere).empty());
  SharedBytes kept = assembler.take_assembled(terms.substr(2));
  EXPECT_EQ(kept.view(), "abcdef");
  EXPECT_EQ(kept.view().data(), terms.data()) << "it must not be a copy";
  EXPECT_TRUE(assembler.take_assembled(terms).empty()) << "it is given once";

  event = assembler.next();
  ASSERT_TRUE(event && *event);
  const std::string_view small = std::get<FrameAssembler::Message>(**event).terms;
  EXPECT_EQ(small, "small");
  EXPECT_TRUE(assembler.take_assembled(small).empty()) << "it lies among others";
  EXPECT_EQ(kept.view(), "abcdef");
  EXPECT_EQ(assembler.memory_bytes(), 16u * 1024);

  kept.narrow(1, 4);
  kept.mutable_data()[0] = 'X';
  const SharedBytes copy = kept;
  EXPECT_EQ(copy.view(), "Xcde");
}

TEST(FrameAssemblerTest, AssemblingReservesNoMoreThanTheFragmentsSay) {
  const std::string part(std::size_t{64} * 1024, 'x');
  FrameAssembler assembler;
  for (std::uint64_t left = 40; left > 1; --left) {
    assembler.feed(fragment(left == 40, 7, left, part));
    ASSERT_FALSE(*assembler.next());
  }
  // 39 of 40 have come: not the 64 that doubling would make room for.
  EXPECT_LE(assembler.memory_bytes(), 40 * part.size() + std::size_t{512} * 1024);
  // A peer that announces the impossible gets memory for what it sends.
  assembler.feed(fragment(true, 8, std::uint64_t{1} << 63, part));
  assembler.feed(fragment(false, 8, (std::uint64_t{1} << 63) - 1, part));
  ASSERT_FALSE(*assembler.next());
  EXPECT_LE(assembler.memory_bytes(), 43 * part.size() + std::size_t{512} * 1024);
}

TEST(FrameAssemblerTest, EverySplitGivesTheSame) {
  const std::string bytes = whole("first") + std::string(4, '\0') + fragment(true, 7, 3, "ab") +
                            whole("between") + fragment(false, 7, 2, "cd") +
                            fragment(true, 8, 1, "single") + fragment(false, 7, 1, "ef");
  const std::vector<std::string> wanted{"first", "tick", "between", "single", "abcdef"};
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameAssembler assembler;
    Collected got;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      assembler.feed(bytes.substr(at, piece));
      collect(assembler, got);
    }
    EXPECT_FALSE(got.error);
    EXPECT_EQ(got.events, wanted) << piece;
    EXPECT_EQ(assembler.bytes_received(), bytes.size());
    EXPECT_EQ(assembler.unfinished_bytes(), 0u);
  }
}

TEST(FrameAssemblerTest, RandomFragmentsInterleaved) {
  auto random = test::seeded_generator();
  for (int round = 0; round < 200; ++round) {
    // Several messages, each cut at random, sent in random turns; sizes small and beyond the slab.
    struct Source {
      std::string rest;
      std::uint64_t left = 0;
      bool first = true;
    };
    std::map<std::uint64_t, Source> sources;
    std::map<std::string, int> wanted;
    for (std::uint64_t sequence = random(); sources.size() < 5; ++sequence) {
      const std::size_t size = random() % (round % 20 == 0 ? 600'000 : 3'000);
      std::string text(size, static_cast<char>('a' + sources.size()));
      ++wanted[text];
      sources[sequence] = Source{std::move(text), 1 + random() % 20};
    }
    std::string bytes;
    while (!sources.empty()) {
      auto source =
          std::next(sources.begin(), static_cast<std::ptrdiff_t>(random() % sources.size()));
      Source& s = source->second;
      const std::size_t take = s.left == 1 ? s.rest.size() : random() % (s.rest.size() + 1);
      bytes += fragment(s.first, source->first, s.left, s.rest.substr(0, take));
      s.rest.erase(0, take);
      s.first = false;
      if (--s.left == 0) sources.erase(source);
      if (random() % 4 == 0) bytes += std::string(4, '\0');
    }
    FrameAssembler assembler;
    Collected got;
    while (!bytes.empty()) {
      const std::size_t take = 1 + random() % std::min<std::size_t>(bytes.size(), 100'000);
      assembler.feed(bytes.substr(0, take));
      bytes.erase(0, take);
      collect(assembler, got);
    }
    ASSERT_FALSE(got.error) << got.error->message;
    std::map<std::string, int> came;
    for (const std::string& event : got.events) {
      if (event != "tick") ++came[event];
    }
    ASSERT_EQ(came, wanted);
    EXPECT_EQ(assembler.unfinished_sequences(), 0u);
  }
}

TEST(FrameAssemblerTest, BadFramesAreErrors) {
  const std::vector<std::string> bad{
      framed("p\x83h"),                                     // pass-through
      framed("x"),                                          // not 131
      framed("\x83"),                                       // nothing after it
      framed("\x83\x44"),                                   // no atom count
      framed("\x83\x44\x01"),                               // atom cache
      framed("\x83\x50rest"),                               // compressed
      framed("\x83\x45" + std::string(16, '\1')),           // first fragment cut off
      framed("\x83\x45" + std::string(16, '\1') + "\x02"),  // atom cache in a fragment
      framed("\x83\x46" + std::string(15, '\1')),           // later fragment cut off
      fragment(true, 1, 0, "x"),                            // no fragments
      fragment(false, 1, 1, "x"),                           // never begun
      fragment(true, 1, 3, "x") + fragment(true, 1, 3, "x"),
      fragment(true, 1, 3, "x") + fragment(true, 1, 1, "x"),
      fragment(true, 1, 3, "x") + fragment(false, 1, 1, "x"),  // out of order
      fragment(true, 1, 3, "x") + fragment(false, 1, 3, "x"),
      fragment(true, 1, 2, "x") + fragment(false, 1, 1, "x") + fragment(false, 1, 1, "x"),
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const Collected got = all_at_once(bad[i]);
    ASSERT_TRUE(got.error) << i;
    EXPECT_EQ(got.error->code, ErrorCode::malformed) << i;
  }
}

TEST(FrameAssemblerTest, WithoutFragmentsMessagesArePassedThrough) {
  FrameAssembler assembler({}, Framing::pass_through);
  assembler.feed(std::string(4, '\0') + framed("p\x83one") + framed("p\x83"));
  ASSERT_TRUE(std::holds_alternative<FrameAssembler::Tick>(**assembler.next()));
  const auto event = assembler.next();
  const auto& message = std::get<FrameAssembler::Message>(**event);
  EXPECT_EQ(message.terms, "one");
  EXPECT_TRUE(message.versioned);
  EXPECT_EQ(std::get<FrameAssembler::Message>(**assembler.next()).terms, "");
  for (const std::string& bad :
       {whole("x"), fragment(true, 1, 1, "x"), framed("p"), framed("px"), framed("q\x83x")}) {
    FrameAssembler other({}, Framing::pass_through);
    other.feed(bad);
    const auto outcome = other.next();
    ASSERT_FALSE(outcome.has_value());
    EXPECT_EQ(outcome.error().code, ErrorCode::malformed);
  }
}

TEST(FrameAssemblerTest, LimitsAreErrors) {
  AssemblerLimits limits;
  limits.max_frame_bytes = 1000;
  limits.max_assembled_bytes = 2000;
  limits.max_unfinished_sequences = 3;
  EXPECT_FALSE(all_at_once(whole(std::string(997, 'x')), limits).error);
  EXPECT_EQ(all_at_once(whole(std::string(998, 'x')), limits).error->code,
            ErrorCode::limit_exceeded);
  const std::string part(800, 'x');
  EXPECT_FALSE(all_at_once(fragment(true, 1, 9, part) + fragment(true, 2, 9, part), limits).error);
  EXPECT_EQ(all_at_once(fragment(true, 1, 9, part) + fragment(true, 2, 9, part) +
                            fragment(true, 3, 9, part),
                        limits)
                .error->code,
            ErrorCode::limit_exceeded);
  EXPECT_EQ(all_at_once(fragment(true, 1, 9, part) + fragment(false, 1, 8, part) +
                            fragment(false, 1, 7, part),
                        limits)
                .error->code,
            ErrorCode::limit_exceeded);
  std::string many;
  for (std::uint64_t sequence = 0; sequence < 3; ++sequence)
    many += fragment(true, sequence, 2, "");
  EXPECT_FALSE(all_at_once(many, limits).error);
  EXPECT_EQ(all_at_once(many + fragment(true, 3, 2, ""), limits).error->code,
            ErrorCode::limit_exceeded);
}

TEST(FrameAssemblerTest, MemoryFollowsWhatArrivedNotWhatWasAnnounced) {
  FrameAssembler assembler;
  std::string announced;
  put_number(announced, 500u << 20, 4);
  assembler.feed(announced + std::string(100, 'x'));
  Collected got;
  collect(assembler, got);
  EXPECT_FALSE(got.error);
  assembler.prepare();
  EXPECT_LE(assembler.memory_bytes(), std::size_t{1} << 20);
  // A first fragment that announces a million more.
  FrameAssembler other;
  other.feed(fragment(true, 1, 1'000'000, "x"));
  collect(other, got);
  EXPECT_LE(other.memory_bytes(), std::size_t{1} << 20);
}

TEST(FrameAssemblerTest, WhatIsNotWholeIsHeldUntilItIs) {
  FrameAssembler assembler;
  const std::string part(std::size_t{64} * 1024, 'x');
  Collected got;
  assembler.feed(whole("small") + std::string("\0\0", 2));
  collect(assembler, got);
  EXPECT_EQ(assembler.held_bytes(), 2u) << "the begin of a frame";
  assembler.feed(std::string("\0\0", 2));
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence)
    assembler.feed(fragment(true, sequence, 5, part));
  for (std::uint64_t left = 4; left > 1; --left) assembler.feed(fragment(false, 2, left, part));
  collect(assembler, got);
  EXPECT_GE(assembler.held_bytes(), 6 * part.size());
  EXPECT_LE(assembler.held_bytes(), 8 * part.size());
  EXPECT_GE(assembler.largest_held(), 4 * part.size());
  EXPECT_LE(assembler.largest_held(), 5 * part.size());
  assembler.feed(fragment(false, 2, 1, part));
  collect(assembler, got);
  EXPECT_LE(assembler.held_bytes(), 3 * part.size());
  EXPECT_LE(assembler.largest_held(), part.size() + 1024);
  for (const std::uint64_t sequence : {1, 3}) {
    for (std::uint64_t left = 4; left > 0; --left)
      assembler.feed(fragment(false, sequence, left, part));
  }
  collect(assembler, got);
  EXPECT_EQ(assembler.held_bytes(), 0u);
  EXPECT_EQ(assembler.largest_held(), 0u);
  EXPECT_FALSE(got.error);
}

TEST(FrameAssemblerTest, APeerThatSaysLittleHasASmallBuffer) {
  FrameAssembler assembler;
  Collected got;
  EXPECT_LE(assembler.prepare().size(), 16u * 1024);
  std::string burst;
  while (burst.size() < 100'000) burst += whole("message");
  assembler.feed(burst);
  collect(assembler, got);
  assembler.feed(whole("one more"));
  collect(assembler, got);
  EXPECT_LE(assembler.prepare().size(), 16u * 1024);
  EXPECT_EQ(assembler.memory_bytes(), 16u * 1024);
}

TEST(FrameAssemblerTest, ABusyPeerHasALargeBufferIfThereIsRoomForIt) {
  for (const bool roomy : {true, false}) {
    FrameAssembler assembler;
    const std::span<char> room = assembler.prepare(roomy);
    std::memset(room.data(), 0, room.size());  // ticks
    assembler.commit(room.size());
    Collected got;
    collect(assembler, got);
    EXPECT_EQ(assembler.prepare(roomy).size(), roomy ? 256u * 1024 : 16u * 1024);
  }
}

TEST(FrameAssemblerTest, ALongFrameComesWholeAndItsMemoryIsGivenBack) {
  FrameAssembler assembler;
  Collected got;
  const std::string text(20 << 20, 'x');
  const std::string bytes = whole(text) + std::string(2, '\0');  // and the begin of the next one
  std::size_t most = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 100'000) {
    assembler.feed(std::string_view(bytes).substr(at, 100'000));
    collect(assembler, got);
    most = std::max(most, assembler.memory_bytes());
  }
  ASSERT_EQ(got.events.size(), 1u);
  EXPECT_TRUE(got.events[0] == text);
  EXPECT_LE(most, 2 * text.size() + (1 << 20));
  assembler.prepare();
  EXPECT_LE(assembler.memory_bytes(), std::size_t{1} << 20);
}

}  // namespace
}  // namespace rakv::distribution
