// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes through everything that reads a term. The first byte chooses where the rest is
// cut into two terms.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cnode/base/check.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/compress.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/order.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"

namespace {

using namespace rakv::etf;  // NOLINT(google-build-using-namespace)

Limits fuzz_limits() {
  Limits limits;
  limits.max_depth = 500;
  limits.max_output_bytes = std::size_t{1} << 22;
  return limits;
}

/// Every typed read on the same place: each gives its value or fails and stays.
void read_typed(std::string_view bytes) {
  const auto check = [&](auto read) {
    Cursor cursor(bytes, fuzz_limits());
    if (!read(cursor)) {
      RAKV_CHECK(!cursor.ok() && cursor.offset() == 0);
    } else {
      RAKV_CHECK(cursor.ok() && cursor.offset() <= bytes.size());
    }
  };
  check([](Cursor& c) { return c.tuple().has_value(); });
  check([](Cursor& c) { return c.list().has_value(); });
  check([](Cursor& c) { return c.string().has_value(); });
  check([](Cursor& c) { return c.map().has_value(); });
  check([](Cursor& c) { return c.atom().has_value(); });
  check([](Cursor& c) { return c.boolean().has_value(); });
  check([](Cursor& c) { return c.u64().has_value(); });
  check([](Cursor& c) { return c.u32().has_value(); });
  check([](Cursor& c) { return c.i64().has_value(); });
  check([](Cursor& c) { return c.floating().has_value(); });
  check([](Cursor& c) { return c.binary().has_value(); });
  check([](Cursor& c) { return c.bits().has_value(); });
  check([](Cursor& c) { return c.bytes().has_value(); });
  check([](Cursor& c) { return c.pid().has_value(); });
  check([](Cursor& c) { return c.reference().has_value(); });
  check([](Cursor& c) { return c.port().has_value(); });
  check([](Cursor& c) { return c.export_fun().has_value(); });
  check([](Cursor& c) { return c.skip().has_value(); });
}

/// Whether the bytes hold one valid term; all readers must agree on that.
bool read_whole(std::string_view bytes, std::string& canonical) {
  const Limits limits = fuzz_limits();
  const bool valid = validate(bytes, limits).has_value();
  const auto size = external_size(bytes, limits);
  const auto hash = phash2(bytes, limits);
  RAKV_CHECK(size.has_value() == valid);
  RAKV_CHECK(hash.has_value() == valid ||
             (valid && hash.error().code == rakv::ErrorCode::unsupported));
  (void)print_text(bytes, {}, limits);
  const bool stored = !bytes.empty() && (bytes[0] == '\x83' || bytes[0] == 'P');
  const auto made = canonicalize(bytes, limits);
  if (!made) return false;
  RAKV_CHECK(valid || stored);
  canonical = *made;
  const auto again = canonicalize(canonical, limits);
  RAKV_CHECK(again && *again == canonical);
  RAKV_CHECK(validate(canonical, limits));
  if (!stored) {
    RAKV_CHECK(!hash || phash2(canonical, limits).value() == *hash);
  }
  RAKV_CHECK(compare(canonical, canonical, limits).value() == 0);
  const std::string text = print_text(canonical, {}, limits);
  if (const auto read = parse_text(text, limits); read && read->size() == canonical.size()) {
    RAKV_CHECK(*read == canonical);
  }
  const auto packed = compress(canonical, 1);
  RAKV_CHECK(packed && uncompress(*packed, limits).value() == canonical);
  return true;
}

void compare_two(const std::string& left, const std::string& right) {
  const auto order = compare_canonical(left, right);
  const auto back = compare_canonical(right, left);
  RAKV_CHECK((order < 0) == (back > 0) && (order == 0) == (back == 0));
  const auto keys = compare_keys(left, right);
  const auto keys_back = compare_keys(right, left);
  RAKV_CHECK((keys < 0) == (keys_back > 0));
  RAKV_CHECK((keys == 0) == (left == right));
  if (left == right) RAKV_CHECK(order == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = bytes.size() * data[0] / 255;
  read_typed(bytes);
  std::string whole;
  read_whole(bytes, whole);
  std::string left;
  std::string right;
  if (read_whole(bytes.substr(0, cut), left) && read_whole(bytes.substr(cut), right))
    compare_two(left, right);
  return 0;
}
