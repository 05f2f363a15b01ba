// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/post.hpp>

#include "cnode/node/builtins.h"
#include "cnode/node/node_impl.h"

namespace rakv::node {
namespace {

std::string atom_term(std::string_view name) { return etf::Writer().atom(name).take(); }

}  // namespace

// Our calls use a plain reference as tag, so every server answers to our pid; the same reference
// monitors the server.
void Node::Impl::call(std::string_view node, std::string_view name, PayloadWriter request,
                      std::chrono::milliseconds timeout, CallHandler handler) {
  const std::uint64_t number = next_reference_++;
  PendingCall& pending = calls_[number];
  pending.node = node;
  pending.name = name;
  pending.on_reply = std::move(handler);
  start_timer(number, timeout);

  const auto write_request = [&](distribution::OutMessage& out) {
    etf::Writer(out.text)
        .tuple(3)
        .atom("$gen_call")
        .tuple(2)
        .pid(pid_of(caller_))
        .reference(reference_of(number));
    request(out);
  };
  if (is_own(node)) {
    if (names_.find(name) == names_.end()) {
      boost::asio::post(io_, [this, number, alive = alive_] {
        if (*alive) finish_call(number, CallResult::Status::down, atom_term("noproc"));
      });
      return;
    }
    // Watched like any other server: if it ends, the call ends with its reason.
    const std::uint64_t entity = names_.find(name)->second;
    watches_.emplace(reference_of(number), Watch{pid_of(caller_), std::string(name), entity});
    ++entities_[entity].watch_count;
    send_to_name(pid_of(caller_), node, name, write_request, true);
    return;
  }
  const auto send_now = [this, number](const distribution::OutMessage& message) {
    const auto found = calls_.find(number);
    if (found == calls_.end()) return;
    const auto peer = connection(found->second.node);
    if (!peer) return finish_call(number, CallResult::Status::down, atom_term("noconnection"));
    found->second.sent = true;
    transmit(*peer, pid_of(caller_),
             distribution::encode_monitor(pid_of(caller_), std::string_view(found->second.name),
                                          reference_of(number)),
             true);
    transmit(*peer, pid_of(caller_), message, true);
  };
  distribution::OutMessage message = distribution::encode_send_to_name(pid_of(caller_), name);
  write_request(message);
  if (connection(node)) return send_now(message);
  connect(std::string(node),
          [send_now, message = std::move(message)](const Result<void>&) { send_now(message); });
}

void Node::Impl::apply(std::string_view node, std::string_view module, std::string_view function,
                       std::string_view arguments, std::chrono::milliseconds timeout,
                       ApplyHandler handler) {
  const std::uint64_t number = next_reference_++;
  PendingCall& pending = calls_[number];
  pending.node = node;
  pending.on_result = std::move(handler);
  start_timer(number, timeout);

  if (is_own(node)) {
    apply_locally(
        options_.name, module, function, arguments,
        [this, number, alive = alive_](RpcOutcome outcome, const RpcTerm& term, std::string_view) {
          if (!*alive) return;
          boost::asio::post(io_, [this, number, outcome, term = term.flat(), alive] {
            if (!*alive) return;
            auto found = calls_.extract(number);
            if (found.empty()) return;
            finish_apply(std::move(found.mapped()), static_cast<ApplyResult::Status>(outcome),
                         term);
          });
        });
    return;
  }
  if (connection(node)) return send_apply(number, module, function, arguments);
  connect(std::string(node),
          [this, number, module = std::string(module), function = std::string(function),
           arguments = std::string(arguments)](const Result<void>&) {
            send_apply(number, module, function, arguments);
          });
}

/// As erpc:call/5 does, or, with a peer that has no spawn requests, as rpc:call/4 of old nodes.
void Node::Impl::send_apply(std::uint64_t number, std::string_view module,
                            std::string_view function, std::string_view arguments) {
  const auto found = calls_.find(number);
  if (found == calls_.end()) return;
  const auto peer = connection(found->second.node);
  if (!peer) {
    auto lost = calls_.extract(number);
    return finish_apply(std::move(lost.mapped()), ApplyResult::Status::failed,
                        atom_term("noconnection"));
  }
  found->second.sent = true;
  const etf::Pid caller = pid_of(caller_);
  if (!peer->has(distribution::kFlagSpawn)) {
    distribution::OutMessage message = distribution::encode_send_to_name(caller, "rex");
    etf::Writer writer(message.text);
    writer.tuple(3).atom("$gen_call").tuple(2).pid(caller).reference(reference_of(number));
    writer.tuple(5).atom("call").atom(module).atom(function).raw(arguments);
    writer.pid(builtins_->io_leader());
    transmit(*peer, caller, std::move(message), true);
    return;
  }
  distribution::OutMessage message = distribution::encode_spawn_request(
      reference_of(number), caller, builtins_->io_leader(), "erpc", "execute_call", 4, true);
  etf::Writer(message.text)
      .list(4)
      .reference(make_reference())
      .atom(module)
      .atom(function)
      .raw(arguments)
      .nil();
  transmit(*peer, caller, std::move(message), true);
}

void Node::Impl::apply_locally(std::string_view caller, std::string_view module,
                               std::string_view function, std::string_view arguments,
                               const RpcCall::Answer& answer) {
  PeerCharge charge = is_own(caller) ? PeerCharge() : watch_charge(caller);
  if (!charge.try_grow(arguments.size())) {
    answer(RpcOutcome::raised, atom_term(kNoRoom), etf::Writer().nil().view());
    return;
  }
  std::optional<RpcCall> call = RpcCall::make(caller, arguments, answer);
  // A list that is too long for any function is a list all the same.
  const std::optional<std::size_t> count = call ? call->arguments().size() : list_length(arguments);
  if (!count) {
    answer(RpcOutcome::raised, atom_term("badarg"), etf::Writer().nil().view());
    return;
  }
  const RpcFunction* implementation = functions_.find(module, function, *count);
  if (!call || implementation == nullptr) {
    if (call) call->disarm();
    answer(RpcOutcome::raised, atom_term("undef"), undef_stack(module, function, arguments));
    return;
  }
  call->set_charge(std::move(charge));
  (*implementation)(std::move(*call));
}

void Node::Impl::start_timer(std::uint64_t number, std::chrono::milliseconds timeout) {
  auto timer = std::make_unique<Timer>(io_, timeout);
  timer->async_wait([this, number, alive = alive_](boost::system::error_code error) {
    if (error || !*alive) return;
    auto found = calls_.find(number);
    if (found == calls_.end()) return;
    forget_on_peer(number, found->second);
    if (found->second.on_result) {
      auto late = calls_.extract(number);
      finish_apply(std::move(late.mapped()), ApplyResult::Status::timeout, {});
    } else {
      finish_call(number, CallResult::Status::timeout, {});
    }
  });
  calls_[number].timer = std::move(timer);
}

void Node::Impl::forget_on_peer(std::uint64_t number, const PendingCall& pending) {
  if (is_own(pending.node)) {
    const auto watch = watches_.find(reference_of(number));
    if (watch == watches_.end()) return;
    const auto entity = entities_.find(watch->second.entity);
    if (entity != entities_.end()) --entity->second.watch_count;
    watches_.erase(watch);
  } else if (pending.sent && pending.on_reply) {
    signal(pending.node, pid_of(caller_),
           distribution::encode_demonitor(pid_of(caller_), std::string_view(pending.name),
                                          reference_of(number)));
  }
}

void Node::Impl::finish_call(std::uint64_t number, CallResult::Status status,
                             std::string_view term) {
  auto found = calls_.extract(number);
  if (found.empty()) return;
  found.mapped().on_reply(CallResult{status, term});
}

void Node::Impl::finish_apply(PendingCall pending, ApplyResult::Status status,
                              std::string_view term) {
  pending.on_result(ApplyResult{status, term});
}

namespace {

/// Reads the reply of rex: the value, or {badrpc, Reason}.
ApplyResult rex_result(std::string_view reply) {
  etf::Cursor cursor(reply, etf::kMessageLimits);
  if (cursor.kind() == etf::TermKind::tuple && cursor.tuple() == 2u && cursor.is_atom("badrpc")) {
    return {ApplyResult::Status::failed, cursor.skip().value_or(std::string_view{})};
  }
  return {ApplyResult::Status::returned, reply};
}

}  // namespace

// A message for the pid our calls come from: {Tag, Reply}. Some servers answer to the pid, some to
// the tag's alias; we give out no aliases, so this is where all replies arrive.
void Node::Impl::on_message(std::string_view message) {
  etf::Cursor cursor(message, etf::kMessageLimits);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 2u) return;
  if (cursor.kind() != etf::TermKind::reference) return;
  const std::optional<etf::ReferenceView> tag = cursor.reference_view();
  const std::optional<std::string_view> reply = cursor.skip();
  if (!tag || !reply || !cursor.at_end()) return;
  const std::uint64_t number = number_of(*tag);
  const auto found = calls_.find(number);
  if (found == calls_.end()) return;
  if (found->second.on_result) {
    auto answered = calls_.extract(found);
    const ApplyResult result = rex_result(*reply);
    return finish_apply(std::move(answered.mapped()), result.status, result.term);
  }
  forget_on_peer(number, found->second);
  finish_call(number, CallResult::Status::reply, *reply);
}

