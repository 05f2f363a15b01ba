// SPDX-License-Identifier: Apache-2.0
#include "raft/member/term_vote_storage.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

namespace rakv::member {
namespace {

constexpr std::chrono::seconds kRetryInterval{1};

}  // namespace

void TermVoteStorage::carry_out(const raft::effect::PersistTermVote& effect) {
  seams_.counters.add(Counter::term_and_voted_for_updates);
  seams_.wait();
  store(effect);
}

void TermVoteStorage::store(const raft::effect::PersistTermVote& effect) {
  seams_.store(effect, [this, effect, alive = alive_](const Result<void>& outcome) {
    if (*alive && !stopped_) stored(effect, outcome);
  });
}

void TermVoteStorage::stored(const raft::effect::PersistTermVote& effect,
                             const Result<void>& outcome) {
  if (outcome) {
    if (std::exchange(fails_, false))
      spdlog::info("{}: term and vote can be stored again", seams_.log_id);
    return seams_.resume();
  }
  if (!std::exchange(fails_, true)) {
    spdlog::error("{}: term and vote can't be stored, the server waits until they can: {}",
                  seams_.log_id, outcome.error().message);
  }
  retry_timer_.expires_after(kRetryInterval);
  retry_timer_.async_wait([this, effect, alive = alive_](boost::system::error_code error) {
    if (!error && *alive && !stopped_) store(effect);
  });
}

void TermVoteStorage::stop() {
  stopped_ = true;
  retry_timer_.cancel();
}

}  // namespace rakv::member
