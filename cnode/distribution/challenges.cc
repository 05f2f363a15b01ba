// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/challenges.h"

#include <utility>

#include "cnode/distribution/handshake.h"

namespace rakv::distribution {

Challenges::Own::Own(std::shared_ptr<Challenges> book, std::uint32_t value)
    : book_(std::move(book)), value_(value) {}

Challenges::Own::~Own() { book_->own_.erase(value_); }

std::shared_ptr<const Challenges::Own> Challenges::draw() {
  std::uint32_t value = random_challenge(randomness_);
  while (answered_.contains(value) || own_.contains(value)) value = random_challenge(randomness_);
  own_.insert(value);
  return std::make_shared<const Own>(shared_from_this(), value);
}

bool Challenges::answer(std::uint32_t challenge) {
  if (own_.contains(challenge)) return false;
  if (!answered_.insert(challenge).second) return true;
  answered_in_order_.push_back(challenge);
  if (answered_in_order_.size() > kRememberedAnswers) {
    answered_.erase(answered_in_order_.front());
    answered_in_order_.pop_front();
  }
  return true;
}

}  // namespace rakv::distribution