void Node::Impl::handle(const distribution::SpawnReplySignal& signal) {
  const auto* refusal = std::get_if<std::string_view>(&signal.result);
  if (refusal == nullptr) return;
  auto found = calls_.extract(number_of(signal.reference));
  if (found.empty() || !found.mapped().on_result) return;
  finish_apply(std::move(found.mapped()), ApplyResult::Status::failed, atom_term(*refusal));
}

namespace {

/// Reads the exit reason of erpc:execute_call/4.
ApplyResult apply_result(std::string_view reason) {
  etf::Cursor cursor(reason, etf::kMessageLimits);
  if (cursor.kind() == etf::TermKind::tuple) {
    const std::uint32_t arity = cursor.tuple().value_or(0);
    if ((arity == 3 || arity == 4) && cursor.kind() == etf::TermKind::reference && cursor.skip()) {
      const std::string_view name =
          cursor.kind() == etf::TermKind::atom ? *cursor.atom() : std::string_view{};
      const std::string_view term = cursor.skip().value_or(std::string_view{});
      if (name == "return") return {ApplyResult::Status::returned, term};
      if (name == "throw") return {ApplyResult::Status::thrown, term};
      if (name == "exit") return {ApplyResult::Status::exited, term};
      if (name == "error") return {ApplyResult::Status::raised, term};
    }
  }
  return {ApplyResult::Status::failed, reason};
}

}  // namespace

