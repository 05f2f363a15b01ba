// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/check.h"
#include "cnode/distribution/control.h"
#include "cnode/distribution/control_ops.h"
#include "cnode/etf/writer.h"

namespace rakv::distribution {
namespace {

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

/// A message whose control tuple is `op` and what `elements` writes after it.
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

}  // namespace rakv::distribution
