// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/node.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "cnode/base/check.h"
#include "cnode/node/builtins.h"
#include "cnode/node/node_impl.h"

namespace rakv::node {
namespace {

/// An epmd older than OTP 23 gives 1 to 3; a BEAM of OTP 29 takes this one then.
constexpr std::uint32_t kSmallestCreation = 4;

distribution::EndpointOptions endpoint_options(const NodeOptions& options) {
  distribution::EndpointOptions made;
  made.node_name = options.name;
  made.cookie = options.cookie;
  made.flags = options.visible ? distribution::kOfferedFlags : distribution::kOfferedFlagsHidden;
  made.listen_address = options.listen_address;
  made.listen_port = options.listen_port;
  made.connection.net_ticktime = options.net_ticktime;
  made.max_half_open = options.max_half_open;
  made.max_connections = options.max_connections;
  made.epmd = options.epmd;
  return made;
}

}  // namespace

Node::Impl::Impl(boost::asio::io_context& io, NodeOptions options)
    : io_(io),
      options_(std::move(options)),
      registrar_(io, options_.epmd),
      detector_(options_.failure_detector),
      beat_timer_(io),
      poll_timer_(io),
      random_(Randomness::of(io)()) {
  distribution::Endpoint::Events events;
  events.on_up = [this](const std::shared_ptr<distribution::Connection>& made) { on_up(made); };
  events.on_note = options_.on_note;
  distribution::EndpointOptions endpoint = endpoint_options(options_);
  if (options_.memory != nullptr) {
    peer_memory_ = std::make_shared<distribution::PeerMemory>(io_, *options_.memory);
    endpoint.connection.memory = peer_memory_;
  }
  endpoint_ = std::make_unique<distribution::Endpoint>(io_, std::move(endpoint), std::move(events));
  if (options_.on_note) registrar_.on_event(options_.on_note);
}

Node::Impl::~Impl() {
  *alive_ = false;
  endpoint_->stop();
}

void Node::Impl::start(std::function<void(Result<void>)> done) {
  const Result<std::uint16_t> port = endpoint_->listen();
  if (!port) {
    boost::asio::post(io_, [done = std::move(done), error = port.error()] { done(error); });
    return;
  }
  port_ = *port;
  distribution::epmd::Registration registration;
  registration.alive_name = options_.name.substr(0, options_.name.find('@'));
  registration.listen_port = port_;
  registration.visible = options_.visible;
  registrar_.start(registration, [this, done = std::move(done)](Result<std::uint32_t> creation) {
    if (!creation) return done(creation.error());
    if (*creation == 0) {
      return done(make_error(ErrorCode::malformed,
                             "epmd gave this node the creation 0, which is none: restart epmd"));
    }
    creation_ = std::max(*creation, kSmallestCreation);
    endpoint_->set_creation(creation_);
    caller_ = entity_of(spawn(this));
    builtins_ = std::make_unique<Builtins>(*this);
    add_node_functions();
    beat();
    poll_detector();
    done({});
  });
}

etf::Pid Node::Impl::pid_of(std::uint64_t entity) const {
  return {options_.name, static_cast<std::uint32_t>(entity & 0x7fffffff),
          static_cast<std::uint32_t>(entity >> 31), creation_};
}

std::uint64_t Node::Impl::entity_of(const etf::PidView& pid) const {
  if (pid.node != options_.name || pid.creation != creation_) return 0;
  return (std::uint64_t{pid.serial} << 31) | pid.id;
}

etf::Pid Node::Impl::spawn(Process* process) {
  RAKV_CHECK_MSG(creation_ != 0, "pids can be made only after Node::start is done");
  const std::uint64_t entity = next_entity_++;
  entities_[entity].process = process;
  return pid_of(entity);
}

void Node::Impl::terminate(std::uint64_t entity, std::string_view reason) {
  terminate_with(entity, [reason](distribution::OutMessage& out) { out.text.append(reason); });
}

void Node::Impl::terminate_with(std::uint64_t entity, PayloadWriter reason) {
  const auto found = entities_.find(entity);
  if (found == entities_.end()) return;
  const Entity ended = std::move(found->second);
  entities_.erase(found);
  for (const std::string& name : ended.names) names_.erase(name);

  const etf::Pid pid = pid_of(entity);
  const auto with_reason = [&](distribution::OutMessage message) {
    reason(message);
    return message;
  };
  for (const etf::Pid& linked : ended.links) {
    signal(linked.node, pid, with_reason(distribution::encode_link_exit(pid, linked)));
  }
  if (ended.watch_count == 0) return;
  for (auto watch = watches_.begin(); watch != watches_.end();) {
    if (watch->second.entity != entity) {
      ++watch;
      continue;
    }
    const distribution::PidOrName watched =
        watch->second.name ? distribution::PidOrName{std::string_view(*watch->second.name)}
                           : distribution::PidOrName{pid.view()};
    if (is_own(watch->second.watcher.node)) {
      const std::string own_reason = rendered(reason);
      boost::asio::post(io_, [this, reference = watch->first, own_reason, alive = alive_] {
        if (*alive) fire_own_monitor(reference, own_reason);
      });
    } else {
      signal(watch->second.watcher.node, pid,
             with_reason(
                 distribution::encode_monitor_exit(watched, watch->second.watcher, watch->first)));
    }
    watches_.erase(watch++);
  }
}

etf::Reference Node::Impl::reference_of(std::uint64_t number) const {
  etf::ReferenceWords words;
  words.count = 3;
  words.word[0] = static_cast<std::uint32_t>(number & 0x3ffff);
  words.word[1] = static_cast<std::uint32_t>(number >> 18);
  words.word[2] = static_cast<std::uint32_t>(number >> 50);
  return {options_.name, creation_, words};
}

std::uint64_t Node::Impl::number_of(const etf::ReferenceView& reference) const {
  if (reference.node != options_.name || reference.creation != creation_ ||
      reference.words.count != 3)
    return 0;
  const auto& word = reference.words.word;
  return std::uint64_t{word[0]} | (std::uint64_t{word[1]} << 18) | (std::uint64_t{word[2]} << 50);
}

etf::Reference Node::Impl::make_reference() { return reference_of(next_reference_++); }

void Node::Impl::deliver_later(std::uint64_t entity, std::string message) {
  boost::asio::post(io_, [this, entity, message = std::move(message), alive = alive_] {
    if (!*alive) return;
    const auto found = entities_.find(entity);
    if (found != entities_.end() && found->second.process != nullptr)
      found->second.process->on_message(message);
  });
}

void Node::Impl::send_exit(const etf::PidView& from, std::uint64_t entity, std::string_view reason,
                           bool by_link) {
  boost::asio::post(io_, [this, entity, by_link, from = etf::Pid(from),
                          reason = std::string(reason), alive = alive_] {
    if (!*alive) return;
    const auto found = entities_.find(entity);
    if (found == entities_.end()) return;
    if (found->second.process != nullptr) {
      found->second.process->on_exit_signal(from, reason);
      return;
    }
    etf::Cursor cursor(reason);
    if (cursor.is_atom("normal")) return;
    const bool killed = !by_link && cursor.is_atom("kill");
    give_up_worker(entity, killed ? etf::Writer().atom("killed").view() : std::string_view(reason));
  });
}

void Node::Impl::stop(std::chrono::milliseconds patience, std::function<void()> done) {
  stopping_ = true;
  etf::Writer shutdown;
  shutdown.atom("shutdown");
  std::vector<std::uint64_t> living;
  for (const auto& [entity, state] : entities_) living.push_back(entity);
  for (const std::uint64_t entity : living) terminate(entity, shutdown.view());
  beat_timer_.cancel();
  poll_timer_.cancel();
  kept_.clear();
  registrar_.stop();

  // What is queued goes out first: replies and DOWN messages are what peers wait for.
  auto timer = std::make_shared<Timer>(io_);
  const auto deadline = timer->now() + patience;
  auto poll = std::make_shared<std::function<void()>>();
  *poll = [this, timer, deadline, poll, done = std::move(done), alive = alive_] {
    if (!*alive) return;
    std::size_t queued = 0;
    for (const std::string& peer : endpoint_->connected_peers())
      queued += connection(peer)->queued_bytes();
    if (queued == 0 || timer->now() >= deadline) {
      endpoint_->stop();
      boost::asio::post(io_, [poll, done] {
        *poll = nullptr;
        done();
      });
      return;
    }
    timer->expires_after(std::chrono::milliseconds(5));
    timer->async_wait([poll](boost::system::error_code) { (*poll)(); });
  };
  boost::asio::post(io_, [poll] { (*poll)(); });
}

// --- the public face
// --------------------------------------------------------------------------------------------------

Node::Node(boost::asio::io_context& io, NodeOptions options)
    : impl_(std::make_unique<Impl>(io, std::move(options))) {}
Node::~Node() = default;

void Node::start(std::function<void(Result<void>)> done) { impl_->start(std::move(done)); }
void Node::accept_peers() { impl_->endpoint_->accept_peers(); }
void Node::stop(std::chrono::milliseconds patience, std::function<void()> done) {
  impl_->stop(patience, std::move(done));
}

Clock& Node::clock() const { return Clock::of(impl_->io_); }
const std::string& Node::name() const { return impl_->options_.name; }
std::uint32_t Node::creation() const { return impl_->creation_; }
std::uint16_t Node::port() const { return impl_->port_; }

etf::Pid Node::spawn(Process& process) { return impl_->spawn(&process); }
void Node::terminate(const etf::Pid& pid, std::string_view reason) {
  impl_->terminate(impl_->entity_of(pid), reason);
}
bool Node::is_alive(const etf::PidView& pid) const {
  return impl_->entities_.contains(impl_->entity_of(pid));
}

void Node::hand_over(const etf::Pid& pid, Process& process) {
  const auto found = impl_->entities_.find(impl_->entity_of(pid));
  RAKV_CHECK(found != impl_->entities_.end());
  found->second.process = &process;
}

bool Node::register_name(const std::string& name, const etf::Pid& pid) {
  const std::uint64_t entity = impl_->entity_of(pid);
  const auto found = impl_->entities_.find(entity);
  if (found == impl_->entities_.end() || !impl_->names_.emplace(name, entity).second) return false;
  found->second.names.insert(name);
  return true;
}

std::optional<etf::Pid> Node::whereis(std::string_view name) const {
  const auto found = impl_->names_.find(name);
  if (found == impl_->names_.end()) return std::nullopt;
  return impl_->pid_of(found->second);
}

etf::Reference Node::make_reference() { return impl_->make_reference(); }

void Node::send_exit(const etf::PidView& from, const etf::PidView& to, std::string_view reason) {
  impl_->send_exit(from, impl_->entity_of(to), reason, false);
}

Delivery Node::send(const etf::PidView& from, const etf::PidView& to, PayloadWriter payload,
                    bool may_block) {
  return impl_->send(from, to, payload, may_block);
}
Delivery Node::send_to_name(const etf::PidView& from, std::string_view node, std::string_view name,
                            PayloadWriter payload, bool may_block) {
  return impl_->send_to_name(from, node, name, payload, may_block);
}
Delivery Node::room(std::string_view node) const {
  if (impl_->is_own(node)) return Delivery::queued;
  const auto peer = impl_->connection(node);
  if (!peer) return Delivery::not_connected;
  return peer->has_room() ? Delivery::queued : Delivery::would_block;
}

Delivery Node::cast(const etf::PidView& from, std::string_view node, std::string_view name,
                    PayloadWriter payload, bool may_block) {
  return impl_->send_to_name(
      from, node, name,
      [&](distribution::OutMessage& out) {
        etf::Writer(out.text).tuple(2).atom("$gen_cast");
        payload(out);
      },
      may_block);
}
SharedBytes Node::take_message(std::string_view part) {
  return impl_->receiving_ == nullptr ? SharedBytes{} : impl_->receiving_->take_message(part);
}
Delivery Node::reply(const etf::PidView& from, std::string_view caller, PayloadWriter payload) {
  return impl_->reply(from, caller, payload);
}

void Node::call(std::string_view node, std::string_view name, PayloadWriter request,
                std::chrono::milliseconds timeout, CallHandler handler) {
  impl_->call(node, name, request, timeout, std::move(handler));
}
void Node::apply(std::string_view node, std::string_view module, std::string_view function,
                 std::string_view arguments, std::chrono::milliseconds timeout,
                 ApplyHandler handler) {
  impl_->apply(node, module, function, arguments, timeout, std::move(handler));
}

etf::Reference Node::monitor(const etf::Pid& watcher, std::string_view node,
                             std::string_view name) {
  return impl_->monitor(impl_->entity_of(watcher), node, name);
}
void Node::demonitor(const etf::Reference& reference) { impl_->demonitor(reference); }

void Node::subscribe(NodeObserver& observer) { impl_->observers_.push_back(&observer); }
void Node::unsubscribe(NodeObserver& observer) { std::erase(impl_->observers_, &observer); }
bool Node::is_connected(std::string_view node) const { return impl_->connection(node) != nullptr; }

NodeStatus Node::status(std::string_view node) const { return impl_->detector_.status(node); }
void Node::connect(const std::string& node, std::function<void(Result<void>)> done) {
  impl_->connect(node, std::move(done));
}
void Node::disconnect(const std::string& node) {
  impl_->endpoint_->disconnect(node, "disconnected on request");
}
void Node::hold_link(const std::string& node, std::chrono::milliseconds time) {
  impl_->endpoint_->hold(node, time);
}
void Node::release_link(const std::string& node) { impl_->endpoint_->release(node); }
void Node::keep_connected(const std::string& node) { impl_->keep_connected(node); }
void Node::release_connection(const std::string& node) { impl_->release_connection(node); }

MemoryAccounts* Node::memory() const { return impl_->options_.memory; }
ByteCharge Node::charge(ByteAccount MemoryAccounts::*account, std::uint64_t bytes) const {
  MemoryAccounts* const all = impl_->options_.memory;
  return all == nullptr ? ByteCharge() : ByteCharge(&(all->*account), bytes);
}
void Node::when_room(const std::string& peer, std::uint64_t bytes,
                     distribution::PeerMemory::Room then) {
  if (!impl_->peer_memory_) return then(ByteCharge());
  impl_->peer_memory_->when_room(peer, bytes, std::move(then));
}

RpcTable& Node::functions() { return impl_->functions_; }
void Node::apply_locally(std::string_view module, std::string_view function,
                         std::string_view arguments, const RpcCall::Answer& answer) {
  impl_->apply_locally(impl_->options_.name, module, function, arguments, answer);
}

}  // namespace rakv::node
