// SPDX-License-Identifier: Apache-2.0
#include "raft/log/base/checksum.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>

namespace rakv::raftlog {

std::uint32_t adler32(std::uint32_t before, std::string_view bytes) {
  return isal_adler32(before, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

std::uint32_t crc32(std::uint32_t before, std::string_view bytes) {
  return crc32_gzip_refl(before, reinterpret_cast<const unsigned char*>(bytes.data()),
                         bytes.size());
}

std::uint32_t crc32c(std::uint32_t before, std::string_view bytes) {
  // isa-l neither inverts before nor after, takes an int as length, and only reads in spite of its
  // signature.
  std::uint32_t crc = ~before;
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, std::size_t{1} << 30);
    crc =
        crc32_iscsi(const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(part.data())),
                    static_cast<int>(part.size()), crc);
    bytes.remove_prefix(part.size());
  }
  return ~crc;
}

}  // namespace rakv::raftlog
