// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/owner_executor.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace rakv {

void OwnerExecutor::post(std::function<void()> job) {
  const bool by_owner = std::this_thread::get_id() == owner_;
  if (by_owner && turn_.open() && under_way_ == 0) return turn_.at_end(std::move(job));
  if (by_owner) ++under_way_;
  boost::asio::post(io_, [this, by_owner, job = std::move(job)] {
    const Turn::Scope turn(turn_);
    if (by_owner) --under_way_;
    job();
  });
}

}  // namespace rakv
