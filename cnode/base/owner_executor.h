// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <functional>
#include <thread>

#include "cnode/base/executor.h"
#include "cnode/base/turn.h"

namespace rakv {

/// Other threads' way back to the one that runs an io_context: each job is a turn of its own. What
/// that thread itself posts in a turn is done at its end, unless that would overtake something
/// posted before.
class OwnerExecutor final : public Executor {
 public:
  /// Made on the io_context's thread.
  explicit OwnerExecutor(boost::asio::io_context& io) : io_(io), turn_(Turn::of(io)) {}
  /// From any thread.
  void post(std::function<void()> job) override;

 private:
  boost::asio::io_context& io_;
  Turn& turn_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::size_t under_way_ = 0;  ///< of the owner's own jobs, in the io_context
};

}  // namespace rakv
