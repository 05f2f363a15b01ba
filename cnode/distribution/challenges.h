// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_set>

#include "cnode/base/randomness.h"

// The challenges of one node. A digest proves that its sender knows the cookie only if nobody could
// have had it from us: whoever answers a dial of ours may pick the challenge that we answer.

namespace rakv::distribution {

/// Draws challenges, and says which of others may be answered. Single-threaded.
class Challenges : public std::enable_shared_from_this<Challenges> {
 public:
  explicit Challenges(Randomness& randomness) : randomness_(randomness) {}

  /// As many answered challenges are remembered; the oldest goes first.
  static constexpr std::size_t kRememberedAnswers = 65536;

  /// A challenge of ours; outstanding as long as this lives.
  class Own {
   public:
    Own(std::shared_ptr<Challenges> book, std::uint32_t value);
    ~Own();
    Own(const Own&) = delete;
    Own& operator=(const Own&) = delete;
    std::uint32_t value() const { return value_; }

   private:
    std::shared_ptr<Challenges> book_;
    std::uint32_t value_;
  };

  /// A random challenge that is not outstanding and that we have not answered for others lately.
  std::shared_ptr<const Own> draw();

  /// Whether `challenge`, sent by one who has not proved anything, may be answered: not if it is
  /// outstanding. If so, it is remembered as answered.
  bool answer(std::uint32_t challenge);

  std::size_t outstanding() const { return own_.size(); }

 private:
  Randomness& randomness_;
  std::unordered_set<std::uint32_t> own_;
  std::unordered_set<std::uint32_t> answered_;
  std::deque<std::uint32_t> answered_in_order_;
};

}  // namespace rakv::distribution
