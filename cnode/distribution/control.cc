// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/control.h"

#include <string>
#include <utility>
#include <vector>

#include "cnode/base/check.h"
#include "cnode/etf/writer.h"

namespace rakv::distribution {

namespace {

enum Op : std::uint64_t {
  kLink = 1,
  kSend = 2,
  kExit = 3,
  kUnlink = 4,
  kRegSend = 6,
  kExit2 = 8,
  kSendTt = 12,
  kExitTt = 13,
  kRegSendTt = 16,
  kExit2Tt = 18,
  kMonitorP = 19,
  kDemonitorP = 20,
  kMonitorPExit = 21,
  kSendSender = 22,
  kSendSenderTt = 23,
  kPayloadExit = 24,
  kPayloadExitTt = 25,
  kPayloadExit2 = 26,
  kPayloadExit2Tt = 27,
  kPayloadMonitorPExit = 28,
  kSpawnRequest = 29,
  kSpawnRequestTt = 30,
  kSpawnReply = 31,
  kSpawnReplyTt = 32,
  kAliasSend = 33,
  kAliasSendTt = 34,
  kUnlinkId = 35,
  kUnlinkIdAck = 36,
  kAltActSigSend = 37,
};

constexpr std::uint64_t kAltActPriority = 1;
constexpr std::uint64_t kAltActToAlias = 4;
constexpr std::uint64_t kAltActToName = 8;
constexpr std::uint64_t kAltActExit = 16;

/// Reads the elements behind the op of one control tuple. Every take_ function returns nothing on
/// bad input; the caller turns that into one error.
class Reader {
 public:
  Reader(etf::Cursor& cursor, std::uint64_t op, std::uint32_t elements, bool versioned)
      : cursor_(cursor), op_(op), elements_(elements), versioned_(versioned) {}

  std::optional<DecodedMessage> take();

 private:
  std::optional<ControlMessage> take_control();
  std::optional<ControlMessage> take_send(bool has_sender, bool to_name, bool traced);
  std::optional<ControlMessage> take_alias_send(bool traced);
  std::optional<ControlMessage> take_alternative();
  std::optional<ControlMessage> take_exit(bool by_link, bool traced, bool as_payload);
  std::optional<ControlMessage> take_monitor(bool begins);
  std::optional<ControlMessage> take_monitor_exit(bool as_payload);
  std::optional<ControlMessage> take_spawn_request(bool traced);
  std::optional<ControlMessage> take_spawn_reply(bool traced);
  std::optional<ControlMessage> take_unlink(bool is_ack);
  std::optional<ControlMessage> take_link_or_old_unlink();
  std::optional<ControlMessage> take_ignored();

  bool arity(std::uint32_t plain, bool traced) const {
    return elements_ == plain + (traced ? 1 : 0);
  }
  bool skip(std::uint32_t count) {
    for (; count > 0; --count) {
      if (!cursor_.skip()) return false;
    }
    return true;
  }
  /// The sender of a message; anything that is not a pid is skipped.
  std::optional<etf::PidView> take_sender() {
    if (cursor_.kind() == etf::TermKind::pid) return cursor_.pid_view();
    cursor_.skip();
    return std::nullopt;
  }
  std::optional<PidOrName> take_pid_or_name() {
    if (cursor_.kind() == etf::TermKind::atom) return cursor_.atom();
    return cursor_.pid_view();
  }
  /// The one term of the payload, wholly.
  std::optional<std::string_view> take_payload_term() {
    payload_taken_ = true;
    if (!begin_payload()) return std::nullopt;
    return cursor_.skip();
  }
  bool begin_payload() { return !versioned_ || cursor_.version(); }

