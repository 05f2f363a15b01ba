// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <boost/asio/post.hpp>

#include "cnode/node/node_impl.h"

namespace rakv::node {

std::shared_ptr<distribution::Connection> Node::Impl::connection(std::string_view node) const {
  return endpoint_->connection(node);
}

void Node::Impl::on_up(const std::shared_ptr<distribution::Connection>& made) {
  const std::string node = made->peer().name;
  distribution::Connection::Handlers handlers;
  // Weak: the connection owns its handlers.
  handlers.on_message = [this, weak = std::weak_ptr<distribution::Connection>(made)](
                            const distribution::ControlMessage& control, std::string_view payload) {
    if (const auto strong = weak.lock()) on_connection_message(strong, control, payload);
  };
  handlers.on_closed = [this, node, which = made.get()](const Error& reason) {
    on_closed(node, which, reason);
  };
  handlers.on_drained = [this, node] {
    notify([&](NodeObserver& observer) { observer.on_node_writable(node); });
  };
  if (const auto kept = kept_.find(node); kept != kept_.end()) {
    kept->second.pause = options_.redial_min;
    kept->second.failure.clear();
  }
  made->set_member(kept_.contains(node));
  made->start(std::move(handlers));
  notify([&](NodeObserver& observer) { observer.on_node_up(node); });
}

void Node::Impl::on_closed(const std::string& node, const distribution::Connection*,
                           const Error& reason) {
  if (options_.on_note && !stopping_)
    options_.on_note("connection to " + node + " lost: " + reason.message);
  detector_.forget(node);
  if (peer_memory_) peer_memory_->forget_peer(node);
  for (auto watch = watches_.begin(); watch != watches_.end();) {
    if (watch->second.watcher.node != node) {
      ++watch;
      continue;
    }
    const auto entity = entities_.find(watch->second.entity);
    if (entity != entities_.end()) --entity->second.watch_count;
    watches_.erase(watch++);
  }
  const std::string noconnection = etf::Writer().atom("noconnection").take();
  std::vector<std::uint64_t> linked_workers;
  for (auto& [id, entity] : entities_) {
    const std::size_t links =
        std::erase_if(entity.links, [&](const etf::Pid& linked) { return linked.node == node; });
    entity.link_charge.shrink(links * kLinkBytes);
    if (links > 0 && entity.process == nullptr) linked_workers.push_back(id);
    if (entity.spawned_by && entity.spawned_by->node == node) entity.spawned_with_monitor = false;
  }
  for (const std::uint64_t worker : linked_workers) give_up_worker(worker, noconnection);
  std::vector<std::uint64_t> lost;
  for (const auto& [number, monitor] : monitors_) {
    if (monitor.node == node && monitor.sent) lost.push_back(number);
  }
  for (const auto& [number, pending] : calls_) {
    if (pending.node == node && pending.sent) lost.push_back(number);
  }
  for (const std::uint64_t number : lost) fire_own_monitor(reference_of(number), noconnection);
  notify([&](NodeObserver& observer) { observer.on_node_down(node); });
  if (kept_.contains(node)) redial(node);
}

void Node::Impl::notify(FunctionRef<void(NodeObserver&)> tell) {
  const std::vector<NodeObserver*> now = observers_;  // an observer may unsubscribe another
  for (NodeObserver* observer : now) {
    if (std::find(observers_.begin(), observers_.end(), observer) != observers_.end())
      tell(*observer);
  }
}

void Node::Impl::connect(const std::string& node, std::function<void(Result<void>)> done) {
  if (is_own(node) || connection(node) || stopping_) {
    if (done) {
      boost::asio::post(io_, [done = std::move(done), down = stopping_] {
        if (down) {
          done(make_error(ErrorCode::unavailable, "this node is stopping"));
        } else {
          done({});
        }
      });
    }
    return;
  }
  endpoint_->dial(node, [done = std::move(done), alive = alive_](Result<void> result) {
    if (*alive && done) done(std::move(result));
  });
}

void Node::Impl::keep_connected(const std::string& node) {
  if (is_own(node)) return;
  Kept& kept = kept_[node];
  if (++kept.users > 1) return;
  if (const auto open = connection(node)) open->set_member(true);
  kept.pause = options_.redial_min;
  dial_kept(node);
}

/// Says why it fails, once for each reason.
void Node::Impl::dial_kept(const std::string& node) {
  connect(node, [this, node](const Result<void>& result) {
    if (result) return;
    const auto found = kept_.find(node);
    if (found != kept_.end() && !stopping_ && options_.on_note &&
        std::exchange(found->second.failure, result.error().message) != result.error().message) {
      options_.on_note(result.error().message + "; it is tried again");
    }
    redial(node);
  });
}

void Node::Impl::release_connection(const std::string& node) {
  const auto found = kept_.find(node);
  if (found == kept_.end() || --found->second.users > 0) return;
  kept_.erase(found);
  if (const auto open = connection(node)) open->set_member(false);
}

void Node::Impl::redial(const std::string& node) {
  const auto found = kept_.find(node);
  if (found == kept_.end() || stopping_) return;
  Kept& kept = found->second;
  // Jitter, or two nodes that lost each other dial at the same moments for ever.
  std::uniform_int_distribution<std::int64_t> jitter(kept.pause.count() / 2, kept.pause.count());
  kept.timer = std::make_unique<Timer>(io_, std::chrono::milliseconds(jitter(random_)));
  kept.pause = std::min(kept.pause * 2, options_.redial_max);
  kept.timer->async_wait([this, node, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) dial_kept(node);
  });
}

// aten_emitter: a beat to every visible node, always on time: peers learn the rhythm and take a
// pause of two beats for a failure. To a hidden one if beats have come from it: it runs aten, too,
// while a C node would not know what to do with them.
void Node::Impl::beat() {
  const etf::Pid from = pid_of(caller_);
  for (const std::string& peer : endpoint_->connected_peers()) {
    const auto to = connection(peer);
    if (!to || !(to->has(distribution::kFlagPublished) || detector_.knows(peer))) continue;
    distribution::OutMessage message = distribution::encode_send_to_name(from, "aten_sink");
    etf::Writer(message.text).tuple(2).atom("$gen_cast").tuple(2).atom("hb").atom(options_.name);
    to->send_beat(std::move(message));
  }
  beat_timer_.expires_after(options_.failure_detector.heartbeat_interval);
  beat_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) beat();
  });
}

void Node::Impl::poll_detector() {
  for (const NodeStatusChange& change : detector_.poll(poll_timer_.now())) {
    notify([&](NodeObserver& observer) { observer.on_node_status(change.node, change.status); });
  }
  poll_timer_.expires_after(options_.failure_detector.poll_interval);
  poll_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) poll_detector();
  });
}

}  // namespace rakv::node
