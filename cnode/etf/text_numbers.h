// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cnode/etf/text_reader.h"

// Inside the etf module: numbers of Erlang text.

namespace rakv::etf::text {

/// An integer of any size: magnitude little endian, without zero bytes at the end.
struct BigInteger {
  bool negative = false;
  std::string magnitude;
};

/// An integer or a float.
struct Numeral {
  bool is_float = false;
  BigInteger integer;
  double floating = 0;
};

/// Reads numbers as erl_scan does: digits with underscores between them, bases, characters, floats.
class NumberReader : protected Reader {
 protected:
  using Reader::Reader;

  /// A number with a sign or without.
  bool signed_value(Numeral& value);
  /// Digits, or Base#Digits.
  bool unsigned_integer(BigInteger& number);
  /// A size or a unit: of at most 40 bits.
  bool small_integer(std::uint64_t& value);

 private:
  /// A run of digits with single underscores between them, appended without these.
  bool digits(int base, std::string& text);
  bool to_number(std::string_view text, int base, std::size_t where, BigInteger& number);
  /// After a sign: an integer, a character or a float.
  bool number_value(Numeral& value);
};

}  // namespace rakv::etf::text
