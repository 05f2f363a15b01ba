// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

// The capability flags two nodes show each other in the handshake. In force is what both have.

namespace rakv::distribution {

/// A set of capability flags, one bit each.
using Flags = std::uint64_t;

inline constexpr Flags kFlagPublished = Flags{1} << 0;           ///< visible in nodes()
inline constexpr Flags kFlagExtendedReferences = Flags{1} << 2;  ///< references of several words
inline constexpr Flags kFlagMonitor = Flags{1} << 3;      ///< process monitors (with bit 5 only)
inline constexpr Flags kFlagFunTags = Flags{1} << 4;      ///< old tag of funs
inline constexpr Flags kFlagMonitorName = Flags{1} << 5;  ///< monitors by registered name
inline constexpr Flags kFlagNewFunTags = Flags{1} << 7;   ///< tag 112
inline constexpr Flags kFlagExtendedPidsPorts = Flags{1} << 8;  ///< pids and ports beyond 18 bits
inline constexpr Flags kFlagExportPtrTag = Flags{1} << 9;       ///< tag 113
inline constexpr Flags kFlagBitBinaries = Flags{1} << 10;       ///< tag 77
inline constexpr Flags kFlagNewFloats = Flags{1} << 11;         ///< tag 70
inline constexpr Flags kFlagUnicodeIo = Flags{1} << 12;         ///< io requests in unicode
inline constexpr Flags kFlagAtomCache = Flags{1}
                                        << 13;  ///< atom cache in headers; we never offer it
inline constexpr Flags kFlagSmallAtomTags = Flags{1} << 14;      ///< tag 115
inline constexpr Flags kFlagUtf8Atoms = Flags{1} << 16;          ///< tags 118 and 119
inline constexpr Flags kFlagMapTag = Flags{1} << 17;             ///< tag 116
inline constexpr Flags kFlagBigCreation = Flags{1} << 18;        ///< 32-bit creations
inline constexpr Flags kFlagSendSender = Flags{1} << 19;         ///< op 22 instead of 2
inline constexpr Flags kFlagBigSeqtraceLabels = Flags{1} << 20;  ///< a trace token may be any term
inline constexpr Flags kFlagExitPayload = Flags{1} << 22;        ///< ops 24 to 28
inline constexpr Flags kFlagFragments = Flags{1} << 23;          ///< long messages in pieces
inline constexpr Flags kFlagHandshake23 = Flags{1} << 24;        ///< the version 6 handshake
inline constexpr Flags kFlagUnlinkId = Flags{1} << 25;           ///< ops 35 and 36
inline constexpr Flags kFlagMandatory25Digest = Flags{1}
                                                << 26;  ///< stands for kFlagsImpliedByDigest
inline constexpr Flags kFlagSpawn = Flags{1} << 32;     ///< ops 29 to 32
inline constexpr Flags kFlagNameMe = Flags{1} << 33;    ///< the initiator wants a name given to it
inline constexpr Flags kFlagV4NodeContainers = Flags{1} << 34;  ///< wide pids, ports and references
inline constexpr Flags kFlagAlias = Flags{1} << 35;             ///< ops 33 and 34
inline constexpr Flags kFlagAltActSig = Flags{1} << 37;         ///< op 37 (OTP 28 and later)

/// What kFlagMandatory25Digest is shorthand for: all that OTP 25 demands.
inline constexpr Flags kFlagsImpliedByDigest = 0x1070f94;

/// What a rakv node offers: OTP 29's set without the atom cache and without native records.
/// Visible.
inline constexpr Flags kOfferedFlags = 0x2d07df5fbd;

/// The same for short-lived command-line clients, which must not appear in nodes().
inline constexpr Flags kOfferedFlagsHidden = kOfferedFlags & ~kFlagPublished;

/// What we demand of a peer: what OTP 26 and later demand (DFLAG_DIST_MANDATORY) and no more. A C
/// or Java node has little else; what is sent to it is put in the words that it knows (adapt()).
inline constexpr Flags kDemandedFlags = 0x403070f94;

/// `flags` with what kFlagMandatory25Digest implies, if that bit is set.
constexpr Flags with_implied_flags(Flags flags) {
  return (flags & kFlagMandatory25Digest) != 0 ? flags | kFlagsImpliedByDigest : flags;
}

/// The flags in `demanded` that `offered` lacks, in words, comma separated; empty when none is
/// missing.
std::string missing_flag_names(Flags offered, Flags demanded = kDemandedFlags);

}  // namespace rakv::distribution