  etf::Cursor& cursor_;
  std::uint64_t op_;
  std::uint32_t elements_;
  bool versioned_;
  bool payload_follows_ = false;
  bool payload_taken_ = false;
};

std::optional<DecodedMessage> Reader::take() {
  std::optional<ControlMessage> control = take_control();
  if (!control || !cursor_.ok()) return std::nullopt;
  if (std::holds_alternative<IgnoredSignal>(*control)) return DecodedMessage{*control, {}};
  if (payload_follows_ && !payload_taken_) {
    if (!begin_payload() || cursor_.rest().empty()) return std::nullopt;
    return DecodedMessage{*control, cursor_.rest()};
  }
  if (!cursor_.at_end()) return std::nullopt;
  return DecodedMessage{*control, {}};
}

std::optional<ControlMessage> Reader::take_control() {
  switch (op_) {
    case kSend:
    case kSendTt:
      return take_send(false, false, op_ == kSendTt);
    case kRegSend:
    case kRegSendTt:
      return take_send(true, true, op_ == kRegSendTt);
    case kSendSender:
    case kSendSenderTt:
      return take_send(true, false, op_ == kSendSenderTt);
    case kAliasSend:
    case kAliasSendTt:
      return take_alias_send(op_ == kAliasSendTt);
    case kAltActSigSend:
      return take_alternative();
    case kExit:
    case kExitTt:
      return take_exit(true, op_ == kExitTt, false);
    case kExit2:
    case kExit2Tt:
      return take_exit(false, op_ == kExit2Tt, false);
    case kPayloadExit:
    case kPayloadExitTt:
      return take_exit(true, op_ == kPayloadExitTt, true);
    case kPayloadExit2:
    case kPayloadExit2Tt:
      return take_exit(false, op_ == kPayloadExit2Tt, true);
    case kMonitorP:
    case kDemonitorP:
      return take_monitor(op_ == kMonitorP);
    case kMonitorPExit:
    case kPayloadMonitorPExit:
      return take_monitor_exit(op_ == kPayloadMonitorPExit);
    case kSpawnRequest:
    case kSpawnRequestTt:
      return take_spawn_request(op_ == kSpawnRequestTt);
    case kSpawnReply:
    case kSpawnReplyTt:
      return take_spawn_reply(op_ == kSpawnReplyTt);
    case kUnlinkId:
    case kUnlinkIdAck:
      return take_unlink(op_ == kUnlinkIdAck);
    case kLink:
    case kUnlink:
      return take_link_or_old_unlink();
    default:
      return take_ignored();
  }
}

/// {2, '', To}, {6, From, '', Name}, {22, From, To}, each with a token behind if traced.
std::optional<ControlMessage> Reader::take_send(bool has_sender, bool to_name, bool traced) {
  payload_follows_ = true;
  if (!arity(has_sender && to_name ? 3 : 2, traced)) return std::nullopt;
  MessageSignal signal;
  if (has_sender) signal.from = take_sender();
  if ((!has_sender || to_name) && !cursor_.skip()) return std::nullopt;  // the unused cookie
  if (to_name) {
    const std::optional<std::string_view> name = cursor_.atom();
    if (!name) return std::nullopt;
    signal.to = *name;
  } else {
    const std::optional<etf::PidView> to = cursor_.pid_view();
    if (!to) return std::nullopt;
    signal.to = *to;
  }
  if (!skip(traced ? 1 : 0)) return std::nullopt;
  return signal;
}

/// {33, From, Alias}.
std::optional<ControlMessage> Reader::take_alias_send(bool traced) {
  payload_follows_ = true;
  if (!arity(2, traced)) return std::nullopt;
  MessageSignal signal;
  signal.from = take_sender();
  const std::optional<etf::ReferenceView> alias = cursor_.reference_view();
  if (!alias || !skip(traced ? 1 : 0)) return std::nullopt;
  signal.to = *alias;
  return signal;
}

/// {37, Flags, From, To} with a token behind if a flag says so, and who knows what behind that in
/// later releases.
std::optional<ControlMessage> Reader::take_alternative() {
  payload_follows_ = true;
  if (elements_ < 3 || cursor_.kind() != etf::TermKind::integer) return std::nullopt;
  etf::Cursor look = cursor_;
  const std::optional<std::uint64_t> flags = look.u64();
  if (!cursor_.skip()) return std::nullopt;
  if (!flags) {  // flags beyond 64 bits: nothing that we could obey
    if (!skip(elements_ - 1)) return std::nullopt;
    return IgnoredSignal{op_};
  }
  const std::optional<etf::PidView> from = take_sender();
  std::optional<Destination> to;
  if ((*flags & kAltActToAlias) != 0) {
    to = cursor_.reference_view();
  } else if ((*flags & kAltActToName) != 0) {
    to = cursor_.atom();
  } else {
    to = cursor_.pid_view();
  }
  if (!cursor_.ok() || !to || !skip(elements_ - 3)) return std::nullopt;
  if ((*flags & kAltActExit) == 0) {
    return MessageSignal{from, *to, (*flags & kAltActPriority) != 0};
  }
  const std::optional<std::string_view> reason = take_payload_term();
  if (!from || !reason) return std::nullopt;
  return ExitSignal{*from, *to, *reason};
}

/// {3, From, To, Reason}, {13, From, To, Token, Reason}, {24, From, To} with the reason as payload;
/// 8, 18, 26 alike.
std::optional<ControlMessage> Reader::take_exit(bool by_link, bool traced, bool as_payload) {
  if (!arity(as_payload ? 2 : 3, traced)) return std::nullopt;
  const std::optional<etf::PidView> from = cursor_.pid_view();
  const std::optional<etf::PidView> to = cursor_.pid_view();
  if (!from || !to || !skip(traced ? 1 : 0)) return std::nullopt;
  const std::optional<std::string_view> reason = as_payload ? take_payload_term() : cursor_.skip();
  if (!reason) return std::nullopt;
  if (by_link) return LinkExitSignal{*from, *to, *reason};
  return ExitSignal{*from, *to, *reason};
}

/// {19, Watcher, Watched, Reference}; 20 alike.
std::optional<ControlMessage> Reader::take_monitor(bool begins) {
  if (!arity(3, false)) return std::nullopt;
  const std::optional<etf::PidView> watcher = cursor_.pid_view();
  const std::optional<PidOrName> watched = take_pid_or_name();
  const std::optional<etf::ReferenceView> reference = cursor_.reference_view();
  if (!watcher || !watched || !reference) return std::nullopt;
  if (begins) return MonitorSignal{*watcher, *watched, *reference};
  return DemonitorSignal{*watcher, *watched, *reference};
}

/// {21, Watched, Watcher, Reference, Reason}; 28 with the reason as payload.
std::optional<ControlMessage> Reader::take_monitor_exit(bool as_payload) {
  if (!arity(as_payload ? 3 : 4, false)) return std::nullopt;
  const std::optional<PidOrName> watched = take_pid_or_name();
  const std::optional<etf::PidView> watcher = cursor_.pid_view();
  const std::optional<etf::ReferenceView> reference = cursor_.reference_view();
  if (!watched || !watcher || !reference) return std::nullopt;
  const std::optional<std::string_view> reason = as_payload ? take_payload_term() : cursor_.skip();
  if (!reason) return std::nullopt;
  return MonitorExitSignal{*watched, *watcher, *reference, *reason};
}

/// Sets link and monitor from a list of options; false when it is no proper list.
bool read_spawn_options(std::string_view term, SpawnRequestSignal& signal) {
  etf::Cursor options(term);
  if (options.kind() == etf::TermKind::string) return true;
  const std::optional<std::uint32_t> count = options.list();
  if (!count) return false;
  for (std::uint32_t i = 0; i < *count; ++i) {
    if (options.is_atom("link")) {
      signal.link = true;
    } else if (options.is_atom("monitor")) {
      signal.monitor = true;
    } else if (!options.skip()) {
      return false;
    }
  }
  return options.list_end(*count);
}

/// {29, Reference, From, GroupLeader, {M, F, Arity}, Options}.
std::optional<ControlMessage> Reader::take_spawn_request(bool traced) {
  payload_follows_ = true;
  if (!arity(5, traced)) return std::nullopt;
  const std::optional<etf::ReferenceView> reference = cursor_.reference_view();
  const std::optional<etf::PidView> from = cursor_.pid_view();
  const std::optional<etf::PidView> group_leader = cursor_.pid_view();
  if (!reference || !from || !group_leader || !cursor_.tuple(3)) return std::nullopt;
  const std::optional<std::string_view> module = cursor_.atom();
  const std::optional<std::string_view> function = cursor_.atom();
  const std::optional<std::uint32_t> call_arity = cursor_.u32();
  const std::optional<std::string_view> options = cursor_.skip();
  if (!module || !function || !call_arity || !options) return std::nullopt;
  SpawnRequestSignal signal;
  signal.reference = *reference;
  signal.from = *from;
  signal.group_leader = *group_leader;
  signal.module = *module;
  signal.function = *function;
  signal.arity = *call_arity;
  signal.options = *options;
  if (!read_spawn_options(*options, signal) || !skip(traced ? 1 : 0)) return std::nullopt;
  return signal;
}

/// {31, Reference, To, Flags, PidOrAtom}.
std::optional<ControlMessage> Reader::take_spawn_reply(bool traced) {
  if (!arity(4, traced)) return std::nullopt;
  const std::optional<etf::ReferenceView> reference = cursor_.reference_view();
  const std::optional<etf::PidView> to = cursor_.pid_view();
  const std::optional<std::uint32_t> flags = cursor_.u32();
  const std::optional<PidOrName> result = take_pid_or_name();
  if (!reference || !to || !flags || !result || !skip(traced ? 1 : 0)) return std::nullopt;
  return SpawnReplySignal{*reference, *to, *flags, *result};
}

/// {35, Id, From, To}; 36 alike.
std::optional<ControlMessage> Reader::take_unlink(bool is_ack) {
  if (!arity(3, false)) return std::nullopt;
  const std::optional<std::uint64_t> id = cursor_.u64();
  const std::optional<etf::PidView> from = cursor_.pid_view();
  const std::optional<etf::PidView> to = cursor_.pid_view();
  if (!id || *id == 0 || !from || !to) return std::nullopt;
  if (is_ack) return UnlinkAckSignal{*id, *from, *to};
  return UnlinkSignal{*id, *from, *to};
}

/// {1, From, To}; 4 alike.
std::optional<ControlMessage> Reader::take_link_or_old_unlink() {
  if (!arity(2, false)) return std::nullopt;
  const std::optional<etf::PidView> from = cursor_.pid_view();
  const std::optional<etf::PidView> to = cursor_.pid_view();
  if (!from || !to) return std::nullopt;
  if (op_ == kLink) return LinkSignal{*from, *to};
  return UnlinkSignal{std::nullopt, *from, *to};
}

std::optional<ControlMessage> Reader::take_ignored() {
  if (!skip(elements_)) return std::nullopt;
  return IgnoredSignal{op_};
}

// Encoding

void write(etf::Writer& writer, const PidOrName& value) {
  if (const auto* pid = std::get_if<etf::PidView>(&value)) {
    writer.pid(*pid);
  } else {
    writer.atom(std::get<std::string_view>(value));
  }
}

/// Enough for most messages with their payload, values below OutMessage's limit for shared bytes
/// included: to grow later would copy them.
constexpr std::size_t kUsualBytes = 640;

/// A message whose control tuple is `op` and what `elements` writes behind it.
template <class Elements>
OutMessage encode(std::size_t arity, std::uint64_t op, Elements elements) {
  OutMessage message;
  message.text.reserve(kUsualBytes);
  etf::Writer writer(message.text);
  writer.tuple(arity).u64(op);
  elements(writer);
  message.end_control();
  return message;
}

OutMessage encode_pair(std::uint64_t op, const etf::PidView& from, const etf::PidView& to) {
  return encode(3, op, [&](etf::Writer& writer) { writer.pid(from).pid(to); });
}

OutMessage encode_with_id(std::uint64_t op, std::uint64_t id, const etf::PidView& from,
                          const etf::PidView& to) {
  RAKV_CHECK(id != 0);
  return encode(4, op, [&](etf::Writer& writer) { writer.u64(id).pid(from).pid(to); });
}

OutMessage encode_watch(std::uint64_t op, const etf::PidView& watcher, const PidOrName& watched,
                        const etf::ReferenceView& reference) {
  return encode(4, op, [&](etf::Writer& writer) {
    writer.pid(watcher);
    write(writer, watched);
    writer.reference(reference);
  });
}

}  // namespace

Result<DecodedMessage> decode_message(etf::Cursor& cursor, bool versioned) {
  const auto bad = [&cursor](std::string_view expected) {
    return make_error(ErrorCode::malformed,
                      "bad control message from the peer: " + cursor.error(expected).message);
  };
  const std::optional<std::uint32_t> arity = cursor.tuple();
  if (!arity || *arity == 0) return bad("a control tuple");
  const std::optional<std::uint64_t> op = cursor.u64();
  if (!op) return bad("an operation number");
  std::optional<DecodedMessage> message = Reader(cursor, *op, *arity - 1, versioned).take();
  if (!message) return bad("the rest of operation " + std::to_string(*op));
  return *message;
}

OutMessage encode_send(const etf::PidView& from, const etf::PidView& to) {
  return encode_pair(kSendSender, from, to);
}

OutMessage encode_send_to_name(const etf::PidView& from, std::string_view to_name) {
  return encode(4, kRegSend, [&](etf::Writer& writer) { writer.pid(from).atom("").atom(to_name); });
}

OutMessage encode_send_to_alias(Flags in_force, const etf::PidView& from,
                                const etf::ReferenceView& alias) {
  if ((in_force & kFlagAltActSig) != 0) {
    return encode(4, kAltActSigSend, [&](etf::Writer& writer) {
      writer.u64(kAltActToAlias).pid(from).reference(alias);
    });
  }
  return encode(3, kAliasSend, [&](etf::Writer& writer) { writer.pid(from).reference(alias); });
}

OutMessage encode_link(const etf::PidView& from, const etf::PidView& to) {
  return encode_pair(kLink, from, to);
}

OutMessage encode_unlink(std::uint64_t id, const etf::PidView& from, const etf::PidView& to) {
  return encode_with_id(kUnlinkId, id, from, to);
}

OutMessage encode_unlink_ack(std::uint64_t id, const etf::PidView& from, const etf::PidView& to) {
  return encode_with_id(kUnlinkIdAck, id, from, to);
}

OutMessage encode_link_exit(const etf::PidView& from, const etf::PidView& to) {
  return encode_pair(kPayloadExit, from, to);
}

OutMessage encode_exit(const etf::PidView& from, const etf::PidView& to) {
  return encode_pair(kPayloadExit2, from, to);
}

OutMessage encode_monitor(const etf::PidView& watcher, const PidOrName& watched,
                          const etf::ReferenceView& reference) {
  return encode_watch(kMonitorP, watcher, watched, reference);
}

OutMessage encode_demonitor(const etf::PidView& watcher, const PidOrName& watched,
                            const etf::ReferenceView& reference) {
  return encode_watch(kDemonitorP, watcher, watched, reference);
}

OutMessage encode_monitor_exit(const PidOrName& watched, const etf::PidView& watcher,
                               const etf::ReferenceView& reference) {
  return encode(4, kPayloadMonitorPExit, [&](etf::Writer& writer) {
    write(writer, watched);
    writer.pid(watcher).reference(reference);
  });
}

OutMessage encode_spawn_request(const etf::ReferenceView& reference, const etf::PidView& from,
                                const etf::PidView& group_leader, std::string_view module,
                                std::string_view function, std::uint8_t arity, bool monitor) {
  return encode(6, kSpawnRequest, [&](etf::Writer& writer) {
    writer.reference(reference).pid(from).pid(group_leader);
    writer.tuple(3).atom(module).atom(function).integer(arity);
    if (monitor) writer.list(1).atom("monitor");
    writer.nil();
  });
}

OutMessage encode_spawn_reply(const etf::ReferenceView& reference, const etf::PidView& to,
                              std::uint32_t flags, const PidOrName& result) {
  return encode(5, kSpawnReply, [&](etf::Writer& writer) {
    writer.reference(reference).pid(to).u64(flags);
    write(writer, result);
  });
}

namespace {

/// The control tuple of a message of ours, element by element.
struct OwnControl {
  std::uint64_t op = 0;
  std::vector<std::string_view> elements;  ///< behind the op
};

OwnControl read_own_control(std::string_view bytes) {
  OwnControl control;
  etf::Cursor cursor(bytes);
  const std::optional<std::uint32_t> arity = cursor.tuple();
  control.op = cursor.u64().value_or(0);
  for (std::uint32_t i = 1; i < arity.value_or(0); ++i) {
    control.elements.push_back(cursor.skip().value_or(std::string_view{}));
  }
  RAKV_CHECK(cursor.at_end());
  return control;
}

/// A control tuple's bytes; `open` leaves room for one element that follows in the message.
std::string control_tuple(std::uint64_t op, const std::vector<std::string_view>& elements,
                          bool open) {
  etf::Writer writer;
  writer.tuple(1 + elements.size() + (open ? 1 : 0)).u64(op);
  for (const std::string_view element : elements) writer.raw(element);
  return writer.take();
}

bool is_atom(std::string_view term) { return etf::Cursor(term).kind() == etf::TermKind::atom; }

}  // namespace

bool adapt(OutMessage& message, Flags in_force) {
  if ((in_force & kUnadaptedFlags) == kUnadaptedFlags) return true;
  const OwnControl control = read_own_control(message.control());
  const auto lacks = [in_force](Flags flag) { return (in_force & flag) == 0; };
  const auto with_reason_inside = [&](std::uint64_t op) {
    if (lacks(kFlagExitPayload))
      message.replace_control(control_tuple(op, control.elements, true), true);
    return true;
  };
  switch (control.op) {
    case kSendSender:
      if (lacks(kFlagSendSender)) {
        etf::Writer unused;
        unused.atom("");
        message.replace_control(control_tuple(kSend, {unused.view(), control.elements[1]}, false),
                                false);
      }
      return true;
    case kPayloadExit:
      return with_reason_inside(kExit);
    case kPayloadExit2:
      return with_reason_inside(kExit2);
    case kPayloadMonitorPExit:
      return with_reason_inside(kMonitorPExit);
    case kUnlinkId:
      if (lacks(kFlagUnlinkId)) {
        message.replace_control(
            control_tuple(kUnlink, {control.elements[1], control.elements[2]}, false), true);
      }
      return true;
    case kUnlinkIdAck:
      return !lacks(kFlagUnlinkId);
    case kMonitorP:
    case kDemonitorP:
      return !lacks(kFlagMonitorName) || !is_atom(control.elements[1]);
    case kSpawnRequest:
      return !lacks(kFlagSpawn);
    case kAliasSend:
    case kAltActSigSend:
      return !lacks(kFlagAlias);
    default:
      return true;
  }
}

}  // namespace rakv::distribution
