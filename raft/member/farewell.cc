// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/post.hpp>

#include "raft/member/member.h"

// The end of a member. A leader that was removed goes on for a moment: who removes a member gets
// the answer when the removal is in the leader's log, and then may ask that leader to wait until it
// is applied. ra's leader stops as soon as it has applied it, so such a caller finds nobody
// whenever the members are quicker than it, and takes the removal for failed.

namespace rakv::member {
namespace {

/// One more question of a caller that is far away.
constexpr std::chrono::milliseconds kFarewell{100};

}  // namespace

void Member::carry_out(raft::effect::Stop& effect) {
  if (effect.reason == raft::effect::StopReason::deleted) return end(effect.reason);
  farewell_ = Farewell{core_.cluster_index_term().index, std::move(effect.successor)};
  farewell_timer_.expires_after(kFarewell);
  farewell_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive && !stopped_) end(raft::effect::StopReason::removed);
  });
  end_farewell_when_seen();
}

/// Whoever asked for the removal knows that it is done.
void Member::end_farewell_when_seen() {
  if (!farewell_ || queries_.awaited_index() < farewell_->removed_at) return;
  farewell_timer_.cancel();
  end(raft::effect::StopReason::removed);
}

/// Not at once: the member must not go while one of its functions runs.
void Member::end(raft::effect::StopReason reason) {
  boost::asio::post(services_.io, [this, reason, alive = alive_] {
    if (*alive && !stopped_) services_.on_stopped(id_.name(), reason);
  });
}

/// Calls for a leader go to the next one, local queries are answered; the others see the process
/// end, as if they had come then.
void Member::handle_call_after_removal(std::string_view from, const wire::AddressedRequest& asked) {
  if (asked.for_leader) {
    if (farewell_->successor) calls_.answer_redirect(from, *farewell_->successor);
    return;
  }
  const wire::ClientRequest decoded = wire::decode_client_request(asked.term);
  if (std::holds_alternative<wire::request::LocalQuery>(decoded)) serve(from, decoded);
}

}  // namespace rakv::member
