// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cnode/base/clock.h"
#include "raft/core/effect.h"
#include "raft/log/base/types.h"
#include "raft/member/counters.h"

namespace rakv::member {

/// Brings term and vote to the disk. Nothing may be promised on the strength of a vote that can be
/// forgotten: until both are there all else waits, and what can't be stored is tried again.
class TermVoteStorage {
 public:
  /// What it needs of the member. All live as long as this.
  struct Seams {
    Counters& counters;
    const std::string& log_id;
    /// Makes both durable, then calls back.
    std::function<void(const raft::effect::PersistTermVote&, raftlog::DoneCallback)> store;
    /// Nothing else may happen until `resume`.
    std::function<void()> wait;
    std::function<void()> resume;
  };

  TermVoteStorage(boost::asio::io_context& io, Seams seams)
      : seams_(std::move(seams)), retry_timer_(io) {}
  ~TermVoteStorage() { *alive_ = false; }
  TermVoteStorage(const TermVoteStorage&) = delete;
  TermVoteStorage& operator=(const TermVoteStorage&) = delete;

  void carry_out(const raft::effect::PersistTermVote& effect);
  /// Whether the last attempt failed.
  bool fails() const { return fails_; }
  /// It does not try again, and `resume` is not called any more.
  void stop();

 private:
  void store(const raft::effect::PersistTermVote& effect);
  void stored(const raft::effect::PersistTermVote& effect, const Result<void>& outcome);

  Seams seams_;
  Timer retry_timer_;
  bool fails_ = false;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
