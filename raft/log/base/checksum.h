// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

// The checksums of ra's files, with the processor's vector instructions (isa-l). Each takes the
// result for the bytes before, so that a run in pieces can be summed.

namespace rakv::raftlog {

/// Adler-32 as zlib's; start with 1. WAL records.
std::uint32_t adler32(std::uint32_t before, std::string_view bytes);
/// CRC-32 (IEEE) as zlib's; start with 0. Segments and snapshots.
std::uint32_t crc32(std::uint32_t before, std::string_view bytes);
/// CRC-32C (Castagnoli); start with 0. Batch marks.
std::uint32_t crc32c(std::uint32_t before, std::string_view bytes);

}  // namespace rakv::raftlog
