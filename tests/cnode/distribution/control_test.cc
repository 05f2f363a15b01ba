// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/control.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "cnode/etf/writer.h"
#include "tests/cnode/distribution/support.h"

namespace rakv::distribution {
namespace {

using etf::Writer;

const etf::Pid kOurs("we@host", 7, 1, 1000);
const etf::Pid kTheirs("they@host", 9, 2, 2000);

etf::Reference reference(std::uint8_t words = 3) {
  etf::ReferenceWords numbers;
  numbers.count = words;
  for (std::uint8_t i = 0; i < words; ++i) numbers.word[i] = 100u + i;
  return etf::Reference("they@host", 2000, numbers);
}

/// Terms written by `write`.
std::string terms(const std::function<void(Writer&)>& write) {
  Writer writer;
  write(writer);
  return writer.take();
}

/// Decodes and keeps what the views point to.
struct Decoded {
  explicit Decoded(std::string given, bool versioned = false)
      : bytes(std::move(given)), cursor(bytes), result(decode_message(cursor, versioned)) {}
  Decoded(const Decoded&) = delete;

  bool ok() const { return result.has_value(); }
  template <class Signal>
  const Signal& as() const {
    static const Signal kNone{};
    if (!ok()) {
      ADD_FAILURE() << result.error().message;
      return kNone;
    }
    const Signal* signal = std::get_if<Signal>(&result->control);
    if (signal == nullptr) {
      ADD_FAILURE() << "another signal";
      return kNone;
    }
    return *signal;
  }
  std::string_view payload() const { return result->payload; }

