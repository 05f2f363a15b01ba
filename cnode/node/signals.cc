// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/post.hpp>
#include <variant>

#include "cnode/node/builtins.h"
#include "cnode/node/node_impl.h"

namespace rakv::node {
namespace {

std::string_view noproc() {
  static const std::string kNoproc = etf::Writer().atom("noproc").take();
  return kNoproc;
}

/// Whether `pid` is one of the peer's: only they may link, monitor and spawn. Else the connection
/// is closed, as a BEAM does (dist.c: invalid_message): what they leave here is cleared when the
/// peer's connection ends.
bool is_of(distribution::Connection& peer, const etf::PidView& pid, std::string_view signal) {
  if (pid.node == peer.peer().name) return true;
  peer.close(make_error(ErrorCode::malformed, "bad control message from the peer: a " +
                                                  std::string(signal) +
                                                  " of a process of another node"));
  return false;
}

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

void Node::Impl::on_connection_message(const std::shared_ptr<distribution::Connection>& connection,
                                       const distribution::ControlMessage& control,
                                       std::string_view payload) {
  distribution::Connection& peer = *connection;
  std::visit(
      Overloaded{
          [&](const distribution::MessageSignal& signal) { handle(peer, signal, payload); },
          [&](const distribution::LinkSignal& signal) { handle(peer, signal); },
          [&](const distribution::UnlinkSignal& signal) { handle(peer, signal); },
          [&](const distribution::UnlinkAckSignal&) {},  // we never unlink
          [&](const distribution::LinkExitSignal& signal) { handle(peer, signal); },
          [&](const distribution::ExitSignal& signal) { handle(signal); },
          [&](const distribution::MonitorSignal& signal) { handle(peer, signal); },
          [&](const distribution::DemonitorSignal& signal) { handle(peer, signal); },
          [&](const distribution::MonitorExitSignal& signal) { handle(signal); },
          [&](const distribution::SpawnRequestSignal& signal) { handle(peer, signal, payload); },
          [&](const distribution::SpawnReplySignal& signal) { handle(signal); },
          [&](const distribution::IgnoredSignal&) {},
      },
      control);
}

void Node::Impl::handle(distribution::Connection& peer, const distribution::MessageSignal& signal,
                        std::string_view payload) {
  std::uint64_t entity = 0;
  if (const auto* name = std::get_if<std::string_view>(&signal.to)) {
    const auto found = names_.find(*name);
    if (found == names_.end()) {
      builtins_->on_message_for(*name, peer.peer().name, payload);
      return;
    }
    entity = found->second;
  } else if (const auto* pid = std::get_if<etf::PidView>(&signal.to)) {
    entity = entity_of(*pid);
  }  // we give out no aliases: a message for one is for nobody
  const auto found = entities_.find(entity);
  if (found == entities_.end() || found->second.process == nullptr) return;
  receiving_ = &peer;
  found->second.process->on_message(payload);
  receiving_ = nullptr;
}

PeerCharge Node::Impl::watch_charge(std::string_view node) {
  if (options_.memory == nullptr) return {};
  return watch_charges_.of(&options_.memory->watches, node);
}

bool Node::Impl::has_room_for_link() const {
  return options_.memory == nullptr ||
         options_.memory->watches.has_room(kLinkBytes + options_.memory->watches.limit() / 3);
}

void Node::Impl::add_link(Entity& entity, const etf::PidView& from) {
  if (entity.link_charge.bytes() == 0 && options_.memory != nullptr)
    entity.link_charge = ByteCharge(&options_.memory->watches);
  entity.links.emplace_back(from);
  entity.link_charge.grow(kLinkBytes);
}

void Node::Impl::handle(distribution::Connection& peer, const distribution::LinkSignal& signal) {
  if (!is_of(peer, signal.from, "link")) return;
  const auto found = entities_.find(entity_of(signal.to));
  if (found != entities_.end() && has_room_for_link()) {
    add_link(found->second, signal.from);
    return;
  }
  distribution::OutMessage message = distribution::encode_link_exit(signal.to, signal.from);
  etf::Writer writer(message.text);
  if (found == entities_.end()) {
    writer.raw(noproc());
  } else {
    writer.atom(kNoRoom);
  }
  // From-pids must be of this node's name; an old creation is fine.
  if (is_own(signal.to.node)) peer.send(0, std::move(message));
}

void Node::Impl::handle(distribution::Connection& peer, const distribution::UnlinkSignal& signal) {
  if (!is_of(peer, signal.from, "unlink")) return;
  const auto found = entities_.find(entity_of(signal.to));
  if (found != entities_.end())
    found->second.link_charge.shrink(kLinkBytes *
                                     std::erase(found->second.links, etf::Pid(signal.from)));
  if (signal.id && is_own(signal.to.node)) {
    peer.send(entity_of(signal.to),
              distribution::encode_unlink_ack(*signal.id, signal.to, signal.from));
  }
}

void Node::Impl::handle(distribution::Connection& peer,
                        const distribution::LinkExitSignal& signal) {
  if (!is_of(peer, signal.from, "exit")) return;
  const std::uint64_t entity = entity_of(signal.to);
  const auto found = entities_.find(entity);
  if (found == entities_.end()) return;
  const std::size_t links = std::erase(found->second.links, etf::Pid(signal.from));
  found->second.link_charge.shrink(kLinkBytes * links);
  if (links > 0) send_exit(signal.from, entity, signal.reason, true);
}

void Node::Impl::handle(const distribution::ExitSignal& signal) {
  std::uint64_t entity = 0;
  if (const auto* pid = std::get_if<etf::PidView>(&signal.to)) {
    entity = entity_of(*pid);
  } else if (const auto* name = std::get_if<std::string_view>(&signal.to)) {
    const auto found = names_.find(*name);
    if (found != names_.end()) entity = found->second;
  }
  send_exit(signal.from, entity, signal.reason, false);
}

void Node::Impl::handle(distribution::Connection& peer, const distribution::MonitorSignal& signal) {
  if (!is_of(peer, signal.watcher, "monitor")) return;
  Watch watch;
  watch.watcher = etf::Pid(signal.watcher);
  if (const auto* name = std::get_if<std::string_view>(&signal.watched)) {
    watch.name = *name;
    const auto found = names_.find(*name);
    if (found != names_.end()) watch.entity = found->second;
  } else {
    watch.entity = entity_of(std::get<etf::PidView>(signal.watched));
  }
  const auto found = entities_.find(watch.entity);
  watch.charge = watch_charge(peer.peer().name);
  if (found == entities_.end() || !watch.charge.try_grow(kWatchBytes)) {
    // At once, or calls to what is not there would hang until their timeout.
    distribution::OutMessage message =
        distribution::encode_monitor_exit(signal.watched, signal.watcher, signal.reference);
    etf::Writer writer(message.text);
    if (found == entities_.end()) {
      writer.raw(noproc());
    } else {
      writer.atom(kNoRoom);
    }
    peer.send(0, std::move(message));
    return;
  }
  if (watches_.emplace(etf::Reference(signal.reference), std::move(watch)).second)
    ++found->second.watch_count;
}

void Node::Impl::handle(distribution::Connection& peer,
                        const distribution::DemonitorSignal& signal) {
  if (!is_of(peer, signal.watcher, "demonitor")) return;
  const auto found = watches_.find(signal.reference);
  if (found != watches_.end() && found->second.watcher.node == peer.peer().name) {
    const auto entity = entities_.find(found->second.entity);
    if (entity != entities_.end()) --entity->second.watch_count;
    watches_.erase(found);
    return;
  }
  // The caller of a remote function gave up.
  const auto* pid = std::get_if<etf::PidView>(&signal.watched);
  if (pid == nullptr) return;
  const auto worker = entities_.find(entity_of(*pid));
  if (worker != entities_.end() && worker->second.spawn_reference &&
      worker->second.spawn_reference->view() == signal.reference) {
    worker->second.spawned_with_monitor = false;
  }
}

void Node::Impl::handle(const distribution::MonitorExitSignal& signal) {
  fire_own_monitor(signal.reference, signal.reason);
}

void Node::Impl::handle(distribution::Connection& peer,
                        const distribution::SpawnRequestSignal& signal,
                        std::string_view arguments) {
  if (!is_of(peer, signal.from, "spawn request")) return;
  std::string storage;
  const auto elements = list_elements(arguments, storage);
  if (!elements) {
    etf::Cursor whole(arguments, etf::kMessageLimits);
    if (!whole.skip() || !whole.at_end()) {
      peer.close(make_error(ErrorCode::malformed, "spawn request with undecodable arguments"));
      return;
    }
  }
  PeerCharge charge = watch_charge(peer.peer().name);
  if (!charge.try_grow(kWorkerBytes)) {
    // As a BEAM that has no process left: spawn and erpc give the caller {error, system_limit}.
    peer.send(0, distribution::encode_spawn_reply(signal.reference, signal.from, 0, kNoRoom));
    return;
  }
  const etf::Pid pid = spawn(static_cast<Process*>(nullptr));
  const std::uint64_t entity = entity_of(pid);
  Entity& worker = entities_[entity];
  worker.charge = std::move(charge);
  worker.spawn_reference.emplace(signal.reference);
  worker.spawned_by.emplace(signal.from);
  worker.spawned_with_monitor = signal.monitor;
  if (signal.link) add_link(worker, signal.from);
  const std::uint32_t flags = (signal.link ? distribution::kSpawnReplyLink : 0) |
                              (signal.monitor ? distribution::kSpawnReplyMonitor : 0);
  peer.send(entity,
            distribution::encode_spawn_reply(signal.reference, signal.from, flags, pid.view()));

  const std::string& caller = peer.peer().name;
  const std::size_t given = elements ? elements->size() : 0;
  if (signal.module == "erpc" && signal.function == "execute_call" && given == 4) {
    run_erpc(entity, caller, *elements);
  } else if (signal.module == "erpc" && signal.function == "execute_cast" && given == 3) {
    etf::Cursor module((*elements)[0]);
    etf::Cursor function((*elements)[1]);
    run_spawned(entity, caller, module.atom().value_or(""), function.atom().value_or(""),
                (*elements)[2]);
  } else {
    run_spawned(entity, caller, signal.module, signal.function, arguments);
  }
}

namespace {

/// What a process says when it ends with this outcome, outside erpc: the reason of its exit.
std::string exit_reason(RpcOutcome outcome, const RpcTerm& term, std::string_view stack) {
  etf::Writer reason;
  switch (outcome) {
    case RpcOutcome::returned:
      reason.atom("normal");
      break;
    case RpcOutcome::exited:
      reason.raw(term.flat());
      break;
    case RpcOutcome::thrown:
      reason.tuple(2).tuple(2).atom("nocatch").raw(term.flat()).raw(stack);
      break;
    case RpcOutcome::raised:
      reason.tuple(2).raw(term.flat()).raw(stack);
      break;
  }
  return reason.take();
}

std::string_view class_name(RpcOutcome outcome) {
  switch (outcome) {
    case RpcOutcome::returned:
      return "return";
    case RpcOutcome::thrown:
      return "throw";
    case RpcOutcome::exited:
      return "exit";
    case RpcOutcome::raised:
      break;
  }
  return "error";
}

}  // namespace

void Node::Impl::run_spawned(std::uint64_t worker, const std::string& caller_node,
                             std::string_view module, std::string_view function,
                             std::string_view arguments) {
  apply_locally(caller_node, module, function, arguments,
                [this, worker, alive = alive_](RpcOutcome outcome, const RpcTerm& term,
                                               std::string_view stack) {
                  if (!*alive) return;
                  end_worker(worker, [&](distribution::OutMessage& out) {
                    out.text.append(exit_reason(outcome, term, stack));
                  });
                });
}

// erpc wraps the call: the result travels as the exit reason {ResRef, return|throw|exit|error,
// ...}.
void Node::Impl::run_erpc(std::uint64_t worker, const std::string& caller_node,
                          const std::vector<std::string_view>& elements) {
  const std::string result_reference(elements[0]);
  etf::Cursor module(elements[1]);
  etf::Cursor function(elements[2]);
  const std::string_view module_name =
      module.kind() == etf::TermKind::atom ? *module.atom() : std::string_view{};
  const std::string_view function_name =
      function.kind() == etf::TermKind::atom ? *function.atom() : std::string_view{};
  apply_locally(caller_node, module_name, function_name, elements[3],
                [this, worker, result_reference, alive = alive_](
                    RpcOutcome outcome, const RpcTerm& term, std::string_view stack) {
                  if (!*alive) return;
                  end_worker(worker, [&](distribution::OutMessage& out) {
                    etf::Writer(out.text)
                        .tuple(outcome == RpcOutcome::raised ? 4 : 3)
                        .raw(result_reference)
                        .atom(class_name(outcome))
                        .raw(term.head);
                    out.share(term.owner, term.shared);
                    if (outcome == RpcOutcome::raised) etf::Writer(out.text).raw(stack);
                  });
                });
}

/// Tells the one who spawned it, and all who watch it. Nobody hears it of one that was given up.
void Node::Impl::end_worker(std::uint64_t worker, PayloadWriter reason) {
  given_up_.erase(worker);
  const auto found = entities_.find(worker);
  if (found == entities_.end()) return;
  const Entity& ended = found->second;
  if (ended.spawned_with_monitor) {
    const etf::Pid pid = pid_of(worker);
    distribution::OutMessage message =
        distribution::encode_monitor_exit(pid.view(), *ended.spawned_by, *ended.spawn_reference);
    reason(message);
    signal(ended.spawned_by->node, pid, std::move(message));
  }
  terminate_with(worker, reason);
}

/// The worker ends, as a process that does not trap exits. What it was asked to do goes on, and is
/// counted until it is done.
void Node::Impl::give_up_worker(std::uint64_t worker, std::string_view reason) {
  const auto found = entities_.find(worker);
  if (found == entities_.end()) return;
  PeerCharge charge = std::move(found->second.charge);
  end_worker(worker, [&](distribution::OutMessage& out) { out.text.append(reason); });
  given_up_.emplace(worker, std::move(charge));
}

}  // namespace rakv::node
