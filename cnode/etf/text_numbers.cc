// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/text_numbers.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "cnode/etf/text_syntax.h"

namespace rakv::etf::text {
namespace {

/// Whether a float that is out of range is so for being next to 0.
bool is_tiny(const std::string& text) {
  if (text.find("e-") != std::string::npos) return true;
  return text.find('e') == std::string::npos && text.find_first_not_of('0') != std::string::npos &&
         text[text.find_first_not_of('0')] == '.';
}

}  // namespace

bool NumberReader::digits(int base, std::string& text) {
  const std::size_t before = text.size();
  for (;;) {
    while (digit_value(peek()) < base) text.push_back(input_[position_++]);
    if (peek() != '_' || text.size() == before || digit_value(peek(1)) >= base) break;
    ++position_;
  }
  return text.size() > before || fail("expected a digit");
}

bool NumberReader::to_number(std::string_view text, int base, std::size_t where,
                             BigInteger& number) {
  if (base == 16) {
    number.magnitude.clear();
    for (std::size_t end = text.size(); end > 0;) {
      const int low = digit_value(text[--end]);
      const int high = end > 0 ? digit_value(text[--end]) : 0;
      number.magnitude.push_back(static_cast<char>(high * 16 + low));
    }
  } else {
    if (text.size() > kMaxDecimalDigits) {
      return fail_at(where,
                     "an integer of more than " + std::to_string(kMaxDecimalDigits) +
                         " digits must be written in base 16",
                     ErrorCode::limit_exceeded);
    }
    std::vector<std::uint32_t> limbs;
    for (const char c : text) {
      std::uint64_t carry = static_cast<std::uint64_t>(digit_value(c));
      for (std::uint32_t& limb : limbs) {
        carry += std::uint64_t{limb} * static_cast<std::uint64_t>(base);
        limb = static_cast<std::uint32_t>(carry);
        carry >>= 32;
      }
      if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
    }
    number.magnitude.assign(reinterpret_cast<const char*>(limbs.data()), limbs.size() * 4);
  }
  while (!number.magnitude.empty() && number.magnitude.back() == 0) number.magnitude.pop_back();
  return true;
}

bool NumberReader::unsigned_integer(BigInteger& number) {
  const std::size_t start = position_;
  std::string text;
  if (!digits(10, text)) return false;
  if (peek() != '#' || looking_at("#{")) return to_number(text, 10, start, number);
  int base = 0;
  if (text.size() <= 2) std::from_chars(text.data(), text.data() + text.size(), base);
  if (base < 2 || base > 36) return fail_at(start, "a base is 2 to 36");
  ++position_;
  text.clear();
  return digits(base, text) && to_number(text, base, start, number);
}

bool NumberReader::number_value(Numeral& value) {
  const std::size_t start = position_;
  value.is_float = false;
  if (accept("$")) {
    std::uint32_t c = 0;
    if (!character(c)) return false;
    if (c == '\\' && !escape(c)) return false;
    value.integer.magnitude.assign(reinterpret_cast<const char*>(&c), 4);
    return true;
  }
  if (!is_digit(peek())) return fail("expected a number");
  std::string text;
  if (!digits(10, text)) return false;
  if (peek() != '.' || !is_digit(peek(1))) {
    position_ = start;
    return unsigned_integer(value.integer);
  }
  ++position_;
  text.push_back('.');
  if (!digits(10, text)) return false;
  if ((peek() == 'e' || peek() == 'E') &&
      (is_digit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && is_digit(peek(2))))) {
    text.push_back('e');
    ++position_;
    if (peek() == '-') text.push_back('-');
    if (!is_digit(peek())) ++position_;
    if (!digits(10, text)) return false;
  }
  value.is_float = true;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value.floating);
  if (read.ec == std::errc::result_out_of_range && is_tiny(text)) {
    value.floating = 0;
    return true;
  }
  if (read.ec != std::errc() || !std::isfinite(value.floating)) {
    return fail_at(start, "this float is too large; the largest is about 1.8e308");
  }
  return true;
}

bool NumberReader::signed_value(Numeral& value) {
  const bool negative = peek() == '-';
  if (negative || peek() == '+') {
    ++position_;
    if (!space()) return false;
  }
  if (!number_value(value)) return false;
  value.integer.negative = negative;
  if (negative) value.floating = -value.floating;
  return true;
}

bool NumberReader::small_integer(std::uint64_t& value) {
  const std::size_t start = position_;
  BigInteger number;
  if (!unsigned_integer(number)) return false;
  if (number.magnitude.size() > 5) return fail_at(start, "this size is too large");
  value = 0;
  std::memcpy(&value, number.magnitude.data(), number.magnitude.size());
  return true;
}

}  // namespace rakv::etf::text
