// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Inside the distribution module: the numbers of control messages (erts/emulator/beam/dist.h).

namespace rakv::distribution {

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

inline constexpr std::uint64_t kAltActPriority = 1;
inline constexpr std::uint64_t kAltActToAlias = 4;
inline constexpr std::uint64_t kAltActToName = 8;
inline constexpr std::uint64_t kAltActExit = 16;

}  // namespace rakv::distribution