  std::string bytes;
  etf::Cursor cursor;
  Result<DecodedMessage> result;
};

std::string atom_term(const std::string& name) {
  return terms([&](Writer& w) { w.atom(name); });
}

TEST(ControlTest, MessagesInAllTheirForms) {
  const std::string payload = terms([](Writer& w) { w.tuple(2).atom("hi").integer(1); });
  struct Form {
    int op;
    bool has_sender;
    std::function<void(Writer&)> elements;
    int destination;  // index in the variant
  };
  const auto token = [](Writer& w) { w.tuple(1).atom("token"); };
  const std::vector<Form> forms{
      {2, false, [](Writer& w) { w.tuple(3).integer(2).atom("").pid(kTheirs); }, 0},
      {12, false, [&](Writer& w) { token(w.tuple(4).integer(12).atom("").pid(kTheirs)); }, 0},
      {22, true, [](Writer& w) { w.tuple(3).integer(22).pid(kOurs).pid(kTheirs); }, 0},
      {23, true, [&](Writer& w) { token(w.tuple(4).integer(23).pid(kOurs).pid(kTheirs)); }, 0},
      {6, true, [](Writer& w) { w.tuple(4).integer(6).pid(kOurs).atom("").atom("name"); }, 1},
      {16, true, [&](Writer& w) { token(w.tuple(5).integer(16).pid(kOurs).atom("").atom("name")); },
       1},
      {33, true, [](Writer& w) { w.tuple(3).integer(33).pid(kOurs).reference(reference(5)); }, 2},
      {34, true,
       [&](Writer& w) { token(w.tuple(4).integer(34).pid(kOurs).reference(reference(5))); }, 2},
      {37, true,
       [](Writer& w) { w.tuple(4).integer(37).integer(4).pid(kOurs).reference(reference(5)); }, 2},
      {37, true, [](Writer& w) { w.tuple(4).integer(37).integer(0).pid(kOurs).pid(kTheirs); }, 0},
      {37, true, [](Writer& w) { w.tuple(4).integer(37).integer(8).pid(kOurs).atom("name"); }, 1},
      {37, true,
       [&](Writer& w) {
         token(w.tuple(5).integer(37).integer(6).pid(kOurs).reference(reference(5)));
       },
       2},
      // Flags and elements of releases to come.
      {37, true,
       [](Writer& w) {
         w.tuple(6).integer(37).integer(0x7fff0000ffe8).pid(kOurs).atom("name").nil().atom("new");
       },
       1},
  };
  for (const Form& form : forms) {
    const Decoded got(terms(form.elements) + payload);
    const auto& signal = got.as<MessageSignal>();
    EXPECT_EQ(signal.from.has_value(), form.has_sender) << form.op;
    if (signal.from) {
      EXPECT_EQ(*signal.from, kOurs.view());
    }
    ASSERT_EQ(signal.to.index(), static_cast<std::size_t>(form.destination)) << form.op;
    if (form.destination == 0) {
      EXPECT_EQ(std::get<etf::PidView>(signal.to), kTheirs.view());
    } else if (form.destination == 1) {
      EXPECT_EQ(std::get<std::string_view>(signal.to), "name");
    } else {
      EXPECT_EQ(std::get<etf::ReferenceView>(signal.to), reference(5).view());
    }
    EXPECT_EQ(got.payload(), payload);
    EXPECT_FALSE(Decoded(terms(form.elements)).ok()) << "the payload is missing";
  }
}

TEST(ControlTest, PriorityAndHugeFlagsOfOp37) {
  const std::string payload = atom_term("x");
  const Decoded urgent(
      terms([](Writer& w) { w.tuple(4).integer(37).integer(1).pid(kOurs).pid(kTheirs); }) +
      payload);
  EXPECT_TRUE(urgent.as<MessageSignal>().priority);
  const Decoded unknown(
      terms([](Writer& w) {
        w.tuple(4).integer(37).big(false, std::string(20, '\xff')).pid(kOurs).pid(kTheirs);
      }) +
      payload);
  EXPECT_EQ(unknown.as<IgnoredSignal>().op, 37u);
}

TEST(ControlTest, ExitsInAllTheirForms) {
  const std::string reason = terms([](Writer& w) { w.tuple(2).atom("shutdown").nil(); });
  const auto pair = [](int op, std::size_t arity) {
    return [op, arity](Writer& w) -> Writer& {
      return w.tuple(arity).integer(op).pid(kTheirs).pid(kOurs);
    };
  };
  const auto check = [&](const auto& signal) {
    EXPECT_EQ(signal.from, kTheirs.view());
    EXPECT_EQ(signal.reason, reason);
  };
  check(Decoded(terms([&](Writer& w) { pair(3, 4)(w).raw(reason); })).as<LinkExitSignal>());
  check(Decoded(terms([&](Writer& w) {
          pair(13, 5)(w).atom("token").raw(reason);
        })).as<LinkExitSignal>());
  check(Decoded(terms([&](Writer& w) { pair(24, 3)(w); }) + reason).as<LinkExitSignal>());
  check(Decoded(terms([&](Writer& w) { pair(25, 4)(w).atom("token"); }) + reason)
            .as<LinkExitSignal>());
  check(Decoded(terms([&](Writer& w) { pair(8, 4)(w).raw(reason); })).as<ExitSignal>());
  check(Decoded(terms([&](Writer& w) {
          pair(18, 5)(w).atom("token").raw(reason);
        })).as<ExitSignal>());
  check(Decoded(terms([&](Writer& w) { pair(26, 3)(w); }) + reason).as<ExitSignal>());
  check(Decoded(terms([&](Writer& w) { pair(27, 4)(w).atom("token"); }) + reason).as<ExitSignal>());
  const Decoded alternative(
      terms([](Writer& w) { w.tuple(4).integer(37).integer(16 + 8).pid(kTheirs).atom("name"); }) +
      reason);
  check(alternative.as<ExitSignal>());
  EXPECT_EQ(std::get<std::string_view>(alternative.as<ExitSignal>().to), "name");
  EXPECT_FALSE(Decoded(terms([&](Writer& w) { pair(24, 3)(w); })).ok()) << "no reason";
  EXPECT_FALSE(Decoded(terms([&](Writer& w) { pair(24, 3)(w); }) + reason + reason).ok());
  EXPECT_FALSE(Decoded(terms([&](Writer& w) { pair(3, 4)(w).raw(reason); }) + reason).ok());
}

TEST(ControlTest, LinksAndUnlinks) {
  const auto link =
      Decoded(terms([](Writer& w) { w.tuple(3).integer(1).pid(kTheirs).pid(kOurs); }));
  EXPECT_EQ(link.as<LinkSignal>().from, kTheirs.view());
  EXPECT_EQ(link.as<LinkSignal>().to, kOurs.view());
  const auto old = Decoded(terms([](Writer& w) { w.tuple(3).integer(4).pid(kTheirs).pid(kOurs); }));
  EXPECT_FALSE(old.as<UnlinkSignal>().id);
  for (const std::uint64_t id : {std::uint64_t{1}, std::uint64_t{300}, ~std::uint64_t{0}}) {
    const auto unlink =
        Decoded(terms([&](Writer& w) { w.tuple(4).integer(35).u64(id).pid(kTheirs).pid(kOurs); }));
    EXPECT_EQ(unlink.as<UnlinkSignal>().id, id);
    const auto ack =
        Decoded(terms([&](Writer& w) { w.tuple(4).integer(36).u64(id).pid(kTheirs).pid(kOurs); }));
    EXPECT_EQ(ack.as<UnlinkAckSignal>().id, id);
  }
  EXPECT_FALSE(Decoded(terms([](Writer& w) {
                 w.tuple(4).integer(35).integer(0).pid(kTheirs).pid(kOurs);
               })).ok());
  EXPECT_FALSE(Decoded(terms([](Writer& w) {
                 w.tuple(4).integer(35).integer(-1).pid(kTheirs).pid(kOurs);
               })).ok());
}

TEST(ControlTest, Monitors) {
  const auto by_name = Decoded(terms(
      [](Writer& w) { w.tuple(4).integer(19).pid(kTheirs).atom("kv").reference(reference()); }));
  EXPECT_EQ(std::get<std::string_view>(by_name.as<MonitorSignal>().watched), "kv");
  EXPECT_EQ(by_name.as<MonitorSignal>().reference, reference().view());
  const auto gone = Decoded(terms(
      [](Writer& w) { w.tuple(4).integer(20).pid(kTheirs).pid(kOurs).reference(reference()); }));
  EXPECT_EQ(std::get<etf::PidView>(gone.as<DemonitorSignal>().watched), kOurs.view());
  const std::string reason = atom_term("noproc");
  const auto old = Decoded(terms([&](Writer& w) {
    w.tuple(5).integer(21).atom("kv").pid(kOurs).reference(reference()).raw(reason);
  }));
  EXPECT_EQ(old.as<MonitorExitSignal>().reason, reason);
  const auto exit = Decoded(terms([&](Writer& w) {
                              w.tuple(4).integer(28).pid(kTheirs).pid(kOurs).reference(reference());
                            }) +
                            reason);
  EXPECT_EQ(exit.as<MonitorExitSignal>().reason, reason);
  EXPECT_EQ(exit.as<MonitorExitSignal>().watcher, kOurs.view());
}

TEST(ControlTest, SpawnRequestsAndReplies) {
  const std::string arguments = terms([](Writer& w) { w.list(1).atom("x").nil(); });
  const auto request = [&](int op, const std::function<void(Writer&)>& options) {
    return terms([&](Writer& w) {
             w.tuple(op == 30 ? 7 : 6).integer(op).reference(reference()).pid(kTheirs).pid(kTheirs);
             w.tuple(3).atom("erpc").atom("execute_call").integer(4);
             options(w);
             if (op == 30) w.atom("token");
           }) +
           arguments;
  };
  const Decoded monitored(request(29, [](Writer& w) { w.list(1).atom("monitor").nil(); }));
  const auto& signal = monitored.as<SpawnRequestSignal>();
  EXPECT_TRUE(signal.monitor);
  EXPECT_FALSE(signal.link);
  EXPECT_EQ(signal.module, "erpc");
  EXPECT_EQ(signal.function, "execute_call");
  EXPECT_EQ(signal.arity, 4u);
  EXPECT_EQ(monitored.payload(), arguments);
  // A BEAM takes as many arguments as it is given, and says that there is no such function.
  const Decoded many(terms([](Writer& w) {
                       w.tuple(6).integer(29).reference(reference()).pid(kTheirs).pid(kTheirs);
                       w.tuple(3).atom("m").atom("f").integer(300).nil();
                     }) +
                     arguments);
  EXPECT_EQ(many.as<SpawnRequestSignal>().arity, 300u);
  const Decoded linked(request(30, [](Writer& w) {
    w.list(3).tuple(2).atom("priority").atom("high").atom("link").atom("monitor").nil();
  }));
  EXPECT_TRUE(linked.as<SpawnRequestSignal>().link);
  EXPECT_TRUE(linked.as<SpawnRequestSignal>().monitor);
  EXPECT_TRUE(Decoded(request(29, [](Writer& w) { w.nil(); })).ok());
  EXPECT_FALSE(
      Decoded(request(29, [](Writer& w) { w.list(1).atom("link").atom("improper"); })).ok());
  EXPECT_FALSE(Decoded(request(29, [](Writer& w) { w.atom("no_list"); })).ok());

  const Decoded reply(terms([](Writer& w) {
    w.tuple(5).integer(31).reference(reference()).pid(kOurs).integer(2).pid(kTheirs);
  }));
  EXPECT_EQ(reply.as<SpawnReplySignal>().flags, kSpawnReplyMonitor);
  EXPECT_EQ(std::get<etf::PidView>(reply.as<SpawnReplySignal>().result), kTheirs.view());
  const Decoded refusal(terms([](Writer& w) {
    w.tuple(6).integer(32).reference(reference()).pid(kOurs).integer(0).atom("notsup").nil();
  }));
  EXPECT_EQ(std::get<std::string_view>(refusal.as<SpawnReplySignal>().result), "notsup");
}

TEST(ControlTest, OpsWeHaveNoUseForAreSkipped) {
  EXPECT_EQ(Decoded(terms([](Writer& w) { w.tuple(3).integer(7).pid(kTheirs).pid(kOurs); }))
                .as<IgnoredSignal>()
                .op,
            7u);
  for (const std::int64_t op : {5, 9, 38, 99, 100'000}) {
    const Decoded future(terms([&](Writer& w) { w.tuple(3).integer(op).atom("what").nil(); }) +
                         "whatever");
    EXPECT_EQ(future.as<IgnoredSignal>().op, static_cast<std::uint64_t>(op));
  }
}

TEST(ControlTest, BadControlTermsAreErrors) {
  const std::vector<std::string> bad{
      "",
      "\xff",
      atom_term("no_tuple"),
      terms([](Writer& w) { w.tuple(0); }),
      terms([](Writer& w) { w.tuple(1).atom("op"); }),
      terms([](Writer& w) { w.tuple(1).integer(-1); }),
      terms([](Writer& w) { w.tuple(2).integer(1).pid(kTheirs); }),  // arity
      terms([](Writer& w) { w.tuple(4).integer(1).pid(kTheirs).pid(kOurs).nil(); }),
      terms([](Writer& w) { w.tuple(3).integer(1).pid(kTheirs).atom("name"); }),  // type
      terms([](Writer& w) { w.tuple(3).integer(22).pid(kOurs).atom("name").nil(); }),
      terms([](Writer& w) { w.tuple(4).integer(6).pid(kOurs).atom("").integer(1).nil(); }),
      terms([](Writer& w) { w.tuple(4).integer(19).atom("x").atom("kv").reference(reference()); }),
      terms(
          [](Writer& w) { w.tuple(4).integer(19).pid(kTheirs).integer(1).reference(reference()); }),
      terms([](Writer& w) { w.tuple(3).integer(1).pid(kTheirs).pid(kOurs); }) + atom_term("after"),
      terms([](Writer& w) { w.tuple(3).integer(99).atom("cut off"); }),
      terms([](Writer& w) { w.tuple(3).integer(37).integer(0).pid(kOurs).nil(); }),
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const Decoded got(bad[i]);
    ASSERT_FALSE(got.ok()) << i;
    EXPECT_EQ(got.result.error().code, ErrorCode::malformed);
    EXPECT_TRUE(got.result.error().message.starts_with("bad control message"));
  }
}

TEST(ControlTest, EveryTruncationIsAnErrorOrSkipped) {
  const OutMessage whole =
      encode_spawn_request(reference(), kTheirs, kTheirs, "erpc", "execute_call", 4, true);
  for (std::size_t size = 0; size < whole.text.size(); ++size) {
    EXPECT_FALSE(Decoded(whole.text.substr(0, size)).ok()) << size;
  }
}

TEST(ControlTest, AVersionByteStandsBeforeThePayloadThatIsPassedThrough) {
  const OutMessage send = encode_send_to_name(kOurs, "kv");
  const Decoded got(send.text + "\x83" + atom_term("x"), true);
  EXPECT_EQ(got.payload(), atom_term("x"));
  EXPECT_FALSE(Decoded(send.text + atom_term("x"), true).ok());
  EXPECT_FALSE(Decoded(send.text + "\x83", true).ok());
  const OutMessage exit = encode_exit(kOurs, kTheirs);
  EXPECT_EQ(Decoded(exit.text + "\x83" + atom_term("x"), true).as<ExitSignal>().reason,
            atom_term("x"));
  EXPECT_TRUE(Decoded(encode_link(kOurs, kTheirs).text, true).ok());
}

/// The op of a message whose control tuple is small.
int op_of(const OutMessage& message) { return static_cast<unsigned char>(message.text[3]); }

TEST(ControlTest, WhatAPeerLacksIsSaidInItsWords) {
  const Flags poor = kDemandedFlags & ~kFlagUnlinkId;
  const std::string reason = atom_term("why");
  const SharedBytes large =
      SharedBytes::copy_of(terms([](Writer& w) { w.binary(std::string(5000, 'x')); }));
  const auto with = [](OutMessage message, const SharedBytes& payload) {
    message.share(payload);
    return message;
  };
  const auto flat = [](const OutMessage& message) {
    std::vector<std::string_view> parts;
    message.append_range(0, message.size(), parts);
    std::string all;
    for (const std::string_view part : parts) all.append(part);
    return all;
  };
  for (const SharedBytes& payload : {SharedBytes::copy_of(reason), large}) {
    OutMessage send = with(encode_send(kOurs, kTheirs), payload);
    ASSERT_TRUE(adapt(send, poor));
    EXPECT_EQ(op_of(send), 2);
    EXPECT_EQ(send.size() - send.control_bytes(), payload.view().size());
    const Decoded sent(flat(send));
    EXPECT_EQ(std::get<etf::PidView>(sent.as<MessageSignal>().to), kTheirs.view());
    EXPECT_EQ(sent.payload(), payload.view());

    OutMessage link_exit = with(encode_link_exit(kOurs, kTheirs), payload);
    ASSERT_TRUE(adapt(link_exit, poor));
    EXPECT_EQ(op_of(link_exit), 3);
    EXPECT_EQ(link_exit.control_bytes(), link_exit.size()) << "the reason is in the control term";
    EXPECT_EQ(Decoded(flat(link_exit)).as<LinkExitSignal>().reason, payload.view());

    OutMessage exit = with(encode_exit(kOurs, kTheirs), payload);
    ASSERT_TRUE(adapt(exit, poor));
    EXPECT_EQ(op_of(exit), 8);
    EXPECT_EQ(Decoded(flat(exit)).as<ExitSignal>().reason, payload.view());

    OutMessage down =
        with(encode_monitor_exit(std::string_view("kv"), kTheirs, reference()), payload);
    ASSERT_TRUE(adapt(down, poor));
    EXPECT_EQ(op_of(down), 21);
    EXPECT_EQ(Decoded(flat(down)).as<MonitorExitSignal>().reason, payload.view());
    EXPECT_EQ(Decoded(flat(down)).as<MonitorExitSignal>().reference, reference().view());
  }
  OutMessage unlink = encode_unlink(5, kOurs, kTheirs);
  ASSERT_TRUE(adapt(unlink, poor));
  EXPECT_EQ(op_of(unlink), 4);
  EXPECT_FALSE(Decoded(unlink.text).as<UnlinkSignal>().id);
  EXPECT_EQ(Decoded(unlink.text).as<UnlinkSignal>().to, kTheirs.view());
}

TEST(ControlTest, WhatAPeerHasNoWordsForIsNotSent) {
  const PidOrName name = std::string_view("kv");
  const PidOrName pid = kTheirs.view();
  const std::vector<std::pair<OutMessage, Flags>> needs = {
      {encode_monitor(kOurs, name, reference()), kFlagMonitorName},
      {encode_demonitor(kOurs, name, reference()), kFlagMonitorName},
      {encode_send_to_alias(kFlagAlias, kOurs, reference()), kFlagAlias},
      {encode_send_to_alias(kFlagAlias | kFlagAltActSig, kOurs, reference()), kFlagAlias},
      {encode_spawn_request(reference(), kOurs, kOurs, "m", "f", 0, true), kFlagSpawn},
      {encode_unlink_ack(7, kOurs, kTheirs), kFlagUnlinkId}};
  for (const auto& [message, flag] : needs) {
    OutMessage lacking = message;
    EXPECT_FALSE(adapt(lacking, kOfferedFlags & ~flag)) << op_of(message);
    OutMessage same = message;
    EXPECT_TRUE(adapt(same, kOfferedFlags));
    EXPECT_EQ(same.text, message.text);
  }
  OutMessage by_pid = encode_monitor(kOurs, pid, reference());
  EXPECT_TRUE(adapt(by_pid, kDemandedFlags));
}

TEST(ControlTest, WhatIsEncodedDecodesAgain) {
  const std::string payload = atom_term("payload");
  const auto with_payload = [&payload](const OutMessage& message) {
    EXPECT_EQ(message.control_bytes(), message.text.size());
    return message.text + payload;
  };
  {
    const Decoded got(with_payload(encode_send(kOurs, kTheirs)));
    EXPECT_EQ(std::get<etf::PidView>(got.as<MessageSignal>().to), kTheirs.view());
  }
  {
    const Decoded got(with_payload(encode_send_to_name(kOurs, "kv")));
    EXPECT_EQ(std::get<std::string_view>(got.as<MessageSignal>().to), "kv");
  }
  for (const Flags flags : {kFlagAlias, kFlagAlias | kFlagAltActSig}) {
    const OutMessage message = encode_send_to_alias(flags, kOurs, reference(5));
    EXPECT_EQ(message.text[2 + 1], flags == kFlagAlias ? 33 : 37);
    const Decoded got(with_payload(message));
    EXPECT_EQ(std::get<etf::ReferenceView>(got.as<MessageSignal>().to), reference(5).view());
  }
  EXPECT_EQ(Decoded(encode_link(kOurs, kTheirs).text).as<LinkSignal>().to, kTheirs.view());
  EXPECT_EQ(Decoded(encode_unlink(5, kOurs, kTheirs).text).as<UnlinkSignal>().id, 5u);
  EXPECT_EQ(Decoded(encode_unlink_ack(~0ull, kOurs, kTheirs).text).as<UnlinkAckSignal>().id, ~0ull);
  EXPECT_EQ(Decoded(with_payload(encode_link_exit(kOurs, kTheirs))).as<LinkExitSignal>().reason,
            payload);
  EXPECT_EQ(Decoded(with_payload(encode_exit(kOurs, kTheirs))).as<ExitSignal>().reason, payload);
  const PidOrName name = std::string_view("kv");
  EXPECT_EQ(Decoded(encode_monitor(kOurs, name, reference()).text).as<MonitorSignal>().watched,
            name);
  EXPECT_EQ(Decoded(encode_demonitor(kOurs, name, reference()).text).as<DemonitorSignal>().watched,
            name);
  {
    const Decoded got(with_payload(encode_monitor_exit(name, kTheirs, reference())));
    EXPECT_EQ(got.as<MonitorExitSignal>().watched, name);
    EXPECT_EQ(got.as<MonitorExitSignal>().reason, payload);
  }
  for (const bool monitor : {true, false}) {
    const Decoded got(
        with_payload(encode_spawn_request(reference(), kOurs, kTheirs, "m", "f", 2, monitor)));
    EXPECT_EQ(got.as<SpawnRequestSignal>().monitor, monitor);
    EXPECT_EQ(got.as<SpawnRequestSignal>().group_leader, kTheirs.view());
  }
  {
    const Decoded got(
        encode_spawn_reply(reference(), kTheirs, kSpawnReplyMonitor, kOurs.view()).text);
    EXPECT_EQ(std::get<etf::PidView>(got.as<SpawnReplySignal>().result), kOurs.view());
  }
}

}  // namespace
}  // namespace rakv::distribution
