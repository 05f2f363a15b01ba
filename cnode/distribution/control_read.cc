// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "cnode/distribution/control.h"
#include "cnode/distribution/control_ops.h"

namespace rakv::distribution {
namespace {

/// Reads the elements after the op of one control tuple. Every take_ function returns nothing on
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

/// {2, '', To}, {6, From, '', Name}, {22, From, To}, each with a token after it if traced.
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

/// {37, Flags, From, To} with a token after it if a flag says so, and who knows what after that in
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

}  // namespace rakv::distribution
