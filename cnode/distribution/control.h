// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "cnode/base/result.h"
#include "cnode/distribution/flags.h"
#include "cnode/distribution/outbox.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/ids.h"

// Control messages of the distribution: what every message on a connection says of itself. Variants
// that mean the same (with or without trace token, reason in the tuple or as payload, sender named
// or not) decode into one struct. Source: OTP `dist.c`, erts "Distribution Protocol";
// docs/protocol/distribution.md 4.

namespace rakv::distribution {

/// A pid, or the name of a registered process.
using PidOrName = std::variant<etf::PidView, std::string_view>;
/// A pid, a registered name, or an alias.
using Destination = std::variant<etf::PidView, std::string_view, etf::ReferenceView>;

/// Ops 2, 6, 12, 16, 22, 23, 33, 34, 37: deliver the payload. Unknown destinations are dropped in
/// silence.
struct MessageSignal {
  std::optional<etf::PidView> from;  ///< not known for ops 2 and 12
  Destination to;
  bool priority = false;
};
/// Op 1. If `to` does not live, answer link_exit with noproc.
struct LinkSignal {
  etf::PidView from, to;
};
/// Op 35, to be acknowledged with the same id before any other signal to `from`; op 4 (no id) is
/// not acknowledged.
struct UnlinkSignal {
  std::optional<std::uint64_t> id;
  etf::PidView from, to;
};
/// Op 36.
struct UnlinkAckSignal {
  std::uint64_t id = 0;
  etf::PidView from, to;
};
/// Ops 3, 13, 24, 25: a linked process ended.
struct LinkExitSignal {
  etf::PidView from, to;
  std::string_view reason;  ///< a term
};
/// Ops 8, 18, 26, 27 and 37 with its exit flag: exit(To, Reason).
struct ExitSignal {
  etf::PidView from;
  Destination to;
  std::string_view reason;  ///< a term
};
/// Op 19. The watched name or pid is one of this node.
struct MonitorSignal {
  etf::PidView watcher;
  PidOrName watched;
  etf::ReferenceView reference;
};
/// Op 20. Unknown references are ignored.
struct DemonitorSignal {
  etf::PidView watcher;
  PidOrName watched;
  etf::ReferenceView reference;
};
/// Ops 21 and 28: what our `reference` watched is gone.
struct MonitorExitSignal {
  PidOrName watched;
  etf::PidView watcher;
  etf::ReferenceView reference;
  std::string_view reason;  ///< a term
};
/// Ops 29 and 30; the payload is the list of arguments. Exactly one spawn_reply must follow.
struct SpawnRequestSignal {
  etf::ReferenceView reference;
  etf::PidView from, group_leader;
  std::string_view module, function;
  std::uint32_t arity = 0;   ///< of the arguments: more than 255 are no function's
  bool link = false;         ///< option `link`
  bool monitor = false;      ///< option `monitor`
  std::string_view options;  ///< the whole list, a term
};
/// Ops 31 and 32.
struct SpawnReplySignal {
  etf::ReferenceView reference;
  etf::PidView to;
  std::uint32_t flags = 0;  ///< kSpawnReplyLink, kSpawnReplyMonitor
  PidOrName result;         ///< the new pid, or an atom that names the error
};
/// Ops we have no use for (group leader, ops of future releases): to be skipped.
struct IgnoredSignal {
  std::uint64_t op = 0;
};

inline constexpr std::uint32_t kSpawnReplyLink = 1;
inline constexpr std::uint32_t kSpawnReplyMonitor = 2;

using ControlMessage =
    std::variant<MessageSignal, LinkSignal, UnlinkSignal, UnlinkAckSignal, LinkExitSignal,
                 ExitSignal, MonitorSignal, DemonitorSignal, MonitorExitSignal, SpawnRequestSignal,
                 SpawnReplySignal, IgnoredSignal>;

/// A decoded control message and its payload.
struct DecodedMessage {
  ControlMessage control;
  std::string_view
      payload;  ///< one term, NOT validated: its reader does that; empty if the op has none
};

/// Decodes the terms of one message (FrameAssembler::Message::terms), on which `cursor` stands.
/// Views point into the bytes and the cursor. Error `malformed`: the connection has to be closed,
/// as the BEAM would. Exit reasons are validated, other payloads are only checked to be there.
/// `versioned` says that the payload has its 131 (FrameAssembler::Message::versioned).
Result<DecodedMessage> decode_message(etf::Cursor& cursor, bool versioned = false);

// Encoders: each gives a message with its control term; where the comment says so, the caller
// appends one payload term to it (etf::Writer on message.text, OutMessage::share for large values).

/// Op 22. Payload: the message.
OutMessage encode_send(const etf::PidView& from, const etf::PidView& to);
/// Op 6. Payload: the message.
OutMessage encode_send_to_name(const etf::PidView& from, std::string_view to_name);
/// Op 37 if `in_force` has it, else 33. Payload: the message.
OutMessage encode_send_to_alias(Flags in_force, const etf::PidView& from,
                                const etf::ReferenceView& alias);
/// Op 1.
OutMessage encode_link(const etf::PidView& from, const etf::PidView& to);
/// Op 35. `id` is not 0 and unique among those not yet acknowledged.
OutMessage encode_unlink(std::uint64_t id, const etf::PidView& from, const etf::PidView& to);
/// Op 36. Answers UnlinkSignal{id, from, to} with encode_unlink_ack(id, to, from).
OutMessage encode_unlink_ack(std::uint64_t id, const etf::PidView& from, const etf::PidView& to);
/// Op 24. Payload: the reason. `to` must be of the peer's present incarnation, else the peer closes
/// the connection.
OutMessage encode_link_exit(const etf::PidView& from, const etf::PidView& to);
/// Op 26. Payload: the reason.
OutMessage encode_exit(const etf::PidView& from, const etf::PidView& to);
/// Op 19.
OutMessage encode_monitor(const etf::PidView& watcher, const PidOrName& watched,
                          const etf::ReferenceView& reference);
/// Op 20.
OutMessage encode_demonitor(const etf::PidView& watcher, const PidOrName& watched,
                            const etf::ReferenceView& reference);
/// Op 28. Payload: the reason. `watched` is as in the MonitorSignal (a name stays a name).
OutMessage encode_monitor_exit(const PidOrName& watched, const etf::PidView& watcher,
                               const etf::ReferenceView& reference);
/// Op 29 with the options [monitor] or []. Payload: the list of arguments.
OutMessage encode_spawn_request(const etf::ReferenceView& reference, const etf::PidView& from,
                                const etf::PidView& group_leader, std::string_view module,
                                std::string_view function, std::uint8_t arity, bool monitor);
/// Op 31. `result` is a new pid or an error's atom.
OutMessage encode_spawn_reply(const etf::ReferenceView& reference, const etf::PidView& to,
                              std::uint32_t flags, const PidOrName& result);

/// The flags without which adapt() has something to do.
inline constexpr Flags kUnadaptedFlags =
    kFlagMonitorName | kFlagSendSender | kFlagExitPayload | kFlagUnlinkId | kFlagSpawn | kFlagAlias;

/// Puts a complete message (payload included) in the words of a peer with which `in_force` was
/// negotiated: op 2 for 22, exits with the reason in the control term, the old unlink. False when
/// the peer has no word for it (monitors by name, aliases, spawn requests, acknowledged unlinks):
/// it must not be sent.
bool adapt(OutMessage& message, Flags in_force);

}  // namespace rakv::distribution
