// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/flags.h"

#include <string_view>
#include <utility>

namespace rakv::distribution {

namespace {

constexpr std::pair<Flags, std::string_view> kNames[] = {
    {kFlagPublished, "published"},
    {kFlagExtendedReferences, "extended references"},
    {kFlagMonitor, "monitors"},
    {kFlagFunTags, "fun tags"},
    {kFlagMonitorName, "monitors by name"},
    {kFlagNewFunTags, "new fun tags"},
    {kFlagExtendedPidsPorts, "extended pids and ports"},
    {kFlagExportPtrTag, "export funs"},
    {kFlagBitBinaries, "bitstrings"},
    {kFlagNewFloats, "new floats"},
    {kFlagUnicodeIo, "unicode io"},
    {kFlagAtomCache, "atom cache"},
    {kFlagSmallAtomTags, "small atom tags"},
    {kFlagUtf8Atoms, "UTF-8 atoms"},
    {kFlagMapTag, "maps"},
    {kFlagBigCreation, "big creation"},
    {kFlagSendSender, "send with sender"},
    {kFlagBigSeqtraceLabels, "big trace labels"},
    {kFlagExitPayload, "exits with payload"},
    {kFlagFragments, "fragments"},
    {kFlagHandshake23, "handshake 23"},
    {kFlagUnlinkId, "unlink with id"},
    {kFlagMandatory25Digest, "digest of OTP 25's mandatory flags"},
    {kFlagSpawn, "spawn requests"},
    {kFlagNameMe, "a name given by the acceptor"},
    {kFlagV4NodeContainers, "wide pids and references (V4_NC)"},
    {kFlagAlias, "aliases"},
    {kFlagAltActSig, "alternative signals"},
};

}  // namespace

std::string missing_flag_names(Flags offered, Flags demanded) {
  Flags missing = demanded & ~with_implied_flags(offered);
  std::string names;
  const auto add = [&names](std::string_view name) {
    if (!names.empty()) names += ", ";
    names += name;
  };
  for (const auto& [flag, name] : kNames) {
    if ((missing & flag) == 0) continue;
    add(name);
    missing &= ~flag;
  }
  for (int bit = 0; bit < 64; ++bit) {
    if ((missing >> bit & 1) != 0) add("bit " + std::to_string(bit));
  }
  return names;
}

}  // namespace rakv::distribution
