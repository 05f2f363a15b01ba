// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/repeated_message.h"

#include <cstring>

#include "cnode/base/check.h"

namespace rakv::bench {
namespace {

constexpr std::size_t kDigits = 4;

void write_digits(char* at, std::uint32_t number) {
  for (std::size_t digit = kDigits; digit-- > 0; number /= 10)
    at[digit] = static_cast<char>('0' + number % 10);
}

void write_word(char* at, std::uint32_t number) {
  const std::uint32_t swapped = __builtin_bswap32(number);
  std::memcpy(at, &swapped, sizeof swapped);
}

}  // namespace

std::string key_of(std::uint32_t number) {
  std::string key = "key_0000";
  write_digits(key.data() + key.size() - kDigits, number);
  return key;
}

RepeatedMessage::RepeatedMessage(distribution::OutMessage some,
                                 const distribution::OutMessage& other)
    : message_(std::move(some)) {
  const std::string& text = message_.text;
  RAKV_CHECK(text.size() == message_.size() && text.size() == other.size());
  for (std::size_t at = 0; at < text.size(); at += kDigits) {
    while (at < text.size() && text[at] == other.text[at]) ++at;
    if (at == text.size()) break;
    if (text[at] == '1') {
      keys_.push_back(at);
    } else if (text[at] == '\x11') {
      calls_.push_back(at);
    } else {
      indexes_.push_back(at);
    }
  }
}

distribution::OutMessage RepeatedMessage::with(const Numbers& numbers) const {
  distribution::OutMessage made = message_;
  for (const std::size_t at : calls_) write_word(made.text.data() + at, numbers.call);
  for (const std::size_t at : indexes_) write_word(made.text.data() + at, numbers.index);
  for (const std::size_t at : keys_) write_digits(made.text.data() + at, numbers.key);
  return made;
}

}  // namespace rakv::bench
