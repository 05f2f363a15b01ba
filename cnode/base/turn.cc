// SPDX-License-Identifier: Apache-2.0
#include "cnode/base/turn.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace rakv {

namespace {

/// Work that one turn may do at its end; the rest goes through the io_context, so that work that
/// gives ever more work keeps nothing else waiting.
constexpr std::size_t kMaxWork = 256;

}  // namespace

boost::asio::execution_context::id Turn::id;

Turn& Turn::of(boost::asio::io_context& io) { return boost::asio::use_service<Turn>(io); }

Turn::Turn(boost::asio::execution_context& io)
    : service(io), io_(static_cast<boost::asio::io_context&>(io)) {}

void Turn::shutdown() {
  // What is queued may own what the io_context is about to destroy.
  work_.clear();
  output_.clear();
}

void Turn::at_end(std::function<void()> work) {
  if (open()) {
    work_.push_back(std::move(work));
  } else {
    post(std::move(work));
  }
}

void Turn::after_work(std::function<void()> output) {
  if (open()) {
    output_.push_back(std::move(output));
  } else {
    post(std::move(output));
  }
}

void Turn::post(std::function<void()> work) {
  boost::asio::post(io_, [this, work = std::move(work)] {
    const Scope turn(*this);
    work();
  });
}

void Turn::run_queued() {
  for (std::size_t done = 0; !work_.empty() || !output_.empty(); ++done) {
    std::deque<std::function<void()>>& queue = work_.empty() ? output_ : work_;
    const std::function<void()> next = std::move(queue.front());
    queue.pop_front();
    if (done < kMaxWork) {
      next();
    } else {
      post(next);
    }
  }
}

}  // namespace rakv
