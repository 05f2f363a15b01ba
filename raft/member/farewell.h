// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "cnode/base/clock.h"
#include "raft/core/effect.h"
#include "raft/core/types.h"
#include "raft/wire/client_requests.h"

namespace rakv::member {

/// The end of a member. A leader that was removed goes on for a moment: who removes a member gets
/// the answer when the removal is in the leader's log, and then may ask that leader to wait until
/// it is applied. ra's leader stops as soon as it has applied it, so such a caller finds nobody
/// whenever the members are quicker than it, and takes the removal for failed.
class Farewell {
 public:
  /// What it needs of the member.
  struct Seams {
    /// The index of the configuration of the moment: that without this member.
    std::function<raft::Index()> cluster_index;
    /// The highest index that an answered query waited for.
    std::function<raft::Index()> awaited_index;
    std::function<void(std::string_view from, const raft::ServerId& leader)> answer_redirect;
    std::function<void(std::string_view from, const wire::request::LocalQuery&)> serve_local;
    /// The member ends; not at once.
    std::function<void(raft::effect::StopReason)> end;
  };

  Farewell(boost::asio::io_context& io, Seams seams) : seams_(std::move(seams)), timer_(io) {}
  ~Farewell() { *alive_ = false; }
  Farewell(const Farewell&) = delete;
  Farewell& operator=(const Farewell&) = delete;

  /// A member whose cluster is deleted ends, one that was removed begins its farewell.
  void carry_out(const raft::effect::Stop& effect);
  bool has_begun() const { return removal_.has_value(); }
  /// A call after it has begun. Calls for a leader go to the next one, local queries are answered;
  /// the others see the process end, as if they had come then.
  void handle_call(std::string_view from, const wire::AddressedRequest& asked);
  /// Queries were answered: whoever asked for the removal may know that it is done.
  void end_when_seen();
  /// The member has ended.
  void stop() { timer_.cancel(); }

 private:
  struct Removal {
    raft::Index index;
    std::optional<raft::ServerId> successor;
  };
  Seams seams_;
  Timer timer_;
  std::optional<Removal> removal_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::member
