// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/compress.h"

#include <zlib.h>

#include <limits>

#include "cnode/etf/scan.h"

namespace rakv::etf {

namespace {

constexpr std::size_t kHeadSize = 6;  // 131, 80, size:32

const Bytef* as_zlib(const char* bytes) { return reinterpret_cast<const Bytef*>(bytes); }

}  // namespace

bool is_compressed(std::string_view external) {
  return external.size() >= 2 && scan::byte_at(external, 0) == kVersionMagic &&
         scan::byte_at(external, 1) == scan::kCompressed;
}

Result<std::string> compress(std::string_view term, int level) {
  if (level < 0 || level > 9) {
    return make_error(ErrorCode::invalid_argument,
                      "compression level " + std::to_string(level) + " is not from 0 to 9");
  }
  if (term.size() > std::numeric_limits<std::uint32_t>::max()) {
    return make_error(ErrorCode::limit_exceeded, "a term of 4 GiB or more can not be compressed");
  }
  std::string out(1, static_cast<char>(kVersionMagic));
  if (level > 0 && term.size() > kHeadSize) {
    uLongf size = compressBound(term.size());
    out.resize(kHeadSize + size);
    const int status = compress2(reinterpret_cast<Bytef*>(out.data() + kHeadSize), &size,
                                 as_zlib(term.data()), term.size(), level);
    if (status == Z_OK && kHeadSize + size < 1 + term.size()) {
      out[1] = static_cast<char>(scan::kCompressed);
      const std::uint32_t swapped = __builtin_bswap32(static_cast<std::uint32_t>(term.size()));
      std::memcpy(out.data() + 2, &swapped, 4);
      out.resize(kHeadSize + size);
      return out;
    }
    out.resize(1);
  }
  out.append(term);
  return out;
}

Result<std::string> uncompress(std::string_view external, const Limits& limits) {
  if (external.empty() || scan::byte_at(external, 0) != kVersionMagic) {
    return make_error(ErrorCode::malformed,
                      "an external term must begin with byte 131; these bytes are not one");
  }
  if (!is_compressed(external)) return std::string(external.substr(1));
  if (external.size() < kHeadSize) {
    return make_error(ErrorCode::malformed, "a compressed term ends within its header");
  }
  const std::size_t size = scan::load32(external.data() + 2);
  if (size > limits.max_output_bytes) {
    return make_error(ErrorCode::limit_exceeded,
                      "a compressed term states " + std::to_string(size) + " bytes; the limit is " +
                          std::to_string(limits.max_output_bytes));
  }
  // zlib makes at most about 1032 bytes of one: a header that promises more is false, and must not
  // make us allocate.
  const std::string_view data = external.substr(kHeadSize);
  if (size / 1100 > data.size()) {
    return make_error(ErrorCode::malformed,
                      "a compressed term states more bytes than its data can hold");
  }
  std::string out(size, '\0');
  uLongf made = size;
  const int status =
      ::uncompress(reinterpret_cast<Bytef*>(out.data()), &made, as_zlib(data.data()), data.size());
  if (status != Z_OK || made != size) {
    return make_error(ErrorCode::malformed,
                      "the data of a compressed term is damaged or not of the stated " +
                          std::to_string(size) + " bytes");
  }
  return out;
}

}  // namespace rakv::etf
