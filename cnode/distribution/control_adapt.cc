// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "cnode/base/check.h"
#include "cnode/distribution/control.h"
#include "cnode/distribution/control_ops.h"
#include "cnode/etf/writer.h"

namespace rakv::distribution {
namespace {

/// The control tuple of a message of ours, element by element.
struct OwnControl {
  std::uint64_t op = 0;
  std::vector<std::string_view> elements;  ///< after the op
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
