// SPDX-License-Identifier: Apache-2.0
// The commands of log entries and reply modes, against a real BEAM.

#include "raft/wire/entry.h"

#include <gtest/gtest.h>

#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "cnode/etf/writer.h"
#include "tests/support/beam_eval.h"
#include "tests/support/term_text.h"

namespace rakv::wire {
namespace {

using raft::EntryKind;

constexpr std::int64_t kNow = 1'764'000'000'123;

std::string payload(std::string_view text) { return "\x83" + term(text); }
/// Without the version byte.
std::string command(const SharedBytes& made) {
  EXPECT_EQ(made.view().substr(0, 1), "\x83");
  return std::string(etf::without_version(made.view()));
}

TEST(Encode, EveryCommandAsTheBeamHasIt) {
  const std::vector<std::string> from_beam = test::encode_in_beam({"{self(), [alias|alias()]}"});
  ASSERT_EQ(from_beam.size(), 1u);
  const std::string& from = from_beam[0];
  const std::string from_text = test::as_expression(from);
  const raft::Cluster cluster = {{{"kv", "n1@h"}, {}}};
  const std::string map =
      "#{{kv, 'n1@h'} => #{next_index => 1, match_index => 0, query_index => 0, commit_index_sent "
      "=> 0, status => normal}}";
  const std::string put = "{put, <<\"k\">>, {v}, #{size => 9, hash => 7}}";
  test::expect_same_in_beam({
      {command(encode_user(kNow, from, term(put), term("await_consensus"))),
       "{'$usr', #{ts => 1764000000123, from => " + from_text + "}, " + put + ", await_consensus}"},
      {command(encode_user(kNow, {}, term(put), term("noreply"))),
       "{'$usr', #{ts => 1764000000123}, " + put + ", noreply}"},
      {command(encode_noop(kNow, 0)), "{noop, #{ts => 1764000000123}, 0}"},
      {command(encode_cluster_change(kNow, from, cluster, nullptr, term("after_log_append"))),
       "{'$ra_cluster_change', #{ts => 1764000000123, from => " + from_text + "}, " + map +
           ", after_log_append}"},
      {command(encode_cluster_change(kNow, {}, cluster, nullptr, term("noreply"))),
       "{'$ra_cluster_change', #{ts => 1764000000123}, " + map + ", noreply}"},
      {command(encode_forced_cluster_change(cluster, nullptr)),
       "{'$ra_cluster_change', undefined, " + map + ", no_reply}"},
      {command(encode_cluster_delete(kNow, from, term("await_consensus"))),
       "{'$ra_cluster', #{ts => 1764000000123, from => " + from_text +
           "}, delete, await_consensus}"},
  });
}

TEST(Encode, ALargeMessageBecomesTheEntry) {
  const std::string from = term("{a, [b]}");
  const std::string data = term("{put, <<\"k\">>, v, #{hash => 7}}");
  const std::string mode = term("await_consensus");
  const std::string wanted(encode_user(kNow, from, data, mode).view());
  // As a client's call has it.
  const std::string head = term("{'$gen_call', x, {command, normal, {'$usr', y, z}}}");
  const std::string bytes = head.substr(0, 13) + from + head.substr(13) + data + mode;
  const auto within = [&](std::size_t skipped, std::string_view after) {
    const SharedBytes message = SharedBytes::copy_of(bytes.substr(skipped) + std::string(after));
    const std::size_t data_at = message.size() - after.size() - mode.size() - data.size();
    const std::string_view view = message.view();
    SharedBytes owned = SharedBytes::copy_of(view);
    const std::string_view own = owned.view();
    const SharedBytes made = encode_user_within(std::move(owned), kNow, own.substr(13, from.size()),
                                                own.substr(data_at, data.size()),
                                                own.substr(data_at + data.size(), mode.size()));
    return std::pair(std::string(made.view()), made.view().data() >= own.data() &&
                                                   made.view().data() < own.data() + own.size());
  };
  EXPECT_EQ(within(0, ""), std::pair(wanted, true));
  EXPECT_EQ(within(0, "what stands after it"), std::pair(wanted, true));

  // Not in the message, or nothing to be in: a copy.
  SharedBytes other = SharedBytes::copy_of(bytes);
  EXPECT_EQ(encode_user_within(std::move(other), kNow, from, data, mode).view(), wanted);
  EXPECT_EQ(encode_user_within({}, kNow, from, data, mode).view(), wanted);
  // No room in front.
  const SharedBytes tight = SharedBytes::copy_of(data + mode);
  const std::string_view view = tight.view();
  EXPECT_EQ(
      encode_user_within(tight, kNow, from, view.substr(0, data.size()), view.substr(data.size()))
          .view(),
      wanted);
}

TEST(Encode, TimesOfEverySize) {
  std::vector<test::SameTerm> claims;
  for (const std::int64_t ts :
       {std::int64_t{0}, std::int64_t{255}, std::int64_t{256}, std::int64_t{-1},
        std::int64_t{INT32_MAX}, std::int64_t{INT32_MAX} + 1, std::int64_t{INT32_MIN},
        std::int64_t{INT32_MIN} - 1, kNow, INT64_MAX, INT64_MIN + 1, INT64_MIN}) {
    const SharedBytes made = encode_user(ts, {}, term("x"), term("noreply"));
    EXPECT_EQ(parse_entry(made.view()).ts, ts);
    claims.push_back({command(made), "{'$usr', #{ts => " + std::to_string(ts) + "}, x, noreply}"});
  }
  test::expect_same_in_beam(claims);
}

TEST(Encode, EntriesBornInTheCore) {
  raft::Entry entry;
  entry.origin = raft::EntryOrigin::leader;
  entry.kind = EntryKind::noop;
  entry.machine_version = 3;
  EntryView view;
  SharedBytes made = encode_core_entry(entry, kNow, {}, {}, nullptr);
  view = parse_entry(made.view());
  EXPECT_EQ(view.kind, EntryKind::noop);
  EXPECT_EQ(view.machine_version, 3u);

  entry.kind = EntryKind::cluster_change;
  entry.cluster = std::make_shared<const raft::Cluster>(
      raft::Cluster{{{"kv", "n1@h"}, {raft::VoterStatus{}, std::nullopt}}});
  made = encode_core_entry(entry, kNow, {}, {}, nullptr);
  view = parse_entry(made.view());
  EXPECT_EQ(view.kind, EntryKind::cluster_change);
  EXPECT_EQ(*view.cluster, *entry.cluster);
  EXPECT_EQ(view.mode, term("noreply"));
  EXPECT_EQ(view.ts, kNow);
  EXPECT_TRUE(view.from.empty());

  entry.origin = raft::EntryOrigin::client;
  const std::string from = term("{caller, tag}");
  for (const char* request :
       {"{command, normal, {'$ra_join', {kv, 'n@h'}, after_log_append}}",
        "{leader_call, {command, normal, {'$ra_join', {kv, 'n@h'}, after_log_append}}}"}) {
    made = encode_core_entry(entry, kNow, from, term(request), nullptr);
    view = parse_entry(made.view());
    EXPECT_EQ(view.mode, term("after_log_append"));
    EXPECT_EQ(view.from, from);
  }
  for (const char* request : {"ping", "{command, normal}", "{command, normal, x}", "{a, b, c}"}) {
    made = encode_core_entry(entry, kNow, from, term(request), nullptr);
    EXPECT_EQ(parse_entry(made.view()).mode, term("noreply")) << request;
  }

  entry.origin = raft::EntryOrigin::forced;
  made = encode_core_entry(entry, kNow, {}, {}, nullptr);
  view = parse_entry(made.view());
  EXPECT_EQ(view.kind, EntryKind::cluster_change);
  EXPECT_EQ(view.meta, term("undefined"));
  EXPECT_EQ(view.mode, term("no_reply"));
}

TEST(Parse, UserCommandOfTheBeam) {
  const std::vector<std::string> encoded = test::encode_in_beam(
      {"{'$usr', #{ts => 1764000000123, from => {list_to_pid(\"<0.9.0>\"), tag}}, {put, <<\"k\">>, "
       "v, #{hash => 1, size => 2}}, {notify, 5, list_to_pid(\"<0.9.0>\")}}",
       "{list_to_pid(\"<0.9.0>\"), tag}"});
  ASSERT_EQ(encoded.size(), 2u);
  const std::string bytes = "\x83" + encoded[0];
  const EntryView view = parse_entry(bytes);
  EXPECT_EQ(view.kind, EntryKind::user);
  EXPECT_EQ(view.ts, kNow);
  EXPECT_EQ(view.from, encoded[1]);
  EXPECT_EQ(etf::print_text(view.data), "{put,<<\"k\">>,v,#{hash => 1,size => 2}}");
  EXPECT_EQ(parse_reply_mode(view.mode).kind, ReplyMode::Kind::notify);
  EXPECT_EQ(view.cluster, nullptr);
}

TEST(Parse, AnyTermMayStandAsMetaAndMode) {
  for (const char* meta : {"undefined", "[]", "#{}", "#{ts => soon}", "{x}", "#{1 => 2}"}) {
    const std::string bytes = payload("{'$usr', " + std::string(meta) + ", data, 17}");
    const EntryView view = parse_entry(bytes);
    EXPECT_EQ(view.kind, EntryKind::user) << meta;
    EXPECT_EQ(view.meta, term(meta));
    EXPECT_EQ(view.data, term("data"));
    EXPECT_EQ(view.mode, term("17"));
    EXPECT_FALSE(view.ts.has_value());
    EXPECT_TRUE(view.from.empty());
  }
}

TEST(Parse, OtherKinds) {
  const std::string noop = payload("{noop, #{ts => 5}, 2}");
  EXPECT_EQ(parse_entry(noop).kind, EntryKind::noop);
  EXPECT_EQ(parse_entry(noop).machine_version, 2u);
  EXPECT_EQ(parse_entry(noop).ts, 5);
  const std::string deleted = payload("{'$ra_cluster', #{ts => 5}, delete, await_consensus}");
  EXPECT_EQ(parse_entry(deleted).kind, EntryKind::cluster_delete);
  EXPECT_EQ(parse_entry(deleted).mode, term("await_consensus"));
}

TEST(Parse, WhatIsNotKnownIsUnknown) {
  for (const char* text :
       {"undefined", "{}", "{noop, #{ts => 1}}", "{noop, #{ts => 1}, x}", "{noop, #{}, 1, 2}",
        "{'$usr', #{}, data}", "{'$usr', #{}, data, mode, more}", "{'$new', #{}, data, mode}",
        "{'$ra_cluster_change', #{}, not_a_cluster, noreply}",
        "{'$ra_cluster', #{}, recreate, noreply}", "{'$ra_join', #{}, {a, 'n@h'}, noreply}",
        "[noop]", "{1, 2, 3}"}) {
    const std::string bytes = payload(text);
    const EntryView view = parse_entry(bytes);
    EXPECT_EQ(view.kind, EntryKind::unknown) << text;
    EXPECT_TRUE(view.meta.empty() && view.data.empty() && view.mode.empty());
  }
  EXPECT_EQ(parse_entry("").kind, EntryKind::unknown);
  EXPECT_EQ(parse_entry(term("{noop, #{ts => 1}, 0}")).kind, EntryKind::unknown);
  EXPECT_EQ(parse_entry(payload("{noop, #{ts => 1}, 0}") + "x").kind, EntryKind::unknown);
}

TEST(Parse, EveryTruncationIsUnknown) {
  for (const char* text :
       {"{'$usr', #{ts => 1764000000123, from => {a, [alias|b]}}, {put, k, [1|2], #{hash => 1}}, "
        "{await_consensus, #{reply_from => local}}}",
        "{noop, #{ts => 1764000000123}, 0}",
        "{'$ra_cluster_change', #{ts => 1}, #{{a, 'n@h'} => #{voter_status => #{}}}, noreply}",
        "{'$ra_cluster', #{ts => 1}, delete, await_consensus}"}) {
    const std::string bytes = payload(text);
    EXPECT_NE(parse_entry(bytes).kind, EntryKind::unknown) << text;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const std::string cut = bytes.substr(0, size);
      EXPECT_EQ(parse_entry(cut).kind, EntryKind::unknown) << text << " " << size;
    }
  }
}

// A BEAM leader would replicate it, and its replicas apply it.
TEST(Parse, DepthIsNoReasonToSkipAnEntry) {
  std::string bytes = "\x83";
  etf::Writer head;
  head.tuple(4).atom("$usr").atom("meta");
  bytes += head.view();
  for (int i = 0; i < 20'000; ++i) bytes += std::string("\x68\1", 2);
  bytes += "j";
  bytes += term("noreply");
  EXPECT_EQ(parse_entry(bytes).kind, EntryKind::user);
}

TEST(ToCoreEntry, CarriesWhatTheCoreNeeds) {
  const std::string bytes = payload(
      "{'$ra_cluster_change', undefined, #{{a, 'n@h'} => #{voter_status => #{}}}, no_reply}");
  const raft::Entry entry =
      to_core_entry(raft::Index(7), raft::Term(2), SharedBytes::copy_of(bytes));
  EXPECT_EQ(entry.index, raft::Index(7));
  EXPECT_EQ(entry.term, raft::Term(2));
  EXPECT_EQ(entry.kind, EntryKind::cluster_change);
  EXPECT_EQ(entry.origin, raft::EntryOrigin::given);
  ASSERT_NE(entry.cluster, nullptr);
  EXPECT_TRUE(entry.cluster->contains({"a", "n@h"}));
  EXPECT_EQ(entry.payload.view(), bytes);
}

TEST(ReplyModes, Good) {
  using Kind = ReplyMode::Kind;
  using From = ReplyMode::ReplyFrom;
  const std::vector<std::string> in_beam = test::encode_in_beam({
      "{notify, 5, self()}",
      "{notify, make_ref(), self()}",
      "{notify, -123456789012345678901234567890, self(), #{}}",
      "{notify, 5, self(), #{reply_from => local}}",
  });
  ASSERT_EQ(in_beam.size(), 4u);
  const struct {
    std::string mode;
    Kind kind;
    From from;
    bool has_options;
  } cases[] = {
      {term("after_log_append"), Kind::after_log_append, From::leader, false},
      {term("await_consensus"), Kind::await_consensus, From::leader, false},
      {term("noreply"), Kind::noreply, From::leader, false},
      {term("{await_consensus, #{}}"), Kind::await_consensus, From::leader, true},
      {term("{await_consensus, #{reply_from => leader}}"), Kind::await_consensus, From::leader,
       true},
      {term("{await_consensus, #{reply_from => local}}"), Kind::await_consensus, From::local, true},
      {term("{await_consensus, #{reply_from => {member, {kv, 'n@h'}}}}"), Kind::await_consensus,
       From::member, true},
      {term("{await_consensus, #{reply_from => {member, nonsense}}}"), Kind::await_consensus,
       From::member, true},
      {in_beam[0], Kind::notify, From::leader, false},
      {in_beam[1], Kind::notify, From::leader, false},
      {in_beam[2], Kind::notify, From::leader, true},
      {in_beam[3], Kind::notify, From::local, true},
  };
  for (const auto& [mode, kind, from, has_options] : cases) {
    EXPECT_FALSE(invalid_reply_mode(mode).has_value()) << etf::print_text(mode);
    const ReplyMode read = parse_reply_mode(mode);
    EXPECT_EQ(read.kind, kind) << etf::print_text(mode);
    EXPECT_EQ(read.reply_from, from) << etf::print_text(mode);
    EXPECT_EQ(read.has_options, has_options) << etf::print_text(mode);
    if (kind == Kind::notify) {
      EXPECT_FALSE(read.correlation.empty());
      EXPECT_EQ(etf::Cursor(read.pid).kind(), etf::TermKind::pid);
    }
  }
  const std::string named = term("{await_consensus, #{reply_from => {member, {kv, 'n@h'}}}}");
  EXPECT_EQ(parse_reply_mode(named).member, raft::ServerId("kv", "n@h"));
  EXPECT_EQ(parse_reply_mode(in_beam[0]).correlation, term("5"));
}

TEST(ReplyModes, BadOnesAreNamed) {
  for (const char* text : {"whatever", "no_reply", "{notify, 5, not_a_pid}", "{notify, atom, x}",
                           "{notify, 5}", "{await_consensus, []}", "{await_consensus, #{}, 1}",
                           "{after_log_append, #{}}", "5", "[]", "<<\"noreply\">>", "{}"}) {
    const std::string mode = term(text);
    const auto reason = invalid_reply_mode(mode);
    ASSERT_TRUE(reason.has_value()) << text;
    EXPECT_EQ(*reason, term("{invalid_reply_mode, " + std::string(text) + "}"));
    if (std::string_view(text) != "no_reply") {
      EXPECT_EQ(parse_reply_mode(mode).kind, ReplyMode::Kind::other) << text;
    }
  }
  EXPECT_EQ(parse_reply_mode(term("no_reply")).kind, ReplyMode::Kind::noreply);
  const struct {
    const char* options;
    const char* reason;
  } options[] = {
      {"#{wait => 5}", "{unknown_option, wait, 5}"},
      {"#{reply_from => nobody}", "{unknown_option, reply_from, nobody}"},
      {"#{reply_from => {member, a, b}}", "{unknown_option, reply_from, {member, a, b}}"},
      {"#{reply_from => local, {x} => [1]}", "{unknown_option, {x}, [1]}"},
  };
  for (const auto& [map, reason] : options) {
    const std::string mode = term("{await_consensus, " + std::string(map) + "}");
    EXPECT_EQ(invalid_reply_mode(mode), term(reason));
    EXPECT_EQ(parse_reply_mode(mode).kind, ReplyMode::Kind::other);
  }
}

TEST(ReplyModes, TruncatedOnesAreInvalid) {
  const std::string mode = term("{await_consensus, #{reply_from => {member, {kv, 'n@h'}}}}");
  for (std::size_t size = 0; size < mode.size(); ++size) {
    const std::string cut = mode.substr(0, size);
    EXPECT_TRUE(invalid_reply_mode(cut).has_value()) << size;
    EXPECT_EQ(parse_reply_mode(cut).kind, ReplyMode::Kind::other) << size;
  }
}

}  // namespace
}  // namespace rakv::wire
