// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/rex.h"

#include <utility>

namespace rakv::node {
namespace {

/// What rpc:call/4 gives for this outcome: the value or the thrown term itself, else
/// {badrpc, {'EXIT', Reason}}.
void write_result(distribution::OutMessage& out, RpcOutcome outcome, const RpcTerm& term,
                  std::string_view stack) {
  etf::Writer writer(out.text);
  const bool failed = outcome == RpcOutcome::exited || outcome == RpcOutcome::raised;
  if (failed) writer.tuple(2).atom("badrpc").tuple(2).atom("EXIT");
  if (outcome == RpcOutcome::raised) writer.tuple(2);
  writer.raw(term.head);
  out.share(term.owner, term.shared);
  if (outcome == RpcOutcome::raised) etf::Writer(out.text).raw(stack);
}

}  // namespace

void Node::Impl::Rex::on_message(std::string_view message) {
  const std::optional<GenMessage> gen = parse_gen_message(message);
  if (!gen) return;
  switch (gen->kind) {
    case GenMessage::Kind::call:
      return on_call(*gen);
    case GenMessage::Kind::cast: {
      etf::Cursor request(gen->request, etf::kMessageLimits);
      if (request.kind() == etf::TermKind::tuple && request.tuple() == 5u &&
          request.is_atom("cast")) {
        run(request, {ReplyTo::Form::nobody, {}, node_.options_.name});
      }
      return;
    }
    case GenMessage::Kind::info:
      node_.refuse_system_message(entity, message);
      return on_plain_message(message);
  }
}

/// {call | block_call, M, F, Args, GroupLeader}.
void Node::Impl::Rex::on_call(const GenMessage& call) {
  etf::Cursor from(call.from);
  const std::optional<ReplyAddress> address = parse_from(from);
  if (!address) return;
  ReplyTo to{ReplyTo::Form::gen, std::string(call.from), std::string(address->pid.node)};
  etf::Cursor request(call.request, etf::kMessageLimits);
  if (request.kind() == etf::TermKind::tuple && request.tuple() == 5u &&
      (request.is_atom("call") || request.is_atom("block_call")) && run(request, to)) {
    return;
  }
  // rpc.erl leaves such a caller without an answer.
  reply(to, [](distribution::OutMessage& out) {
    etf::Writer(out.text).tuple(2).atom("badrpc").atom("not_supported");
  });
}

/// {From, {call, M, F, Args, GroupLeader}}, {From, features_request}, {From, {sbcast | send, Name,
/// Message}}.
void Node::Impl::Rex::on_plain_message(std::string_view message) {
  etf::Cursor cursor(message, etf::kMessageLimits);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 2u) return;
  if (cursor.kind() != etf::TermKind::pid) return;
  const std::string_view pid_term = cursor.rest();
  const std::optional<etf::PidView> from = cursor.pid_view();
  if (!from) return;
  const std::string address(pid_term.substr(0, pid_term.size() - cursor.rest().size()));
  if (cursor.is_atom("features_request")) {
    node_.send(
        node_.pid_of(entity), *from,
        [&](distribution::OutMessage& out) {
          etf::Writer writer(out.text);
          writer.tuple(3).atom("features_reply").atom(node_.options_.name);
          writer.list(1).atom("erpc").nil();
        },
        true);
    return;
  }
  if (cursor.kind() != etf::TermKind::tuple) return;
  const std::optional<std::uint32_t> arity = cursor.tuple();
  if (arity == 5u && cursor.is_atom("call")) {
    run(cursor, {ReplyTo::Form::rex, address, std::string(from->node)});
    return;
  }
  const bool broadcast = arity == 3u && cursor.is_atom("sbcast");
  if (!broadcast && !(arity == 3u && cursor.is_atom("send"))) return;
  const std::optional<std::string_view> name =
      cursor.kind() == etf::TermKind::atom ? cursor.atom() : std::nullopt;
  const std::optional<std::string_view> body = cursor.skip();
  if (name && body) forward(*from, *name, *body, broadcast);
}

/// rpc:sbcast/2 and what rpc:server_call/4 asks for: gives a message to a process of this node.
void Node::Impl::Rex::forward(const etf::PidView& from, std::string_view name,
                              std::string_view message, bool tell_success) {
  const etf::Pid self = node_.pid_of(entity);
  const auto answer = [&](FunctionRef<void(etf::Writer&)> what) {
    node_.send(
        self, from,
        [&](distribution::OutMessage& out) {
          etf::Writer writer(out.text);
          writer.tuple(3).atom("rex").atom(node_.options_.name);
          what(writer);
        },
        true);
  };
  const auto found = node_.names_.find(name);
  if (found == node_.names_.end()) {
    return answer(
        [&](etf::Writer& writer) { writer.tuple(2).atom("nonexisting_name").atom(name); });
  }
  etf::Writer forwarded;
  if (!tell_success) forwarded.tuple(2).pid(from);
  forwarded.raw(message);
  node_.deliver_later(found->second, forwarded.take());
  if (tell_success) answer([&](etf::Writer& writer) { writer.atom(node_.options_.name); });
}

/// Carries out `M, F, Args, GroupLeader`, on which `call` stands. False when they are not that.
bool Node::Impl::Rex::run(etf::Cursor& call, ReplyTo to) {
  const std::optional<std::string_view> module =
      call.kind() == etf::TermKind::atom ? call.atom() : std::nullopt;
  const std::optional<std::string_view> function =
      module && call.kind() == etf::TermKind::atom ? call.atom() : std::nullopt;
  const std::optional<std::string_view> arguments = call.skip();
  if (!module || !function || !arguments || !call.skip() || !call.at_end()) return false;
  const std::string caller = to.caller_node;
  node_.apply_locally(
      caller, *module, *function, *arguments,
      [this, to = std::move(to), alive = node_.alive_](RpcOutcome outcome, const RpcTerm& term,
                                                       std::string_view stack) {
        if (!*alive) return;
        reply(to, [&](distribution::OutMessage& out) { write_result(out, outcome, term, stack); });
      });
  return true;
}

void Node::Impl::Rex::reply(const ReplyTo& to, PayloadWriter write) {
  const etf::Pid self = node_.pid_of(entity);
  if (to.form == ReplyTo::Form::gen) node_.reply(self, to.address, write);
  if (to.form != ReplyTo::Form::rex) return;
  etf::Cursor address(to.address);
  const std::optional<etf::PidView> pid = address.pid_view();
  if (!pid) return;
  node_.send(
      self, *pid,
      [&](distribution::OutMessage& out) {
        etf::Writer(out.text).tuple(2).atom("rex");
        write(out);
      },
      true);
}

}  // namespace rakv::node
