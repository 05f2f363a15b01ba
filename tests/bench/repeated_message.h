// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/distribution/outbox.h"

namespace rakv::bench {

/// What changes in a message that is sent again and again.
struct Numbers {
  std::uint32_t call = 0;   ///< of the process that sends, in its reference
  std::uint32_t key = 0;    ///< below 10,000, written in four digits
  std::uint32_t index = 0;  ///< of a log entry
};

/// `key_0042`: all keys have one length.
std::string key_of(std::uint32_t number);

/// A message that is encoded once and then only gets other numbers, so that the client takes as
/// little as possible of the processor that it shares with the members.
class RepeatedMessage {
 public:
  /// `encode` makes the message with given Numbers, the index in the four bytes of an integer that
  /// does not fit into one.
  template <class Encode>
  static RepeatedMessage of(Encode encode) {
    return RepeatedMessage(encode(kSome), encode(kOther));
  }
  RepeatedMessage() = default;
  bool empty() const { return message_.text.empty(); }

  distribution::OutMessage with(const Numbers& numbers) const;

 private:
  // They differ in each byte, and from each other.
  static constexpr Numbers kSome{0x11111111, 1111, 0x33333333};
  static constexpr Numbers kOther{0x22222222, 2222, 0x44444444};

  RepeatedMessage(distribution::OutMessage some, const distribution::OutMessage& other);

  distribution::OutMessage message_;
  std::vector<std::size_t> calls_;  ///< where these begin
  std::vector<std::size_t> indexes_;
  std::vector<std::size_t> keys_;
};

}  // namespace rakv::bench
