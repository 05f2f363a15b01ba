// SPDX-License-Identifier: Apache-2.0
#include "raft/member/farewell.h"

#include <chrono>
#include <variant>

namespace rakv::member {
namespace {

/// One more question of a caller that is far away.
constexpr std::chrono::milliseconds kFarewell{100};

}  // namespace

void Farewell::carry_out(const raft::effect::Stop& effect) {
  if (effect.reason == raft::effect::StopReason::deleted) return seams_.end(effect.reason);
  removal_ = Removal{seams_.cluster_index(), effect.successor};
  timer_.expires_after(kFarewell);
  timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) seams_.end(raft::effect::StopReason::removed);
  });
  end_when_seen();
}

void Farewell::end_when_seen() {
  if (!removal_ || seams_.awaited_index() < removal_->index) return;
  timer_.cancel();
  seams_.end(raft::effect::StopReason::removed);
}

void Farewell::handle_call(std::string_view from, const wire::AddressedRequest& asked) {
  if (asked.for_leader) {
    if (removal_->successor) seams_.answer_redirect(from, *removal_->successor);
    return;
  }
  const wire::ClientRequest decoded = wire::decode_client_request(asked.term);
  const auto* query = std::get_if<wire::request::LocalQuery>(&decoded);
  if (query == nullptr) return;
  seams_.serve_local(from, *query);
  end_when_seen();
}

}  // namespace rakv::member
