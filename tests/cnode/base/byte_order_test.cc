// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/byte_order.h"

#include <gtest/gtest.h>

namespace rakv {
namespace {

using namespace std::string_literals;

TEST(ByteOrder, TheTypeSaysHowWideANumberIs) {
  std::string bytes = "x";
  put_number(bytes, std::uint8_t{0x01});
  put_number(bytes, std::uint16_t{0x0203});
  put_number(bytes, std::uint32_t{0xfcfdfeff});
  put_number(bytes, std::uint64_t{0x8000000000000001});
  EXPECT_EQ(bytes, "x\x01\x02\x03\xfc\xfd\xfe\xff\x80\0\0\0\0\0\0\x01"s);
  EXPECT_EQ(load_number<std::uint8_t>(bytes, 1), 0x01);
  EXPECT_EQ(load_number<std::uint16_t>(bytes, 2), 0x0203);
  EXPECT_EQ(load_number<std::uint32_t>(bytes, 4), 0xfcfdfeffu);
  EXPECT_EQ(load_number<std::uint64_t>(bytes, 8), 0x8000000000000001u);
  store_number(bytes.data() + 4, std::uint16_t{0xabcd});
  EXPECT_EQ(load_number<std::uint32_t>(bytes, 4), 0xabcdfeffu);
}

TEST(ByteOrder, AWidthTakesTheLowBytes) {
  for (std::size_t width = 1; width <= 8; ++width) {
    constexpr std::uint64_t kNumber = 0x8182838485868788;
    const std::string expected = "\x81\x82\x83\x84\x85\x86\x87\x88"s.substr(8 - width);
    std::string bytes = "x";
    put_number(bytes, kNumber, width);
    EXPECT_EQ(bytes, "x" + expected);
    const std::uint64_t mask = width == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * width) - 1;
    EXPECT_EQ(load_number(bytes.substr(1) + "more", width), kNumber & mask);
    std::string stored(width + 1, '-');
    store_number(stored.data(), kNumber, width);
    EXPECT_EQ(stored, expected + "-");
  }
}

TEST(ByteOrder, FieldsEndAtTheFirstThatIsNotThere) {
  FieldReader fields{"\x01\x02\x03name"};
  EXPECT_EQ(fields.number(1), 1u);
  EXPECT_EQ(fields.number(2), 0x0203u);
  EXPECT_EQ(fields.text(4), "name");
  EXPECT_TRUE(fields.ok);
  EXPECT_EQ(fields.number(1), 0u);
  EXPECT_FALSE(fields.ok);
  EXPECT_EQ(fields.text(0), "");
  EXPECT_EQ(fields.number(0), 0u);
  EXPECT_FALSE(fields.ok);
}

}  // namespace
}  // namespace rakv