void Node::Impl::fire_own_monitor(const etf::ReferenceView& reference, std::string_view reason) {
  const std::uint64_t number = number_of(reference);
  if (number == 0) return;
  if (const auto call = calls_.find(number); call != calls_.end()) {
    if (call->second.on_reply) return finish_call(number, CallResult::Status::down, reason);
    auto ended = calls_.extract(number);
    const ApplyResult result = apply_result(reason);
    return finish_apply(std::move(ended.mapped()), result.status, result.term);
  }
  const auto found = monitors_.find(number);
  if (found == monitors_.end()) return;
  const std::uint64_t watcher = found->second.watcher;
  monitors_.erase(found);
  const auto entity = entities_.find(watcher);
  if (entity != entities_.end() && entity->second.process != nullptr) {
    entity->second.process->on_down(etf::Reference(reference), reason);
  }
}

etf::Reference Node::Impl::monitor(std::uint64_t watcher, std::string_view node,
                                   std::string_view name) {
  const std::uint64_t number = next_reference_++;
  etf::Reference reference = reference_of(number);
  monitors_[number] = OwnMonitor{watcher, std::string(node), std::string(name), false};
  if (is_own(node)) {
    const auto found = names_.find(name);
    if (found == names_.end()) {
      boost::asio::post(io_, [this, reference, alive = alive_] {
        if (*alive) fire_own_monitor(reference, atom_term("noproc"));
      });
    } else {
      watches_.emplace(reference, Watch{pid_of(watcher), std::string(name), found->second});
      ++entities_[found->second].watch_count;
    }
    return reference;
  }
  connect(std::string(node), [this, number, reference](const Result<void>&) {
    const auto found = monitors_.find(number);
    if (found == monitors_.end()) return;
    const auto peer = connection(found->second.node);
    if (!peer) return fire_own_monitor(reference, atom_term("noconnection"));
    found->second.sent = true;
    const etf::Pid own = pid_of(found->second.watcher);
    transmit(*peer, own,
             distribution::encode_monitor(own, std::string_view(found->second.name), reference),
             true);
  });
  return reference;
}

void Node::Impl::demonitor(const etf::Reference& reference) {
  const auto found = monitors_.find(number_of(reference));
  if (found == monitors_.end()) return;
  const OwnMonitor monitor = std::move(found->second);
  monitors_.erase(found);
  const etf::Pid own = pid_of(monitor.watcher);
  if (is_own(monitor.node)) {
    const auto watch = watches_.find(reference);
    if (watch == watches_.end()) return;
    const auto entity = entities_.find(watch->second.entity);
    if (entity != entities_.end()) --entity->second.watch_count;
    watches_.erase(watch);
  } else if (monitor.sent) {
    signal(monitor.node, own,
           distribution::encode_demonitor(own, std::string_view(monitor.name), reference));
  }
}

}  // namespace rakv::node
