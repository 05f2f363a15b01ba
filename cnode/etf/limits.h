// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

// The named bounds of the term codec. Everything that reads a term takes a Limits, with these
// defaults.

namespace rakv::etf {

/// An atom has at most this many characters (not bytes): the BEAM's own bound.
inline constexpr std::size_t kMaxAtomCharacters = 255;
/// ... and so at most this many bytes of UTF-8.
inline constexpr std::size_t kMaxAtomBytes = 4 * kMaxAtomCharacters;
/// A reference has one to five 32-bit words.
inline constexpr std::size_t kMaxReferenceWords = 5;
/// The first byte of a term in the external format.
inline constexpr unsigned char kVersionMagic = 131;

/// Text of terms nests at most this deep when read.
inline constexpr std::uint32_t kMaxTextDepth = 1000;

/// Bounds of one reading operation.
struct Limits {
  /// How deep tuples, lists, maps, funs and records may nest. The tail of a list is as deep as the
  /// list itself.
  std::uint32_t max_depth = 10'000;
  /// The most bytes one operation may produce (canonical form, uncompressed term, text).
  std::size_t max_output_bytes = std::size_t{256} << 20;
};

/// What comes from other nodes may nest as deep as a BEAM's terms do, within memory: walking over a
/// level takes 24 bytes. A reader that is stricter than the BEAM cuts connections with it, and
/// stops following a leader that has replicated such a term.
inline constexpr Limits kMessageLimits{.max_depth = 1'000'000};

/// What a BEAM peer could build, replicate and store must be read, however deep it nests: an entry
/// that is not understood here but is there would make replicas differ.
inline constexpr Limits kAnyDepth{.max_depth = std::numeric_limits<std::uint32_t>::max()};

}  // namespace rakv::etf
